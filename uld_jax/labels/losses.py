"""Losses of labels: soft cross entropy and those of the baselines (Sec. 3.2).

Logits and targets are arrays of NumPy, JAX or PyTorch, of equal shape. Without `num_axes`
all of it is one label, and sums run over all entries; with it the last so many axes are,
and there is a loss for each label.
"""

import itertools
from collections.abc import Sequence

from uld_jax.labels import arrays
from uld_jax.labels.arrays import Array

RATIO_WEIGHT = 5.0


def cross_entropy(
    logits: Array,
    target: Array,
    num_axes: int | None = None,
    *,
    subtract_entropy: bool = False,
) -> Array:
    """Compute the cross entropy -sum(target log softmax(logits)), in nats.

    Args:
        logits: A network's output, of any shape.
        target: Distribution of the same shape that sums to one, soft or one-hot.
        num_axes: Number of last axes that are one label; all of them by default.
        subtract_entropy: Whether the least cross entropy, that of the target itself, is
            subtracted: then it is the KL divergence, which can be zero.

    Returns:
        The cross entropy of each label, [...].

    Raises:
        ValueError: If the shapes differ.

    >>> import uld_jax
    >>> loss = uld_jax.cross_entropy(logits=[0.0, 0.0], target=[0.5, 0.5])
    >>> print(f"{loss:.4f}")
    0.6931
    """
    logits, target = arrays.as_floats(logits, target)
    if logits.shape != target.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and the target "
            f"{tuple(target.shape)}; they must be equal"
        )
    xp = arrays.namespace(logits)
    axes = _label_axes(logits, num_axes)
    # The softmax does not change by it, so neither does its gradient.
    shifted = logits - arrays.constant(xp.max(logits, axis=axes, keepdims=True))
    log_sum = xp.log(xp.sum(xp.exp(shifted), axis=axes, keepdims=True))
    loss = -xp.sum(target * (shifted - log_sum), axis=axes)
    return loss - entropy(target, num_axes) if subtract_entropy else loss


def factorized_cross_entropy(
    logits: Sequence[Array],
    targets: Sequence[Array],
    *,
    subtract_entropy: bool = False,
) -> Array:
    """Compute the cross entropy of one distribution for each axis, summed, in nats.

    With many dimensions: N axes of K entries in place of a joint of K^N. It is the cross
    entropy of the joint, if both joints are the outer products of their marginals.

    Args:
        logits: For each coordinate, x first: [..., K].
        targets: As `codes.encode_marginals` gives them, of the same shapes.
        subtract_entropy: As `cross_entropy`.

    Returns:
        The cross entropy of each label, [...].

    Raises:
        ValueError: If there are more logits than targets or fewer, or shapes differ.

    >>> import uld_jax
    >>> targets = uld_jax.encode_marginals([1.0, 3.0], [4.0, 4.0], resolution=2)
    >>> loss = uld_jax.factorized_cross_entropy([[0.0] * 3, [0.0] * 3], targets)
    >>> print(f"{loss:.4f}")
    2.1972
    """
    if len(logits) != len(targets) or not len(logits):
        raise ValueError(
            f"{len(logits)} logits and {len(targets)} targets; each axis needs both"
        )
    return sum(
        cross_entropy(one, target, 1, subtract_entropy=subtract_entropy)
        for one, target in zip(logits, targets, strict=True)
    )


def entropy(distribution: Array, num_axes: int | None = None) -> Array:
    """Compute the entropy of a distribution, in nats: the least cross entropy.

    That of a soft label is above zero, on average half a nat an axis for the ULD of a
    uniform position. Cross entropy minus this floor is the KL divergence.

    Args:
        distribution: Non-negative entries that sum to one, of any shape.
        num_axes: Number of last axes that are one label; all of them by default.

    Returns:
        The entropy of each label, [...].

    >>> import uld_jax
    >>> print(f"{uld_jax.entropy([[0.25, 0.25], [0.5, 0.0]]):.4f}")
    1.0397
    """
    (distribution,) = arrays.as_floats(distribution)
    xp = arrays.namespace(distribution)
    logarithm = xp.log(xp.where(distribution > 0, distribution, 1.0))
    return -xp.sum(distribution * logarithm, axis=_label_axes(distribution, num_axes))


