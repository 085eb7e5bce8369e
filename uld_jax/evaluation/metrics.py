"""Errors and accuracies of predicted positions (Sec. 3.4), over N sources."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from uld_jax.labels import codes

ERROR_STATISTICS = ("mae", "median", "rmse", "p90")  # Keys of `error_statistics`.
# Results for the regions that hold 90 % of a distribution: their names in records.
REGION = {"coverage": "coverage_90", "area": "area_90"}


def distances(predicted: ArrayLike, positions: ArrayLike) -> Float[Array, "..."]:
    """Compute the straight-line distances between positions, in meters.

    Args:
        predicted: Positions (x, y) in meters, [..., 2].
        positions: The true ones, [..., 2].

    >>> import uld_jax
    >>> uld_jax.distances([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [0.0, 0.0]]).tolist()
    [0.5, 5.0]
    """
    offsets = jnp.asarray(predicted) - jnp.asarray(positions)
    return jnp.sqrt((offsets**2).sum(axis=-1))


def accuracy(correct: ArrayLike) -> float:
    """Compute the share of correctly classified sources, 0 to 1 (ACC, Eq. 6).

    Args:
        correct: Whether each source's class was found, [N] Booleans.

    >>> import uld_jax
    >>> uld_jax.accuracy([True, False, True, True])
    0.75
    """
    return float(jnp.mean(jnp.asarray(correct)))


def mae(errors: ArrayLike) -> float:
    """Compute the mean of distances, in meters (MAE, Eq. 7).

    Args:
        errors: Distances in meters, [N].

    >>> import uld_jax
    >>> uld_jax.mae([0.25, 0.5, 0.75])
    0.5
    """
    return float(jnp.mean(jnp.asarray(errors)))


def error_statistics(errors: ArrayLike) -> dict[str, float]:
    """Compute mean, median, root mean square and 90th percentile of distances.

    Args:
        errors: Distances in meters, [N].

    Returns:
        "mae", "median", "rmse" and "p90", in meters.

    Raises:
        ValueError: If there are no errors, or one is not finite.

    >>> import uld_jax
    >>> uld_jax.error_statistics([0.0, 0.0, 1.0, 3.0])["median"]
    0.5
    """
    values = np.asarray(errors, np.float64)
    if values.size == 0:
        raise ValueError("no errors to average: the split has no sources")
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} of the errors are not finite")
    return {
        "mae": mae(errors),
        "median": float(np.median(values)),
        "rmse": float(np.sqrt(np.mean(values**2))),
        "p90": float(np.percentile(values, 90)),
    }


def highest_density_region(
    distribution: ArrayLike, share: float = 0.9
) -> Bool[Array, "..."]:
    """Find the fewest cells or grid points that hold a share of a distribution.

    Args:
        distribution: Non-negative entries that sum to one, of any shape.
        share: Share to hold, from 0 to 1.

    Returns:
        Whether each entry is in the region, of the same shape.

    >>> import uld_jax
    >>> uld_jax.highest_density_region([[0.5, 0.3], [0.15, 0.05]]).tolist()
    [[True, True], [True, False]]
    """
    distribution = jnp.asarray(distribution)
    flat = distribution.ravel()
    order = jnp.argsort(-flat)
    before = jnp.cumsum(flat[order]) - flat[order]
    inside = jnp.zeros(flat.shape, bool).at[order].set(before < share)
    return inside.reshape(distribution.shape)


def quantization_error(
    position: ArrayLike, room_size: ArrayLike, resolution: int
) -> Float[Array, ""]:
    """Compute the distance from a position to the center of its cell, in meters.

    Its mean over a test set is the paper's QE: the MAE of a one-hot network
    that is always right (Sec. 3.5).

    Args:
        position: (x, y) in meters.
        room_size: Sides along x and y in meters.
        resolution: Cells per axis I.

    >>> import uld_jax
    >>> uld_jax.quantization_error([1.5, 2.5], [8.0, 4.0], resolution=4).item()
    0.5
    """
    position, room_size = jnp.asarray(position), jnp.asarray(room_size)
    cell = codes.locate_cell(position, room_size, resolution)
    return distances(codes.cell_center(cell, room_size, resolution), position)


def best_permutation(predicted: ArrayLike, positions: ArrayLike) -> Int[Array, " S"]:
    """Find the order of predictions with the least summed distance (Sec. 3.4).

    `predicted[order]` is matched with `positions`. Tries all S! orders.

    Args:
        predicted: Positions (x, y) in meters, [S, 2].
        positions: The true ones, [S, 2].

    >>> import uld_jax
    >>> uld_jax.best_permutation([[1.0, 2.0], [3.0, 4.0]], [[3.1, 4.0], [1.1, 2.0]]).tolist()
    [1, 0]
    """
    predicted, positions = jnp.asarray(predicted), jnp.asarray(positions)
    num_sources = positions.shape[0]
    orders = jnp.asarray(list(itertools.permutations(range(num_sources))), jnp.int32)
    totals = distances(predicted[orders], positions[None]).sum(axis=-1)
    return orders[jnp.argmin(totals)]
