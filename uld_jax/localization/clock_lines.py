"""Fit an offset and a drift to how late each node is in the windows of a recording.

For recordings whose positions times confirm: most nodes then share a clock. In window w with
the talker at place k, sound arrives at node m after a path of

    a_wm = |p_k - n_m| + t_w + c (o_m + d_m s_w)

with s_w seconds from the middle. Places, starts, offsets and drifts are fitted together,
since a position by wrong clocks hides much of their errors. Times, offsets and drifts have
Cauchy distributions: some times are wrong, and few clocks are. The offset and the drift of
a node are those of a fit in which its own are free, while the others' are as likely to be
small as before.

Where each node has a clock of its own, `calibration` finds them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from uld_jax.acoustics import constants
from uld_jax.localization import answers, planning, same_places, votes

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
_NEAREST = 0.01  # Meters, so that there is a direction.


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
    model = _Model.of([found[number] for number in sure], moments[sure], nodes)
    unknowns = model.guess()
    for scale in _SCALES:
        for _ in range(_STEPS):
            unknowns = _step(model, unknowns, scale)
    for node in range(len(nodes)):
        for values, value in zip(lines, _free(model, unknowns, node), strict=True):
            values[node] = value
    return lines


class _Model(NamedTuple):
    """Times of arrival, and what is unknown of them.

    Unknowns are the places' moves from where they were found (3 each), the start of each
    window, the offset and the drift of each node, all in meters of path.

    Attributes:
        arrivals: Meters of path at which sound arrived, [W, M]; NaN where unknown.
        place: The number of each window's place.
        starts: Of the places, (x, y, z) in meters.
        nodes: In meters.
        since: Of each window, in seconds from the middle.
    """

    arrivals: Float[np.ndarray, "W M"]
    place: Int[np.ndarray, " W"]
    starts: Float[np.ndarray, "K 3"]
    nodes: Float[np.ndarray, "M 3"]
    since: Float[np.ndarray, " W"]

    @classmethod
    def of(cls, found, moments, nodes) -> "_Model":
        height = votes.MIDDLE_HEIGHT
        guesses, arrivals = same_places.read_arrivals(found, nodes, height)
        place = same_places.find(arrivals).of_window
        starts = guesses[same_places.find_surest(found, place)]
        return cls(arrivals, place, starts, nodes, moments - np.mean(moments))

    @property
    def size(self) -> int:
        """Number of unknowns."""
        num_windows, num_nodes = self.arrivals.shape
        return 3 * len(self.starts) + num_windows + 2 * num_nodes

    @property
    def right(self) -> Bool[np.ndarray, "W M"]:
        """Where there is a time."""
        return np.isfinite(self.arrivals)

    def guess(self) -> Float[np.ndarray, " U"]:
        """Guess offsets and drifts by lines that half of the times cannot change."""
        unknowns = np.zeros(self.size)
        misfits = self.misfits(unknowns)
        lines = np.zeros((2, len(self.nodes)))
        for node, known in enumerate(self.right.T):
            if known.sum() >= _LEAST_WINDOWS:
                fitted = scipy.stats.siegelslopes(
                    misfits[known, node], self.since[known]
                )
                lines[:, node] = fitted.intercept, fitted.slope
        lines -= np.median(lines, axis=1, keepdims=True)
        unknowns[self.size - lines.size :] = lines.ravel()
        return unknowns

    def misfits(self, unknowns) -> Float[np.ndarray, "W M"]:
        """Compute how much later each time is than expected; 0 where there is none."""
        moves, starts, offsets, drifts = self.split(unknowns)
        at = (self.starts + moves)[self.place]
        expected = np.linalg.norm(at[:, None] - self.nodes, axis=-1)
        expected = expected + starts[:, None] + offsets + np.outer(self.since, drifts)
        return np.where(self.right, self.arrivals - expected, 0.0)

    def slopes(self, unknowns) -> Float[np.ndarray, "W M U"]:
        """Compute the derivatives of what is expected."""
        num_windows, num_nodes = self.arrivals.shape
        at = (self.starts + self.split(unknowns)[0])[self.place]
        away = at[:, None] - self.nodes
        away /= np.maximum(np.linalg.norm(away, axis=-1), _NEAREST)[..., None]
        of_place = np.eye(len(self.starts))[self.place]
        design = np.zeros((num_windows, num_nodes, self.size))
        places, windows = 3 * len(self.starts), np.arange(num_windows)
        moved = of_place[:, None, :, None] * away[:, :, None]
        design[..., :places] = moved.reshape(num_windows, num_nodes, -1)
        design[windows, :, places + windows] = 1.0
        for node in range(num_nodes):
            offset = places + num_windows + node
            design[:, node, offset] = 1.0
            design[:, node, offset + num_nodes] = self.since
        return design

    def split(self, unknowns):
        """Split the unknowns: moves [K, 3], starts [W], offsets [M] and drifts [M]."""
        num_windows, num_nodes = self.arrivals.shape
        ends = np.cumsum([3 * len(self.starts), num_windows, num_nodes])
        moves, *others = np.split(unknowns, ends)
        return moves.reshape(-1, 3), *others


def _equations(model: _Model, unknowns, scale: float, free: int | None = None):
    """Set up the normal equations of times and priors around some unknowns.

    Args:
        model: The model.
        unknowns: Around which it is linear.
        scale: Of times, in meters.
        free: A node whose offset and drift have no prior.

    Returns:
        The precision of the unknowns, the gradient, and the weights of times.
    """
    misfits = model.misfits(unknowns)
    weights = np.where(model.right, 1 / (scale**2 + misfits**2), 0.0)
    design = model.slopes(unknowns).reshape(-1, model.size)
    weighted = design * weights.reshape(-1, 1)
    moves, starts, offsets, drifts = model.split(unknowns)
    of_places = np.tile([_PLACE**-2, _PLACE**-2, votes.HEIGHT[1] ** -2], len(moves))
    of_nodes = np.stack([1 / (_OFFSET**2 + offsets**2), 1 / (_DRIFT**2 + drifts**2)])
    if free is not None:
        of_nodes[:, free] = 1e-9
    # A start where no time is right is anything.
    priors = np.concatenate([of_places, np.full(len(starts), 1e-6), of_nodes.ravel()])
    precision = weighted.T @ design + np.diag(priors)
    return precision, weighted.T @ misfits.ravel() - priors * unknowns, weights


def _step(model: _Model, unknowns, scale: float, free: int | None = None):
    """Step to the least sum of weighted squares, by the weights before."""
    precision, gradient, _ = _equations(model, unknowns, scale, free)
    return unknowns + np.clip(np.linalg.solve(precision, gradient), -_PLACE, _PLACE)


def _free(model: _Model, unknowns, node: int) -> tuple[float, float, float, float]:
    """Fit a node's own clock: offset, its error, drift, its error in seconds."""
    unknown = (np.nan, np.nan)
    for _ in range(_STEPS):
        unknowns = _step(model, unknowns, _SCALES[-1], node)
    precision, _, weights = _equations(model, unknowns, _SCALES[-1], node)
    near = 2 * weights[:, node] * _SCALES[-1] ** 2 > 1
    count = int(near.sum())
    if count < max(_LEAST_WINDOWS, _LEAST_SHARE * model.right[:, node].sum()):
        return (*unknown, *unknown)
    place = model.size - 2 * len(model.nodes) + node
    both = [place, place + len(model.nodes)]
    values = unknowns[both] / _SPEED
    errors = np.sqrt(np.diag(np.linalg.inv(precision))[both]) / _SPEED
    # One place could as well be a longer path.
    offset = unknown
    if len(np.unique(model.place[near])) > 1:
        offset = (values[0], errors[0])
    drift = unknown
    if count >= _LEAST_FOR_DRIFT and np.ptp(model.since[near]) >= _LEAST_SPAN:
        drift = (values[1], errors[1])
    return (*offset, *drift)
