"""Calibrate the clocks of a session from talkers at several places.

Node m receives the sound of place k at

    tau_km = |p_k - n_m| / c + o_m + t_k

with its clock's offset o_m and an unknown start t_k. One place never shows an offset: it
could be a longer path. With K places and M nodes there are K (M - 1) differences of times
for 3 K coordinates and M - 1 offsets, and some times are wrong. Windows at one place count
once (`same_places`). Three places are asked for, and evidence far above that of chance
(`clock_fit`). With 8 nodes or fewer that takes six places or so. Clocks that drift have one
rate more each.

Times and rough positions come from `uld_jax.localize`. Signals are then moved to common
clocks, and all is done again, up to three times, as long as that adds evidence: more times
are found and more positions are right then. Only then it is decided whether clocks are
determined.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.localization import (
    answers,
    batches,
    clock_fit,
    localize,
    recordings,
    same_places,
    votes,
)

LEAST_PLACES = 3
_MOST_PASSES = 3  # With signals corrected by clocks found before.
_LEAST_KNOWN = 4  # Nodes with a clock that is worth trying.


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Clocks of a session's nodes, and the talkers' positions by them.

    Attributes:
        offsets: Seconds by which each node is late at the time `reference`, [M], relative
            to their median; NaN for nodes of which nothing is known.
        offset_errors: Their standard errors in seconds.
        drifts: Seconds a second by which each node is later and later, [M], relative to
            their median; None if no times of recordings were given.
        positions: Of the talkers, (x, y) in meters, [K, 2].
        radii_90: Meters around each that hold 90 %, [K].
        fitted: Which of them the clocks fit, [K]; the others, and all if clocks are not
            determined, are as `uld_jax.localize` found them.
        determined: Whether clocks are known: talkers were at three places or more.
        reasons: Why not, and which recordings do not fit, in sentences.
        localizations: Of each recording by `uld_jax.localize`, as it was recorded.
        reference: The mean of the times at which recordings were halfway, in seconds; 0
            if none were given.
        evidence: How much likelier the times are by these clocks than by chance, as a
            natural logarithm.
        model: 0 if clocks agree, 1 if each has its own offset and drift.
        covariance: Of the errors of all offsets in square seconds, then all drifts; 0 for
            nodes of which nothing is known, None if that is true of all.
        places: The number of the place of each recording, [K]: recordings whose times
            agree count once; -1 for those that could not be used.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
    >>> found = uld_jax.calibrate_clocks(np.ones((1, 4, 8_000)), 16_000, nodes, [6.0, 4.5])
    >>> found.determined, found.reasons[0]
    (False, 'No recording could be localized')
    """

    offsets: Float[np.ndarray, " M"]
    offset_errors: Float[np.ndarray, " M"]
    drifts: Float[np.ndarray, " M"] | None
    positions: Float[np.ndarray, "K 2"]
    radii_90: Float[np.ndarray, " K"]
    fitted: Bool[np.ndarray, " K"]
    determined: bool
    reasons: tuple[str, ...]
    localizations: tuple[answers.Localization, ...]
    reference: float = 0.0
    evidence: float = -np.inf
    model: int = 0
    covariance: Float[np.ndarray, "2*M 2*M"] | None = None
    places: Int[np.ndarray, " K"] | None = None
    moments: Float[np.ndarray, " K"] | None = None
    joint: Float[np.ndarray, "K 2 2"] | None = None
    of_clocks: Float[np.ndarray, "K 2 2"] | None = None

    def late_at(self, times: ArrayLike) -> Float[np.ndarray, "L M"]:
        """Compute by how many seconds each node is late at some times.

        Args:
            times: In seconds, from the same origin as those of the recordings, [L].
        """
        since = np.asarray(times, np.float64) - self.reference
        late = np.tile(np.nan_to_num(self.offsets), (len(since), 1))
        if self.drifts is None:
            return late
        return late + np.outer(since, np.nan_to_num(self.drifts))

    def covariance_at(self, time: int | float) -> Float[np.ndarray, "M M"]:
        """Compute the covariance of the errors of `late_at` in square seconds.

        Args:
            time: In seconds, as there.
        """
        count = len(self.offsets)
        if self.covariance is None:
            return np.zeros((count, count))
        at = np.hstack([np.eye(count), (time - self.reference) * np.eye(count)])
        return at @ self.covariance @ at.T

    def __str__(self) -> str:
        return self.describe([f"node {number}" for number in range(len(self.offsets))])

    def describe(self, names: Sequence[str]) -> str:
        """Describe the clocks in a line for each node.

        Args:
            names: Of the nodes.
        """
        if not self.determined:
            return "\n  ".join(["clocks are not determined", *self.reasons])
        lines = ["clocks, relative to their median:"]
        for number, name in enumerate(names):
            late, error = self.offsets[number], self.offset_errors[number]
            text = f"{name}: offset {1e3 * late:+.2f} ± {1e3 * error:.2f} ms"
            if self.drifts is not None:
                text += f", drift {1e6 * self.drifts[number]:+.1f} ppm"
            lines.append(text if np.isfinite(late) else f"{name}: unknown")
        return "\n  ".join([*lines, *self.reasons])


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
    sounds = [recordings.to_array(one) for one in signals]
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
    halfway = None
    if times is not None:  # What was measured is the mean of a recording.
        halfway = times + [one.shape[1] / sample_rate / 2 for one in sounds]

    def localize_all(late):
        return [
            localize.localize_one(
                one, sample_rate, node_positions, room_size, source_height, late=own
            )
            for one, own in zip(sounds, late, strict=True)
        ]

    alone = localize_all([None] * len(sounds))
    first = clocks = fit_clocks(alone, nodes, halfway, source_height)
    # Signals that are corrected show more times, if these clocks are right.
    moments = np.zeros(len(sounds)) if halfway is None else halfway
    best = None
    for _ in range(_MOST_PASSES):
        if np.isfinite(clocks.offsets).sum() < _LEAST_KNOWN:
            break
        corrected = localize_all(clocks.late_at(moments))
        again = fit_clocks(corrected, nodes, halfway, source_height, clocks)
        clocks = _add_clocks(clocks, again)
        if best is not None and clocks.evidence <= best.evidence:
            break
        best = clocks
        if clocks.fitted.all():
            break
    if best is None:
        return first
    if not best.determined:
        return _refuse(first, best.reasons)
    return dataclasses.replace(_without_doubtful(best), localizations=tuple(alone))


