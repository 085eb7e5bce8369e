"""Speech masks: take noise out of the nodes' signals before they are correlated.

The network of speech masks, whose weights come with the package, estimates the share of
speech m in each bin X of each node's spectrogram. Signals are synthesized from

    Y = m^2 X / |X|^w

by overlap-add, and then correlated as a whole: frames are shorter than the delays between
nodes, so that nothing is correlated inside of them. With w = 1 every bin counts by its mask
alone, as in the phase transform; with w = 0 the signal is what is left of it.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Real

from uld_jax.acoustics import stft
from uld_jax.pretrained import speech_masks, weights

WHITENING = 0.8  # Less than 1: what is left of noise is in weak bins.
SHARPNESS = 2  # Exponent of the masks: losing speech is better than keeping noise.
# Of the network that comes with the package.
FOLDER = pathlib.Path(weights.__file__).with_name("speech_mask")
_TINY = 1e-30  # Replaces zero in divisions.


class Masks(NamedTuple):
    """Masks of the signals of some nodes, and whether anybody talks.

    Attributes:
        shares: Of speech in the power of each bin.
        talker: Logit that a talker is there.
    """

    shares: Float[Array, "*B T 256"]
    talker: Float[Array, "*B"]


@functools.cache
def load() -> tuple[nnx.GraphDef, dict[str, Any]]:
    """Load the network that comes with the package: its graph and parameters."""
    with jax.ensure_compile_time_eval():  # It is kept, also if traced code asks first.
        return speech_masks.load(FOLDER)


def estimate(signals: Float[np.ndarray | Array, "*B N"]) -> Masks:
    """Estimate which bins of each signal are speech, each by itself.

    Args:
        signals: At 16 kHz, of any level. Silent ones get what the network makes of
            silence.
    """
    rows = jnp.asarray(signals).reshape(-1, signals.shape[-1])
    shares, talker = _estimate(*load(), _pad(rows))
    batch = signals.shape[:-1]
    return Masks(shares.reshape(*batch, *shares.shape[1:]), talker.reshape(batch))


def extract(signals: Real[np.ndarray | Array, "*B N"]) -> Float[Array, "*B N"]:
    """Take out of signals what is not speech, and whiten them bin by bin.

    Correlate the result as it is, without whitening it again.

    Args:
        signals: At 16 kHz, of any level.
    """
    signals = jnp.asarray(signals, jnp.float32)
    return resynthesize(signals, estimate(signals).shares, WHITENING)


def resynthesize(
    signals: Float[np.ndarray | Array, "*B N"],
    shares: Float[np.ndarray | Array, "*B T 256"],
    whitening: float,
    sharpness: float = SHARPNESS,
) -> Float[Array, "*B N"]:
    """Synthesize signals from their masked spectra, by overlap-add.

    Masks of ones without whitening give the signals back.

    Args:
        signals: At 16 kHz.
        shares: Of speech, as `estimate` gives them.
        whitening: Power of the magnitudes that spectra are divided by, bin by bin.
        sharpness: Exponent of the masks.
    """
    exponents = jnp.float32(whitening), jnp.float32(sharpness)
    return _resynthesize(jnp.asarray(signals), jnp.asarray(shares), *exponents)


@functools.partial(jax.jit, static_argnames="graph")
def _estimate(graph, params, signals):
    network = nnx.merge(graph, params)

    def one(signal):
        bins = stft.stft(signal)
        mask, talker = network((bins.real**2 + bins.imag**2)[None])
        return jax.nn.sigmoid(mask[0]), talker[0]

    # One by one: features of all nodes at once would leave a CPU's cache.
    return jax.lax.map(one, signals)


@jax.jit
def _resynthesize(signals, shares, whitening, sharpness):
    bins = stft.all_bins(_pad(signals))
    # The network does not see the lowest bin.
    shares = jnp.concatenate([shares[..., :1], shares], axis=-1)
    gains = shares**sharpness * jnp.maximum(jnp.abs(bins), _TINY) ** -whitening
    return stft.invert(bins * gains, signals.shape[-1])


def _pad(signals: Float[Array, "*B N"]) -> Float[Array, "*B _"]:
    """Append zeros, so that frames cover all samples well."""
    missing = -signals.shape[-1] % stft.HOP_LENGTH
    return jnp.pad(signals, [*[(0, 0)] * (signals.ndim - 1), (0, missing)])
