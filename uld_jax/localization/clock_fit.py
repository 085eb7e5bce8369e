"""Fit clock offsets, drifts and positions to times of arrival at several places.

Three models are fitted: clocks that agree, clocks with an offset each, and clocks that
drift as well. The one with most evidence is taken. Evidence is by minimum description
length (J. Rissanen, "Modeling by Shortest Data Description", Automatica 14, 1978): each
time that agrees with the model says log(range / width) more than chance would, each
unknown that is fitted uses one up, and which times agree has to be said:

    E = (A - U) log(range / width) - sum_k log C(N_k, A_k) - log C(K, T)

with A times that agree, A_k of N_k at place k, at T of K places, and U unknowns: three or
four of each place (x, y, the start, and the height if it is not known) and one or two of
each node but one. So with 8 nodes, 5 times that agree at each of 4 places mean nothing. A
place by itself has to have evidence, too, given the clocks.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Bool, Float, Int

from uld_jax.acoustics import constants
from uld_jax.localization import clocks, posterior
from uld_jax.localization import times as times_lib

# Standard deviations of times in meters of path: what is farther off than this is doubted.
# Wide at first, while positions are rough.
_TIMES = (0.3, 0.1, 0.03, 0.01)
_MOST_STEPS = 100  # With each of them.
# Standard deviations of offsets in seconds, of clocks that agree and others, and of
# drifts, before anything is known.
_AGREED, _OFFSET, _DRIFT = 1e-4, 0.05, 5e-5
_LEAST_PLACES = 2  # Where a node agrees, if its clock is known.
_LEAST_SPREAD = 0.3  # Meters: of what `localize` says of a position, at least.
# Meters over which times are spread that mean nothing, and that count as agreeing.
_RANGE, _WIDTH = 3.0, 2 * clocks.AGREES
_PER_TIME = np.log(_RANGE / _WIDTH)  # What a time that agrees says.
_PLACE_BELIEVED = 5.0  # Evidence of one place, given the clocks.


class Fit(NamedTuple):
    """Clocks of M nodes and positions of K places that fit their times.

    Attributes:
        offsets: Seconds by which each node is late, relative to their median; NaN where
            it agrees at fewer than two places, or at less than two thirds of them.
        errors: Their standard errors.
        drifts: Seconds a second, relative to their median; 0 if clocks need not drift.
        positions: (x, y) in meters.
        radii: Meters around each that hold 90 %.
        trusted: Places where more times agree than by chance.
        evidence: How much likelier the times are than by chance, as a logarithm.
    """

    offsets: Float[np.ndarray, " M"]
    errors: Float[np.ndarray, " M"]
    drifts: Float[np.ndarray, " M"]
    positions: Float[np.ndarray, "K 2"]
    radii: Float[np.ndarray, " K"]
    trusted: Bool[np.ndarray, " K"]
    evidence: float


def fit(
    starts: Float[np.ndarray, "K 3"],
    covariances: Float[np.ndarray, "K 2 2"],
    late: Float[np.ndarray, "K M"],
    nodes: Float[np.ndarray, "M 3"],
    times: Float[np.ndarray, " K"] | None,
    height: tuple[float, float],
    corrected: bool = False,
) -> Fit:
    """Fit all models, and return the one with most evidence.

    Args:
        starts: Rough position of each place, in meters.
        covariances: Of these on the plan.
        late: Seconds by which each node is late by these positions; NaN where unknown.
        nodes: In meters.
        times: Of the places in seconds; None for clocks that do not drift.
        height: Mean and deviation of the talkers' heights, in meters.
        corrected: Whether clocks were fitted before, and signals corrected: the unknowns
            of all models are those of the largest then.
    """
    arrivals = constants.SPEED_OF_SOUND * late + _paths(starts, nodes)
    given = (starts, covariances, arrivals, nodes, height)
    still = np.zeros(len(starts))
    models = [(still, _AGREED), (still, _OFFSET)]
    if times is not None and np.ptp(times) > 0:
        models.append((times, _OFFSET))
    least = len(models) - 1 if corrected else 0
    fits = (_fit(*given, *one, least) for one in models)
    return max(fits, key=lambda one: one.evidence)


def _fit(
    starts, covariances, arrivals, nodes, height, times, offset_spread, least_per_node
) -> Fit:
    """Fit one model, by least squares with a loss that wrong times hardly change."""
    K, M = arrivals.shape
    speed = constants.SPEED_OF_SOUND
    measured = np.isfinite(arrivals)
    # When, in units of the whole span.
    span = np.ptp(times) or 1.0
    when = times / span
    wider = covariances + _LEAST_SPREAD**2 * np.eye(2)
    priors = np.linalg.inv(np.linalg.cholesky(wider))

    def split(unknowns):
        places = unknowns[: 3 * K].reshape(K, 3)
        begin, of_nodes = unknowns[3 * K : 4 * K], unknowns[4 * K :].reshape(2, M)
        return places, begin, of_nodes[0], of_nodes[1]

    def misfits(unknowns):
        places, begin, offsets, drifts = split(unknowns)
        expected = _paths(places, nodes) + offsets + when[:, None] * drifts
        return arrivals - expected - begin[:, None]

    def residuals(unknowns, scale):
        places, _, offsets, drifts = split(unknowns)
        moved = places[:, :2] - starts[:, :2]
        return np.concatenate(
            [
                _doubt(misfits(unknowns)[measured] / scale),
                _doubt(np.einsum("kij,kj->ki", priors, moved)).ravel(),
                (places[:, 2] - height[0]) / height[1],
                offsets / (speed * offset_spread),
                drifts / (speed * _DRIFT * span),
            ]
        )

    place_of, node_of = np.nonzero(measured)
    row, count = np.arange(len(place_of)), len(place_of)

    def jacobian(unknowns, scale):
        places, *_ = split(unknowns)
        found = np.zeros((count + 3 * K + 2 * M, len(unknowns)))
        toward = places[:, None] - nodes
        toward /= np.linalg.norm(toward, axis=-1, keepdims=True) + 1e-9
        slope = -_doubt_slope(misfits(unknowns)[measured] / scale) / scale
        for axis in range(3):
            found[row, 3 * place_of + axis] = slope * toward[place_of, node_of, axis]
        found[row, 3 * K + place_of] = slope
        found[row, 4 * K + node_of] = slope
        found[row, 4 * K + M + node_of] = slope * when[place_of]
        moved = np.einsum("kij,kj->ki", priors, places[:, :2] - starts[:, :2])
        pulls = _doubt_slope(moved)[..., None] * priors
        for k in range(K):
            rows = slice(count + 2 * k, count + 2 * k + 2)
            found[rows, 3 * k : 3 * k + 2] = pulls[k]
            found[count + 2 * K + k, 3 * k + 2] = 1 / height[1]
        of_nodes = np.arange(M)
        found[count + 3 * K + of_nodes, 4 * K + of_nodes] = 1 / (speed * offset_spread)
        scale_of_drift = 1 / (speed * _DRIFT * span)
        found[count + 3 * K + M + of_nodes, 4 * K + M + of_nodes] = scale_of_drift
        return found

    late = arrivals - _paths(starts, nodes)
    begin = np.nanmedian(late, axis=1)
    offsets = np.nanmedian(late - begin[:, None], axis=0)
    if offset_spread == _AGREED:
        offsets = np.zeros(M)
    unknowns = np.concatenate([starts.ravel(), begin, offsets, np.zeros(M)])
    for scale in _TIMES:
        solution = scipy.optimize.least_squares(
            residuals,
            unknowns,
            jacobian,
            x_scale="jac",
            args=(scale,),
            max_nfev=_MOST_STEPS,
        )
        unknowns = solution.x
    places, _, offsets, drifts = split(unknowns)
    covariance = np.linalg.pinv(solution.jac.T @ solution.jac)
    # Offsets are known relative to each other: what moves all of them is no error.
    center = np.eye(M) - 1 / M
    of_offsets = covariance[4 * K : 4 * K + M, 4 * K : 4 * K + M]
    errors = np.sqrt(np.diag(center @ of_offsets @ center))
    own = [covariance[3 * k : 3 * k + 2, 3 * k : 3 * k + 2] for k in range(K)]
    widest = np.array([np.linalg.eigvalsh(one)[-1] for one in own])

    agree = _find_agreeing(misfits(unknowns))
    per_place = times_lib.count_unknowns(height)
    trusted = _find_trusted(agree, measured, per_place)
    seen = (agree & trusted[:, None]).sum(axis=0)
    known = (seen >= _LEAST_PLACES) & (3 * seen >= 2 * measured[trusted].sum(axis=0))
    offsets = np.where(known, offsets, np.nan)
    drifts = np.where(known, drifts, np.nan)
    if known.any():
        offsets -= np.nanmedian(offsets)
        drifts -= np.nanmedian(drifts)
    num_per_node = max((offset_spread > _AGREED) + bool(times.any()), least_per_node)
    return Fit(
        offsets / speed,
        np.where(known, errors / speed, np.nan),
        drifts / (speed * span),
        places[:, :2],
        posterior.WITHIN_90 * np.sqrt(np.maximum(widest, 0.0)),
        trusted,
        _evidence(
            agree[trusted].sum(axis=1),
            measured[trusted].sum(axis=1),
            K,
            per_place,
            num_per_node * max(int((seen > 0).sum()) - 1, 0),
        ),
    )


def _evidence(
    agree: Int[np.ndarray, " T"],
    measured: Int[np.ndarray, " T"],
    num_places: int,
    per_place: int,
    of_nodes: int,
) -> float:
    """Compute how much more the times that agree say than chance: see the module.

    Args:
        agree: Times that agree at each trusted place.
        measured: Times at each.
        num_places: Places, trusted or not.
        per_place: Unknowns of each trusted place.
        of_nodes: Unknowns of all nodes.
    """
    if not len(agree):
        return -np.inf
    redundant = agree.sum() - per_place * len(agree) - of_nodes
    choices = _log_choices(measured, agree).sum()
    choices += _log_choices(num_places, len(agree))
    return float(redundant * _PER_TIME - choices)


def _log_choices(total, chosen):
    """Compute the logarithm of a binomial coefficient."""
    return -np.log1p(total) - scipy.special.betaln(total - chosen + 1, chosen + 1)


def _find_agreeing(late: np.ndarray) -> np.ndarray:
    """Find the times that agree with clocks and position, by misfits in meters."""
    late = late - np.nanmedian(late, axis=1, keepdims=True)
    return np.abs(late) < clocks.AGREES


def _find_trusted(
    agree: np.ndarray, measured: np.ndarray, per_place: int
) -> np.ndarray:
    """Find the places where more times agree than by chance, if clocks are right."""
    seen, total = agree.sum(axis=1), measured.sum(axis=1)
    evidence = (seen - per_place) * _PER_TIME - _log_choices(total, seen)
    return evidence > _PLACE_BELIEVED


def _doubt(errors: np.ndarray) -> np.ndarray:
    """Shrink residuals so that the sum of their squares is a Cauchy log-likelihood."""
    return np.sign(errors) * np.sqrt(np.log1p(errors**2))


def _doubt_slope(errors: np.ndarray) -> np.ndarray:
    """Compute the derivative of `_doubt`."""
    shrunk = np.abs(_doubt(errors))
    return np.where(
        shrunk > 1e-6,
        np.abs(errors) / (1 + errors**2) / np.maximum(shrunk, 1e-6),
        1.0,
    )


def _paths(places, nodes) -> np.ndarray:
    return np.linalg.norm(places[:, None] - nodes, axis=-1)
