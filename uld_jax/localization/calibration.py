"""Calibrate the clocks of a session from talkers at several places.

Node m receives the sound of place k at

    tau_km = |p_k - n_m| / c + o_m + t_k

with its clock's offset o_m and an unknown start t_k. One place never shows an offset: it
could be a longer path. With K places and M nodes there are K (M - 1) differences of times
for 2 K coordinates and M - 1 offsets. Three places are asked for, and five nodes whose
times agree at each: any fewer agree with anything. Clocks that drift have one rate more
each.

Times and rough positions come from `uld_jax.localize`. All unknowns are then fitted at
once, by SciPy's least squares with a loss that wrong times hardly change. With signals
moved to common clocks, all is done a second time: recordings whose first position was
wrong are found then.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.optimize
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.localization import (
    answers,
    batches,
    localize,
    posterior,
    recordings,
    votes,
)
from uld_jax.localization import clocks as clocks_lib

# Standard deviations of times in meters of path: what is farther off than this is doubted.
# Wide at first, while positions are rough.
_TIMES = (0.3, 0.1, 0.03, 0.01)
# Standard deviations of offsets in seconds and of drifts, before anything is known.
_OFFSET, _DRIFT = 0.05, 1e-4
LEAST_PLACES = 3
_LEAST_AGREE = 5  # Nodes whose times agree, of a position that is believed.
_APART = 0.5  # Meters between places.
_LEAST_SPREAD = 0.3  # Meters: of what `localize` says of a position, at least.


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Clocks of a session's nodes, and the talkers' positions by them.

    Attributes:
        offsets: Seconds by which each node is late, [M], relative to their median, at the
            time `reference`; NaN for nodes of which nothing is known.
        offset_errors: Their standard errors in seconds.
        drifts: Seconds a second by which each node is later and later, [M], relative to
            their median; about 0 if no times of recordings were given.
        positions: Of the talkers, (x, y) in meters, [K, 2].
        radii_90: Meters around each that hold 90 %, [K].
        fitted: Which of them the clocks fit, [K]; the others, and all if clocks are not
            determined, are as `uld_jax.localize` found them.
        determined: Whether clocks are known: talkers were at three places or more.
        reasons: Why not, and which recordings do not fit, in sentences.
        localizations: Of each recording by `uld_jax.localize`, as it was recorded.
        reference: The mean of the recordings' times in seconds; 0 if none were given.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
    >>> found = uld_jax.calibrate_clocks(np.ones((1, 4, 8_000)), 16_000, nodes, [6.0, 4.5])
    >>> found.determined, found.reasons[0]
    (False, 'Times of 5 nodes or more agree at 0 places, and 3 places are needed')
    """

    offsets: Float[np.ndarray, " M"]
    offset_errors: Float[np.ndarray, " M"]
    drifts: Float[np.ndarray, " M"]
    positions: Float[np.ndarray, "K 2"]
    radii_90: Float[np.ndarray, " K"]
    fitted: Bool[np.ndarray, " K"]
    determined: bool
    reasons: tuple[str, ...]
    localizations: tuple[answers.Localization, ...]
    reference: float = 0.0

    def late_at(self, times: Float[np.ndarray, " L"]) -> Float[np.ndarray, "L M"]:
        """Compute by how many seconds each node is late at some times.

        Args:
            times: In seconds, of the same origin as those of the recordings.
        """
        offsets, drifts = np.nan_to_num(self.offsets), np.nan_to_num(self.drifts)
        return offsets + np.outer(times - self.reference, drifts)

    def __str__(self):
        if not self.determined:
            return "\n  ".join(["clocks are not determined", *self.reasons])
        parts = zip(self.offsets, self.offset_errors, self.drifts, strict=True)
        lines = [
            f"node {number}: {1e3 * late:+.2f} ms late, +- {1e3 * error:.2f} ms, drifts by "
            f"{1e6 * drift:+.1f} ppm"
            if np.isfinite(late)
            else f"node {number}: not known"
            for number, (late, error, drift) in enumerate(parts)
        ]
        return "\n".join([*lines, *self.reasons])


