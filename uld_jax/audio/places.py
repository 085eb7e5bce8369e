"""Check the places of nodes and talkers: inside the room, apart, and in one unit."""

import math
from collections.abc import Mapping

import numpy as np

from uld_jax.audio.session_problems import SessionError

_LONGEST_SIDE = 100.0  # That of the localizer.
_SAME_POSITION = 1e-3
# Meters from a talker or a node to the next node, and above the floor.
FARTHEST, _HIGHEST = 50.0, 10.0


def check_sides(sides: np.ndarray) -> None:
    """Raise a SessionError if a room cannot have sides [2] or [3] in meters."""
    if not ((sides > 0) & (sides <= _LONGEST_SIDE)).all():
        raise SessionError(
            f"the room has sides of {sides.tolist()} m; give meters, above 0 and up to "
            f"{_LONGEST_SIDE:g}, or name the columns x_cm, y_cm, z_cm"
        )


def check_inside(position: np.ndarray, room_size: np.ndarray | None, what: str) -> None:
    """Raise a SessionError if a position is outside the room, as far as that is known.

    >>> import numpy as np
    >>> from uld_jax.audio import places
    >>> places.check_inside(np.array([2.0, 3.0, 1.0]), np.array([5.0, 4.0]), "a node")
    """
    if room_size is None:
        return
    known = min(len(position), len(room_size))
    within = (position[:known] >= 0) & (position[:known] <= room_size[:known])
    if not within.all():
        axes = " and ".join(np.array(list("xyz"))[:known][~within])
        raise SessionError(
            f"{what} at {position.tolist()} m is outside the room of "
            f"{room_size.tolist()} m in {axes}; measure from a corner of the floor, and "
            f"name columns {axes[0]}_cm or {axes[0]}_ft if these are no meters"
        )


def check_height(position: np.ndarray, text: str) -> None:
    """Raise a SessionError if a node cannot be so high.

    Args:
        position: In meters, [2] or [3].
        text: The height in its table.
    """
    if len(position) < 3 or 0 <= position[2] <= _HIGHEST:
        return
    if position[2] < 0:
        raise SessionError(
            f"z is {text!r}, below the floor; measure heights from there"
        )
    raise SessionError(
        f"z is {text!r}, {position[2]:g} m above the floor; give meters, or name the "
        "column z_cm"
    )


def check_apart(position: np.ndarray, others: Mapping[str, np.ndarray]) -> None:
    """Raise a SessionError if a node is where another one is."""
    for other, at in others.items():
        if math.dist(position, at) < _SAME_POSITION:
            raise SessionError(
                f"has the position of node {other!r}, {position.tolist()} m; correct one "
                "of them"
            )


def find_nearest(plan: np.ndarray) -> np.ndarray:
    """Compute the distance [M] of each place on the plan [M, 2] to the nearest other.

    >>> import numpy as np
    >>> from uld_jax.audio import places
    >>> places.find_nearest(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])).tolist()
    [5.0, 1.0, 1.0]
    """
    apart = np.linalg.norm(plan[:, None] - plan, axis=2)
    np.fill_diagonal(apart, np.inf)
    return apart.min(axis=1)


def describe_lost_nodes(nodes: Mapping[str, np.ndarray]) -> list[str]:
    """Describe nodes that are too far from all others, by where their table has them."""
    if len(nodes) < 2:
        return []
    nearest_others = find_nearest(np.array([one[:2] for one in nodes.values()]))
    return [
        f"{where}: is {nearest:g} m from the nearest other node; give meters, or name the "
        "columns x_cm, y_cm"
        for where, nearest in zip(nodes, nearest_others, strict=True)
        if nearest > FARTHEST
    ]


def describe_far_talkers(
    nodes: Mapping[str, np.ndarray], talkers: Mapping[str, np.ndarray | None]
) -> list[str]:
    """Describe talkers that are too far from all nodes to have been recorded.

    Args:
        nodes: Positions in meters.
        talkers: By where their table has them, [S, 3]; None if unknown.
    """
    found = []
    plan = np.array([position[:2] for position in nodes.values()])
    for where, positions in talkers.items():
        for place in () if positions is None else positions:
            apart = np.linalg.norm(plan - place[:2], axis=1).min()
            if apart > FARTHEST:
                found.append(
                    f"{where}: a talker at {place.tolist()} m is {apart:.0f} m from the "
                    "nearest node; give meters, or name the columns x_cm, y_cm, z_cm"
                )
    return found
