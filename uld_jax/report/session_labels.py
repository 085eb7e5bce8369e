"""Places for the names of nodes on a floor plan, where they hide least."""

import dataclasses
from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]

# Width of a letter and height of a line, in units, of the largest letters that the style
# sheet has; and those of the names of many nodes.
_SIZE, _SIZE_OF_MANY, _MANY = (10.5, 20.0), (8.0, 16.0), 12
_GAP = 11.0
_LONGEST = 18
# Text anchor, and direction of a label from its node: the best first.
_SIDES = (
    ("start", 1.0, 0.0),
    ("end", -1.0, 0.0),
    ("middle", 0.0, -1.6),
    ("middle", 0.0, 1.6),
    ("start", 0.7, -1.2),
    ("start", 0.7, 1.2),
    ("end", -0.7, -1.2),
    ("end", -0.7, 1.2),
    ("middle", 0.0, -2.8),
    ("middle", 0.0, 2.8),
    ("start", 0.7, -2.4),
    ("start", 0.7, 2.4),
    ("end", -0.7, -2.4),
    ("end", -0.7, 2.4),
)
# Costs of a label, by which sides are compared.
_LATER = 0.1  # For each side that is better.
_POSITION, _POSITIONS = 1.0, 40.0  # For each position that it hides, and at most.
_NODE = 8.0
_LABEL = 100.0  # For each other label that it crosses.
_OUTSIDE = 400.0


@dataclasses.dataclass(frozen=True, eq=False)
class Label:
    """The name of a node and where it is written.

    Attributes:
        text: The name, shortened if it is long.
        place: Where the text is anchored, in units.
        anchor: As in SVG: "start", "middle" or "end".
        box: Left, top, right and bottom in units.
    """

    text: str
    place: Point
    anchor: str
    box: np.ndarray


def place_labels(
    names: Sequence[str],
    nodes: Sequence[Point],
    positions: Sequence[Point],
    bounds: tuple[float, float, float, float],
) -> list[Label]:
    """Choose the side of each node where its name hides least.

    Args:
        names: Of the nodes.
        nodes: Their places in units.
        positions: Places of everything else, in units.
        bounds: Left, top, right and bottom of what labels may cover.
    """
    labels: list[Label] = []
    size = _SIZE_OF_MANY if are_many(names) else _SIZE
    hidden = [
        (np.reshape(some, (-1, 2)), cost)
        for some, cost in ((positions, _POSITION), (nodes, _NODE))
    ]
    for name, node in zip(names, nodes, strict=True):
        options = [_label(name, node, size, *side) for side in _SIDES]
        costs = [
            _LATER * order + _cost(option.box, hidden, labels, np.array(bounds))
            for order, option in enumerate(options)
        ]
        labels.append(options[int(np.argmin(costs))])
    return labels


def are_many(names: Sequence[str]) -> bool:
    """Check whether names are so many that their letters are smaller."""
    return len(names) > _MANY


def _label(
    name: str, node: Point, size: Point, anchor: str, right: float, down: float
) -> Label:
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    x, y = node[0] + _GAP * right, node[1] + _GAP * down
    width, height = size[0] * len(name), size[1]
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    box = np.array([left, y - height / 2, left + width, y + height / 2])
    return Label(name, (x, y), anchor, box)


def _cost(
    box: np.ndarray,
    hidden: list[tuple[np.ndarray, float]],
    labels: list[Label],
    bounds: np.ndarray,
) -> float:
    cost = 0.0
    for places, each in hidden:
        covered = ((places > box[:2] - 3) & (places < box[2:] + 3)).all(axis=1)
        # Among many positions one label is not much worse than another.
        cost += min(each * covered.sum(), _POSITIONS)
    cost += _LABEL * sum(overlap(box, label.box) for label in labels)
    outside = (box[:2] < bounds[:2]).any() or (box[2:] > bounds[2:]).any()
    return float(cost + _OUTSIDE * outside)


def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Check whether two boxes overlap."""
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())
