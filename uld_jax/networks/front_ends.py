"""Front ends: spectra of the nodes to one vector per node and time step.

The paper feeds real and imaginary parts as they are (Sec. 3.3). A linear layer learns
slowly from them, because levels and time differences, which reveal where a source is,
are not linear in them. `NAMES` lists the alternatives. Each is a function of the
scene's spectra and treats all nodes alike, so that their order does not matter.
docs/scattered_nodes.md compares them with others that were tried.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import stft
from uld_jax.networks import layers

_FLOOR = 1e-4  # Added to powers; a bin of a scene of unit level has about 200.
_COMPRESSION = 0.3

Spectra = tuple[Float[Array, "B M T F"], Float[Array, "B M T F"]]
Mask = Bool[Array, "B M"] | None


def _log_magnitude(spectra: Spectra) -> Float[Array, "B M T F"]:
    real, imaginary = spectra
    return 0.5 * jnp.log(real**2 + imaginary**2 + _FLOOR)


def _relative_level(spectra: Spectra, mask: Mask) -> Float[Array, "B M T F"]:
    """Compute log magnitudes relative to their mean over the nodes.

    The spectrum of the source itself is common to all nodes and cancels.
    """
    levels = _log_magnitude(spectra)
    if mask is None:
        return levels - levels.mean(axis=1, keepdims=True)
    there = mask[:, :, None, None]
    mean = jnp.where(there, levels, 0.0).sum(axis=1, keepdims=True)
    return levels - mean / jnp.maximum(there.sum(axis=1, keepdims=True), 1)


def _compressed(spectra: Spectra) -> Spectra:
    # From the logarithm, which the levels need too: a power is slower on CPUs.
    gain = jnp.exp((_COMPRESSION - 1) * _log_magnitude(spectra))
    real, imaginary = spectra
    return real * gain, imaginary * gain


def _phase_differences(spectra: Spectra, mask: Mask) -> Spectra:
    """Compute cosine and sine of each node's phase relative to the loudest node's.

    A linear layer can turn them into a whitened cross-correlation at any lag.
    """
    real, imaginary = spectra
    levels = (real**2 + imaginary**2).sum(axis=(2, 3))
    if mask is not None:
        levels = jnp.where(mask, levels, -1.0)
    loudest = jnp.argmax(levels, axis=1)[:, None, None, None]
    real_0, imaginary_0 = (
        jnp.take_along_axis(part, loudest, axis=1) for part in spectra
    )
    cosine = real * real_0 + imaginary * imaginary_0
    sine = imaginary * real_0 - real * imaginary_0
    gain = jax.lax.rsqrt(cosine**2 + sine**2 + _FLOOR**2)
    return cosine * gain, sine * gain


_PIECES = {
    "real_imaginary": lambda spectra, mask: spectra,
    "level_compressed": lambda spectra, mask: (
        _relative_level(spectra, mask),
        *_compressed(spectra),
    ),
    "cross_spectrum": lambda spectra, mask: (
        _relative_level(spectra, mask),
        *_phase_differences(spectra, mask),
    ),
}
NAMES = tuple(_PIECES)


def pieces(
    name: str, spectra: Float[Array, "B M T 512"], mask: Mask = None
) -> tuple[Float[Array, "B M T 256"], ...]:
    """Compute the inputs of a front end's first linear layer, in parts to join.

    Args:
        name: One of `NAMES`.
        spectra: Real, then imaginary parts of the scene's spectra, of unit level.
        mask: True where a node is present; None for all.
    """
    return _PIECES[name](tuple(jnp.split(spectra, 2, axis=-1)), mask)


class FrontEnd(nnx.Module):
    """Spectral features, a linear layer, and the average over groups of frames.

    With `frames_per_step` 1 there is only the linear layer, as in the paper. Otherwise
    a nonlinearity before the average tells the frames of a group apart, and a second
    layer follows.

    Args:
        name: One of `NAMES`.
        width: Width D of the result.
        frames_per_step: Frames averaged to one time step; an incomplete group at the
            end is left out.
        dtype: Type of the computation.
        rngs: Random streams of the parameters.
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
        self.name: str = name
        self.frames_per_step: int = frames_per_step
        probe = jax.ShapeDtypeStruct((1, 1, 1, 2 * stft.NUM_BINS), jnp.float32)
        fed = jax.eval_shape(lambda spectra: pieces(name, spectra), probe)
        num_inputs = sum(piece.shape[-1] for piece in fed)
        self.project: layers.Linear = layers.Linear(
            num_inputs, width, dtype=dtype, rngs=rngs
        )
        self.mix: layers.Linear | None = (
            layers.Linear(width, width, dtype=dtype, rngs=rngs)
            if frames_per_step > 1
            else None
        )

    def __call__(
        self, spectra: Float[Array, "B M T 512"], mask: Bool[Array, "B M"] | None
    ) -> Float[Array, "B M U D"]:
        """Compute the vectors, U = T // frames_per_step.

        Raises:
            ValueError: If there are fewer frames than one step needs.
        """
        B, M, T, _ = spectra.shape
        steps = T // self.frames_per_step
        if not steps:
            raise ValueError(
                f"{T} frames given; frames_per_step is {self.frames_per_step}"
            )
        spectra = spectra[:, :, : steps * self.frames_per_step]
        h = layers.apply_to_parts(self.project, pieces(self.name, spectra, mask))
        if self.mix is None:
            return h
        h = nnx.gelu(h).reshape(B, M, steps, self.frames_per_step, -1)
        return self.mix(h.mean(axis=3))
