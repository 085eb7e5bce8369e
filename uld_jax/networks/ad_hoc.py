"""The network of Ad-1 and Ad-2: scattered nodes, any number of them (Sec. 3.3).

After Gong et al. (reference 13), who let frames and nodes attend to each other in
turn, and after Subramanian et al. (reference 20), whose masks split the talkers.
The paper does not say how wide or deep its networks are, nor what lies between the
attention and the three fully connected layers; what we chose stands below.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from uld_jax.networks import front_ends, layers
from uld_jax.networks import spec as spec_lib

_LONGEST_WAVE = 10_000.0
_WAVES_PER_SIDE = 0.7  # Standard deviation along each axis.


def time_code(num_steps: int, width: int) -> np.ndarray:
    """Return sines and cosines [U, D] of the step's number (Vaswani et al., 2017)."""
    rates = _LONGEST_WAVE ** (-np.arange(0, width, 2) / width)
    angles = np.arange(num_steps)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width].astype(
        np.float32
    )


def random_waves(
    key: jax.Array, outputs_per_axis: int, num_channels: int, width: int
) -> Float[Array, "E D"]:
    """Return D random waves over the plan for each channel of a code, of unit size.

    Each is a cosine of random direction, wavelength and phase (the random features of
    Rahimi and Recht, 2007), so that outputs at a distance r, in units of that from the
    first of an axis to its last, correlate by exp(-2 pi^2 s^2 r^2), s = 0.7, however
    fine the grid.

    Args:
        key: Random key.
        outputs_per_axis: Outputs K of a channel along each axis.
        num_channels: Channels C of the code.
        width: Number of waves D.

    Returns:
        E = C K K rows, in the order of the flattened code [C, K, K].
    """
    direction_key, phase_key = jax.random.split(key)
    rates = jax.random.normal(direction_key, (num_channels, 2, width))
    phases = jax.random.uniform(phase_key, (num_channels, 1, width))
    axis = np.linspace(0.0, 1.0, outputs_per_axis)
    plan = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    turns = plan @ (_WAVES_PER_SIDE * rates) + phases
    return math.sqrt(2) * jnp.cos(2 * math.pi * turns).reshape(-1, width)


class Attention(nnx.Module):
    """Self-attention over the last axis but one, and a feed-forward layer.

    Both behind a layer norm, added to their input (pre-norm).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout: float,
        *,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.num_heads = num_heads
        layer = {"dtype": dtype, "rngs": rngs}
        self.attention_norm = nnx.LayerNorm(width, **layer)
        self.queries_keys_values = layers.Linear(width, 3 * width, **layer)
        self.output = layers.Linear(width, width, **layer)
        self.forward_norm = nnx.LayerNorm(width, **layer)
        self.expand = layers.Linear(width, 4 * width, **layer)
        self.contract = layers.Linear(4 * width, width, **layer)
        self.dropout = layers.Dropout(dropout)

    def __call__(
        self,
        x: Float[Array, "A L D"],
        mask: Bool[Array, "A L"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "A L D"]:
        """Return x with what its unmasked places say to each place added."""
        A, L, D = x.shape
        h = self.queries_keys_values(self.attention_norm(x))
        h = h.reshape(A, L, 3, self.num_heads, D // self.num_heads)
        h = jax.nn.dot_product_attention(
            h[:, :, 0],
            h[:, :, 1],
            h[:, :, 2],
            mask=None if mask is None else mask[:, None, None, :],
        )
        x = x + self.dropout(self.output(h.reshape(A, L, D)), rngs=rngs)
        h = self.contract(nnx.gelu(self.expand(self.forward_norm(x))))
        return x + self.dropout(h, rngs=rngs)


class Block(nnx.Module):
    """Attention of each node's frames to each other, then of each frame's nodes."""

    def __init__(self, *arguments, **settings):
        self.over_frames = Attention(*arguments, **settings)
        self.over_nodes = Attention(*arguments, **settings)

    def __call__(
        self,
        x: Float[Array, "B M U D"],
        mask: Bool[Array, "B M"] | None,
        rngs: nnx.Rngs | None,
    ) -> Float[Array, "B M U D"]:
        """Return the block's output, of the shape of its input."""
        B, M, U, D = x.shape
        x = self.over_frames(x.reshape(B * M, U, D), rngs=rngs).reshape(B, M, U, D)
        x = x.swapaxes(1, 2).reshape(B * U, M, D)
        if mask is not None:
            mask = jnp.repeat(mask, U, axis=0)
        x = self.over_nodes(x, mask, rngs=rngs)
        return x.reshape(B, U, M, D).swapaxes(1, 2)