def calibrate_clocks(
    signals: ArrayLike | Sequence[ArrayLike],
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None = None,
    *,
    times: ArrayLike | None = None,
    source_height: int | float | None = None,
) -> Calibration:
    """Calibrate the clocks of nodes from recordings of talkers at several places.

    Args:
        signals: Recordings with the same nodes and clocks, [K, M, N], or K arrays
            [M, N]. In each, one talker speaks from one place, another in the next.
        sample_rate: In Hz, as for `uld_jax.localize`.
        node_positions: In meters, likewise.
        room_size: In meters, likewise.
        times: When each recording began, in seconds, [K]. If given, each clock may drift.
        source_height: Of the talkers' mouths in meters; None for 0.8 to 1.9.

    Returns:
        Offsets with their standard errors, and better positions.

    Raises:
        RecordingError: As `uld_jax.localize`; or if times are not one for each recording.

    >>> import numpy as np
    >>> import uld_jax
    >>> rng = np.random.default_rng(0)
    >>> nodes = rng.uniform([0.2, 0.2, 0.8], [5.8, 4.3, 1.8], (8, 3))
    >>> late = np.rint(160 * rng.normal(size=8)).astype(int)  # Samples: 10 ms.
    >>> recordings = []
    >>> for talker in ([2.0, 3.0], [4.5, 1.0], [1.0, 1.0], [4.0, 3.5]):
    ...     distances = np.linalg.norm(nodes - [*talker, 1.4], axis=1)
    ...     delays = np.rint(distances / 343.0 * 16_000).astype(int) + late + 1_000
    ...     noise = rng.normal(size=36_000)
    ...     recordings.append([noise[2_000 - d : 34_000 - d] / r
    ...                        for d, r in zip(delays, distances)])
    >>> found = uld_jax.calibrate_clocks(recordings, 16_000, nodes, [6.0, 4.5])
    >>> wrong = found.offsets - (late - np.median(late)) / 16_000
    >>> bool(np.abs(wrong).max() < 2e-4)  # 0.2 ms, of 10.
    True
    """
    sounds = [np.asarray(one) for one in signals]
    if not sounds:
        raise batches.RecordingError("signals has no recording")
    if times is not None:
        times = np.asarray(times, np.float64)
        if times.shape != (len(sounds),) or not np.isfinite(times).all():
            raise batches.RecordingError(
                f"times has shape {times.shape}; give one in seconds for each of "
                f"{len(sounds)} recordings"
            )
    for one in sounds:  # All of them, before the first is localized.
        nodes = recordings.check(one, sample_rate, node_positions, source_height)

    def locate(signals):
        return [
            localize.localize_one(
                one, sample_rate, node_positions, room_size, source_height
            )
            for one in signals
        ]

    alone = locate(sounds)
    first = fit_clocks(alone, nodes, times, source_height)
    if not first.determined:
        return first
    moments = np.zeros(len(sounds)) if times is None else times
    moved = [
        advance(one, late, before.node_weights > 0, sample_rate)
        for one, late, before in zip(sounds, first.late_at(moments), alone, strict=True)
    ]
    second = fit_clocks(locate(moved), nodes, times, source_height)
    if not second.determined:
        return first
    return dataclasses.replace(
        second,
        offsets=_add(first.offsets, second.offsets),
        drifts=_add(first.drifts, second.drifts),
        localizations=tuple(alone),
    )


