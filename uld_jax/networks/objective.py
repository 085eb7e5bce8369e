"""Network inputs, targets and losses of a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import stft
from uld_jax.labels import losses as losses_lib
from uld_jax.labels import schemes

Batch = dict[str, Array]


def inputs_of(
    model: nnx.Module,
    label: schemes.Label,
    batch: Batch,
    by_rows: Callable[..., Any] = lambda function: function,
) -> tuple[Any, ...]:
    """Compute the arguments of a network's call: its own inputs, or `network_inputs`.

    Args:
        model: The network; its class may have a static method `inputs`, which takes
            the other arguments.
        label: Scheme and resolution.
        batch: A batch. Values of absent nodes do not matter, NaN included.
        by_rows: `devices.Devices.by_rows`, where rows are on several devices.
    """
    compute = getattr(type(model), "inputs", network_inputs)
    return compute(label, batch, by_rows)


def network_inputs(
    label: schemes.Label,
    batch: Batch,
    by_rows: Callable[..., Any] = lambda function: function,
) -> tuple[Float[Array, "B M T 512"], Float[Array, "B M D"], Bool[Array, "B M"] | None]:
    """Compute the spectra of all nodes and the codes of their positions.

    Args:
        label: Scheme and resolution.
        batch: A batch. Values of absent nodes do not matter, NaN included.
        by_rows: `devices.Devices.by_rows`, where rows are on several devices.

    Returns:
        Spectra, codes, and a mask that is True where a node is present; None for all.
    """
    audio, mask = batch["audio"], batch.get("node_mask")
    if mask is not None:
        audio = jnp.where(mask[..., None], audio, 0)
    spectra = by_rows(jax.vmap(stft.spectral_features))(audio, mask)
    positions = batch["node_positions"][..., :2]
    if mask is not None:
        positions = jnp.where(mask[..., None], positions, 0.0)
    encode = jax.vmap(jax.vmap(label.encode_node, (0, None)))
    return spectra, encode(positions, batch["room_size"][:, :2]), mask


def targets(label: schemes.Label, batch: Batch) -> Float[Array, "B S *code"]:
    """Compute the target codes of all sources."""
    encode = jax.vmap(jax.vmap(label.encode, (0, None)))
    return encode(batch["source_positions"][..., :2], batch["room_size"][:, :2])


def losses(
    label: schemes.Label,
    logits: Float[Array, "B S D"],
    batch: Batch,
    permutation_invariant: bool = True,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Compute each example's loss and its excess over the floor, mean over sources.

    A cross entropy with a soft label cannot reach zero. Its excess is the KL
    divergence; that of other losses is the loss itself.

    Args:
        label: Scheme and resolution.
        logits: Outputs of a network.
        batch: The batch they are for.
        permutation_invariant: Whether to assign each example's outputs to its sources
            with the least loss (PIT, Sec. 3.3); else in their order.

    Returns:
        The losses, and their excess.

    Raises:
        ValueError: If the network finds another number of sources than there are.
    """
    target = targets(label, batch)
    if logits.shape[1] != target.shape[1]:
        raise ValueError(
            f"the batch has {target.shape[1]} sources and the network finds "
            f"{logits.shape[1]}; train it on data with as many"
        )
    if permutation_invariant and logits.shape[1] > 1:
        against_all = jax.vmap(label.loss, (None, 0))
        pairwise = jax.vmap(jax.vmap(against_all, (0, None)))(logits, target)
        loss = jax.vmap(losses_lib.permutation_invariant)(pairwise)
    else:
        loss = jax.vmap(jax.vmap(label.loss))(logits, target).mean(axis=1)
    floor = jax.vmap(jax.vmap(label.loss_floor))(target).mean(axis=1)
    return loss, loss - floor
