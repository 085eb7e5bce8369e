"""Bearings: directions of a sound on the plan, seen from arrays, and where they meet.

Feng, Zhang and Li, "Eliminating quantization errors in classification-based sound source
localization" (reference 15), labels one array's azimuth; Liu, Gong and Zhang (reference
12) triangulate several. The paper does not say by what rule lines that do not meet in a
point are joined; we take the most likely point, for normal errors of the angles.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from uld_jax.labels import circular

_CELLS = 24  # Per axis, of the grid on which the search starts.
_NUM_STEPS = 30
_LONGEST_STEP = 1.0  # Meters.
_NEAREST = 0.01  # Meters: no closer does an angle say more of a position.
_FLOOR = 1e-6  # Of a share of a distribution, before its logarithm.
_HIGHEST = jax.lax.Precision.HIGHEST  # A GPU would round the factors to fewer bits.


class Fix(NamedTuple):
    """A position from bearings.

    Attributes:
        position: (x, y) in meters, inside the room.
        covariance: Of the position, in square meters.
    """

    position: Float[Array, "*B 2"]
    covariance: Float[Array, "*B 2 2"]


def measure_bearings(
    positions: Float[Array, "*B 2"], arrays: Float[Array | np.ndarray, "A 2"]
) -> Float[Array, "*B A"]:
    """Compute the azimuths of positions, seen from arrays.

    Args:
        positions: (x, y) in meters.
        arrays: (x, y) of the arrays' centers in meters.

    Returns:
        Angles from the x axis in rad, from -pi to pi.
    """
    offsets = positions[..., None, :] - arrays
    return jnp.arctan2(offsets[..., 1], offsets[..., 0])


def wrap(angles: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Bring angles in rad to -pi to pi."""
    return jnp.remainder(angles + jnp.pi, circular.TURN) - jnp.pi


def triangulate(
    azimuths: Float[Array, " A"],
    deviations: Float[Array, " A"],
    arrays: Float[Array | np.ndarray, "A 2"],
    room_size: Float[Array, "2"],
) -> Fix:
    """Find the position in a room that fits bearings best: weighted least squares.

    Minimizes the sum of squared differences of the angles, each divided by its standard
    deviation: on a coarse grid, then by Gauss-Newton steps. The covariance is the
    inverse of the information of the angles, plus that of a position anywhere in the
    room, which bounds it where bearings are nearly parallel.

    Args:
        azimuths: Measured azimuths in rad; at least two.
        deviations: Their standard deviations in rad, above zero.
        arrays: (x, y) of the arrays' centers in meters.
        room_size: Sides along x and y in meters.
    """
    weights = deviations**-2

    def misfits(positions):
        return wrap(azimuths - measure_bearings(positions, arrays))

    cells = (np.arange(_CELLS, dtype=np.float32) + 0.5) / _CELLS
    grid = np.stack(np.meshgrid(cells, cells), axis=-1).reshape(-1, 2) * room_size
    start = grid[(misfits(grid) ** 2 @ weights).argmin()]

    def slopes(position):
        offsets = position - arrays
        squares = jnp.maximum((offsets**2).sum(axis=-1, keepdims=True), _NEAREST**2)
        turned = jnp.stack([-offsets[:, 1], offsets[:, 0]], axis=-1)
        return turned / squares

    def information(slope):
        return jnp.matmul((weights[:, None] * slope).T, slope, precision=_HIGHEST)

    def step(_, position):
        slope = slopes(position)
        normal = information(slope)
        normal += 1e-6 * jnp.trace(normal) * jnp.eye(2)
        gradient = ((weights * misfits(position))[:, None] * slope).sum(axis=0)
        change = jnp.linalg.solve(normal, gradient)
        # Past an array, its bearing would turn around.
        nearest = jnp.sqrt(((position - arrays) ** 2).sum(axis=-1)).min()
        longest = jnp.clip(0.5 * nearest, _NEAREST, _LONGEST_STEP)
        length = jnp.sqrt((change**2).sum())
        change *= longest / jnp.maximum(length, longest)
        return jnp.clip(position + change, 0.0, room_size)

    position = jax.lax.fori_loop(0, _NUM_STEPS, step, start)
    # The variance of a position anywhere along a side is a twelfth of its square.
    known = 12.0 / room_size**2
    values, axes = jnp.linalg.eigh(information(slopes(position)) + jnp.diag(known))
    # Beside an array, rounding of the one value can exceed the other.
    values = jnp.maximum(values, known.min())
    covariance = jnp.matmul(axes / values, axes.T, precision=_HIGHEST)
    return Fix(position, covariance)


def encode_bearings(
    position: Float[Array, "2"],
    arrays: Float[Array | np.ndarray, "A 2"],
    resolution: int,
) -> Float[Array, "A I"]:
    """Encode a position as the circular unbiased label of its azimuth at each array.

    Args:
        position: (x, y) in meters.
        arrays: (x, y) of the arrays' centers in meters.
        resolution: Grid points I on the circle, at the angles 2 pi i / I.

    Returns:
        A distribution for each array.

    Raises:
        ValueError: As `circular.encode_circular`.
    """
    return circular.encode_circular(measure_bearings(position, arrays), resolution)


def decode_bearings(
    scores: Float[Array, "A I"],
    arrays: Float[Array | np.ndarray, "A 2"],
    room_size: Float[Array, "2"],
) -> Float[Array, "2"]:
    """Decode distributions of azimuths to the position where the bearings meet.

    Args:
        scores: A distribution for each array.
        arrays: (x, y) of the arrays' centers in meters.
        room_size: Sides along x and y in meters.
    """
    azimuths = circular.decode_circular(scores)
    return triangulate(azimuths, spread(scores, azimuths), arrays, room_size).position


def spread(
    scores: Float[Array, "A I"], azimuths: Float[Array, " A"]
) -> Float[Array, " A"]:
    """Compute how much wider distributions are than labels of their azimuths, in rad.

    A label itself has a variance w (1 - w) of cells squared, which says nothing of the
    error. The least is a hundredth of a cell.

    Args:
        scores: A distribution for each array.
        azimuths: The decoded ones, in rad.
    """
    cell = circular.TURN / scores.shape[-1]
    points = jnp.arange(scores.shape[-1]) * cell
    offsets = wrap(points - azimuths[:, None]) / cell
    label = circular.encode_circular(azimuths, scores.shape[-1])
    shares = scores / scores.sum(axis=-1, keepdims=True)
    excess = ((shares - label) * offsets**2).sum(axis=-1)
    return cell * jnp.sqrt(jnp.maximum(excess, 1e-4))


def map_bearings(
    scores: Float[Array, "A I"],
    arrays: Float[Array | np.ndarray, "A 2"],
    room_size: Float[Array, "2"],
    cells: int,
) -> Float[Array, "K K"]:
    """Compute the distribution over the plan that distributions of azimuths mean.

    The product over the arrays of the density at a cell's azimuth, which is linear
    between grid points, as if the arrays' errors were independent.

    Args:
        scores: A distribution for each array.
        arrays: (x, y) of the arrays' centers in meters.
        room_size: Sides along x and y in meters.
        cells: Cells K per axis; rows are y.
    """
    centers = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    plan = np.stack(np.meshgrid(centers, centers), axis=-1) * room_size
    hats = circular.encode_circular(measure_bearings(plan, arrays), scores.shape[-1])
    logs = jnp.log(jnp.maximum((hats * scores).sum(axis=-1), _FLOOR)).sum(axis=-1)
    return jax.nn.softmax(logs.ravel()).reshape(cells, cells)
