"""Smooth the positions of a recording's windows, past and future alike.

A talker stays at a place, with small steps, or jumps to a uniform one (another talks, or
the same one walked):

    p(x_t | x_t-1) = (1 - h) N(x_t; x_t-1, q dt I) + h / A,    h = 1 - exp(-dt / 8 s)

with q = (0.05 m)^2 a second and the area A of the plan. A window's likelihood is the
mixture of its modes. With a share of 5 % it says nothing, unless it is determined: then it is
believed, since a short answer by another talker is no outlier, and what it doubts itself is
left for its own place alone. Then all that is known of a
position is a mixture of normal distributions and a uniform one, which filters keep from
both ends of the recording. Their product with the window's own likelihood is the smoothed
position (the two-filter formula; G. Kitagawa, "The two-filter formula for smoothing and an
implementation of the Gaussian-sum smoother", Annals of the Institute of Statistical
Mathematics, 1994): the model is the same in both directions of time.

Windows at one place have errors in common: clocks, places of nodes, reflections. The
logarithm of what n windows say together is therefore divided by 1 + (n - 1) rho, the design
effect of clustered samples (L. Kish, "Survey Sampling", Wiley, 1965): the covariance is so
much larger, and places that fit less well are left as many more chances. Windows of unequal
weights w count as (sum w)^2 / sum w^2, with the inverse roots of their determinants as
weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from uld_jax.localization import answers, doubts, posterior, radii

_STEP = 0.05  # Meters in a second: what a talker at one place moves.
_STAY = 8.0  # Seconds between two jumps, in the mean: turns of a talk are short.
# Share of windows that say nothing, if they are not determined and if they are.
_NOTHING, _BELIEVED = 0.05, 1e-6
# Correlation rho of the errors of windows at one place, relative to what they say: in
# recordings of simulated phones 0.6 to 0.9 (`benchmarks.reliability.phones`).
_ALIKE = 0.8
_MOST = 10  # Normal distributions that are kept,
_FAINTEST = 1e-6  # of this share of all, or more.
_SAME = 0.1  # Squared standard deviations between those that become one.
_COARSE = 8  # Steps of the plan at which a uniform distribution is looked at.
_FACTORS = (0.2, 4.0)  # Of calibrated radii, the least and the largest.
_LEAST_VARIANCE = 1e-8  # Square meters.


class Track(NamedTuple):
    """Smoothed positions of W windows.

    Attributes:
        positions: Means of the heaviest place, (x, y) in meters.
        covariances: Of these, in square meters.
        radii_90: Meters around them that hold 90 % of everything.
        masses: Shares of the heaviest places.
        jumps: Probability that the talker was elsewhere before each window; 1 before the
            first.
    """

    positions: Float[np.ndarray, "W 2"]
    covariances: Float[np.ndarray, "W 2 2"]
    radii_90: Float[np.ndarray, " W"]
    masses: Float[np.ndarray, " W"]
    jumps: Float[np.ndarray, " W"]

    @property
    def sure(self) -> Bool[np.ndarray, " W"]:
        """Whether one place holds nearly all, within a meter, as in `localize`."""
        return (self.masses >= doubts.SURE_MASS) & (self.radii_90 <= doubts.SURE_RADIUS)


class _Mixture(NamedTuple):
    """A uniform distribution and J normal ones, with logarithms of their weights.

    Attributes:
        uniform: Of the uniform distribution.
        logs: Of the normal ones.
        means: In meters.
        covariances: In square meters, of independent windows.
        counts: How many windows each rests on.
    """

    uniform: float
    logs: Float[np.ndarray, " J"]
    means: Float[np.ndarray, "J 2"]
    covariances: Float[np.ndarray, "J 2 2"]
    counts: Float[np.ndarray, " J"]

    @property
    def total(self) -> float:
        """The logarithm of the sum of weights."""
        return float(np.logaddexp.reduce(np.append(self.logs, self.uniform)))


def smooth(
    times: Float[np.ndarray, " W"], found: Sequence[answers.Localization]
) -> Track:
    """Smooth the positions found in the windows of a recording.

    Args:
        times: Of the windows in seconds, in order.
        found: What was found in them, one or more, in one room.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3]]
    >>> one = uld_jax.localize(np.ones((2, 8_000)), 16_000, nodes, [6.0, 4.5])
    >>> smooth(np.array([0.0, 2.0]), [one, one]).jumps.round(2)  # Nothing is known.
    array([1.  , 0.21])
    """
    log_area = float(np.log(np.prod(found[0].room_size)))
    seen = [_likelihood(one) for one in found]
    before = _filter(times, seen, log_area)
    after = _filter(-times[::-1], seen[::-1], log_area)[::-1]
    places, jumps = [], [1.0]
    for number, (own, earlier, later) in enumerate(
        zip(seen, before, after, strict=True)
    ):
        here = _multiply(own, later, log_area)
        if number:
            step = float(times[number] - times[number - 1])
            moved = _multiply(seen[number - 1], before[number - 1], log_area)
            jumps.append(_jump(moved, here, step, log_area))
        places.append(_summarize(_multiply(here, earlier, log_area), found[number]))
    columns = (np.array(column) for column in zip(*places, strict=True))
    return Track(*columns, np.array(jumps))


def _likelihood(one: answers.Localization) -> _Mixture:
    """Take a window's modes, as wide as its calibrated radius says."""
    masses = np.array([mode.mass for mode in one.modes])
    means = np.array([mode.position for mode in one.modes])
    covariances = np.array([mode.covariance for mode in one.modes])
    covariances += _LEAST_VARIANCE * np.eye(2)
    if masses[0] >= radii.SHARE:
        own = _radius(one, means, covariances, masses)
        covariances *= np.clip(one.radius_90 / own, *_FACTORS) ** 2
    nothing = _NOTHING + (1 - _NOTHING) * max(1 - masses.sum(), 0.0)
    if one.determined:
        nothing = _BELIEVED
    return _Mixture(
        float(np.log(nothing)),
        np.log((1 - nothing) * masses / masses.sum()),
        means,
        covariances,
        np.ones(len(masses)),
    )


