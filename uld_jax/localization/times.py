"""Check a position against the times at which a sound reaches the nodes.

Near a position that is roughly right, the correlations of all pairs are searched for the
highest sum (steered response, see `srp_phat`), then each node's time of arrival is read
from its correlation with the others, moved by what the position says. Where clocks and
node positions agree, most nodes are within a few centimeters of their place: that is
evidence which no wrong position has by chance, and their times give the position by
least squares, to millimeters. Where they do not, nothing is confirmed.
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
# Shares of nodes that agree where a position is right, and by chance.
_RIGHT, _CHANCE = 0.75, 0.08
# Nodes that any position can be made to agree with: for x, y and the time at which the
# sound began; and for the height, if it is not known to 5 cm.
_FITTED, _KNOWN_HEIGHT = 3, 0.05
_NEVER = -99.0  # Evidence of a fit that ended at a wall.
_SEARCHES = ((0.08, 4), (0.02, 4), (0.005, 4))  # Meters, steps to either side.
LEAST_ERROR = 0.003  # Meters of path: standard deviation of a time of arrival.
_STEPS = 8
_HIGHEST = jax.lax.Precision.HIGHEST


class Fit(NamedTuple):
    """A position that times of arrival were fitted to, or several.

    Attributes:
        position: (x, y, z) in meters.
        covariance: Of x and y, in square meters.
        evidence: Logarithm of how much likelier the nodes' agreement is if a source is
            there than if it came about by chance.
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
    fitted = _FITTED + (height[1] > _KNOWN_HEIGHT)
    for _ in range(2):
        arrivals, residuals = _arrivals(correlations, node_positions, mask, position)
        position, covariance, agrees = _least_squares(
            node_positions, mask, arrivals, position, sides, height, fitted
        )
    num_nodes, num_agree = mask.sum(), agrees.sum()
    evidence = num_agree * np.log(_RIGHT / _CHANCE)
    evidence += (num_nodes - num_agree) * np.log((1 - _RIGHT) / (1 - _CHANCE))
    evidence -= fitted * np.log(_RIGHT / _CHANCE)
    plan = position[:2]
    at_wall = (jnp.minimum(plan, sides - plan) < 1e-4).any()
    evidence = jnp.where(at_wall, _NEVER, evidence)
    return Fit(position, covariance, evidence, residuals, agrees)


def _search(smooth, node_positions, start, sides, height):
    """Find the point of highest response near a start, coarse to fine: [3]."""
    center = jnp.append(start, height[0])
    # The first search is of three heights: the mean, and one deviation to either side.
    up = height[1] * jnp.array([-1.0, 0.0, 1.0])
    for spacing, reach in _SEARCHES:
        steps = spacing * jnp.arange(-reach, reach + 1.0)
        x, y, z = jnp.meshgrid(
            jnp.clip(center[0] + steps, 0.0, sides[0]),
            jnp.clip(center[1] + steps, 0.0, sides[1]),
            center[2] + up,
            indexing="ij",
        )
        points = jnp.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1)
        read = srp_phat.smoothed(spacing)
        power = srp_phat.response_power(smooth, node_positions, points, read)
        center, up = points[power.argmax()], jnp.zeros(1)
    return center


def _arrivals(correlations, node_positions, mask, position):
    """Find each node's time of arrival, up to a common one: [M] in meters of path."""
    num_nodes = len(node_positions)
    paths = jnp.sqrt(((position - node_positions) ** 2).sum(axis=-1))
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


def _least_squares(node_positions, mask, arrivals, start, sides, height, fitted):
    """Fit a position to arrivals, those of nodes that agree alone."""

    def residuals_at(unknowns):
        offset = unknowns[:3] - node_positions
        paths = jnp.sqrt((offset**2).sum(axis=-1))
        directions = offset / jnp.maximum(paths, 1e-3)[:, None]
        return arrivals - paths - unknowns[3], directions

    def weights_of(residuals):
        return mask & (jnp.abs(residuals) < INLIER)

    def information(weights, directions):
        design = jnp.concatenate([directions, jnp.ones((len(arrivals), 1))], axis=1)
        design = weights[:, None] * design
        normal = jnp.matmul(design.T, design, precision=_HIGHEST)
        prior = jnp.array([1e-6, 1e-6, 0.0, 1e-6])
        prior = prior.at[2].set((error / height[1]) ** 2)
        return design, normal + jnp.diag(prior)

    error = LEAST_ERROR
    first, _ = residuals_at(jnp.append(start, 0.0))
    common = jnp.nanmedian(jnp.where(mask, first, jnp.nan))

    def step(unknowns, _):
        residuals, directions = residuals_at(unknowns)
        weights = weights_of(residuals)
        design, normal = information(weights, directions)
        toward = jnp.matmul(design.T, jnp.where(weights, residuals, 0.0))
        toward = toward.at[2].add((error / height[1]) ** 2 * (height[0] - unknowns[2]))
        moved = unknowns + jnp.linalg.solve(normal, toward)
        plan = jnp.clip(moved[:2], 0.0, sides)
        return jnp.concatenate([plan, moved[2:]]), None

    unknowns, _ = jax.lax.scan(step, jnp.append(start, common), None, length=_STEPS)
    residuals, directions = residuals_at(unknowns)
    weights = weights_of(residuals)
    _, normal = information(weights, directions)
    beyond_fit = jnp.maximum(weights.sum() - fitted, 1)
    scatter = jnp.where(weights, residuals**2, 0.0).sum() / beyond_fit
    variance = jnp.maximum(scatter, error**2)
    covariance = variance * jnp.linalg.inv(normal)[:2, :2]
    return unknowns[:3], covariance, weights
