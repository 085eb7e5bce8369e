"""Losses of one source: soft cross entropy and those of the baselines (Sec. 3.2).

Logits and targets are arrays of equal shape; sums run over all entries.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

RATIO_WEIGHT = 5.0


def cross_entropy(logits: ArrayLike, target: ArrayLike) -> Float[Array, ""]:
    """Compute the cross entropy -sum(target log softmax(logits)), in nats.

    Args:
        logits: A network's output, of any shape.
        target: Distribution of the same shape that sums to one, soft or one-hot.

    >>> import uld_jax
    >>> loss = uld_jax.cross_entropy(logits=[0.0, 0.0], target=[0.5, 0.5])
    >>> print(f"{loss:.4f}")
    0.6931
    """
    log_probabilities = jax.nn.log_softmax(jnp.asarray(logits).ravel())
    return -(jnp.asarray(target).ravel() * log_probabilities).sum()


def entropy(distribution: ArrayLike) -> Float[Array, ""]:
    """Compute the entropy of a distribution, in nats: the least cross entropy.

    That of a soft label is above zero, on average 1 nat for the ULD of a uniform
    position. Cross entropy minus this floor is the KL divergence.

    Args:
        distribution: Non-negative entries that sum to one, of any shape.

    >>> import uld_jax
    >>> print(f"{uld_jax.entropy([[0.25, 0.25], [0.5, 0.0]]):.4f}")
    1.0397
    """
    distribution = jnp.asarray(distribution)
    return -jax.scipy.special.xlogy(distribution, distribution).sum()


def squared_error(
    logits: Float[Array, "*D"], target: Float[Array, "*D"]
) -> Float[Array, ""]:
    """Compute the summed squared error of sigmoid(logits), for the heat map.

    The paper does not say what loss its heat map has; we take the squared error
    behind a sigmoid, summed over the cells.
    """
    return ((jax.nn.sigmoid(logits) - target) ** 2).sum()


def refined_grid(
    logits: Float[Array, "3 I I"], target: Float[Array, "3 I I"]
) -> Float[Array, ""]:
    """Compute the presence and ratio loss of the refined grid.

    The paper does not say how the terms are weighted; we take binary cross
    entropy of the presence summed over all cells, plus RATIO_WEIGHT times the
    squared error of both ratios in the occupied cell, all behind sigmoids. A
    sum, not a mean: the one positive would be lost among many cells.
    """
    presence = target[0]
    log_odds = logits[0]
    detection = -(
        presence * jax.nn.log_sigmoid(log_odds)
        + (1.0 - presence) * jax.nn.log_sigmoid(-log_odds)
    ).sum()
    errors = (jax.nn.sigmoid(logits[1:]) - target[1:]) ** 2
    refinement = jnp.where(presence > 0.5, errors.sum(axis=0), 0.0).sum()
    return detection + RATIO_WEIGHT * refinement


def permutation_invariant(pairwise: ArrayLike) -> Float[Array, ""]:
    """Compute the mean loss of the best assignment of outputs to sources.

    For permutation-invariant training (reference 21), which leaves open which output
    finds which source. Tries all S! assignments.

    Args:
        pairwise: Loss of each output (row) against each source (column), [S, S].

    >>> import uld_jax
    >>> print(uld_jax.permutation_invariant([[5.0, 1.0], [2.0, 4.0]]))
    1.5
    """
    pairwise = jnp.asarray(pairwise)
    num_sources = len(pairwise)
    orders = jnp.asarray(list(itertools.permutations(range(num_sources))), jnp.int32)
    return pairwise[orders, jnp.arange(num_sources)].mean(axis=-1).min()
