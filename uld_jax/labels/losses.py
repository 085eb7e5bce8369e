"""Losses of one example: soft cross entropy and those of the baselines (Sec. 3.2).

Targets and logits are arrays of equal shape; the sum runs over all entries.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

RATIO_WEIGHT = 5.0


def cross_entropy(
    logits: Float[Array, "*D"], target: Float[Array, "*D"]
) -> Float[Array, ""]:
    """Return the cross entropy -sum(target log softmax(logits)), in nats."""
    log_probabilities = jax.nn.log_softmax(logits.ravel())
    return -(target.ravel() * log_probabilities).sum()


def entropy(distribution: Float[Array, "*D"]) -> Float[Array, ""]:
    """Return the entropy of a distribution, in nats: the least cross entropy.

    A soft label has one above zero, 1 nat on average for the ULD of a uniform
    position; cross entropy minus this floor is the KL divergence.
    """
    return -jax.scipy.special.xlogy(distribution, distribution).sum()


def squared_error(
    logits: Float[Array, "*D"], target: Float[Array, "*D"]
) -> Float[Array, ""]:
    """Return the summed squared error of sigmoid(logits), for the heat map.

    The paper does not say what loss its heat map has; we take the squared error
    behind a sigmoid, summed over the cells.
    """
    return ((jax.nn.sigmoid(logits) - target) ** 2).sum()


def refined_grid(
    logits: Float[Array, "3 I I"], target: Float[Array, "3 I I"]
) -> Float[Array, ""]:
    """Return the presence and ratio loss of the refined grid.

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


def permutation_invariant(pairwise: Float[Array, "S S"]) -> Float[Array, ""]:
    """Return the mean loss of the best assignment of outputs to sources.

    Permutation-invariant training (reference 21): an output is not told which
    source it is to find. Tries all S! assignments.

    Args:
        pairwise: Loss of each output (row) against each source (column).
    """
    num_sources = len(pairwise)
    orders = jnp.asarray(list(itertools.permutations(range(num_sources))), jnp.int32)
    return pairwise[orders, jnp.arange(num_sources)].mean(axis=-1).min()
