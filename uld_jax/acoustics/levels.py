"""Levels of speech at each node: how loud and how reverberant, so how far.

Of each node, a scene keeps a few statistics over time of its levels in mel bands. The
levels fall with the distance; how fast they rise and fall, and how deep the pauses are,
tells direct from reverberant sound.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real

from uld_jax.acoustics import constants, stft

NUM_BANDS = 24
BAND_LIMITS = (100.0, 7600.0)  # Hz.
QUANTILES = (0.1, 0.5, 0.9)
# For each band: the quantiles, mean power, mean rise, mean fall, standard deviation.
STATISTICS = (
    *(f"quantile {q:g}" for q in QUANTILES),
    "power",
    "rise",
    "fall",
    "spread",
)
# Those that follow a node's gain, decibel by decibel.
NUM_LEVELS = len(QUANTILES) + 1
NUM_STATISTICS = NUM_BANDS * len(STATISTICS)
_FLOOR_DB = -80.0  # Below the scene's level in one band; keeps silence finite.


def mel_filters() -> Float[np.ndarray, "F 24"]:
    """Compute triangular filters, equally spaced in mel, for powers of `stft.stft`.

    The mel scale is that of O'Shaughnessy, 2595 log10(1 + f / 700). Each filter's
    weights sum to one, so that a band's power is a mean over its bins.
    """
    low, high = 2595 * np.log10(1 + np.asarray(BAND_LIMITS) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, NUM_BANDS + 2) / 2595) - 1)
    bins = np.arange(1, stft.NUM_BINS + 1) * constants.SAMPLE_RATE / stft.WINDOW_LENGTH
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    # The narrowest bands lie between two bins.
    nearest = np.abs(bins[:, None] - edges[1:-1]).argmin(axis=0)
    empty = weights.sum(axis=0) == 0
    weights[nearest[empty], np.flatnonzero(empty)] = 1.0
    return (weights / weights.sum(axis=0)).astype(np.float32)


def band_levels(
    signals: Real[Array, "M N"], mask: Bool[Array, " M"] | None = None
) -> Float[Array, "M T 24"]:
    """Compute the levels in mel bands, in dB relative to the whole scene's level.

    Args:
        signals: Signals of the nodes, floats or integers.
        mask: True where a node is present; None for all. Absent nodes have no
            influence on the scene's level.

    Raises:
        ValueError: If a signal has fewer than 257 samples.
    """
    level = stft.scene_level(signals, mask)
    spectra = stft.stft(signals)
    powers = spectra.real**2 + spectra.imag**2
    bands = powers @ jnp.asarray(mel_filters(), powers.dtype)
    # White noise of unit power has a power of 3/8 times the window's length in a bin.
    unit = level**2 * (0.375 * stft.WINDOW_LENGTH)
    relative = bands / jnp.maximum(unit, jnp.finfo(unit.dtype).tiny)
    return 10 * jnp.log10(relative + 10 ** (_FLOOR_DB / 10))


def level_statistics(
    signals: Real[Array, "M N"], mask: Bool[Array, " M"] | None = None
) -> Float[Array, "M 7 24"]:
    """Compute statistics over time of each node's levels in mel bands, in dB.

    Args:
        signals: Signals of the nodes, floats or integers.
        mask: True where a node is present; None for all.

    Returns:
        `STATISTICS` of each of the bands. The first `NUM_LEVELS` rise by a node's gain.

    Raises:
        ValueError: If a signal has fewer than 257 samples.
    """
    levels = band_levels(signals, mask)
    ordered = jnp.sort(levels, axis=1)
    last = levels.shape[1] - 1
    quantiles = [ordered[:, round(q * last)] for q in QUANTILES]
    power = 10 * jnp.log10((10 ** (levels / 10)).mean(axis=1))
    steps = jnp.diff(levels, axis=1, prepend=levels[:, :1])
    rise = jnp.maximum(steps, 0.0).mean(axis=1)
    fall = jnp.minimum(steps, 0.0).mean(axis=1)
    return jnp.stack([*quantiles, power, rise, fall, levels.std(axis=1)], axis=1)
