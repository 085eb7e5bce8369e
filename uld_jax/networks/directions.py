"""Directions of a sound: one network for each compact array (references 12 and 15)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from uld_jax.labels import schemes
from uld_jax.networks import encoder_decoder, layers, objective
from uld_jax.networks import spec as spec_lib


def pairs(numbers: Sequence[float]) -> schemes.Arrays:
    """Divide the setting `arrays` into positions (x, y)."""
    return tuple(zip(numbers[::2], numbers[1::2], strict=False))


class Directions(nnx.Module):
    """Networks of compact arrays: spectra to a distribution of the azimuth at each.

    Each array has a network of its own, with nothing in common but the training. The
    paper does not say which network its references 12 and 15 have; ours is the encoder
    of the network of L-1, after the author's published one for one array, and a linear
    layer. Any number of frames can be given, so that parts of a recording have
    directions, too.

    Args:
        num_nodes: Nodes M of every scene: the same number for each array, one array
            after another.
        num_sources: Not used: the network finds one source.
        outputs_per_axis: Directions I around each array.
        num_channels: Number of arrays A.
        arrays: Positions x, y of the arrays in meters, one after another.
        width: Channels of the encoders.
        num_blocks: Residual blocks of each encoder.
        dtype: Type of the computation; parameters and logits are float32.
        rngs: Random streams of the parameters.

    Raises:
        ValueError: If the label is not one of these arrays.
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        num_sources: int,
        outputs_per_axis: int,
        num_channels: int,
        arrays: Sequence[float],
        width: int,
        num_blocks: int,
        dtype: str,
        rngs: nnx.Rngs,
    ):
        if num_channels != len(pairs(arrays)):
            raise ValueError(
                f"model.arrays has {len(pairs(arrays))} arrays and the label "
                f"{num_channels}: choose the scheme azimuth"
            )
        layer = {"dtype": jnp.dtype(dtype), "rngs": rngs}
        self.num_nodes = num_nodes
        self.encoders = nnx.List(
            [
                encoder_decoder.SpectrumEncoder(
                    num_nodes // num_channels, width, num_blocks, **layer
                )
                for _ in range(num_channels)
            ]
        )
        self.heads = nnx.List(
            [
                layers.Linear(4 * width, outputs_per_axis, rngs=rngs)
                for _ in range(num_channels)
            ]
        )

    @staticmethod
    def inputs(
        label: schemes.Label,
        batch: dict[str, Array],
        by_rows: Callable = lambda function: function,
    ) -> tuple[Float[Array, "B M T 512"], Bool[Array, "B M"] | None]:
        """Compute the spectra and the mask of a batch: see `objective.inputs_of`."""
        spectra, _, mask = objective.network_inputs(label, batch, by_rows)
        return spectra, mask

    def __call__(
        self,
        features: Float[Array, "B M T 512"],
        mask: Bool[Array, "B M"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B S E"]:
        """Compute the logits, E = A I; nothing is random.

        Raises:
            ValueError: If the number of nodes differs, or there is a mask of them.
        """
        encoder_decoder.check_nodes(features.shape[1], self.num_nodes, mask)
        parts = jnp.split(features, len(self.encoders), axis=1)
        logits = [
            head(encode(part).astype(jnp.float32))
            for encode, head, part in zip(self.encoders, self.heads, parts, strict=True)
        ]
        return jnp.concatenate(logits, axis=-1)[:, None]


def _check_arrays(settings: Mapping[str, Any], num_nodes: int | None) -> None:
    numbers = settings["arrays"]
    if len(numbers) % 2 or len(numbers) < 4 or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"model.arrays is {tuple(numbers)}; give x, y of at least two arrays in "
            "meters, as in (0.1, 3.0, 3.0, 0.1)"
        )
    num_arrays = len(numbers) // 2
    if num_nodes is not None and num_nodes % num_arrays:
        raise ValueError(
            f"model.arrays has {num_arrays} arrays; {num_nodes} nodes cannot be divided "
            "among them"
        )


SPEC = spec_lib.NetworkSpec(
    name="directions",
    network=Directions,
    settings={
        # Centers x, y of the arrays in meters, one after another, in the order of their
        # nodes; these are L-1's.
        "arrays": (0.1, 3.0, 3.0, 0.1),
        "width": 128,
        "num_blocks": 5,
    },
    label_parts=frozenset({"heads"}),
    max_sources=1,
    ranges={"width": (2, spec_lib.LARGEST), "num_blocks": (0, spec_lib.LARGEST)},
    rule=_check_arrays,
)
