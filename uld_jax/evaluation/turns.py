"""Talkers' turns: windows one after the other in which somebody was at one place."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.cluster.hierarchy
from jaxtyping import Float

from uld_jax.audio import speech_activity
from uld_jax.localization import answers, tracks

_LONGEST_PAUSE = 4.0  # Seconds within a turn.
_LEAST_SPEECH = 0.05  # Share of a window that counts.
# Meters between the turns of one talker, at least and at most, however large radii are.
_ONE_PLACE, _MOST_APART = 0.5, 1.0
_LEAST_VARIANCE = 1e-8  # Square meters.


class Turn(NamedTuple):
    """A stretch in which a talker was at one place.

    Attributes:
        start: In seconds: when speech began in its windows.
        end: In seconds: when it ended.
        talker: A number from 1 for each place, in the order in which places are first
            spoken from.
        position: (x, y) in meters.
        covariance: Of the position, in square meters.
        radius_90: Meters around it that hold 90 %: the median of the windows' smoothed
            radii. Errors of windows at one place are alike, so that it does not shrink
            with their number.
        confidence: The share of what is known that is at this place: the median of the
            windows'.
        windows: Numbers of the windows.
    """

    start: float
    end: float
    talker: int
    position: Float[np.ndarray, "2"]
    covariance: Float[np.ndarray, "2 2"]
    radius_90: float
    confidence: float
    windows: tuple[int, ...]

    def __str__(self) -> str:
        (x, y), count = self.position, len(self.windows)
        return (
            f"{self.start:.1f}-{self.end:.1f} s: talker {self.talker} at "
            f"({x:.2f}, {y:.2f}) m, 90 % within {self.radius_90:.2f} m, "
            f"{100 * self.confidence:.0f} % sure ({count} window{'s' if count > 1 else ''})"
        )


def find_turns(
    starts: Float[np.ndarray, " W"],
    found: Sequence[answers.Localization],
    length: float,
    track: tracks.Track | None = None,
    speech: Float[np.ndarray, "S 2"] | None = None,
) -> list[Turn]:
    """Join windows one after the other in which nobody jumped to another place.

    Windows belong to a turn if they are determined, by themselves or by their neighbors,
    and somebody speaks in them. A turn ends where a jump is more likely than not, and
    after four seconds without such a window.

    Args:
        starts: Of the windows, in seconds, in order.
        found: What was found in them.
        length: Of a window, in seconds.
        track: Their smoothed positions; None to smooth them.
        speech: Start and end of each stretch of speech in seconds; None if unknown.
    """
    if not len(found):
        return []
    track = tracks.smooth(starts, found) if track is None else track
    stay = np.concatenate(
        [[0.0], np.cumsum(np.log1p(-np.minimum(track.jumps, 1 - 1e-9)))]
    )
    joined: list[list[int]] = []
    for number in np.flatnonzero(
        track.sure | [one.determined for one in found]
    ).tolist():
        start = float(starts[number])
        if speech is not None:
            spoken = speech_activity.speech_within(speech, start, start + length)
            if np.diff(spoken).sum() < _LEAST_SPEECH * length:
                continue
        if joined:
            last = joined[-1][-1]
            stays = np.exp(stay[number + 1] - stay[last + 1])
            if stays > 0.5 and start - starts[last] - length <= _LONGEST_PAUSE:
                joined[-1].append(number)
                continue
        joined.append([number])
    turns = [_combine(some, starts, track, length, speech) for some in joined]
    return [
        turn._replace(talker=talker)
        for turn, talker in zip(turns, _find_talkers(turns), strict=True)
    ]


def _combine(some, starts, track, length, speech) -> Turn:
    """Combine windows: the mean of what they say, since their errors are alike."""
    precisions = np.linalg.inv(track.covariances[some] + _LEAST_VARIANCE * np.eye(2))
    covariance = np.linalg.inv(precisions.mean(axis=0))
    weighted = np.einsum("wij,wj->wi", precisions, track.positions[some])
    start, end = float(starts[some[0]]), float(starts[some[-1]]) + length
    if speech is not None:
        spoken = speech_activity.speech_within(speech, start, end)
        start, end = float(spoken[0, 0]), float(spoken[-1, 1])
    return Turn(
        *(start, end, 0),
        covariance @ weighted.mean(axis=0),
        covariance,
        float(np.median(track.radii_90[some])),
        float(np.median(track.masses[some])),
        tuple(some),
    )


def _find_talkers(turns: Sequence[Turn]) -> list[int]:
    """Give each turn the number of its place.

    Places within half a meter, or their radii, are one; by average linkage, so that a row
    of places is not.
    """
    if len(turns) < 2:
        return [1] * len(turns)
    positions = np.array([turn.position for turn in turns])
    radii = np.array([turn.radius_90 for turn in turns])
    one, other = np.triu_indices(len(turns), 1)
    within = np.clip(np.hypot(radii[one], radii[other]), _ONE_PLACE, _MOST_APART)
    apart = np.linalg.norm(positions[one] - positions[other], axis=1) / within
    tree = scipy.cluster.hierarchy.linkage(apart, "average")
    groups = scipy.cluster.hierarchy.fcluster(tree, 1.0, "distance")
    # In the order in which they are first spoken from.
    order = list(dict.fromkeys(groups.tolist()))
    return [order.index(group) + 1 for group in groups.tolist()]
