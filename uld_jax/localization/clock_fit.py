"""Fit clock offsets, drifts and positions to times of arrival at several places.

Two models are fitted: clocks that agree, and clocks with an offset each, and a drift if
it is known when each place was recorded. The second is taken unless it is clearly worse. A
time is right, with a normal error of s = 3, 6, 12 or 24 mm of path, or wrong, and then
anywhere in a range of R = 3 m:

    p(a) = R (1 - q) N(a - expected; s) + q        relative to a wrong time, q = 0.3

The evidence is the marginal likelihood of all times by Laplace's method (D. MacKay,
"Information Theory, Inference, and Learning Algorithms", Cambridge 2003, chapter 27),
relative to that of times that are all wrong. Places have the posterior of `localize` as
their prior, widened; starts and offsets are uniform over R, drifts normal with 20 ppm, and
offsets of clocks that agree normal with 0.1 ms. Before anything is known, a place is as
likely to be trusted as not; those are trusted whose times speak for it, given the clocks.
So whatever is fitted has to be paid by times that agree: with 8 nodes, 5 times at each of
4 places mean nothing.

The likelihood has many maxima, by wrong times and rough positions. Unknowns are searched
from all places first, then from several thirds of them, by a likelihood that wrong times
hardly change.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

from uld_jax.acoustics import constants
from uld_jax.localization import posterior
from uld_jax.localization.clock_model import ClockModel, Unknowns

# Scales of the search's likelihood in meters of path: what is farther off is doubted.
# Wide at first, while positions are rough.
_SCALES = (0.3, 0.1, 0.03, 0.01)
_STEPS = 12  # With each of them.
_SEARCHES = 16  # From some of the places, where all of them did not do:
_AT_ONCE = 2  # a third, and at least so many.
RANGE, WRONG = 3.0, 0.3
# Evidence above chance of clocks that are believed. Of signals that were corrected by some
# clocks, the times are chosen that fit these: six nodes with wrong ones reach 11.
BELIEVED = 12.0
_WORSE = 3.0  # Evidence by which a model is clearly worse than another.
SPREADS = (0.003, 0.006, 0.012, 0.024)
# Times that the prior of the spread is worth. Of 14 recordings by six phones and as many by
# eight (`benchmarks.reliability.phones`), radii then hold 87 and 98 % of the positions.
_PRIOR_FREEDOM = 3.0
_POLISH = 12  # Steps to the maximum with each spread.
_FARTHEST_STEP = 0.3  # Meters.
# Standard deviations of offsets in seconds, of clocks that agree and others, and of
# drifts, before anything is known.
_AGREED, _OFFSET, DRIFT = 1e-4, 0.05, 2e-5
# A clock is worth trying if its node agrees at two places, and known if at three: at two,
# one place alone confirms it.
_TRIED, _KNOWN = 2, 3
_LEAST_SPREAD = 0.3  # Meters: of what `localize` says of a position, at least.
_OF_A_PLACE = 4  # Unknowns: x, y, z and the start.
_PLACE_BELIEVED = 3.0  # Evidence of one place, given the clocks.


class Fit(NamedTuple):
    """Clocks of M nodes and positions of K places that fit their times.

    Attributes:
        offsets: Seconds by which each node is late, relative to their median; NaN where
            it agrees at fewer than two places, or at less than two thirds of them.
        errors: Their standard errors; NaN where it agrees at fewer than three places: at
            two, one place alone confirms an offset.
        drifts: Seconds a second, relative to their median; 0 if clocks need not drift.
        covariance: Of all offsets, then all drifts, relative to their means; 0 where they
            are not known.
        positions: (x, y) in meters.
        radii: Meters around each that hold 90 %.
        place_covariances: Of each position together with all clocks, in square meters.
        of_clocks: The part of these that errors of clocks have; the rest would be left if
            clocks were known.
        trusted: Places where more times agree than by chance.
        evidence: How much likelier the times are than by chance, as a logarithm.
        model: Which was taken: 0 if clocks agree, 1 if each has its own offset and drift.
    """

    offsets: Float[np.ndarray, " M"]
    errors: Float[np.ndarray, " M"]
    drifts: Float[np.ndarray, " M"]
    covariance: Float[np.ndarray, "2*M 2*M"]
    positions: Float[np.ndarray, "K 2"]
    radii: Float[np.ndarray, " K"]
    place_covariances: Float[np.ndarray, "K 2 2"]
    of_clocks: Float[np.ndarray, "K 2 2"]
    trusted: Bool[np.ndarray, " K"]
    evidence: float
    model: int


class _Maximum(NamedTuple):
    """A maximum of the likelihood.

    Attributes:
        unknowns: There.
        precision: Inverse covariance of the unknowns, from trusted places.
        right: Probability that each time is right, [K, M].
        trusted: Places where more times agree than by chance.
        evidence: Of all times.
    """

    unknowns: Unknowns
    precision: Float[np.ndarray, "U U"]
    right: Float[np.ndarray, "K M"]
    trusted: Bool[np.ndarray, " K"]
    evidence: float


def fit(
    starts: Float[np.ndarray, "K 3"],
    covariances: Float[np.ndarray, "K 2 2"],
    late: Float[np.ndarray, "K M"],
    nodes: Float[np.ndarray, "M 3"],
    times: Float[np.ndarray, " K"] | None,
    height: tuple[float, float],
    least_model: int = 0,
) -> Fit:
    """Fit both models, and return one.

    Args:
        starts: Rough position of each place, in meters.
        covariances: Of these on the plan.
        late: Seconds by which each node is late by these positions; NaN where unknown.
        nodes: In meters.
        times: Of the places in seconds; None for clocks that do not drift.
        height: Mean and deviation of the talkers' heights, in meters.
        least_model: The first model that is fitted. Where signals were corrected by
            clocks that were fitted before, that of these: what it took has to be paid.
    """
    speed = constants.SPEED_OF_SOUND
    paths = np.linalg.norm(starts[:, None] - nodes, axis=-1)
    prior = np.zeros((len(starts), 3, 3))
    prior[:, :2, :2] = covariances + _LEAST_SPREAD**2 * np.eye(2)
    prior[:, 2, 2] = height[1] ** 2
    centers = np.column_stack([starts[:, :2], np.full(len(starts), height[0])])
    span = 0.0 if times is None else float(np.ptp(times))
    middle = 0.0 if times is None else float(np.mean(times))
    when = np.zeros(len(starts))
    if times is not None:
        when = (times - middle) / (span or 1.0)
    given = (centers, prior, speed * late + paths, nodes, when)
    models = [
        ClockModel(*given, speed * _AGREED, 0.0),
        ClockModel(*given, speed * _OFFSET, speed * DRIFT * span),
    ]
    found = [_maximize(one) for one in models[least_model:]]
    # Own clocks, if they are not clearly worse: their errors are larger.
    best = len(found) - 1
    if found[0].evidence > found[best].evidence + _WORSE:
        best = 0
    number = least_model + best
    return _summarize(models[number], found[best], number, middle, span or 1.0)


def _maximize(model: ClockModel) -> _Maximum:
    """Find the maximum with most evidence, from all places, then from some of them."""
    best = None
    enough = 2 * model.num_places / 3
    for start in _guesses(model):
        found = _explain(model, _search(model, start, _SCALES))
        if best is None or found.evidence > best.evidence:
            best = found
        if found.trusted.sum() >= enough and found.evidence > 0:
            break
    return best


def _guesses(model: ClockModel) -> Iterator[Unknowns]:
    """Guess the unknowns from all places, then from several thirds of them."""
    everywhere = np.ones(model.num_places, bool)
    free = model.offset_spread > constants.SPEED_OF_SOUND * _AGREED
    yield model.guess(everywhere if free else None)
    if not free or model.num_places <= _AT_ONCE:
        return
    rng = np.random.default_rng(0)
    count = max(_AT_ONCE, model.num_places // 3)
    for _ in range(_SEARCHES):
        used = np.zeros(model.num_places, bool)
        used[rng.choice(model.num_places, count, replace=False)] = True
        yield _search(model, model.guess(used), _SCALES[:2], used)


def _search(
    model: ClockModel,
    unknowns: Unknowns,
    scales: tuple[float, ...],
    used: Bool[np.ndarray, " K"] | None = None,
) -> Unknowns:
    """Search by a Cauchy likelihood, which wrong times hardly change.

    It is maximized by least squares with weights from the step before.

    Args:
        model: The model.
        unknowns: From where.
        scales: Of the likelihood in meters of path, one after the other.
        used: Places whose times count; None for all.
    """
    counted = model.measured if used is None else model.measured & used[:, None]
    for scale in scales:
        for _ in range(_STEPS):
            misfits = np.where(counted, model.misfits(unknowns), 0.0)
            moved = model.moved(unknowns)
            unknowns = _step(
                *(model, unknowns, misfits),
                np.where(counted, 1 / (scale**2 + misfits**2), 0.0),
                # Rough positions may be wrong, too.
                1 / (1 + (moved[:, :2] ** 2).sum(axis=1)),
            )
    return unknowns


def _step(
    model: ClockModel,
    unknowns: Unknowns,
    misfits: Float[np.ndarray, "K M"],
    weights: Float[np.ndarray, "K M"],
    held: Float[np.ndarray, " K"] | None = None,
) -> Unknowns:
    """Step to the least sum of squares: see `_normal_equations`."""
    precision, gradient = _normal_equations(model, unknowns, misfits, weights, held)
    step = np.linalg.solve(precision, gradient)
    return unknowns + np.clip(step, -_FARTHEST_STEP, _FARTHEST_STEP)


def _normal_equations(
    model: ClockModel,
    unknowns: Unknowns,
    misfits: Float[np.ndarray, "K M"],
    weights: Float[np.ndarray, "K M"],
    held: Float[np.ndarray, " K"] | None = None,
) -> tuple[Float[np.ndarray, "U U"], Float[np.ndarray, " U"]]:
    """Set up the normal equations of all times and priors.

    Args:
        model: The model.
        unknowns: Around which it is linear.
        misfits: There; 0 where there is no time.
        weights: Inverse variances of times; 0 for those that do not count.
        held: How far each place is held where it was guessed on the plan; None for
            entirely. If it is given, large drifts are held less, too.
    """
    K, M = model.num_places, model.num_nodes
    of_places = model.precisions
    if held is not None:
        of_places = of_places * np.where([[1, 1, 0]] * 3, held[:, None, None], 1.0)
    of_drifts = np.full(M, max(model.drift_spread, 1e-6) ** -2)
    if held is not None:
        _, _, _, drifts = model.split(unknowns)
        of_drifts /= 1 + drifts**2 * of_drifts
    of_starts = np.full(K, 1e-9)  # Where nothing is counted.
    of_offsets = np.full(M, model.offset_spread**-2)
    of_others = np.concatenate([of_starts, of_offsets, of_drifts])
    return model.normal_equations(unknowns, misfits, weights, of_places, of_others)


def _explain(model: ClockModel, unknowns: Unknowns) -> _Maximum:
    """Find the maximum near some unknowns, and its evidence, with the best spread."""
    found = [_explain_by(model, unknowns, spread) for spread in SPREADS]
    best = max(found, key=lambda one: one.evidence)
    return best._replace(evidence=best.evidence - np.log(len(SPREADS)))


def _explain_by(model: ClockModel, unknowns: Unknowns, spread: float) -> _Maximum:
    """Find the maximum for one spread of right times, and its evidence."""
    for _ in range(_POLISH):
        misfits, _, right = _compare(model, unknowns, spread)
        unknowns = _step(model, unknowns, misfits, right / spread**2)
    misfits, logs, right = _compare(model, unknowns, spread)
    weights = right / spread**2
    precision, _ = _normal_equations(model, unknowns, misfits, weights)
    logs = logs + model.log_priors(unknowns) - np.log(RANGE)
    nobody = np.zeros(0, int)
    alone = logs + [
        log_volume(_of(precision, model.columns(np.array([place]), nobody)))
        for place in range(model.num_places)
    ]
    # As many times as a place has unknowns always fit it.
    trusted = (alone > _PLACE_BELIEVED) & ((right > 0.5).sum(axis=1) > _OF_A_PLACE)
    if not trusted.any():
        return _Maximum(unknowns, precision, right, trusted, -np.inf)
    weights = weights * trusted[:, None]
    precision, _ = _normal_equations(model, unknowns, misfits, weights)
    seen = np.flatnonzero((right[trusted] > 0.5).any(axis=0))
    # The first clock is the others' reference.
    columns = model.columns(np.flatnonzero(trusted), seen[1:])
    evidence = logs[trusted].sum() + log_volume(_of(precision, columns))
    evidence += _log_priors_of_nodes(model, unknowns)[seen[1:]].sum()
    evidence -= model.num_places * np.log(2)
    # The spread of the times themselves, if it is larger, decides about errors.
    squares = (weights * misfits**2).sum()
    spare = right[trusted].sum() - len(columns)
    precision /= max(1.0, squares / max(spare, 1.0)) * _widening(spare)
    return _Maximum(unknowns, precision, right, trusted, float(evidence))


def _widening(spare: float) -> float:
    """Compute by how much few times widen covariances.

    How far times spread is known from those that are left over, and from the prior of the
    spread. Positions then follow Student's t, whose 90 % is wider than the normal's.

    Args:
        spare: Right times less unknowns; negative where priors have to help.
    """
    freedom = max(spare + _PRIOR_FREEDOM, 1.0)
    return 2 * float(scipy.stats.f.ppf(0.9, 2, freedom)) / posterior.WITHIN_90**2


def _compare(model: ClockModel, unknowns: Unknowns, spread: float):
    """Compare times with what is expected.

    Returns:
        Misfits in meters of path, 0 where there is no time; the log-likelihood of each
        place, relative to wrong times; and the probability that each time is right.
    """
    misfits = np.where(model.measured, model.misfits(unknowns), 0.0)
    density = np.exp(-0.5 * (misfits / spread) ** 2) / (np.sqrt(2 * np.pi) * spread)
    density *= (1 - WRONG) * RANGE
    logs = np.where(model.measured, np.log(density + WRONG), 0.0).sum(axis=1)
    right = np.where(model.measured, density / (density + WRONG), 0.0)
    return misfits, logs, right


def log_volume(
    precision: Float[np.ndarray, "*B U U"],
) -> np.ndarray | np.floating:
    """Compute the logarithm of the integral of a Gaussian, by its inverse covariance."""
    _, log_determinant = np.linalg.slogdet(precision)
    return 0.5 * (precision.shape[-1] * np.log(2 * np.pi) - log_determinant)


def _of(precision: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Take the inverse covariance of some unknowns, by known others."""
    return precision[np.ix_(columns, columns)]