def _filter(
    times: Float[np.ndarray, " W"], seen: Sequence[_Mixture], log_area: float
) -> list[_Mixture]:
    """Predict the position in each window from all windows before."""
    nothing = np.zeros((0, 2, 2))
    known = _Mixture(0.0, nothing[:, 0, 0], nothing[:, 0], nothing, nothing[:, 0, 0])
    predicted = [known]
    for own, step in zip(seen[:-1], np.diff(times), strict=True):
        known = _reduce(_multiply(known, own, log_area))
        known = _predict(known, float(step))
        predicted.append(known)
    return predicted


def _predict(known: _Mixture, step: float) -> _Mixture:
    """Move a mixture with the sum 1 by some seconds."""
    stays = -step / _STAY
    moved = known.covariances + _STEP**2 * step * np.eye(2)
    return known._replace(
        uniform=float(np.logaddexp(known.uniform + stays, np.log(-np.expm1(stays)))),
        logs=known.logs + stays,
        covariances=moved,
    )


def _multiply(one: _Mixture, other: _Mixture, log_area: float) -> _Mixture:
    """Multiply two mixtures, each part of one by each of the other."""
    covariances = one.covariances[:, None] + other.covariances
    apart = other.means - one.means[:, None]
    gains = one.covariances[:, None] @ np.linalg.inv(covariances)
    means = one.means[:, None] + np.einsum("ijab,ijb->ija", gains, apart)
    squares = np.einsum("ija,ijab,ijb->ij", apart, np.linalg.inv(covariances), apart)
    overlaps = -0.5 * squares - 0.5 * np.log(np.linalg.det(covariances))
    logs = one.logs[:, None] + other.logs + overlaps - np.log(2 * np.pi)
    joined = gains @ other.covariances
    return _Mixture(
        one.uniform + other.uniform - log_area,
        np.concatenate(
            [
                logs.ravel(),
                one.logs + other.uniform - log_area,
                other.logs + one.uniform - log_area,
            ]
        ),
        np.concatenate([means.reshape(-1, 2), one.means, other.means]),
        np.concatenate([joined.reshape(-1, 2, 2), one.covariances, other.covariances]),
        np.concatenate(
            [
                _count(one, other).ravel(),
                one.counts,
                other.counts,
            ]
        ),
    )


