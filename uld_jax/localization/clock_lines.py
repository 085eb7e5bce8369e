"""Fit an offset and a drift to how late each node is in the windows of a recording.

For recordings whose positions times confirm: most nodes then share a clock. In window w with
the talker at place k, sound arrives at node m after a path of

    a_wm = |p_k - n_m| + b_w + c (o_m + d_m s_w)

with s_w seconds from the middle (`clock_model`). Places, starts, offsets and drifts are
fitted together, since a position by wrong clocks hides much of their errors. Times, offsets
and drifts have Cauchy distributions: some times are wrong, and few clocks are. The offset and the drift of
a node are those of a fit in which its own are free, while the others' are as likely to be
small as before.

Where each node has a clock of its own, `calibration` finds them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from uld_jax.acoustics import constants
from uld_jax.localization import answers, planning, same_places, votes
from uld_jax.localization.clock_model import ClockModel, Unknowns

_SPEED = constants.SPEED_OF_SOUND
_LEAST_WINDOWS, _LEAST_SHARE = 3, 0.5  # Whose times are right, of those with times.
_LEAST_FOR_DRIFT, _LEAST_SPAN = 6, 5.0  # Windows; seconds from the first to the last.
# Scales of times in meters of path: wide at first, while places are rough.
_SCALES = (0.3, 0.1, 0.03, planning.POSITIONS)
_STEPS = 10  # With each of them.
# Scales of offsets and drifts, in meters and meters a second: a node's measured place,
# and a good crystal.
_OFFSET, _DRIFT = planning.POSITIONS, 1e-6 * _SPEED
_PLACE = 0.3  # Meters: how far a position is off before.


class ClockLines(NamedTuple):
    """The clocks of M nodes, relative to those that agree.

    Attributes:
        offsets: Seconds by which each node is late at the middle of the recording; NaN
            where it is not known: talkers were at one place, or too few times are right.
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
    nodes = found[0].node_positions
    lines = ClockLines(*np.full((4, len(nodes)), np.nan))
    sure = [
        number
        for number, one in enumerate(found)
        if one.determined and np.isfinite(one.node_offsets).any()
    ]
    if len(sure) < _LEAST_WINDOWS:
        return lines
    model = _make_model([found[number] for number in sure], moments[sure])
    unknowns = _guess(model)
    for scale in _SCALES:
        for _ in range(_STEPS):
            unknowns = _step(model, unknowns, scale)
    for node in range(len(nodes)):
        for values, value in zip(lines, _free(model, unknowns, node), strict=True):
            values[node] = value
    return lines


def _make_model(found, moments: Float[np.ndarray, " W"]) -> ClockModel:
    """Read times of arrival, and windows of one place."""
    nodes, height = found[0].node_positions, votes.HEIGHT
    guesses, arrivals = same_places.read_arrivals(found, nodes, height[0])
    place = same_places.find(arrivals).of_window
    starts = guesses[same_places.find_surest(found, place)]
    covariance = np.diag([_PLACE**2, _PLACE**2, height[1] ** 2])
    return ClockModel(
        *(starts, np.tile(covariance, (len(starts), 1, 1)), arrivals, nodes),
        *(moments - np.mean(moments), _OFFSET, _DRIFT, place),
    )


def _guess(model: ClockModel) -> Unknowns:
    """Guess offsets and drifts by lines that half of the times cannot change."""
    misfits = model.misfits(model.guess())
    lines = np.zeros((2, model.num_nodes))
    for node, known in enumerate(model.measured.T):
        if known.sum() >= _LEAST_WINDOWS:
            fitted = scipy.stats.siegelslopes(misfits[known, node], model.times[known])
            lines[:, node] = fitted.intercept, fitted.slope
    lines -= np.median(lines, axis=1, keepdims=True)
    return model.join(*lines)


def _equations(model: ClockModel, unknowns, scale: float, free: int | None = None):
    """Set up the normal equations of times and priors around some unknowns.

    Args:
        model: The model.
        unknowns: Around which it is linear.
        scale: Of times, in meters.
        free: A node whose offset and drift have no prior.

    Returns:
        The precision of the unknowns, the gradient, and the weights of times.
    """
    misfits = np.where(model.measured, model.misfits(unknowns), 0.0)
    weights = np.where(model.measured, 1 / (scale**2 + misfits**2), 0.0)
    _, _, offsets, drifts = model.split(unknowns)
    of_clocks = np.stack(
        [
            1 / (model.offset_spread**2 + offsets**2),
            1 / (model.drift_spread**2 + drifts**2),
        ]
    )
    if free is not None:
        of_clocks[:, free] = 1e-9
    # A start where no time is right is anything.
    of_others = np.append(np.full(model.num_windows, 1e-6), of_clocks)
    equations = model.normal_equations(
        *(unknowns, misfits, weights, model.precisions, of_others)
    )
    return *equations, weights


def _step(model: ClockModel, unknowns, scale: float, free: int | None = None):
    """Step to the least sum of weighted squares, by the weights before."""
    precision, gradient, _ = _equations(model, unknowns, scale, free)
    return unknowns + np.clip(np.linalg.solve(precision, gradient), -_PLACE, _PLACE)


def _free(model: ClockModel, unknowns, node: int) -> tuple[float, float, float, float]:
    """Fit a node's own clock: offset, its error, drift, its error in seconds."""
    unknown = (np.nan, np.nan)
    for _ in range(_STEPS):
        unknowns = _step(model, unknowns, _SCALES[-1], node)
    precision, _, weights = _equations(model, unknowns, _SCALES[-1], node)
    near = 2 * weights[:, node] * _SCALES[-1] ** 2 > 1
    count = int(near.sum())
    if count < max(_LEAST_WINDOWS, _LEAST_SHARE * model.measured[:, node].sum()):
        return (*unknown, *unknown)
    own = len(unknowns) - 2 * model.num_nodes + node
    both = [own, own + model.num_nodes]
    values = unknowns[both] / _SPEED
    errors = np.sqrt(np.diag(np.linalg.inv(precision))[both]) / _SPEED
    # One place could as well be a longer path.
    offset = unknown
    if len(np.unique(model.place[near])) > 1:
        offset = (values[0], errors[0])
    drift = unknown
    if count >= _LEAST_FOR_DRIFT and np.ptp(model.times[near]) >= _LEAST_SPAN:
        drift = (values[1], errors[1])
    return (*offset, *drift)
