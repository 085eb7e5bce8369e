"""Check a position against the times at which a sound reaches the nodes.

Near a position that is roughly right, the correlations of all pairs are searched for the
highest sum (steered response, see `srp_phat`), then each node's time of arrival is read
from its correlation with the others, moved by what the position says. Where clocks and
node positions agree, most nodes are within millimeters or a few centimeters of their
place: that is evidence which no wrong position has by chance, and their times give the
position with a covariance that follows from how well they agree. Where they do not,
nothing is confirmed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import srp_phat

WHITENING = 0.8
REACH = 64  # Samples on either side that an arrival is looked for, 1.4 m of path.
INLIER = 0.04  # Meters: nodes that agree.
LEAST_ERROR = 0.003  # Meters of path: standard deviation of a time of arrival.
# Standard deviations of arrivals where a position is right, in meters of path, equally
# likely: exact clocks and places, and places that are known to some centimeters.
_SPREADS = (0.048, 0.024, 0.012, 0.006, LEAST_ERROR)
_RIGHT = 0.75  # Share of nodes that agree there.
_CHANCE = 1.0  # Density of arrivals by chance, for each meter.
# How far from its start a position may be, and the common part of all arrivals, to either
# side, in meters; and the largest deviation of a position that counts as one.
_AROUND, _COMMON, _WIDEST = 0.35, 1.0, 0.1
_NEVER = -99.0  # Evidence of a fit that ended at a wall.
_SPACINGS, _REACH = (0.08, 0.02, 0.005), 4  # Searches: meters, steps to either side.
_STEPS = 8
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
    signals: Float[Array, "M N"], mask: Bool[Array, " M"], max_lag: int
) -> Float[Array, "Q L"]:
    """Correlate the whitened signals of all pairs, for `fit`."""
    return srp_phat.correlate(signals, mask, max_lag, WHITENING)


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


def _fit(correlations, node_positions, mask, position, sides, height) -> Fit:
    def step(position, _):
        arrivals, residuals = _arrivals(correlations, node_positions, mask, position)
        position, *found = _fit_position(
            node_positions, mask, arrivals, position, sides, height
        )
        return position, (*found, residuals)

    position, found = jax.lax.scan(step, position, None, length=2)
    covariance, evidence, agrees, residuals = (each[-1] for each in found)
    return Fit(position, covariance, evidence, residuals, agrees)


def _search(smooth, node_positions, start, sides, height):
    """Find the point of highest response near a start, coarse to fine: [3]."""
    reach = jnp.arange(-_REACH, _REACH + 1.0)

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
    """Find each node's time of arrival, up to a common one: [M] in meters of path."""
    num_nodes = len(node_positions)
    paths = _distances(position, node_positions)
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
    places, beyond, _ = correlations_lib.refine_peaks(sums, sums.argmax(axis=1))
    late = shifts[places] + beyond / srp_phat.OVERSAMPLING
    residuals = jnp.where(mask, late / correlations_lib.SAMPLES_PER_METER, 0.0)
    return paths + residuals, residuals


def _fit_position(node_positions, mask, arrivals, start, sides, height):
    """Fit a position to arrivals with a spread that is not known.

    With each spread, arrivals are a mixture of a normal distribution and of chance. The
    position and the common part of all arrivals are fitted by expectation maximization,
    from the widest spread to the least. The evidence of each is their marginal likelihood
    by Laplace's method, relative to that of chance.

    Returns:
        Position, covariance, evidence and which nodes agree, weighted over the spreads.
    """
    middle = jnp.append(start[:2], height[0])
    late = jnp.where(mask, arrivals - _distances(middle, node_positions), jnp.nan)
    unknowns = jnp.append(middle, jnp.nan_to_num(jnp.nanmedian(late)))

    def weigh(unknowns, spread):
        offset = unknowns[:3] - node_positions
        paths = jnp.sqrt((offset**2).sum(axis=-1))
        directions = offset / jnp.maximum(paths, 1e-3)[:, None]
        design = jnp.concatenate([directions, jnp.ones((len(arrivals), 1))], axis=1)
        residuals = arrivals - paths - unknowns[3]
        density = _RIGHT * jax.scipy.stats.norm.pdf(residuals, scale=spread)
        chance = (1 - _RIGHT) * _CHANCE
        weights = jnp.where(mask, density / (density + chance), 0.0)
        likelier = jnp.where(mask, jnp.log((density + chance) / _CHANCE), 0.0)
        # In units of the spread, with what is known of the height.
        prior = jnp.array([1e-6, 1e-6, 0.0, 1e-6])
        prior = prior.at[2].set((spread / height[1]) ** 2)
        normal = jnp.matmul(design.T, weights[:, None] * design, precision=_HIGHEST)
        toward = jnp.matmul(design.T, weights * residuals, precision=_HIGHEST)
        toward = toward.at[2].add(prior[2] * (height[0] - unknowns[2]))
        return normal + jnp.diag(prior), toward, weights, likelier.sum()

    def fit_spread(unknowns, spread):
        def step(unknowns, _):
            normal, toward, *_ = weigh(unknowns, spread)
            moved = unknowns + jnp.linalg.solve(normal, toward)
            plan = jnp.clip(moved[:2], 0.0, sides)
            return jnp.concatenate([plan, moved[2:]]), None

        unknowns, _ = jax.lax.scan(step, unknowns, None, length=_STEPS)
        normal, _, weights, likelier = weigh(unknowns, spread)
        covariance = spread**2 * jnp.linalg.inv(normal)
        volume = 2 * jnp.log(2 * jnp.pi * spread**2)
        volume -= 0.5 * jnp.linalg.slogdet(normal)[1]
        prior = jax.scipy.stats.norm.logpdf(unknowns[2], height[0], height[1])
        prior -= jnp.log((2 * _AROUND) ** 2 * 2 * _COMMON)
        plan = unknowns[:2]
        at_wall = (jnp.minimum(plan, sides - plan) < 1e-4).any()
        vague = jnp.diag(covariance)[:2].max() > _WIDEST**2
        evidence = likelier + volume + prior
        evidence = jnp.where(at_wall | vague, _NEVER, evidence)
        return unknowns, (unknowns[:3], covariance[:2, :2], evidence, weights)

    _, (positions, covariances, evidence, weights) = jax.lax.scan(
        fit_spread, unknowns, jnp.array(_SPREADS)
    )
    shares = jax.nn.softmax(evidence)
    position = shares @ positions
    apart = (positions - position)[:, :2]
    covariances = covariances + apart[:, :, None] * apart[:, None, :]
    covariance = (shares[:, None, None] * covariances).sum(axis=0)
    evidence = jax.nn.logsumexp(evidence) - np.log(len(_SPREADS))
    return position, covariance, evidence, shares @ weights > 0.5


def _distances(position, node_positions):
    return jnp.sqrt(((position - node_positions) ** 2).sum(axis=-1))
