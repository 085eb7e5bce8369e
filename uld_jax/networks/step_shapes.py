"""Shapes of training steps: how many nodes and examples, and how fine a grid.

A network of any number of nodes and any grid learns from steps of several shapes. The
cost of a step grows with pairs of nodes, examples and grid points: few nodes can have
many examples and a fine grid.
"""

import re
from typing import NamedTuple

import numpy as np

_STREAM = 9  # Random stream; others have those before.
_ONE = re.compile(r"(\d+)x(\d+)(?:x(\d+))?")


class StepShape(NamedTuple):
    """Shape of a training step.

    Attributes:
        num_nodes: Nodes of each example.
        num_examples: Examples.
        times_finer: How many times finer than the label's the grid is.
    """

    num_nodes: int
    num_examples: int
    times_finer: int = 1


def parse(text: str) -> tuple[StepShape, ...]:
    """Parse shapes, as in "30x8 10x16x2": nodes x examples, x times a finer grid.

    Raises:
        ValueError: If the text has another form, or a number is zero.
    """
    shapes = []
    for word in text.split():
        match = _ONE.fullmatch(word)
        shape = StepShape(*(int(part) for part in match.groups("1"))) if match else None
        if shape is None or 0 in shape:
            raise ValueError(
                f"train.step_shapes has {word!r}; give nodes x examples, or nodes x "
                "examples x times a finer grid, as in '30x8 5x32x4'"
            )
        shapes.append(shape)
    return tuple(shapes)


def draw(shapes: tuple[StepShape, ...], seed: int, step: int) -> StepShape:
    """Draw the shape of a step, by the run's seed and the step's number alone."""
    rng = np.random.default_rng([seed, _STREAM, step])
    return shapes[rng.integers(len(shapes))]
