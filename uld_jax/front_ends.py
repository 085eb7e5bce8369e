"""Front ends: spectra of the nodes to one vector a node and step of time.

The paper feeds real and imaginary parts as they are (Sec. 3.3). A linear map of
these learns slowly, because levels and time differences, which say where a source
is, are not linear in them. `NAMES` lists what else one may feed; each is a function
of the scene's spectra alone, and of all nodes alike, so that their order is free.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from uld_jax import encoder_decoder, features

_FLOOR = 1e-4  # Of powers, where a bin of a scene of unit level has some 200.
_COMPRESSION = 0.3


def _powers(spectra: Float[Array, "B M T 512"]) -> Float[Array, "B M T 256"]:
    real, imaginary = jnp.split(spectra, 2, axis=-1)
    return real**2 + imaginary**2


def _log_magnitude(spectra, mask):
    return 0.5 * jnp.log(_powers(spectra) + _FLOOR)


def _relative_level(spectra, mask):
    """Return the log magnitudes above their mean over the nodes.

    What is said, and how loudly, is common to all nodes and so disappears.
    """
    levels = _log_magnitude(spectra, mask)
    if mask is None:
        return levels - levels.mean(axis=1, keepdims=True)
    there = mask[:, :, None, None]
    mean = jnp.where(there, levels, 0.0).sum(axis=1, keepdims=True)
    return levels - mean / jnp.maximum(there.sum(axis=1, keepdims=True), 1)


def _compressed(spectra, mask):
    gain = (_powers(spectra) + _FLOOR) ** ((_COMPRESSION - 1) / 2)
    return spectra * jnp.concatenate([gain, gain], axis=-1)


def _phase_differences(spectra, mask):
    """Return cosine and sine of each node's phase against the loudest node's.

    A linear map of these can be a whitened cross-correlation at any lag.
    """
    powers = _powers(spectra)
    levels = powers.sum(axis=(2, 3))
    if mask is not None:
        levels = jnp.where(mask, levels, -1.0)
    loudest = jnp.argmax(levels, axis=1)[:, None, None, None]
    reference = jnp.take_along_axis(spectra, loudest, axis=1)
    real, imaginary = jnp.split(spectra, 2, axis=-1)
    real_0, imaginary_0 = jnp.split(reference, 2, axis=-1)
    cosine = real * real_0 + imaginary * imaginary_0
    sine = imaginary * real_0 - real * imaginary_0
    gain = jax.lax.rsqrt(cosine**2 + sine**2 + _FLOOR**2)
    return jnp.concatenate([cosine * gain, sine * gain], axis=-1)


_PARTS = {
    "real_imaginary": (lambda spectra, mask: spectra,),
    "log_magnitude": (_log_magnitude,),
    "relative_level": (_relative_level,),
    "compressed": (_compressed,),
    "level_compressed": (_relative_level, _compressed),
    "cross_spectrum": (_relative_level, _phase_differences),
}
_CONVOLUTION = "convolution"
NAMES = (*_PARTS, _CONVOLUTION)


def parts(
    name: str, spectra: Float[Array, "B M T 512"], mask: Bool[Array, "B M"] | None
) -> Float[Array, "B M T C"]:
    """Return what a front end feeds to its first linear layer.

    Args:
        name: One of `NAMES` but "convolution".
        spectra: Real, then imaginary parts of the scene's spectra, of unit level.
        mask: Which nodes are there; None for all.
    """
    return jnp.concatenate([part(spectra, mask) for part in _PARTS[name]], axis=-1)


class FrontEnd(nnx.Module):
    """What is fed, a linear layer, and the average over groups of frames.

    With `frames_per_step` 1 the layer is all, as in the paper. Otherwise a
    nonlinearity and a second layer surround the average, which so can tell the
    frames of a group apart.

    Args:
        name: One of `NAMES`; "convolution" takes compressed real and imaginary
            parts through two convolutions along frequency, as the L-1 network does.
        width: Width D of the result.
        frames_per_step: Frames averaged to one step of time; frames that do not
            fill a group at the end are left out.
        dtype: Of the computation.
        rngs: Random streams of the parameters.

    Raises:
        ValueError: If there is no such front end.
    """

    def __init__(
        self,
        name: str,
        width: int,
        frames_per_step: int,
        *,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        if name not in NAMES:
            raise ValueError(f"no front end {name!r}; there are {', '.join(NAMES)}")
        self.name, self.frames_per_step, self.dtype = name, frames_per_step, dtype
        num_inputs = 2 * features.NUM_BINS
        self.convs = nnx.List([])
        if name == _CONVOLUTION:
            narrow = max(width // 4, 1)
            first = encoder_decoder.FrequencyConv(
                2, narrow, 7, 3, dtype=dtype, rngs=rngs
            )
            second = encoder_decoder.FrequencyConv(
                narrow, 2 * narrow, 5, 2, dtype=dtype, rngs=rngs
            )
            self.convs = nnx.List([first, second])
            bands = second.num_outputs(first.num_outputs(features.NUM_BINS))
            num_inputs = 2 * narrow * bands
        else:
            probe = jax.ShapeDtypeStruct((1, 1, 1, num_inputs), jnp.float32)
            num_inputs = jax.eval_shape(lambda s: parts(name, s, None), probe).shape[-1]
        self.project = nnx.Linear(num_inputs, width, dtype=dtype, rngs=rngs)
        self.mix = (
            nnx.Linear(width, width, dtype=dtype, rngs=rngs)
            if frames_per_step > 1
            else None
        )

    def __call__(
        self, spectra: Float[Array, "B M T 512"], mask: Bool[Array, "B M"] | None
    ) -> Float[Array, "B M U D"]:
        """Return the vectors, U = T // frames_per_step.

        Raises:
            ValueError: If there are fewer frames than make one step.
        """
        B, M, T, _ = spectra.shape
        steps = T // self.frames_per_step
        if not steps:
            raise ValueError(
                f"{T} frames given; frames_per_step is {self.frames_per_step}"
            )
        spectra = spectra[:, :, : steps * self.frames_per_step]
        if self.name == _CONVOLUTION:
            h = parts("compressed", spectra, mask).astype(self.dtype)
            h = jnp.moveaxis(h.reshape(*h.shape[:3], 2, -1), 3, 4)
            for conv in self.convs:
                h = nnx.gelu(conv(h))
            h = h.reshape(*h.shape[:3], -1)
        else:
            h = parts(self.name, spectra, mask).astype(self.dtype)
        h = self.project(h)
        if self.mix is None:
            return h
        h = nnx.gelu(h).reshape(B, M, steps, self.frames_per_step, -1)
        return self.mix(h.mean(axis=3))
