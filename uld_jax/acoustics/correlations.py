"""Generalized cross-correlations of nodes with phase transform (GCC-PHAT).

Source: C. H. Knapp and G. C. Carter, "The generalized correlation method for
estimation of time delay", IEEE Trans. Acoust. Speech Signal Process. 24, 1976.
Every spectrum is divided by its own magnitude, so that only phases count. One
transform covers a whole signal. Everything is written for one recording; batch it
with `jax.vmap`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Complex, Float, Int

from uld_jax.acoustics import constants

SAMPLES_PER_METER = constants.SAMPLE_RATE / constants.SPEED_OF_SOUND
LARGEST_LAG = 1024  # Where positions are not known yet; 21.9 m.
# Exponent of `whiten`. Localizers pass it to their compiled programs as an argument: XLA
# would turn a constant power into a division, whose last bits differ.
PHASE_TRANSFORM = 1.0

_LAG_STEP = 256  # One compilation for each.
_NOTHING = 1e-30  # What is divided by instead of zero.


def lag_bound(node_positions: ArrayLike, mask: ArrayLike | None = None) -> int:
    """Return the largest lag in samples that matters between nodes, rounded up.

    Sound needs no longer from one node to another. The bound is a static argument
    of what is compiled; it is a multiple of 256, so that it seldom changes. Inside
    `jax.jit`, where positions are not known, it is 1024: nodes up to 21.9 m apart.

    Args:
        node_positions: [..., M, 3] in meters.
        mask: [..., M], True where there is a node; None for everywhere.
    """
    if any(isinstance(value, jax.core.Tracer) for value in (node_positions, mask)):
        return LARGEST_LAG
    positions = np.asarray(node_positions, np.float64)
    present = True if mask is None else np.asarray(mask)[..., None]
    highest = np.where(present, positions, -np.inf).max(axis=-2)
    lowest = np.where(present, positions, np.inf).min(axis=-2)
    farthest = np.linalg.norm(highest - lowest, axis=-1).max()
    return math.ceil((farthest * SAMPLES_PER_METER + 1) / _LAG_STEP) * _LAG_STEP


def node_pairs(num_nodes: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
    """Return the first and the second node of all Q = M (M - 1) / 2 pairs."""
    return np.triu_indices(num_nodes, 1)


def transform_length(num_samples: int, max_lag: int) -> int:
    """Return how far to pad signals of N samples so that no wanted lag wraps around."""
    # Even, so that irfft gives back as many samples as went in.
    return 2 * scipy.fft.next_fast_len((num_samples + max_lag + 1) // 2, real=True)


def whiten(
    signals: Float[Array, "M N"],
    mask: Bool[Array, " M"],
    num_fft: int,
    whitening: float | Float[Array, ""] = PHASE_TRANSFORM,
) -> Complex[Array, "M F"]:
    """Return the spectra of signals, divided by a power of their magnitudes.

    Their mean square is 1, whatever a node's level. They are zero where there is
    nothing to divide by: of silent nodes and of nodes that are not there, whatever
    their signals hold.

    Args:
        signals: Signals at the nodes, at 16 kHz.
        mask: True where there is a node.
        num_fft: Length of the transform, F = num_fft / 2 + 1: `transform_length`.
        whitening: The power. 1 is the phase transform: all magnitudes become 1, and
            a weak noise that fills all frequencies counts more than a voice that
            fills a few. Less favors what is loud (K. D. Donohue, J. Hannemann and
            H. G. Dietz, "Performance of phase transform for detecting sound sources
            with microphone arrays in reverberant and noisy environments", Signal
            Process. 87, 2007).
    """
    signals = jnp.where(mask[:, None], signals, 0.0)
    peaks = jnp.abs(signals).max(axis=1, keepdims=True)
    # Peaks of 1 keep squares of magnitudes clear of underflow.
    spectra = jnp.fft.rfft(signals / jnp.maximum(peaks, _NOTHING), num_fft)
    # Factors, as complex quotients square what they divide by, which underflows.
    spectra *= jnp.maximum(jnp.abs(spectra), _NOTHING) ** -whitening
    squares = (spectra.real**2 + spectra.imag**2).mean(axis=1, keepdims=True)
    return spectra * jax.lax.rsqrt(jnp.maximum(squares, _NOTHING))


def correlate(
    spectra: Complex[Array, "M F"],
    reference: Complex[Array, " F"],
    num_fft: int,
    max_lag: int,
) -> Float[Array, "M L"]:
    """Return the correlations of all nodes with one.

    Entry max_lag + lag of node a is the circular correlation sum_t a[t + lag] b[t]
    with the reference b: its peak is at the delay of a less that of b, and is 1 where
    they differ by a delay alone.

    Args:
        spectra: Spectra of transforms of `num_fft` samples.
        reference: That of the reference.
        num_fft: Length of the circle.
        max_lag: Largest lag in samples; L = 2 max_lag + 1.
    """
    return _middle(jnp.fft.irfft(spectra * reference.conj(), num_fft), max_lag)


def correlate_pairs(
    spectra: Complex[Array, "M F"], num_fft: int, max_lag: int, oversampling: int
) -> Float[Array, "Q L"]:
    """Return the correlations of all pairs of nodes, by `node_pairs`.

    They are those of `correlate` with the second node of a pair as the reference.
    But 435 transforms of whole length for 30 nodes would take most of the time, and
    few of their lags are wanted. So the whitened signals are cut into blocks of
    2 max_lag samples: the lags of a block need just that block of one node, and
    max_lag samples more on either side of the other. Their short transforms are as
    exact (overlap-save), and products are summed over blocks before the inverse.

    Args:
        spectra: Spectra of transforms of `num_fft` samples.
        num_fft: Length of the circle.
        max_lag: Largest lag in samples.
        oversampling: Lags per sample, by zeros appended to the spectrum; there are
            L = 2 max_lag oversampling + 1.
    """
    block = 2 * max_lag
    num_blocks = -(-num_fft // block)
    filling = num_blocks * block - num_fft
    signals = jnp.fft.irfft(spectra, num_fft)
    around = jnp.pad(signals, ((0, 0), (max_lag, max_lag)), mode="wrap")
    around = jnp.pad(around, ((0, 0), (0, filling)))
    starts = np.arange(num_blocks)[:, None] * block
    long = around[:, starts + np.arange(2 * block)]
    short = jnp.pad(signals, ((0, 0), (0, filling))).reshape(-1, num_blocks, block)
    short = jnp.pad(short, ((0, 0), (0, 0), (max_lag, max_lag)))
    # One transform for both: two of them must not run at once (`recordings`).
    first, second = jnp.fft.rfft(jnp.stack([long, short]))
    products = jnp.einsum(
        "akf,bkf->fab", first, second.conj(), precision=jax.lax.Precision.HIGHEST
    )
    one, other = node_pairs(len(spectra))
    cross = products[:, one, other].T
    if oversampling > 1:  # The last bin gets a mirror image.
        cross = cross.at[:, -1].multiply(0.5)
    longer = jnp.fft.irfft(cross, 2 * block * oversampling) * oversampling
    return _middle(longer, max_lag * oversampling)


def interpolate(
    correlation: Float[Array, " L"], lag: Float[Array, " P"], oversampling: int
) -> Float[Array, " P"]:
    """Return a correlation at lags in samples, by cubic convolution.

    Straight lines would pull peaks to the entries, by millimeters even at twice the
    rate. Source: R. G. Keys, "Cubic convolution interpolation for digital image
    processing", IEEE Trans. Acoust. Speech Signal Process. 29, 1981. Beyond the last
    entry but one, it stays as it is there.
    """
    last = correlation.shape[0] - 1
    place = jnp.clip(lag * oversampling + last // 2, 1.0, last - 1)
    left = jnp.minimum(place.astype(jnp.int32), last - 2)
    a, b, c, d = (correlation[left + step] for step in (-1, 0, 1, 2))
    x = place - left
    bend = 2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)
    return b + 0.5 * x * (c - a + x * bend)


def _middle(wrapped: Float[Array, "Q _"], max_lag: int) -> Float[Array, "Q L"]:
    """Return lags from -max_lag to max_lag of a circle that starts at lag 0."""
    return jnp.concatenate([wrapped[:, -max_lag:], wrapped[:, : max_lag + 1]], axis=1)
