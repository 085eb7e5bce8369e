"""Talkers' turns: windows one after the other in which somebody was at one place."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from uld_jax.localization import answers

_ONE_PLACE = 0.3  # Meters: windows that are no farther apart are of one place.
_MOST_APART = 0.5  # Meters, however large their radii are.
_LONGEST_PAUSE = 4.0  # Seconds within a turn.
_LEAST_VARIANCE = 1e-8  # Square meters.


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
        (x, y), count = self.position, len(self.windows)
        return (
            f"{self.start:.1f}-{self.end:.1f} s: ({x:.2f}, {y:.2f}) m, 90 % within "
            f"{self.radius_90:.2f} m ({count} window{'s' if count > 1 else ''})"
        )


def find_turns(
    starts: Float[np.ndarray, " W"],
    found: Sequence[answers.Localization],
    length: float,
) -> list[Turn]:
    """Join windows one after the other whose positions agree.

    Windows that are not determined belong to no turn. A turn ends where somebody is
    elsewhere, and after four seconds without a determined window.

    Args:
        starts: Of the windows, in seconds, in order.
        found: What was found in them.
        length: Of a window, in seconds.
    """
    turns: list[_Joined] = []
    for number, one in enumerate(found):
        if not one.determined:
            continue
        start = float(starts[number])
        if not (turns and turns[-1].agrees(one, start)):
            turns.append(_Joined(start))
        turns[-1].add(number, one, start + length)
    return [one.turn() for one in turns]


class _Joined:
    """Windows of a turn, each position weighed by how sure it is."""

    def __init__(self, start: float):
        self.start = self.end = start
        self.windows: list[int] = []
        self.radii: list[float] = []
        self.precision, self.weighted = np.zeros((2, 2)), np.zeros(2)

    @property
    def position(self) -> np.ndarray:
        return np.linalg.solve(self.precision, self.weighted)

    def agrees(self, one: answers.Localization, start: float) -> bool:
        apart = np.linalg.norm(self.position - one.position)
        within = np.clip(self.radii[-1] + one.radius_90, _ONE_PLACE, _MOST_APART)
        return bool(apart <= within and start - self.end <= _LONGEST_PAUSE)

    def add(self, number: int, one: answers.Localization, end: float) -> None:
        precision = np.linalg.inv(one.covariance + _LEAST_VARIANCE * np.eye(2))
        self.precision += precision
        self.weighted += precision @ one.position
        self.windows.append(number)
        self.radii.append(one.radius_90)
        self.end = end

    def turn(self) -> Turn:
        radius = float(np.median(self.radii))
        return Turn(self.start, self.end, self.position, radius, tuple(self.windows))