class Splitter(nnx.Module):
    """Masks over time that split what was heard into sources (reference 20).

    A source's mask comes from its own bidirectional LSTM, in place of the second
    fully connected layer and as wide (Sec. 3.3). The paper does not say what makes
    masks of their outputs; here it is a sigmoid of each.

    The paper does not say how masked features become one vector; here it is their mean
    over time, times the number of sources. The author's published network for directions
    divides it by the mean of the mask. After attention over all frames features hardly
    vary over time, and a weighted mean of them is the same whatever the weights: the
    sources' outputs stayed alike, with or without permutation-invariant training.
    """

    def __init__(
        self,
        width: int,
        num_sources: int,
        *,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.dtype = dtype

        def one_way():
            cell = nnx.OptimizedLSTMCell(width, width // 2, dtype=dtype, rngs=rngs)
            return nnx.RNN(cell, rngs=False)

        self.networks = nnx.List(
            [
                nnx.Bidirectional(one_way(), one_way(), rngs=False)
                for _ in range(num_sources)
            ]
        )

    def __call__(self, h: Float[Array, "B U D"]) -> Float[Array, "B S D"]:
        """Return the masked averages over time of each source."""
        odds = layers.run_lstms(self.networks, h, self.dtype).astype(jnp.float32)
        means = (jax.nn.sigmoid(odds) * h[:, None]).mean(axis=2)
        return (len(self.networks) * means).astype(self.dtype)


class AdHoc(nnx.Module):
    """The backbone for scattered nodes: spectra and positions to logits.

    Each node's frames and its position code are projected and added, which is the
    same as a code repeated at every frame (Sec. 3.3) without the memory. Then
    `num_blocks` times frames attend to frames of their node and nodes to nodes of
    their frame; the nodes are averaged; `num_temporal_blocks` times frames attend to
    frames; and three fully connected layers follow, the first two at each frame,
    then the average over time. For several sources the second one is a `Splitter`.

    Args:
        num_nodes: Not used: any number will do, in any order.
        num_sources: Sources S.
        outputs_per_axis: Outputs K per axis.
        num_channels: Outputs C per cell or grid point; a node's code has the length
            of a source's, C K K.
        front_end: One of `front_ends.NAMES`.
        frames_per_step: Frames averaged before the blocks.
        width: Width D.
        num_heads: Heads of the attention.
        num_blocks: Blocks over frames and nodes.
        num_temporal_blocks: Blocks over frames after the average over the nodes.
        grid_init: How the layers begin that map from codes and to logits: "smooth",
            neighbors on the grid alike, or "independent". The paper does not say.
            With the latter a network has to learn first which of them are neighbors,
            which takes the longer the finer the grid.
        dropout: Rate of the dropout.
        dtype: Of the computation; parameters and logits are float32.
        remat: Whether the backward pass computes the blocks anew, for memory.
        rngs: Random streams of the parameters.
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        num_sources: int,
        outputs_per_axis: int,
        num_channels: int,
        front_end: str,
        frames_per_step: int,
        width: int,
        num_heads: int,
        num_blocks: int,
        num_temporal_blocks: int,
        grid_init: str,
        dropout: float,
        dtype: str,
        remat: bool,
        rngs: nnx.Rngs,
    ):
        self.remat = remat
        num_outputs = num_channels * outputs_per_axis**2
        dtype = jnp.dtype(dtype)
        layer = {"dtype": dtype, "rngs": rngs}
        block = (width, num_heads, dropout)
        self.front_end = front_ends.FrontEnd(front_end, width, frames_per_step, **layer)
        # Codes have few entries that are not zero. With the usual small parameters
        # networks did not begin to learn where the nodes are.
        codes_init = nnx.initializers.normal(1.0)
        logits_init = nnx.initializers.lecun_normal()
        if grid_init == "smooth":

            def codes_init(key, shape, dtype):
                waves = random_waves(key, outputs_per_axis, num_channels, width)
                return waves.astype(dtype)

            def logits_init(key, shape, dtype):
                return codes_init(key, shape, dtype).T / math.sqrt(width)

        self.embed_position = layers.Linear(
            num_outputs, width, kernel_init=codes_init, **layer
        )
        self.input_norm = nnx.LayerNorm(width, **layer)
        self.blocks = nnx.List([Block(*block, **layer) for _ in range(num_blocks)])
        self.fusion_norm = nnx.LayerNorm(width, **layer)
        self.temporal_blocks = nnx.List(
            [Attention(*block, **layer) for _ in range(num_temporal_blocks)]
        )
        self.first = layers.Linear(width, width, **layer)
        self.second = layers.Linear(width, width, **layer) if num_sources == 1 else None
        self.splitter = (
            Splitter(width, num_sources, **layer) if num_sources > 1 else None
        )
        self.third = layers.Linear(
            width, num_outputs, kernel_init=logits_init, rngs=rngs
        )
        self.dropout = layers.Dropout(dropout)

    def __call__(
        self,
        features: Float[Array, "B M T 512"],
        codes: Float[Array, "B M E"],
        mask: Bool[Array, "B M"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B S E"]:
        """Return the logits; nodes where `mask` is false have no influence."""
        h = self.front_end(features, mask)
        h = h + self.embed_position(codes)[:, :, None]
        h = self.input_norm(h + jnp.asarray(time_code(*h.shape[2:]), h.dtype))
        call = nnx.remat(Block.__call__) if self.remat else Block.__call__
        for block in self.blocks:
            h = call(block, h, mask, rngs)
        h = _mean_over_nodes(self.fusion_norm(h), mask)
        for block in self.temporal_blocks:
            h = block(h, rngs=rngs)
        h = self.dropout(nnx.relu(self.first(h)), rngs=rngs)
        if self.splitter is None:
            h = nnx.relu(self.second(h)).mean(axis=1, keepdims=True)
        else:
            h = self.splitter(h)
        return self.third(h.astype(jnp.float32))


def _mean_over_nodes(
    h: Float[Array, "B M U D"], mask: Bool[Array, "B M"] | None
) -> Float[Array, "B U D"]:
    """Average over the nodes that are present."""
    scores = jnp.zeros((*h.shape[:2], 1, 1))
    if mask is not None:
        scores = jnp.where(mask[:, :, None, None], scores, -jnp.inf)
    return (jax.nn.softmax(scores, axis=1).astype(h.dtype) * h).sum(axis=1)


def _divide_width(settings: Mapping[str, Any], num_nodes: int | None) -> None:
    width, num_heads = settings["width"], settings["num_heads"]
    if width % (2 * num_heads):
        raise ValueError(
            f"model.width is {width}; it must be a multiple of twice the {num_heads} heads"
        )


SPEC = spec_lib.NetworkSpec(
    name="adhoc",
    network=AdHoc,
    settings={
        "front_end": "level_compressed",
        # Frames averaged to one step of time before the blocks.
        "frames_per_step": 1,
        "width": 256,
        "num_heads": 4,
        "num_blocks": 2,
        "num_temporal_blocks": 2,
        # Initial layers of codes and logits: "smooth" over the grid, or "independent".
        "grid_init": "smooth",
        "dropout": 0.1,
        # Recompute the blocks in the backward pass: less memory, more time.
        "remat": False,
    },
    label_parts=frozenset({"embed_position", "third"}),
    any_nodes=True,
    ranges={
        "frames_per_step": (1, spec_lib.LARGEST),
        "width": (2, spec_lib.LARGEST),
        "num_heads": (1, spec_lib.LARGEST),
        "num_blocks": (0, spec_lib.LARGEST),
        "num_temporal_blocks": (0, spec_lib.LARGEST),
        "dropout": (0.0, 0.99),
    },
    choices={
        "front_end": front_ends.NAMES,
        "grid_init": ("smooth", "independent"),
    },
    rule=_divide_width,
)
