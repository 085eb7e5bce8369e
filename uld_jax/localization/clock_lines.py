"""Fit an offset and a drift to how late each node is in the windows of a recording.

For recordings whose positions times confirm: most nodes then share a clock, and each window
says how late a node is by it (`Localization.node_offsets`). A clock that is off and drifts
makes a line over time; wrong peaks lie anywhere. Of all lines through two windows, the one
is taken that most windows are near; it is then fitted by generalized least squares, with an
error that windows at one place share: that of the node's measured place.

Where each node has a clock of its own, `calibration` finds them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from uld_jax.acoustics import constants
from uld_jax.localization import answers, planning, times

_SURE = 0.3  # Meters: the radius of positions that tell how late a node is.
_APART = 0.5  # Meters between places.
_AGREE = 0.0003  # Seconds around the line of windows that agree.
_LEAST_WINDOWS, _LEAST_SHARE = 3, 0.5  # That agree, of those where it is known.
_LEAST_FOR_DRIFT, _LEAST_SPAN = 4, 5.0  # Windows; seconds from the first to the last.
_MOST_DRIFT = 2e-4  # Ten times that of a poor crystal.
# Standard deviations in seconds of a window's time, and of what windows at one place share.
_OF_TIMES = times.LEAST_ERROR / constants.SPEED_OF_SOUND
_OF_PLACES = planning.POSITIONS / constants.SPEED_OF_SOUND


class ClockLines(NamedTuple):
    """The clocks of M nodes, relative to those that agree.

    Attributes:
        offsets: Seconds by which each node is late at the middle of the recording; NaN
            where it is not known: talkers were at one place, or too few windows agree.
        offset_errors: Their standard errors, with places measured to a centimeter.
        drifts: Seconds a second by which each node is later and later; NaN likewise.
        drift_errors: Their standard errors.
    """

    offsets: Float[np.ndarray, " M"]
    offset_errors: Float[np.ndarray, " M"]
    drifts: Float[np.ndarray, " M"]
    drift_errors: Float[np.ndarray, " M"]


def fit(
    found: Sequence[answers.Localization], moments: Float[np.ndarray, " W"]
) -> ClockLines:
    """Fit the clock of each node.

    Args:
        found: What was found in windows of a recording, by the same nodes.
        moments: When each window was, in seconds.
    """
    sure = [
        k for k, one in enumerate(found) if one.determined and one.radius_90 < _SURE
    ]
    lines = np.full((4, len(found[0].node_offsets)), np.nan)
    if len(sure) >= _LEAST_WINDOWS:
        late = np.array([found[k].node_offsets for k in sure])
        place = _number_places([found[k].position for k in sure])
        since = moments[sure] - np.mean(moments)
        for node, own in enumerate(late.T):
            lines[:, node] = _fit_line(own, since, place)
    return ClockLines(*lines)


def _number_places(positions: Sequence[np.ndarray]) -> Int[np.ndarray, " K"]:
    """Assign positions to places, which are numbered as they come."""
    places: list[np.ndarray] = []
    numbers = []
    for position in positions:
        apart = [np.linalg.norm(position - other) for other in places]
        if not places or min(apart) > _APART:
            places.append(position)
            apart.append(0.0)
        numbers.append(int(np.argmin(apart)))
    return np.array(numbers)


def _fit_line(
    late: Float[np.ndarray, " K"],
    since: Float[np.ndarray, " K"],
    place: Int[np.ndarray, " K"],
) -> tuple[float, float, float, float]:
    """Fit a line to one node: offset, its error, drift, its error; NaN if unknown."""
    known = np.flatnonzero(np.isfinite(late))
    unknown = (np.nan,) * 4
    if len(known) < _LEAST_WINDOWS:
        return unknown
    late, since, place = late[known], since[known], place[known]
    near = _find_line(late, since)
    if near.sum() < max(_LEAST_WINDOWS, _LEAST_SHARE * len(known)):
        return unknown
    late, since, place = late[near], since[near], place[near]
    drifts = len(late) >= _LEAST_FOR_DRIFT and np.ptp(since) >= _LEAST_SPAN
    design = np.column_stack([np.ones(len(late)), since][: 1 + drifts])
    shared = place[:, None] == place
    covariance = _OF_TIMES**2 * np.eye(len(late)) + _OF_PLACES**2 * shared
    weighted = np.linalg.solve(covariance, design)
    errors = np.linalg.inv(design.T @ weighted)
    line = errors @ weighted.T @ late
    misfits = late - design @ line
    # The spread of the times themselves, if it is larger, decides about errors.
    spare = len(late) - design.shape[1]
    spread = misfits @ np.linalg.solve(covariance, misfits) / spare
    errors = np.sqrt(max(1.0, spread) * np.diag(errors))
    offset, drift = unknown[:2], unknown[:2]
    if len(np.unique(place)) > 1:  # One place could as well be a longer path.
        offset = (line[0], errors[0])
    if drifts:
        drift = (line[1], errors[1])
    return (*offset, *drift)


def _find_line(
    late: Float[np.ndarray, " K"], since: Float[np.ndarray, " K"]
) -> Bool[np.ndarray, " K"]:
    """Find the windows near the line, through one or two of them, that most are near."""
    first, second = np.triu_indices(len(late), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        drifts = (late[second] - late[first]) / (since[second] - since[first])
    possible = np.abs(drifts) <= _MOST_DRIFT  # False for NaN.
    each = np.arange(len(late))
    through = np.concatenate([each, first[possible]])
    drifts = np.concatenate([np.zeros(len(late)), drifts[possible]])
    lines = late[through, None] + drifts[:, None] * (since - since[through, None])
    near = np.abs(late - lines) <= _AGREE
    # Of those with as many, the nearest: a parallel beside it would take wrong ones.
    far = np.where(near, np.abs(late - lines), _AGREE).sum(axis=1)
    return near[far.argmin()]
