"""Errors and accuracies of predicted positions (Sec. 3.4), over N sources."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from uld_jax.labels import codes

ERROR_STATISTICS = ("mae", "median", "rmse", "p90")  # Keys of `error_statistics`.


def distances(
    predicted: Float[Array, "*#N 2"], positions: Float[Array, "*#N 2"]
) -> Float[Array, "..."]:
    """Return the straight-line distances between positions, in meters."""
    return jnp.sqrt(((predicted - positions) ** 2).sum(axis=-1))


def accuracy(correct: Bool[Array, " N"]) -> float:
    """Return the share of correctly classified sources, 0 to 1 (ACC, Eq. 6)."""
    return float(jnp.mean(correct))


def mae(errors: Float[Array | np.ndarray, " N"]) -> float:
    """Return the mean of the distances, in meters (MAE, Eq. 7)."""
    return float(jnp.mean(errors))


def error_statistics(errors: Float[Array | np.ndarray, " N"]) -> dict[str, float]:
    """Return mean, median, root mean square and 90th percentile of distances.

    Raises:
        ValueError: If there are no errors, or one is not finite.
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


def quantization_error(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Float[Array, ""]:
    """Return the distance from a position to the center of its cell, in meters.

    Its mean over a test set is the paper's QE: the MAE of a one-hot network
    that is always right (Sec. 3.5).
    """
    cell = codes.locate_cell(position, room_size, resolution)
    return distances(codes.cell_center(cell, room_size, resolution), position)


def best_permutation(
    predicted: Float[Array, "S 2"], positions: Float[Array, "S 2"]
) -> Int[Array, " S"]:
    """Return the order of predictions with the least summed distance (Sec. 3.4).

    `predicted[order]` is matched with `positions`. Tries all S! orders.
    """
    num_sources = positions.shape[0]
    orders = jnp.asarray(list(itertools.permutations(range(num_sources))), jnp.int32)
    totals = distances(predicted[orders], positions[None]).sum(axis=-1)
    return orders[jnp.argmin(totals)]
