"""What makes nodes worse than simulated ones: few, out of time, out of place.

In training a random half of the nodes is heard (Sec. 3.3). The rest is ours, for
training and for tests alike: clocks that are off and positions that are off.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from uld_jax.acoustics import constants
from uld_jax.runtime import errors

_STREAM = 6  # Beside those of `fresh`.


class PerturbationError(errors.InputError):
    """Perturbations that cannot be had, with the reason."""


class Draws(NamedTuple):
    """What befalls the nodes of B examples.

    Attributes:
        nodes: Which nodes are heard, [B, k], all different.
        shifts: How many samples late each one's signal is, [B, k].
        position_errors: What is added to its place on the plan, [B, k, 2] in meters.
    """

    nodes: np.ndarray
    shifts: np.ndarray
    position_errors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """A law of perturbations.

    Attributes:
        num_nodes: Nodes that are heard, drawn anew for each example; None for all.
        clock_offset: Standard deviation of each node's clock, in seconds, rounded
            to whole samples. Signals go round in a circle, so that no silence at an
            end betrays them.
        position_error: Standard deviation along x and y of what one believes of a
            node's place, in meters; within the room.

    Raises:
        PerturbationError: If a value is negative or not finite, or no node is left.
    """

    num_nodes: int | None = None
    clock_offset: float = 0.0
    position_error: float = 0.0

    def __post_init__(self):
        for name in ("clock_offset", "position_error"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise PerturbationError(
                    f"{name} is {value}; it must be finite and not negative"
                )
        if self.num_nodes is not None and self.num_nodes < 1:
            raise PerturbationError(f"num_nodes is {self.num_nodes}; hear at least one")

    def __bool__(self) -> bool:
        return self != Perturbation()

    def check(self, num_nodes: int) -> None:
        """Raise if there are fewer nodes than are to be heard.

        Raises:
            PerturbationError: With both numbers.
        """
        if self.num_nodes is not None and self.num_nodes > num_nodes:
            raise PerturbationError(
                f"{self.num_nodes} nodes are to be heard and the data set has "
                f"{num_nodes}; lower --config.data.nodes_in_training"
            )

    def draw(self, streams: Iterable[Sequence[int]], num_nodes: int) -> Draws:
        """Return what befalls examples, each a function of its stream alone.

        Args:
            streams: The run's seed and whole numbers that name the example, for each.
            num_nodes: Nodes M that an example has.
        """
        self.check(num_nodes)
        drawn = [self._draw(stream, num_nodes) for stream in streams]
        return Draws(*(np.stack(part) for part in zip(*drawn, strict=True)))

    def _draw(self, stream: Sequence[int], num_nodes: int) -> Draws:
        seed, *place = stream
        rng = np.random.default_rng([seed, _STREAM, *place])
        # All nodes have a draw, so that a node's does not depend on how many are heard.
        order = rng.permutation(num_nodes)
        offsets = rng.normal(size=num_nodes) * self.clock_offset
        places = rng.normal(size=(num_nodes, 2)) * self.position_error
        if self.num_nodes is None:
            nodes = np.arange(num_nodes)
        else:
            nodes = np.sort(order[: self.num_nodes])
        return Draws(
            nodes.astype(np.int32),
            np.round(offsets * constants.SAMPLE_RATE).astype(np.int32)[nodes],
            places.astype(np.float32)[nodes],
        )


@functools.partial(jax.jit, static_argnames=("late", "misplaced"))
def disturb(
    audio: Array,
    node_positions: Float[Array, "B k 3"],
    room_size: Float[Array, "B 3"],
    shifts: Int[Array, "B k"],
    position_errors: Float[Array, "B k 2"],
    *,
    late: bool,
    misplaced: bool,
) -> tuple[Array, Float[Array, "B k 3"]]:
    """Return signals [B, k, N] shifted in a circle, and positions moved."""
    if late:
        roll = jax.vmap(jax.vmap(jnp.roll))
        audio = roll(audio, shifts)
    if misplaced:
        plan = node_positions[..., :2] + position_errors
        plan = jnp.clip(plan, 0.0, room_size[:, None, :2])
        node_positions = jnp.concatenate([plan, node_positions[..., 2:]], axis=-1)
    return audio, node_positions


def apply(perturbation: Perturbation, batch: dict, draws: Draws) -> dict:
    """Shift the signals of a batch's nodes, and move the nodes.

    Args:
        perturbation: How they were drawn.
        batch: A batch of the nodes drawn, and no others.
        draws: What was drawn for it.
    """
    audio, positions = disturb(
        batch["audio"],
        batch["node_positions"],
        batch["room_size"],
        draws.shifts,
        draws.position_errors,
        late=perturbation.clock_offset > 0,
        misplaced=perturbation.position_error > 0,
    )
    return batch | {"audio": audio, "node_positions": positions}
