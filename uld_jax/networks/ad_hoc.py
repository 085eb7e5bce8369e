"""The network of Ad-1 and Ad-2, for any number of scattered nodes (Sec. 3.3).

After Gong et al. (reference 13), whose frames and nodes attend to each other in turn,
and after Subramanian et al. (reference 20), whose masks separate the talkers. The
paper does not say how wide or deep its networks are, nor what lies between the
attention and the three fully connected layers; our choices are `SPEC` and `AdHoc`.
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
    """Compute sines and cosines [U, D] of the number of the step (Vaswani et al., 2017)."""
    rates = _LONGEST_WAVE ** (-np.arange(0, width, 2) / width)
    angles = np.arange(num_steps)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width].astype(
        np.float32
    )


def random_waves(
    key: jax.Array, outputs_per_axis: int, num_channels: int, width: int
) -> Float[Array, "E D"]:
    """Draw D random waves of unit power over the plan, for each channel of a code.

    Each is a cosine of random direction, wavelength and phase (the random features of
    Rahimi and Recht, 2007). Outputs at a distance r, as a fraction of the axis,
    correlate by exp(-2 pi^2 s^2 r^2), s = 0.7, however fine the grid.

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
    """Self-attention over the last axis but one, then a feed-forward layer.

    Each follows a layer norm and is added to its input (pre-norm).
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
        self.attention_norm: nnx.LayerNorm = nnx.LayerNorm(width, **layer)
        self.queries_keys_values: layers.Linear = layers.Linear(
            width, 3 * width, **layer
        )
        self.output: layers.Linear = layers.Linear(width, width, **layer)
        self.forward_norm: nnx.LayerNorm = nnx.LayerNorm(width, **layer)
        self.expand: layers.Linear = layers.Linear(width, 4 * width, **layer)
        self.contract: layers.Linear = layers.Linear(4 * width, width, **layer)
        self.dropout: layers.Dropout = layers.Dropout(dropout)

    def __call__(
        self,
        x: Float[Array, "A L D"],
        mask: Bool[Array, "A L"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "A L D"]:
        """Apply the layer; masked steps along L have no influence on others."""
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
    """Attention over the frames of each node, then over the nodes at each frame."""

    def __init__(self, *arguments: Any, **settings: Any):
        self.over_frames: Attention = Attention(*arguments, **settings)
        self.over_nodes: Attention = Attention(*arguments, **settings)

    def __call__(
        self,
        x: Float[Array, "B M U D"],
        mask: Bool[Array, "B M"] | None,
        rngs: nnx.Rngs | None,
    ) -> Float[Array, "B M U D"]:
        """Apply the block."""
        B, M, U, D = x.shape
        x = self.over_frames(x.reshape(B * M, U, D), rngs=rngs).reshape(B, M, U, D)
        x = x.swapaxes(1, 2).reshape(B * U, M, D)
        if mask is not None:
            mask = jnp.repeat(mask, U, axis=0)
        x = self.over_nodes(x, mask, rngs=rngs)
        return x.reshape(B, U, M, D).swapaxes(1, 2)


class Splitter(nnx.Module):
    """Masks over time that separate the features of the sources (reference 20).

    Each source has its own bidirectional LSTM, in place of the second fully connected
    layer and as wide (Sec. 3.3). The paper does not say how their outputs become masks;
    we take a sigmoid of each.

    The paper does not say how masked features become one vector; we take their mean
    over time, times the number of sources. The author's published network for
    directions divides by the mean of the mask instead. But after attention over all
    frames, features hardly vary over time, so that their weighted mean is nearly the
    same for any weights: the outputs of the sources stayed alike, with or without
    permutation-invariant training.
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

        self.networks: nnx.List[Any] = nnx.List(
            [
                nnx.Bidirectional(one_way(), one_way(), rngs=False)
                for _ in range(num_sources)
            ]
        )

    def __call__(self, h: Float[Array, "B U D"]) -> Float[Array, "B S D"]:
        """Compute the masked averages over time for each source."""
        odds = layers.run_lstms(self.networks, h, self.dtype).astype(jnp.float32)
        means = (jax.nn.sigmoid(odds) * h[:, None]).mean(axis=2)
        return (len(self.networks) * means).astype(self.dtype)


class AdHoc(nnx.Module):
    """Network for scattered nodes: spectra and positions to logits.

    The frames and the position code of each node are projected and added, which
    equals a code repeated at every frame (Sec. 3.3) without the memory. In
    `num_blocks` blocks, frames attend to frames of their node, then nodes to nodes at
    their frame. The nodes are averaged, and frames attend to frames in
    `num_temporal_blocks` more. Of three fully connected layers, the first two apply to
    each frame and the third to the average over time. With several sources, a
    `Splitter` replaces the second.

    Args:
        num_nodes: Not used: the network takes any number of nodes, in any order.
        num_sources: Sources S.
        outputs_per_axis: Outputs K per axis.
        num_channels: Outputs C per cell or grid point. Codes of nodes and logits of
            sources have the same length, C K K.
        front_end: One of `front_ends.NAMES`.
        frames_per_step: Frames averaged before the blocks.
        width: Width D.
        num_heads: Heads of the attention.
        num_blocks: Blocks over frames and nodes.
        num_temporal_blocks: Blocks over frames after the average over the nodes.
        grid_init: Initial layers from codes and to logits: "smooth", alike for
            neighbors on the grid, or "independent". The paper does not say. With
            the latter, a network must first learn which outputs are neighbors; the
            finer the grid, the longer it takes.
        dropout: Rate of the dropout.
        dtype: Type of the computation; parameters and logits are float32.
        remat: Whether the backward pass recomputes the blocks, to save memory.
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
        self.front_end: front_ends.FrontEnd = front_ends.FrontEnd(
            front_end, width, frames_per_step, **layer
        )
        # Most entries of a code are zero. With the usual small initial parameters,
        # networks never started to learn where the nodes are.
        codes_init = nnx.initializers.normal(1.0)
        logits_init = nnx.initializers.lecun_normal()
        if grid_init == "smooth":

            def codes_init(key, shape, dtype):
                waves = random_waves(key, outputs_per_axis, num_channels, width)
                return waves.astype(dtype)

            def logits_init(key, shape, dtype):
                return codes_init(key, shape, dtype).T / math.sqrt(width)

        self.embed_position: layers.Linear = layers.Linear(
            num_outputs, width, kernel_init=codes_init, **layer
        )
        self.input_norm: nnx.LayerNorm = nnx.LayerNorm(width, **layer)
        self.blocks: nnx.List[Any] = nnx.List(
            [Block(*block, **layer) for _ in range(num_blocks)]
        )
        self.fusion_norm: nnx.LayerNorm = nnx.LayerNorm(width, **layer)
        self.temporal_blocks: nnx.List[Any] = nnx.List(
            [Attention(*block, **layer) for _ in range(num_temporal_blocks)]
        )
        self.first: layers.Linear = layers.Linear(width, width, **layer)
        self.second: layers.Linear | None = (
            layers.Linear(width, width, **layer) if num_sources == 1 else None
        )
        self.splitter: Splitter | None = (
            Splitter(width, num_sources, **layer) if num_sources > 1 else None
        )
        self.third: layers.Linear = layers.Linear(
            width, num_outputs, kernel_init=logits_init, rngs=rngs
        )
        self.dropout: layers.Dropout = layers.Dropout(dropout)

    def __call__(
        self,
        features: Float[Array, "B M T 512"],
        codes: Float[Array, "B M E"],
        mask: Bool[Array, "B M"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B S E"]:
        """Compute the logits; nodes where `mask` is false have no influence."""
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