def squared_error(logits: Array, target: Array, num_axes: int | None = None) -> Array:
    """Compute the summed squared error of sigmoid(logits), for the heat map.

    The paper does not say what loss its heat map has; we take the squared error
    behind a sigmoid, summed over the cells.

    Args:
        logits: A network's output, of any shape.
        target: Heat map of the same shape.
        num_axes: Number of last axes that are one label; all of them by default.

    Returns:
        The error of each label, [...].
    """
    logits, target = arrays.as_floats(logits, target)
    xp = arrays.namespace(logits)
    error = (xp.exp(_log_sigmoid(logits)) - target) ** 2
    return xp.sum(error, axis=_label_axes(logits, num_axes))


def refined_grid(logits: Array, target: Array, num_axes: int | None = None) -> Array:
    """Compute the presence and ratio loss of the refined grid.

    The paper does not say how the terms are weighted; we take binary cross
    entropy of the presence summed over all cells, plus RATIO_WEIGHT times the
    squared error of the ratios in the occupied cell, all behind sigmoids. A
    sum, not a mean: the one positive would be lost among many cells.

    Args:
        logits: Of presence and ratios, [..., 1 + N, Iy, Ix] and so on.
        target: As `codes.encode_refined_grid` gives it, of the same shape.
        num_axes: Number of last axes that are one label, 1 + N; all by default.

    Returns:
        The loss of each label, [...].
    """
    logits, target = arrays.as_floats(logits, target)
    xp = arrays.namespace(logits)
    num_axes = logits.ndim if num_axes is None else num_axes
    grid = (slice(None),) * (num_axes - 1)
    presence, log_odds = target[(..., 0, *grid)], logits[(..., 0, *grid)]
    detection = -(
        presence * _log_sigmoid(log_odds) + (1.0 - presence) * _log_sigmoid(-log_odds)
    )
    ratios = (..., slice(1, None), *grid)
    errors = xp.sum(
        (xp.exp(_log_sigmoid(logits[ratios])) - target[ratios]) ** 2, axis=-num_axes
    )
    refinement = xp.where(presence > 0.5, errors, 0.0)
    return xp.sum(
        detection + RATIO_WEIGHT * refinement, axis=tuple(range(1 - num_axes, 0))
    )


def permutation_invariant(pairwise: Array) -> Array:
    """Compute the mean loss of the best assignment of outputs to sources.

    For permutation-invariant training (reference 21), which leaves open which output
    finds which source. Tries all S! assignments.

    Args:
        pairwise: Loss of each output (row) against each source (column), [..., S, S].

    Returns:
        The mean loss, [...].

    Raises:
        ValueError: If there are not as many outputs as sources.

    >>> import uld_jax
    >>> print(uld_jax.permutation_invariant([[5.0, 1.0], [2.0, 4.0]]))
    1.5
    """
    (pairwise,) = arrays.as_floats(pairwise)
    if pairwise.ndim < 2 or pairwise.shape[-1] != pairwise.shape[-2]:
        raise ValueError(
            f"pairwise has shape {tuple(pairwise.shape)}; it must be [..., S, S]"
        )
    xp = arrays.namespace(pairwise)
    num_sources = pairwise.shape[-1]
    totals = [
        sum(pairwise[..., output, source] for source, output in enumerate(order))
        for order in itertools.permutations(range(num_sources))
    ]
    return xp.min(xp.stack(totals, axis=-1), axis=-1) / num_sources


def _label_axes(array: Array, num_axes: int | None) -> tuple[int, ...]:
    """List the axes of one label."""
    return tuple(range(-(array.ndim if num_axes is None else num_axes), 0))


def _log_sigmoid(values: Array) -> Array:
    xp = arrays.namespace(values)
    least = xp.where(values < 0, values, 0.0)
    return least - xp.log1p(xp.exp(-xp.abs(values)))