def _count(one: _Mixture, other: _Mixture) -> Float[np.ndarray, "J L"]:
    """Count how many windows of equal weight each product rests on."""
    weights = np.linalg.det(one.covariances)[:, None] ** -0.5
    others = np.linalg.det(other.covariances) ** -0.5
    squares = weights**2 / one.counts[:, None] + others**2 / other.counts
    return (weights + others) ** 2 / squares


def _reduce(some: _Mixture) -> _Mixture:
    """Give a mixture the sum 1; join parts that are alike, and drop faint ones."""
    logs = some.logs - some.total
    order = np.argsort(-logs)
    left = order[logs[order] > np.log(_FAINTEST)]
    kept = []
    while len(left) and len(kept) < _MOST:
        apart = some.means[left] - some.means[left[0]]
        precision = np.linalg.inv(some.covariances[left[0]])
        near = np.einsum("ja,ab,jb->j", apart, precision, apart) < _SAME
        near[0] = True
        # Parts of another width say something else.
        ratio = np.linalg.det(some.covariances[left]) * np.linalg.det(precision)
        near &= np.abs(np.log(ratio)) < 1.0
        kept.append(_join(some, logs, left[near]))
        left = left[~near]
    parts = (np.array(column) for column in zip(*kept, strict=True))
    shape = (0,), (0, 2), (0, 2, 2), (0,)
    parts = parts if kept else (np.zeros(one) for one in shape)
    found = _Mixture(some.uniform - some.total, *parts)
    total = found.total
    return found._replace(uniform=found.uniform - total, logs=found.logs - total)


def _join(some: _Mixture, logs: np.ndarray, members: np.ndarray):
    """Join parts to one with their mean and covariance."""
    total = np.logaddexp.reduce(logs[members])
    shares = np.exp(logs[members] - total)
    mean = shares @ some.means[members]
    apart = some.means[members] - mean
    covariance = np.einsum("j,jab->ab", shares, some.covariances[members])
    covariance += np.einsum("j,ja,jb->ab", shares, apart, apart)
    return total, mean, covariance, shares @ some.counts[members]


def _jump(earlier: _Mixture, here: _Mixture, step: float, log_area: float) -> float:
    """Compute the probability of a jump between two windows, given all of them.

    Args:
        earlier: By all windows up to the first of the two.
        here: By all from the second of them.
        step: Seconds between them.
        log_area: Of the plan.
    """
    leaves = np.log(-np.expm1(-step / _STAY)) - log_area + earlier.total + here.total
    still = earlier._replace(
        covariances=earlier.covariances + _STEP**2 * step * np.eye(2)
    )
    stays = -step / _STAY + _multiply(still, here, log_area).total
    return float(np.exp(leaves - np.logaddexp(leaves, stays)))


def _summarize(joined: _Mixture, one: answers.Localization):
    """Summarize what is known of a window: position, covariance, radius, and mass."""
    known = _reduce(joined)
    if not len(known.logs):
        return one.position, one.covariance, one.radius_90, 0.0
    effects = 1 + (np.maximum(known.counts, 1.0) - 1) * _ALIKE
    heaviest = int(known.logs.argmax())
    logs = np.append(known.logs, known.uniform) / effects[heaviest]
    shares = np.exp(logs - np.logaddexp.reduce(logs))[:-1]
    if one.determined:  # Its own doubts, which its neighbors cannot remove.
        shares = one.modes[0].mass * shares
    covariances = known.covariances * effects[:, None, None]
    position = known.means[heaviest]
    within = _radius(one, known.means, covariances, shares)
    return position, covariances[heaviest], within, float(shares[heaviest])


def _radius(
    one: answers.Localization,
    means: Float[np.ndarray, "J 2"],
    covariances: Float[np.ndarray, "J 2 2"],
    shares: Float[np.ndarray, " J"],
) -> float:
    """Compute the radius around the heaviest of some places that holds 90 %.

    What their shares lack is anywhere in the room of an answer.
    """
    points = posterior.grid(one.room_size, _COARSE).reshape(-1, 2) + one.origin
    lacking = max(1 - shares.sum(), 0.0)
    rest = np.full(len(points), lacking / len(points))
    anywhere = posterior.Cloud(points, rest, np.zeros((len(points), 2)))
    cloud = posterior.add(anywhere, list(zip(means, covariances, shares, strict=True)))
    return posterior.radius(cloud, means[int(shares.argmax())])