def _add(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Add what two passes found of the nodes, relative to the median again."""
    total = np.nan_to_num(first) + np.nan_to_num(second)
    total[np.isnan(first) & np.isnan(second)] = np.nan
    return total - np.nanmedian(total)


def fit_clocks(
    found: Sequence[answers.Localization],
    node_positions: Float[np.ndarray, "M 3"],
    times: Float[np.ndarray, " K"] | None = None,
    source_height: int | float | None = None,
) -> Calibration:
    """Fit clocks and positions to the times of several localizations.

    Args:
        found: From `uld_jax.localize`, with the same nodes and clocks.
        node_positions: In meters.
        times: When each was, in seconds; None for clocks that do not drift.
        source_height: As `localize` had it.
    """
    height = (
        votes.HEIGHT if source_height is None else (source_height, votes.KNOWN_SPREAD)
    )
    late = np.array([one.node_offsets for one in found])
    usable = np.isfinite(late).sum(axis=1) >= localize.LEAST_NODES
    known = np.isfinite(late[usable]).any(axis=0)
    offsets, errors, drifts = np.full((3, len(node_positions)), np.nan)
    positions = np.array([one.position for one in found])
    radii = np.array([one.radius_90 for one in found])
    num_places = 0
    if usable.any():
        offsets[known], errors[known], drifts[known], better, spread, trusted = _solve(
            np.column_stack([positions, [one.height for one in found]])[usable],
            np.array([one.covariance for one in found])[usable],
            late[usable][:, known],
            node_positions[known],
            # All of them have the same origin, whichever are usable.
            None if times is None else (times - np.mean(times))[usable],
            height,
        )
        num_places = _count_places(better[trusted])
    determined = num_places >= LEAST_PLACES
    fitted = np.zeros(len(found), bool)
    if determined:
        fitted[np.flatnonzero(usable)[trusted]] = True
        positions[fitted], radii[fitted] = better[trusted], spread[trusted]
        reasons = [
            f"Times of recording {number} do not fit: its position is as `localize` "
            "found it"
            for number in np.flatnonzero(~fitted)
        ]
    else:
        noun = "place" if num_places == 1 else "places"
        reasons = [
            f"Times of {_LEAST_AGREE} nodes or more agree at {num_places} {noun}, and "
            f"{LEAST_PLACES} places are needed"
        ]
    return Calibration(
        *(offsets, errors, drifts, positions, radii, fitted),
        *(determined, tuple(reasons), tuple(found)),
        0.0 if times is None else float(np.mean(times)),
    )


def _count_places(positions: np.ndarray) -> int:
    """Count positions that are apart from each other."""
    places = []
    for position in positions:
        if all(np.linalg.norm(position - other) > _APART for other in places):
            places.append(position)
    return len(places)


def _solve(starts, covariances, late, nodes, times, height):
    """Fit all unknowns at once.

    Args:
        starts: (x, y, z) of each place, [K, 3].
        covariances: Of these.
        late: Seconds by which each node is late by these positions, [K, M]; NaN where
            unknown.
        nodes: [M, 3].
        times: Seconds [K] from their origin, or None.
        height: Mean and deviation of the talkers' heights.

    Returns:
        Offsets, their errors, drifts [M]; positions [K, 2], radii [K], and at which of
        them most times agree with the clocks.
    """
    K, M = late.shape
    speed = constants.SPEED_OF_SOUND
    late = speed * late  # In meters from here on, each row up to a constant.
    arrivals = late + _paths(starts, nodes)
    measured = np.isfinite(arrivals)
    # When, in units of the whole span.
    span = 1.0 if times is None else max(np.ptp(times), 1e-9)
    when = np.zeros(K) if times is None else times / span
    priors = []
    for covariance in covariances:
        wider = covariance + _LEAST_SPREAD**2 * np.eye(2)
        priors.append(np.linalg.inv(np.linalg.cholesky(wider)))

    def split(unknowns):
        places = unknowns[: 3 * K].reshape(K, 3)
        begin, clocks = unknowns[3 * K : 4 * K], unknowns[4 * K :].reshape(2, M)
        return places, begin, clocks[0], clocks[1]

    def misfits(unknowns):
        places, begin, offsets, drifts = split(unknowns)
        expected = _paths(places, nodes) + offsets + when[:, None] * drifts
        return arrivals - expected - begin[:, None]

    def residuals(unknowns, scale):
        places, _, offsets, drifts = split(unknowns)
        moved = places[:, :2] - starts[:, :2]
        believed = [root @ one for root, one in zip(priors, moved, strict=True)]
        return np.concatenate(
            [
                _doubt(misfits(unknowns)[measured] / scale),
                _doubt(np.concatenate(believed)),
                (places[:, 2] - height[0]) / height[1],
                offsets / (speed * _OFFSET),
                drifts / (speed * _DRIFT * span),
            ]
        )

    begin = np.nanmedian(late, axis=1)
    offsets = np.nanmedian(late - begin[:, None], axis=0)
    unknowns = np.concatenate([starts.ravel(), begin, offsets, np.zeros(M)])
    for scale in _TIMES:
        solution = scipy.optimize.least_squares(
            residuals, unknowns, x_scale="jac", args=(scale,)
        )
        unknowns = solution.x
    places, _, offsets, drifts = split(unknowns)
    covariance = np.linalg.pinv(solution.jac.T @ solution.jac)
    # Offsets are known relative to each other: what moves all of them is no error.
    center = np.eye(M) - 1 / M
    clocks = covariance[4 * K : 4 * K + M, 4 * K : 4 * K + M]
    errors = np.sqrt(np.diag(center @ clocks @ center))
    own = [covariance[3 * k : 3 * k + 2, 3 * k : 3 * k + 2] for k in range(K)]
    widest = np.array([np.linalg.eigvalsh(one)[-1] for one in own])
    return (
        (offsets - np.median(offsets)) / speed,
        errors / speed,
        (drifts - np.median(drifts)) / (speed * span),
        places[:, :2],
        posterior.WITHIN_90 * np.sqrt(np.maximum(widest, 0.0)),
        _agree(misfits(unknowns)),
    )


def _agree(late: np.ndarray) -> np.ndarray:
    """Check at which places most nodes agree, by misfits [K, M] in meters."""
    late = late - np.nanmedian(late, axis=1, keepdims=True)
    count = (np.abs(late) < clocks_lib.AGREES).sum(axis=1)
    return (count >= _LEAST_AGREE) & (2 * count >= np.isfinite(late).sum(axis=1))


def advance(
    signals: np.ndarray, late: np.ndarray, used: np.ndarray, sample_rate: int | float
) -> np.ndarray:
    """Move each signal [M, N] forward by the seconds that its node is late [M].

    Nodes that were left out become silent.
    """
    num_samples = signals.shape[1]
    # Zeros, so that nothing comes around from the other end.
    longer = scipy.fft.next_fast_len(
        num_samples + math.ceil(np.abs(late).max() * sample_rate), real=True
    )
    sound = signals - signals.mean(axis=1, keepdims=True, dtype=np.float64)
    frequencies = np.fft.rfftfreq(longer, 1 / sample_rate)
    turns = np.exp(2j * np.pi * frequencies * late[:, None])
    moved = np.fft.irfft(np.fft.rfft(sound, longer) * turns, longer)[:, :num_samples]
    moved[~used] = 0.0
    return moved


def _doubt(errors: np.ndarray) -> np.ndarray:
    """Shrink residuals so that the sum of their squares is a Cauchy log-likelihood."""
    return np.sign(errors) * np.sqrt(np.log1p(errors**2))


def _paths(places, nodes) -> np.ndarray:
    return np.linalg.norm(places[:, None] - nodes, axis=-1)
