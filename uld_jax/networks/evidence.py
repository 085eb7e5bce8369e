"""Evidence of a recording for multilateration: levels of nodes, envelopes of pairs.

It depends on the signals alone, not on the label or the network, and is smaller (30 % of
them for 30 nodes and 2 s), so a data set's can be kept (`datasets.kept`). Errors of nodes
can be added to it: a late clock shifts the envelopes of its pairs, a gain raises its
levels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from uld_jax.acoustics import envelopes as envelopes_lib
from uld_jax.acoustics import levels as levels_lib

FORMAT = 3  # Changes with what is measured, so that networks know theirs.
# Of a batch, besides the evidence, in training with perturbations.
CLOCK_OFFSETS = "clock_offsets"  # [B, M], in samples; a late node's are positive.
GAINS = "gains_db"  # [B, M, 24], in mel bands.


class Evidence(NamedTuple):
    """The inputs of a network of votes, for a batch.

    Attributes:
        levels: Statistics of each node's levels in mel bands, in dB.
        envelopes: Envelopes of the correlations of all pairs, as bytes.
        node_positions: Believed positions in meters.
        room_size: Sides of the room in meters.
        clock_offsets: Delays in samples at 16 kHz, by which each node is made late.
        mask: True where a node is present and not silent.
    """

    levels: Float[Array, "B M 7 24"]
    envelopes: UInt8[Array, "B Q L"]
    node_positions: Float[Array, "B M 3"]
    room_size: Float[Array, "B 3"]
    clock_offsets: Float[Array, "B M"]
    mask: Bool[Array, "B M"]


def measure(
    batch: dict[str, Array], by_rows: Callable[..., Any] = lambda function: function
) -> dict[str, Array]:
    """Compute the evidence in a batch's signals.

    Args:
        batch: A batch. Values of absent nodes do not matter, NaN included.
        by_rows: `devices.Devices.by_rows`, where rows are on several devices.

    Returns:
        `levels` [B, M, 7, 24] in dB, as float16; `envelopes` [B, Q, L], as bytes; and
        whether each node is `active`, [B, M]: present, and with any signal.
    """
    audio = batch["audio"]
    mask = batch.get("node_mask")
    if mask is None:
        mask = jnp.ones(audio.shape[:2], bool)
    else:
        audio = jnp.where(mask[..., None], audio, 0)
    active = mask & (audio != 0).any(axis=-1)

    def measure_rows(audio, active):
        # One scene after the other: correlations of 435 pairs take 60 MB each.
        # A single scene would compile to no loop, and to other last bits.
        scenes = jnp.minimum(jnp.arange(max(2, len(audio))), len(audio) - 1)
        found = jax.lax.map(_measure_scene, (audio[scenes], active[scenes]))
        return jax.tree.map(lambda array: array[: len(audio)], found)

    levels, envelopes = by_rows(measure_rows)(audio, active)
    return {"levels": levels, "envelopes": envelopes, "active": active}


def _measure_scene(scene):
    audio, active = scene
    levels = levels_lib.level_statistics(audio, active)
    return levels.astype(jnp.float16), envelopes_lib.pair_envelopes(audio, active)


def collect(
    batch: dict[str, Array], by_rows: Callable[..., Any] = lambda function: function
) -> Evidence:
    """Collect the evidence of a batch: what it holds already, or of its signals."""
    if "envelopes" not in batch:
        batch = batch | measure(batch, by_rows)
    mask = batch["active"]
    levels = batch["levels"].astype(jnp.float32)
    if GAINS in batch:
        kept = levels[:, :, levels_lib.NUM_LEVELS :]
        raised = levels[:, :, : levels_lib.NUM_LEVELS] + batch[GAINS][:, :, None]
        levels = jnp.concatenate([raised, kept], axis=2)
    # Values of absent nodes may be anything.
    positions = jnp.where(mask[..., None], batch["node_positions"], 0.0)
    offsets = batch.get(CLOCK_OFFSETS, jnp.zeros(mask.shape))
    return Evidence(
        jnp.where(mask[..., None, None], levels, 0.0),
        batch["envelopes"],
        positions.astype(jnp.float32),
        jnp.asarray(batch["room_size"], jnp.float32),
        jnp.where(mask, offsets, 0.0),
        mask,
    )