def _without_doubtful(clocks: Calibration) -> Calibration:
    """Remove the clocks that one place alone confirms."""
    doubtful = np.isnan(clocks.offset_errors)
    offsets, drifts = clocks.offsets.copy(), clocks.drifts
    offsets[doubtful] = np.nan
    if (~doubtful).any():
        offsets -= np.nanmedian(offsets)
    if drifts is not None:
        drifts = np.where(doubtful, np.nan, drifts)
    covariance = clocks.covariance.copy()
    both = np.tile(doubtful, 2)
    covariance[both] = covariance[:, both] = 0.0
    return dataclasses.replace(
        clocks, offsets=offsets, drifts=drifts, covariance=covariance
    )


def _refuse(first: Calibration, reasons: tuple[str, ...]) -> Calibration:
    """Say that clocks are not determined, with positions as they were without them."""
    alone = first.localizations
    return dataclasses.replace(
        first,
        positions=np.array([one.position for one in alone]),
        radii_90=np.array([one.radius_90 for one in alone]),
        fitted=np.zeros(len(alone), bool),
        determined=False,
        reasons=reasons,
    )


def _add_clocks(before: Calibration, found: Calibration) -> Calibration:
    """Add clocks to those by which signals were corrected before."""
    drifts = found.drifts
    if drifts is not None:
        drifts = _add(before.drifts, drifts)
    offsets = _add(before.offsets, found.offsets)
    return dataclasses.replace(found, offsets=offsets, drifts=drifts)


