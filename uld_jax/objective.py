"""From a batch of a data set to network inputs, targets and losses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from uld_jax import features, schemes

Batch = dict[str, Array]


def network_inputs(
    label: schemes.Label, batch: Batch
) -> tuple[Float[Array, "B M T 512"], Float[Array, "B M D"]]:
    """Return the spectra of all nodes and the codes of their positions."""
    spectra = jax.vmap(features.spectral_features)(batch["audio"].astype(jnp.float32))
    encode = jax.vmap(jax.vmap(label.encode_node, (0, None)))
    codes = encode(batch["node_positions"][..., :2], batch["room_size"][:, :2])
    return spectra, codes


def targets(label: schemes.Label, batch: Batch) -> Float[Array, "B S *code"]:
    """Return the target codes of all sources."""
    encode = jax.vmap(jax.vmap(label.encode, (0, None)))
    return encode(batch["source_positions"][..., :2], batch["room_size"][:, :2])


def losses(
    label: schemes.Label, logits: Float[Array, "B S D"], batch: Batch
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Return each example's loss and what of it could be saved, mean over sources.

    The second is loss minus floor: the KL divergence where the loss is a cross
    entropy with a soft label, which cannot reach zero; else the loss itself.
    """
    target = targets(label, batch)
    loss = jax.vmap(jax.vmap(label.loss))(logits, target).mean(axis=1)
    floor = jax.vmap(jax.vmap(label.loss_floor))(target).mean(axis=1)
    return loss, loss - floor
