"""Talkers' turns: windows one after the other in which somebody was at one place."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from uld_jax.localization import answers

_ONE_PLACE = 0.3  # Meters: windows that are no farther apart are of one place.
_MOST_APART = 1.0  # Meters, however large their radii are.


class Turn(NamedTuple):
    """A stretch in which a talker was at one place.

    Attributes:
        start: In seconds.
        end: In seconds.
        position: (x, y) in meters.
        radius_90: Meters around it that hold 90 %: the median of the windows'. Errors of
            windows at one place are alike, so that it does not shrink with their number.
        windows: Numbers of the windows.
    """

    start: float
    end: float
    position: Float[np.ndarray, "2"]
    radius_90: float
    windows: tuple[int, ...]

    def __str__(self):
        x, y = self.position
        return (
            f"{self.start:.1f}-{self.end:.1f} s: ({x:.2f}, {y:.2f}) m, 90 % within "
            f"{self.radius_90:.2f} m"
        )


def find_turns(
    starts: Float[np.ndarray, " W"],
    found: Sequence[answers.Localization],
    length: float,
) -> list[Turn]:
    """Join windows one after the other whose positions agree.

    Windows that are not determined belong to no turn, and break none.

    Args:
        starts: Of the windows, in seconds, in order.
        found: What was found in them.
        length: Of a window, in seconds.
    """
    groups: list[list[int]] = []
    for number, one in enumerate(found):
        if not one.determined:
            continue
        if groups and _agree(_join(groups[-1], starts, found, length), one):
            groups[-1].append(number)
        else:
            groups.append([number])
    return [_join(group, starts, found, length) for group in groups]


def _agree(turn: Turn, one: answers.Localization) -> bool:
    within = np.clip(turn.radius_90 + one.radius_90, _ONE_PLACE, _MOST_APART)
    return bool(np.linalg.norm(turn.position - one.position) <= within)


def _join(group, starts, found, length) -> Turn:
    """Weigh positions by how sure each is."""
    some = [found[number] for number in group]
    precision = [np.linalg.inv(one.covariance) for one in some]
    weighted = [p @ one.position for p, one in zip(precision, some, strict=True)]
    position = np.linalg.solve(np.sum(precision, axis=0), np.sum(weighted, axis=0))
    radius = float(np.median([one.radius_90 for one in some]))
    begin, end = float(starts[group[0]]), float(starts[group[-1]]) + length
    return Turn(begin, end, position, radius, tuple(group))