def _add(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Add what two passes found of the nodes, relative to the median again."""
    total = np.nan_to_num(first) + np.nan_to_num(second)
    total[np.isnan(first) & np.isnan(second)] = np.nan
    return total - np.nanmedian(total) if np.isfinite(total).any() else total


def fit_clocks(
    found: Sequence[answers.Localization],
    node_positions: Float[np.ndarray, "M 3"],
    times: Float[np.ndarray, " K"] | None = None,
    source_height: int | float | None = None,
    before: Calibration | None = None,
) -> Calibration:
    """Fit clocks and positions to the times of several localizations.

    Args:
        found: From `uld_jax.localize`, with the same nodes and clocks.
        node_positions: In meters.
        times: When each was halfway, in seconds; None for clocks that do not drift.
        source_height: As `localize` had it.
        before: Clocks by which signals were corrected. What they took has to be paid,
            and recordings that were at one place by them still are.
    """
    count = len(node_positions)
    unknown = np.full(count, np.nan)
    positions = np.array([one.position for one in found])
    radii = np.array([one.radius_90 for one in found])
    fitted = np.zeros(len(found), bool)
    nothing = Calibration(
        *(unknown, unknown, None if times is None else unknown),
        *(positions, radii, fitted, False, ("No recording could be localized",)),
        *(tuple(found), 0.0 if times is None else float(np.mean(times))),
        model=0 if before is None else before.model,
        places=np.full(len(found), -1),
    )
    late = np.array([one.node_offsets for one in found])
    usable = np.isfinite(late).sum(axis=1) >= localize.LEAST_NODES
    if not usable.any():
        return nothing
    known = np.isfinite(late[usable]).any(axis=0)
    places = np.arange(len(found)) if before is None else before.places.copy()
    # Those that could not be used before are at places of their own.
    places[places < 0] = len(found) + np.flatnonzero(places < 0)
    of_window, fit = _fit_places(
        [found[number] for number in np.flatnonzero(usable)],
        places[usable],
        node_positions,
        known,
        # All of them have the same origin, whichever are usable.
        None if times is None else (times - np.mean(times))[usable],
        votes.HEIGHT if source_height is None else (source_height, votes.KNOWN_SPREAD),
        nothing.model,
    )
    reasons = _doubt(fit)
    joint, of_clocks = np.full((2, len(found), 2, 2), np.nan)
    if not reasons:
        fitted[usable] = fit.trusted[of_window]
        place = of_window[fitted[usable]]
        positions[fitted], radii[fitted] = fit.positions[place], fit.radii[place]
        joint[fitted] = fit.place_covariances[place]
        of_clocks[fitted] = fit.of_clocks[place]
    return dataclasses.replace(
        nothing,
        offsets=_of_all(known, fit.offsets),
        offset_errors=_of_all(known, fit.errors),
        drifts=None if times is None else _of_all(known, fit.drifts),
        determined=not reasons,
        reasons=reasons
        or tuple(
            f"Times of recording {number} do not fit: its position is as `localize` "
            "found it"
            for number in np.flatnonzero(~fitted)
        ),
        evidence=float(fit.evidence),
        model=fit.model,
        places=_of_all(usable, of_window, -1),
        covariance=_of_all(np.tile(known, 2), fit.covariance, 0.0),
        moments=times,
        joint=joint,
        of_clocks=of_clocks,
    )


def _of_all(known: Bool[np.ndarray, " M"], some: np.ndarray, other=np.nan):
    """Spread a vector, or matrix, of known nodes over all of them."""
    found = np.full(some.ndim * known.shape, other)
    found[np.ix_(*some.ndim * [known])] = some
    return found


def _doubt(fit: clock_fit.Fit) -> tuple[str, ...]:
    """Say why clocks cannot be trusted; nothing if they can."""
    num_places = same_places.count_apart(
        fit.positions[fit.trusted], fit.radii[fit.trusted]
    )
    if num_places < LEAST_PLACES:
        noun = "place" if num_places == 1 else "places"
        return (
            f"Times agree with common clocks at {num_places} {noun}, and at {LEAST_PLACES} "
            "they are needed: record talkers at more places, place nodes elsewhere, or add "
            "nodes",
        )
    if fit.evidence > clock_fit.BELIEVED:
        return ()
    return (
        "Too few times agree to tell clocks from chance; record talkers at more "
        "places, or with more nodes",
    )


def _fit_places(
    found: Sequence[answers.Localization],
    before: Int[np.ndarray, " K"],
    node_positions: Float[np.ndarray, "M 3"],
    known: Bool[np.ndarray, " M"],
    times: Float[np.ndarray, " K"] | None,
    height: tuple[float, float],
    least_model: int,
) -> tuple[Int[np.ndarray, " K"], clock_fit.Fit]:
    """Fit clocks to the places of some windows, and return the place of each, too."""
    nodes, speed = node_positions[known], constants.SPEED_OF_SOUND
    guesses, arrivals = same_places.read_arrivals(found, node_positions, height[0])
    seen = same_places.find(arrivals[:, known], before)
    surest = same_places.find_surest(found, seen.of_window)
    paths = np.linalg.norm(guesses[surest][:, None] - nodes, axis=-1)
    return seen.of_window, clock_fit.fit(
        guesses[surest],
        np.array([found[number].covariance for number in surest]),
        (seen.arrivals - paths) / speed,
        nodes,
        None if times is None else _means(times, seen.of_window),
        height,
        least_model,
    )


def _means(
    values: Float[np.ndarray, " K"], of_window: Int[np.ndarray, " K"]
) -> Float[np.ndarray, " P"]:
    """Compute the mean of each place's windows."""
    places = range(of_window.max() + 1)
    return np.array([values[of_window == place].mean() for place in places])
