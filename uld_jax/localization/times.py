"""Check a position against the times at which a sound reaches the nodes.

Near a position that is roughly right, the correlations of all pairs are searched for the
highest sum (steered response, see `srp_phat`), then each node's time of arrival is read
from its correlation with the others, moved by what the position says. Where clocks and
node positions agree, most nodes are within millimeters or a few centimeters of their
place: that is evidence which no wrong position has by chance, and their times give the
position with a covariance that follows from how well they agree. Where they do not,
nothing is confirmed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import srp_phat

WHITENING = 0.8
REACH = 64  # Samples on either side that an arrival is looked for, 1.4 m of path.
LEAST_ERROR = 0.003  # Meters of path: standard deviation of a time of arrival.
# Standard deviations of arrivals where a position is right, in meters of path, equally
# likely: of exact clocks and places, up to places that are known to 10 cm.
SPREADS = (0.096, 0.048, 0.024, 0.012, 0.006, LEAST_ERROR)
RIGHT = 0.75  # Share of nodes that agree there.
CHANCE = 1.0  # Density of other arrivals, for each meter.
# Standard deviations of a position about its start, and of what all arrivals have in common
# about its first guess, in meters; and that above which a fit says nothing.
AROUND, COMMON, _VAGUE = 0.2, 0.6, 0.1
# Nodes that any position can be made to fit: for x, y and the time at which the sound
# began; and for the height, if it is not known to 5 cm.
_FITTED, _KNOWN_HEIGHT = 3, 0.05
_NEVER = -99.0  # Evidence of a fit that says nothing, or that ended at a wall.
# Searches: distances of points in meters, and points to either side.
_SPACINGS, _NUM_STEPS = (0.08, 0.02, 0.005), 4
# Samples to either side of a lag that a talker's direct sound takes, and as many on which
# what is removed fades.
_OF_A_TALKER = 4.0
_EM_STEPS = 8  # Of expectation maximization, for each spread.
_HIGHEST = jax.lax.Precision.HIGHEST


class Fit(NamedTuple):
    """A position that times of arrival were fitted to, or several.

    Attributes:
        position: (x, y, z) in meters.
        covariance: Of x and y, in square meters.
        evidence: Logarithm of how much likelier the times of arrival are if a source is
            near the start than by chance.
        residuals: Meters by which the sound reaches each node later than the position
            says, as far as `REACH` shows.
        agrees: Which nodes agree.
    """

    position: Float[Array, "*C 3"]
    covariance: Float[Array, "*C 2 2"]
    evidence: Float[Array, "*C"]
    residuals: Float[Array, "*C M"]
    agrees: Bool[Array, "*C M"]


def correlate(
    signals: Float[Array, "M N"],
    mask: Bool[Array, " M"],
    max_lag: int,
    whitening: float = WHITENING,
) -> Float[Array, "Q L"]:
    """Correlate the whitened signals of all pairs, for `fit`."""
    return srp_phat.correlate(signals, mask, max_lag, whitening)


def fit(
    correlations: Float[Array, "Q L"],
    node_positions: Float[Array, "M 3"],
    mask: Bool[Array, " M"],
    starts: Float[Array, "C 2"],
    sides: Float[Array, "2"],
    height: Float[Array, "2"],
) -> Fit:
    """Fit a position near each of some starts to the times of arrival.

    Args:
        correlations: From `correlate`.
        node_positions: In meters.
        mask: True where a node is present.
        starts: (x, y) in meters.
        sides: Of the room.
        height: Mean and standard deviation of the source's height in meters.
    """
    smooth = srp_phat.integrate(correlations)

    def fit_one(start):
        center = _search(smooth, node_positions, start, sides, height)
        return _fit(correlations, node_positions, mask, center, sides, height)

    return jax.lax.map(fit_one, starts)


def suppress(
    correlations: Float[Array, "Q L"],
    node_positions: Float[Array, "M 3"],
    found: Fit,
) -> Float[Array, "Q L"]:
    """Remove a talker's direct sound from correlations: they are 0 near its lags.

    Args:
        correlations: From `correlate`.
        node_positions: In meters.
        found: The talker, from `fit`.
    """
    paths = correlations_lib.path_lengths(found.position, node_positions)
    paths += jnp.where(found.agrees, found.residuals, 0.0)
    one, other = correlations_lib.node_pairs(len(node_positions))
    lags = correlations_lib.SAMPLES_PER_METER * (paths[one] - paths[other])
    num_lags = correlations.shape[1]
    axis = (np.arange(num_lags) - num_lags // 2) / srp_phat.OVERSAMPLING
    away = jnp.abs(axis - lags[:, None]) / _OF_A_TALKER
    return correlations * jnp.clip(away - 1.0, 0.0, 1.0)


def _fit(correlations, node_positions, mask, position, sides, height) -> Fit:
    def step(position, _):
        found = _arrivals(correlations, node_positions, mask, position)
        arrivals, inside, residuals = found
        position, *fitted = _fit_position(
            node_positions, mask, arrivals, inside, position, sides, height
        )
        return position, (*fitted, residuals)

    position, found = jax.lax.scan(step, position, None, length=2)
    covariance, evidence, agrees, residuals = (each[-1] for each in found)
    return Fit(position, covariance, evidence, residuals, agrees)


def _search(smooth, node_positions, start, sides, height):
    """Find the point of highest response near a start, coarse to fine: [3]."""
    reach = jnp.arange(-_NUM_STEPS, _NUM_STEPS + 1.0)

    def step(center, search):
        spacing, up = search
        x, y, z = jnp.meshgrid(
            jnp.clip(center[0] + spacing * reach, 0.0, sides[0]),
            jnp.clip(center[1] + spacing * reach, 0.0, sides[1]),
            center[2] + up,
            indexing="ij",
        )
        points = jnp.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1)
        read = srp_phat.smoothed(spacing)
        power = srp_phat.response_power(smooth, node_positions, points, read)
        return points[power.argmax()], None

    # The first search is of three heights: the mean, and one deviation to either side.
    up = height[1] * jnp.array([-1.0, 0.0, 1.0])
    center, _ = step(jnp.append(start, height[0]), (_SPACINGS[0], up))
    finer = jnp.array(_SPACINGS[1:])
    return jax.lax.scan(step, center, (finer, jnp.zeros((len(finer), 1))))[0]


def _arrivals(correlations, node_positions, mask, position):
    """Find each node's time of arrival, up to a common one, in meters of path.

    Returns:
        The arrivals; whether each is a peak inside of what was searched; and by how much
        they are later than the position says.
    """
    num_nodes = len(node_positions)
    paths = correlations_lib.path_lengths(position, node_positions)
    delays = correlations_lib.SAMPLES_PER_METER * paths
    reach = REACH * srp_phat.OVERSAMPLING
    shifts = jnp.arange(-reach, reach + 1) / srp_phat.OVERSAMPLING
    one, other = correlations_lib.node_pairs(num_nodes)

    def add(total, pair):
        row, m, n = pair
        expected = delays[m] - delays[n]
        # Seen from the second node, lags run the other way.
        total = total.at[m].add(srp_phat.read_row(row, expected + shifts))
        return total.at[n].add(srp_phat.read_row(row, expected - shifts)), None

    start = jnp.zeros((num_nodes, len(shifts)))
    sums, _ = jax.lax.scan(add, start, (correlations, one, other))
    highest = sums.argmax(axis=1)
    inside = (highest > 0) & (highest < len(shifts) - 1)
    places, beyond, _ = correlations_lib.refine_peaks(sums, highest)
    late = shifts[places] + beyond / srp_phat.OVERSAMPLING
    residuals = jnp.where(mask, late / correlations_lib.SAMPLES_PER_METER, 0.0)
    return paths + residuals, inside, residuals


class _Problem(NamedTuple):
    """The data of a fit, and the normal prior of its unknowns.

    The unknowns are x, y, z and what all arrivals have in common, in meters.
    """

    node_positions: Float[Array, "M 3"]
    mask: Bool[Array, " M"]
    arrivals: Float[Array, " M"]
    inside: Bool[Array, " M"]
    mean: Float[Array, "4"]
    deviation: Float[Array, "4"]


def count_unknowns(height: Any) -> Any:
    """Count what is fitted to the times of one place.

    Args:
        height: Mean and deviation of the talker's height in meters.
    """
    return _FITTED + (height[1] > _KNOWN_HEIGHT)


def _fit_position(node_positions, mask, arrivals, inside, start, sides, height):
    """Fit a position to arrivals with a spread that is not known.

    With each spread, arrivals are a mixture of a normal distribution and of others. The
    position and the common part of all arrivals, with normal priors, are fitted by
    expectation maximization, from the widest spread to the least. The evidence of each is
    their marginal likelihood relative to that of others alone, by Laplace's method with
    the normal matrix of the last step in place of the Hessian.

    Args:
        node_positions: In meters.
        mask: True where a node is present.
        arrivals: In meters of path.
        inside: False for arrivals that are none.
        start: (x, y, z) in meters.
        sides: Of the room.
        height: Mean and standard deviation of the source's height in meters.

    Returns:
        Position, covariance, evidence and which nodes agree, averaged over the spreads.
    """
    paths = correlations_lib.path_lengths(start, node_positions)
    late = jnp.where(mask, arrivals - paths, jnp.nan)
    common = jnp.nan_to_num(jnp.nanmedian(late))
    mean = jnp.array([start[0], start[1], height[0], common])
    deviation = jnp.array([AROUND, AROUND, height[1], COMMON])
    problem = _Problem(node_positions, mask, arrivals, inside, mean, deviation)
    _, (positions, covariances, evidence, weights) = jax.lax.scan(
        lambda unknowns, spread: _fit_spread(problem, sides, unknowns, spread),
        jnp.append(start, common),
        jnp.array(SPREADS),
    )
    shares = jax.nn.softmax(evidence)
    position = shares @ positions
    apart = (positions - position)[:, :2]
    covariances = covariances + apart[:, :, None] * apart[:, None, :]
    covariance = (shares[:, None, None] * covariances).sum(axis=0)
    fitted = count_unknowns(height)
    evidence = jax.nn.logsumexp(evidence) - np.log(len(SPREADS))
    evidence = jnp.where(mask.sum() > fitted, evidence, _NEVER)
    return position, covariance, evidence, shares @ jnp.nan_to_num(weights) > 0.5


def _fit_spread(problem: _Problem, sides, unknowns, spread):
    """Fit the unknowns with one spread, from a first guess.

    Returns:
        The unknowns; and their position, its covariance, the evidence and each node's
        weight.
    """

    def step(unknowns, _):
        normal, toward, *_ = _weigh(problem, unknowns, spread)
        moved = unknowns + jnp.linalg.solve(normal, toward)
        plan = jnp.clip(moved[:2], 0.0, sides)
        return jnp.concatenate([plan, moved[2:]]), None

    first = unknowns
    unknowns, _ = jax.lax.scan(step, unknowns, None, length=_EM_STEPS)
    normal, _, weights, evidence = _weigh(problem, unknowns, spread)
    covariance = (spread**2 * jnp.linalg.inv(normal))[:2, :2]
    evidence += 2 * jnp.log(2 * jnp.pi * spread**2)
    evidence -= 0.5 * jnp.linalg.slogdet(normal)[1]
    prior = jax.scipy.stats.norm.logpdf(unknowns, problem.mean, problem.deviation)
    evidence += prior.sum()
    variances = jnp.diag(covariance)
    plan = unknowns[:2]
    sound = (jnp.minimum(plan, sides - plan) >= 1e-4).all()
    sound &= variances.max() <= _VAGUE**2
    sound &= jnp.prod(variances) > covariance[0, 1] ** 2
    sound &= jnp.isfinite(evidence) & (variances.min() > 0)
    unknowns = jnp.where(jnp.isfinite(unknowns).all(), unknowns, first)
    covariance = jnp.where(sound, covariance, 0.0)
    evidence = jnp.where(sound, evidence, _NEVER)
    return unknowns, (unknowns[:3], covariance, evidence, weights)


def _weigh(problem: _Problem, unknowns, spread):
    """Weigh arrivals by how likely each is not one of the others.

    Returns:
        The normal matrix and the right side of the next step, times the square of the
        spread; the weights; and the log-likelihood, less that of others alone.
    """
    offset = unknowns[:3] - problem.node_positions
    paths = jnp.sqrt((offset**2).sum(axis=-1))
    directions = offset / jnp.maximum(paths, 1e-3)[:, None]
    design = jnp.concatenate([directions, jnp.ones((len(paths), 1))], axis=1)
    residuals = problem.arrivals - paths - unknowns[3]
    density = RIGHT * jax.scipy.stats.norm.pdf(residuals, scale=spread)
    density = jnp.where(problem.inside, density, 0.0)
    others = (1 - RIGHT) * CHANCE
    weights = jnp.where(problem.mask, density / (density + others), 0.0)
    logs = jnp.where(problem.mask, jnp.log((density + others) / CHANCE), 0.0)
    precision = (spread / problem.deviation) ** 2
    normal = jnp.matmul(design.T, weights[:, None] * design, precision=_HIGHEST)
    toward = jnp.matmul(design.T, weights * residuals, precision=_HIGHEST)
    toward = toward + precision * (problem.mean - unknowns)
    return normal + jnp.diag(precision), toward, weights, logs.sum()
