"""Expected codes: what a posterior over the room means to each kind of label.

A posterior is given by its log masses [F + 1, F + 1] at the grid points of a resolution
F, rows y and columns x; between them it is linear, as ULD has it. The code of a label at
a resolution I, F a multiple of I, is the posterior mean of the code: a linear map of the
posterior, because ULD is made of hat functions, one-hot of cells, and a heat map of
Gaussians. So a posterior on one fine grid gives the code of every coarser label.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from uld_jax.labels import codes, soft

_LEAST = 1e-12  # Of a share of the posterior, so that its logarithm is finite.


def hat_weights(resolution: int, fine: int) -> Float[np.ndarray, "K F"]:
    """Compute the hat functions of Eq. 1 at the F + 1 points of a finer grid."""
    points = np.arange(fine + 1) * resolution / fine
    centers = np.arange(resolution + 1)[:, None]
    return np.maximum(0.0, 1.0 - np.abs(centers - points)).astype(np.float32)


def cell_weights(resolution: int, fine: int) -> Float[np.ndarray, "I F"]:
    """Compute each grid point's share in each cell; edges belong to both sides."""
    points = np.arange(fine + 1) * resolution / fine
    cells = np.arange(resolution)[:, None]
    inside = ((points >= cells) & (points <= cells + 1)).astype(np.float32)
    return inside / inside.sum(axis=0)


def expected_uld(
    log_posterior: Float[Array, "F F"], resolution: int
) -> Float[Array, "K K"]:
    """Compute the logits of the expected ULD."""
    if log_posterior.shape[-1] == resolution + 1:
        return log_posterior
    weights = hat_weights(resolution, log_posterior.shape[-1] - 1)
    return jnp.log(_project(log_posterior, weights, weights))


def expected_one_hot(
    log_posterior: Float[Array, "F F"], resolution: int
) -> Float[Array, "I I"]:
    """Compute the logits of the mass in each cell."""
    weights = cell_weights(resolution, log_posterior.shape[-1] - 1)
    return jnp.log(_project(log_posterior, weights, weights))


def expected_soft(
    log_posterior: Float[Array, "F F"], resolution: int
) -> Float[Array, "I I"]:
    """Compute the logits of the expected soft label: smeared masses of cells."""
    inside = cell_weights(resolution, log_posterior.shape[-1] - 1)
    weights = (soft.smear(resolution).T @ inside).astype(np.float32)
    return jnp.log(_project(log_posterior, weights, weights))


def expected_heat_map(
    log_posterior: Float[Array, "F F"], resolution: int
) -> Float[Array, "I I"]:
    """Compute the logits, behind a sigmoid, of the expected heat map."""
    fine = log_posterior.shape[-1] - 1
    centers = (np.arange(resolution) + 0.5)[:, None] / resolution
    deviation = (np.arange(fine + 1) / fine - centers) / codes.HEAT_MAP_SIGMA
    weights = np.exp(-0.5 * deviation**2).astype(np.float32)
    return _log_odds(_project(log_posterior, weights, weights))


def expected_refined_grid(
    log_posterior: Float[Array, "F F"], resolution: int
) -> Float[Array, "3 I I"]:
    """Compute the logits, behind sigmoids, of presence and of the ratios in each cell."""
    fine = log_posterior.shape[-1] - 1
    inside = cell_weights(resolution, fine)
    ratios = np.arange(fine + 1) * resolution / fine - np.arange(resolution)[:, None]
    moments = (inside * np.clip(ratios, 0.0, 1.0)).astype(np.float32)
    presence = _project(log_posterior, inside, inside)
    x = _project(log_posterior, inside, moments) / presence
    y = _project(log_posterior, moments, inside) / presence
    return _log_odds(jnp.stack([presence, x, y]))


def _project(
    log_posterior: Float[Array, "F F"],
    rows: Float[np.ndarray, "I F"],
    columns: Float[np.ndarray, "I F"],
) -> Float[Array, "I I"]:
    """Sum the posterior's masses with weights along both axes."""
    masses = jax.nn.softmax(log_posterior.ravel()).reshape(log_posterior.shape)
    exact = jax.lax.Precision.HIGHEST
    product = jnp.matmul(masses, columns.T, precision=exact)
    product = jnp.matmul(rows, product, precision=exact)
    return product + _LEAST


def _log_odds(shares: Float[Array, "*I"]) -> Float[Array, "*I"]:
    shares = jnp.clip(shares, _LEAST, 1 - 1e-6)
    return jnp.log(shares) - jnp.log1p(-shares)
