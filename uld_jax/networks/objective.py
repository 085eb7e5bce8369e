"""From a batch of a data set to network inputs, targets and losses."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import stft
from uld_jax.labels import losses as losses_lib
from uld_jax.labels import schemes

Batch = dict[str, Array]


def network_inputs(
    label: schemes.Label, batch: Batch, by_rows: Callable = lambda function: function
) -> tuple[Float[Array, "B M T 512"], Float[Array, "B M D"], Bool[Array, "B M"] | None]:
    """Return the spectra of all nodes, the codes of their positions, and a mask.

    The mask says which nodes are there; None, where a batch has none, says all.
    What absent nodes hold does not matter, not a number included.

    Args:
        label: Scheme and resolution.
        batch: A batch.
        by_rows: `devices.Devices.by_rows`, where rows are on several devices.
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
    """Return the target codes of all sources."""
    encode = jax.vmap(jax.vmap(label.encode, (0, None)))
    return encode(batch["source_positions"][..., :2], batch["room_size"][:, :2])


def losses(
    label: schemes.Label,
    logits: Float[Array, "B S D"],
    batch: Batch,
    permutation_invariant: bool = True,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Return each example's loss and what of it could be saved, mean over sources.

    The second is loss minus floor: the KL divergence where the loss is a cross
    entropy with a soft label, which cannot reach zero; else the loss itself.

    Args:
        label: Scheme and resolution.
        logits: What a network says.
        batch: The batch it was said about.
        permutation_invariant: Whether each example's outputs are assigned to its
            sources as suits them best (PIT, Sec. 3.3); else in their order.

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
