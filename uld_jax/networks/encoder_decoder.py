"""The network of L-1: arrays at fixed positions to a map of the room (Sec. 3.3)."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import stft
from uld_jax.networks import layers
from uld_jax.networks import spec as spec_lib

_BATCH_NORM_MOMENTUM = 0.9


def _batch_norm(width: int, layer: dict[str, Any]) -> nnx.BatchNorm:
    return nnx.BatchNorm(width, momentum=_BATCH_NORM_MOMENTUM, **layer)


class FrequencyConv(nnx.Module):
    """Convolution along frequency: gathered neighbors times one matrix.

    On CPUs, the gradient of the kernel of XLA's own convolution takes most of a
    training step. The matrix product avoids that, and is fast on GPUs too.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        kernel: int,
        stride: int,
        *,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.kernel = kernel
        self.stride = stride
        self.linear: layers.Linear = layers.Linear(
            kernel * in_width, width, dtype=dtype, rngs=rngs
        )

    def num_outputs(self, num_bins: int) -> int:
        """Compute the length of the result along frequency; nothing is padded."""
        return (num_bins - self.kernel) // self.stride + 1

    def __call__(self, x: Float[Array, "*B F C"]) -> Float[Array, "*B G D"]:
        """Convolve the last axis but one."""
        span = self.stride * (self.num_outputs(x.shape[-2]) - 1) + 1
        taps = [x[..., k : k + span : self.stride, :] for k in range(self.kernel)]
        return self.linear(jnp.concatenate(taps, axis=-1))


class ResidualBlock(nnx.Module):
    """Residual block x + f(x), f convolutions of 1, 3 and 1 taps along frequency."""

    def __init__(self, width: int, **layer: Any):
        kernels = (1, 3, 1)
        self.convs: nnx.List[Any] = nnx.List(
            [FrequencyConv(width, width, k, 1, **layer) for k in kernels]
        )
        self.norms: nnx.List[Any] = nnx.List(
            [_batch_norm(width, layer) for _ in kernels]
        )

    def __call__(self, x: Float[Array, "*B F C"]) -> Float[Array, "*B F C"]:
        """Apply the block."""
        h = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            margin = conv.kernel // 2
            padding = [(0, 0)] * (h.ndim - 2) + [(margin, margin), (0, 0)]
            h = norm(conv(jnp.pad(h, padding)))
            if conv is not self.convs[-1]:
                h = nnx.relu(h)
        return nnx.relu(x + h)