def _log_priors_of_nodes(model: ClockModel, unknowns: Unknowns):
    """Compute log priors of clocks [M]: of offsets, at most as wide as the range."""
    _, _, offsets, drifts = model.split(unknowns)

    def normal(values, spread):
        return -0.5 * (values / spread) ** 2 - np.log(np.sqrt(2 * np.pi) * spread)

    found = np.maximum(normal(offsets, model.offset_spread), -np.log(RANGE))
    return found + normal(drifts, model.drift_spread) if model.drifts else found


def _summarize(
    model: ClockModel, found: _Maximum, number: int, middle: float, span: float
) -> Fit:
    """Summarize what a model found, with offsets at time 0.

    Args:
        model: The model.
        found: Its maximum.
        number: Which model it is.
        middle: The time at which the model has its offsets, in seconds.
        span: The unit of its times, in seconds.
    """
    K, M, speed = model.num_places, model.num_nodes, constants.SPEED_OF_SOUND
    places, _, offsets, drifts = model.split(found.unknowns)
    covariance = np.linalg.inv(found.precision)
    own = [covariance[3 * k : 3 * k + 2, 3 * k : 3 * k + 2] for k in range(K)]
    alone = [_without_clocks(model, found.precision, k) for k in range(K)]
    widest = np.array([np.linalg.eigvalsh(one)[-1] for one in own])
    seen = (found.right[found.trusted] > 0.5).sum(axis=0)
    total = model.measured[found.trusted].sum(axis=0)
    known = (seen >= _TRIED) & (3 * seen >= 2 * total)
    # Offsets are known relative to each other: what moves all of them is no error.
    center = np.diag(1.0 * known) - np.outer(known, known) / max(known.sum(), 1)
    scale = np.kron([[1.0, -middle / span], [0.0, 1 / span]], center) / speed
    offsets = offsets - drifts * (middle / span)
    of_clocks = scale @ covariance[4 * K :, 4 * K :] @ scale.T
    errors = np.sqrt(np.diag(of_clocks)[:M])
    offsets = np.where(known, offsets, np.nan)
    drifts = np.where(known, drifts, np.nan)
    if known.any():
        offsets -= np.nanmedian(offsets)
        drifts -= np.nanmedian(drifts)
    return Fit(
        offsets / speed,
        np.where(known & (seen >= _KNOWN), errors, np.nan),
        drifts / (speed * span),
        of_clocks,
        places[:, :2],
        posterior.WITHIN_90 * np.sqrt(np.maximum(widest, 0.0)),
        np.array(own),
        np.array(own) - alone,
        found.trusted,
        found.evidence,
        number,
    )


def _without_clocks(
    model: ClockModel, precision: Float[np.ndarray, "U U"], place: int
) -> Float[np.ndarray, "2 2"]:
    """Compute the covariance of a position (x, y) if all clocks were known.

    The joint covariance is that, and what errors of clocks move: with A of a place and B
    of it and the clocks in the precision, inv(A) + inv(A) B cov(clocks) B' inv(A).
    """
    columns = model.columns(np.array([place]), np.zeros(0, int))
    return np.linalg.inv(precision[np.ix_(columns, columns)])[:2, :2]