class SpectrumEncoder(nnx.Module):
    """Encoder of the spectra of a few nodes to one vector."""

    def __init__(
        self,
        num_nodes: int,
        width: int,
        num_blocks: int,
        **layer: Any,
    ):
        self.first: FrequencyConv = FrequencyConv(
            2 * num_nodes, width // 2, 7, 3, **layer
        )
        self.second: FrequencyConv = FrequencyConv(width // 2, width, 5, 2, **layer)
        self.first_norm = _batch_norm(width // 2, layer)
        self.second_norm = _batch_norm(width, layer)
        self.blocks: nnx.List[Any] = nnx.List(
            [ResidualBlock(width, **layer) for _ in range(num_blocks)]
        )
        bands = self.second.num_outputs(self.first.num_outputs(stft.NUM_BINS))
        self.code: layers.Linear = layers.Linear(bands * width, 4 * width, **layer)

    def __call__(self, spectra: Float[Array, "B M T 512"]) -> Float[Array, "B C"]:
        """Compute one code for each scene."""
        B, M, T, _ = spectra.shape
        parts = spectra.reshape(B, M, T, 2, stft.NUM_BINS)
        h = parts.transpose(0, 2, 4, 1, 3).reshape(B, T, stft.NUM_BINS, 2 * M)
        h = nnx.relu(self.first_norm(self.first(h)))
        h = nnx.relu(self.second_norm(self.second(h))).mean(axis=1)
        for block in self.blocks:
            h = block(h)
        return nnx.relu(self.code(h.reshape(B, -1)))


class EncoderDecoder(nnx.Module):
    """Network of L-1: spectra to a vector to a map of the room (Sec. 3.3).

    After the encoder-decoder of Le Moing et al. (reference 11). The paper does not say
    what layers it has. Ours encodes with convolutions along frequency and residual
    blocks, as the author's published network for one array does, and decodes with a
    transposed convolution.

    Two choices were made on the validation set of the reduced L-1. One encoder for
    each array reached 0.10 m after 6 epochs, a single one over all nodes 0.19 m.
    Averaging the frames before the blocks takes a quarter of the time of averaging
    after them, and was better in the two epochs compared.

    Node positions are not an input: they are the same in every scene.

    Args:
        num_nodes: Nodes M of every scene.
        num_sources: Not used: the network finds one source.
        outputs_per_axis: Outputs K per axis.
        num_channels: Outputs C per cell or grid point.
        width: Channels of the encoders.
        num_blocks: Residual blocks of each encoder.
        num_encoders: Encoders, each of M / num_encoders successive nodes.
        dtype: Type of the computation; parameters and logits are float32.
        rngs: Random streams of the parameters.
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        num_sources: int,
        outputs_per_axis: int,
        num_channels: int,
        width: int,
        num_blocks: int,
        num_encoders: int,
        dtype: str,
        rngs: nnx.Rngs,
    ):
        layer = {"dtype": jnp.dtype(dtype), "rngs": rngs}
        self.num_nodes = num_nodes
        self.outputs_per_axis = outputs_per_axis
        self.encoders: nnx.List[Any] = nnx.List(
            [
                SpectrumEncoder(num_nodes // num_encoders, width, num_blocks, **layer)
                for _ in range(num_encoders)
            ]
        )
        self.start: int = -(-outputs_per_axis // 2)
        self.width = width
        self.plan: layers.Linear = layers.Linear(
            4 * width * num_encoders, width * self.start**2, **layer
        )
        self.grow: layers.Doubling = layers.Doubling(width, width // 2, **layer)
        self.grow_norm = _batch_norm(width // 2, layer)
        self.refine: layers.Conv = layers.Conv(width // 2, width // 2, (3, 3), **layer)
        self.refine_norm = _batch_norm(width // 2, layer)
        self.head: layers.Conv = layers.Conv(
            width // 2, num_channels, (1, 1), rngs=rngs
        )

    def __call__(
        self,
        features: Float[Array, "B M T 512"],
        codes: Float[Array, "B M D"],
        mask: Bool[Array, "B M"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B S E"]:
        """Compute the logits; `codes` are not used, and nothing is random.

        Raises:
            ValueError: If the number of nodes differs, or there is a mask of them.
        """
        B, M = features.shape[:2]
        check_nodes(M, self.num_nodes, mask)
        parts = jnp.split(features, len(self.encoders), axis=1)
        code = jnp.concatenate(
            [encode(part) for encode, part in zip(self.encoders, parts, strict=True)],
            axis=-1,
        )
        h = nnx.relu(self.plan(code)).reshape(B, self.start, self.start, self.width)
        h = nnx.relu(self.grow_norm(self.grow(h)))
        h = h[:, : self.outputs_per_axis, : self.outputs_per_axis]
        h = nnx.relu(self.refine_norm(self.refine(h)))
        h = self.head(h.astype(jnp.float32))
        return h.transpose(0, 3, 1, 2).reshape(B, 1, -1)


def check_nodes(given: int, expected: int, mask: Bool[Array, "B M"] | None) -> None:
    """Raise unless a network that is built for some nodes is given all of them.

    Raises:
        ValueError: If their number differs, or there is a mask of them.
    """
    if mask is not None:
        raise ValueError("this network needs all its nodes; a mask was given")
    if given != expected:
        raise ValueError(f"{given} nodes given; this network has {expected}")


def _divide_nodes(settings: Mapping[str, Any], num_nodes: int | None) -> None:
    num_encoders = settings["num_encoders"]
    if num_nodes is not None and num_nodes % num_encoders:
        raise ValueError(
            f"model.num_encoders is {num_encoders}; {num_nodes} nodes cannot be divided "
            f"among {num_encoders} encoders"
        )


SPEC = spec_lib.NetworkSpec(
    name="encoder_decoder",
    network=EncoderDecoder,
    settings={
        "width": 128,
        "num_blocks": 5,
        # 1: all nodes in one encoder; 2: one encoder for each array.
        "num_encoders": 2,
    },
    label_parts=frozenset(
        {"plan", "grow", "grow_norm", "refine", "refine_norm", "head"}
    ),
    max_sources=1,
    ranges={
        "width": (2, spec_lib.LARGEST),
        "num_blocks": (0, spec_lib.LARGEST),
        "num_encoders": (1, spec_lib.LARGEST),
    },
    rule=_divide_nodes,
)
