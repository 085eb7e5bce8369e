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
LARGEST_LAG = 1024  # In samples, 21.9 m: used where positions are not known yet.
# Exponents of `whiten`. Localizers pass theirs to their compiled programs as an argument:
# XLA would turn a constant power of 1 into a division, whose last bits differ.
PHASE_TRANSFORM = 1.0
# What SRP-PHAT and time differences use by default. Of powers from 0.5 to 1 it was the best
# over all on validation scenes of Ad-1 (5, 10 and 30 nodes, SNR of 5 and of 10 to 20 dB);
# with 5 nodes at 10 to 20 dB the phase transform is better.
WHITENING = 0.65

_LAG_STEP = 256  # Every other bound would be compiled separately.
_TINY = 1e-30  # Replaces zero in divisions.


def lag_bound(node_positions: ArrayLike, mask: ArrayLike | None = None) -> int:
    """Compute the largest lag between nodes in samples, rounded up.

    Sound takes no longer from one node to another. The bound is a static argument of
    compiled functions; it is a multiple of 256, so that it seldom changes. Inside
    `jax.jit`, where positions are not known, it is 1024: nodes up to 21.9 m apart.

    Args:
        node_positions: (x, y, z) in meters, [..., M, 3].
        mask: True where a node is present, [..., M]; None for all.
    """
    if any(isinstance(value, jax.core.Tracer) for value in (node_positions, mask)):
        return LARGEST_LAG
    positions = np.asarray(node_positions, np.float64)
    present = True if mask is None else np.asarray(mask)[..., None]
    highest = np.where(present, positions, -np.inf).max(axis=-2)
    lowest = np.where(present, positions, np.inf).min(axis=-2)
    farthest = np.linalg.norm(highest - lowest, axis=-1).max()
    return math.ceil((farthest * SAMPLES_PER_METER + 1) / _LAG_STEP) * _LAG_STEP


def path_lengths(
    point: Float[Array, "3"], node_positions: Float[Array, "M 3"]
) -> Float[Array, " M"]:
    """Compute the distances of all nodes from a point in meters."""
    return jnp.sqrt(((point - node_positions) ** 2).sum(axis=-1))


def node_pairs(num_nodes: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
    """List the first and the second node of all Q = M (M - 1) / 2 pairs."""
    return np.triu_indices(num_nodes, 1)


def transform_length(num_samples: int, max_lag: int) -> int:
    """Compute the length to pad N samples to, so that no wanted lag wraps around."""
    # Even, so that irfft inverts rfft without being given the length.
    return 2 * scipy.fft.next_fast_len((num_samples + max_lag + 1) // 2, real=True)


def whiten(
    signals: Float[Array, "M N"],
    mask: Bool[Array, " M"],
    num_fft: int,
    whitening: float | Float[Array, ""] = PHASE_TRANSFORM,
) -> Complex[Array, "M F"]:
    """Compute the spectra of signals, divided by a power of their magnitudes.

    Their mean square is 1, whatever a node's level. Those of silent and of absent nodes
    are zero, whatever the signals of the latter hold.

    Args:
        signals: Signals at the nodes, at 16 kHz.
        mask: True where a node is present.
        num_fft: Length of the transform, F = num_fft / 2 + 1: `transform_length`.
        whitening: The power. 1 is the phase transform: all magnitudes become 1, and
            weak noise at all frequencies counts more than a voice at a few. Smaller
            powers favor loud frequencies (K. D. Donohue, J. Hannemann and
            H. G. Dietz, "Performance of phase transform for detecting sound sources
            with microphone arrays in reverberant and noisy environments", Signal
            Process. 87, 2007).
    """
    signals = jnp.where(mask[:, None], signals, 0.0)
    peaks = jnp.abs(signals).max(axis=1, keepdims=True)
    # Peaks of 1 keep the squares of magnitudes from underflowing.
    spectra = jnp.fft.rfft(signals / jnp.maximum(peaks, _TINY), num_fft)
    return flatten(spectra, whitening)


def flatten(
    spectra: Complex[Array, "*M F"], whitening: float | Float[Array, ""]
) -> Complex[Array, "*M F"]:
    """Divide spectra by a power of their magnitudes; then their mean square is 1.

    Args:
        spectra: Of signals of any level; zeros stay zeros.
        whitening: The power: see `whiten`.
    """
    # A product: complex division squares the divisor, which underflows.
    spectra *= jnp.maximum(jnp.abs(spectra), _TINY) ** -whitening
    squares = (spectra.real**2 + spectra.imag**2).mean(axis=-1, keepdims=True)
    return spectra * jax.lax.rsqrt(jnp.maximum(squares, _TINY))


def correlate(
    spectra: Complex[Array, "M F"],
    reference: Complex[Array, " F"],
    num_fft: int,
    max_lag: int,
) -> Float[Array, "M L"]:
    """Correlate the signals of all nodes with that of one.

    Entry max_lag + lag of node a is the circular correlation sum_t a[t + lag] b[t]
    with the reference b: its peak is at the delay of a less that of b, and is 1 where
    they differ by a delay alone.

    Args:
        spectra: Spectra of transforms of `num_fft` samples.
        reference: Spectrum of the reference.
        num_fft: Length of the circle.
        max_lag: Largest lag in samples; L = 2 max_lag + 1.
    """
    return to_lags(spectra * reference.conj(), num_fft, max_lag)


def to_lags(
    cross: Complex[Array, "M F"], num_fft: int, max_lag: int
) -> Float[Array, "M L"]:
    """Transform cross-spectra to correlations: see `correlate`."""
    return _middle(jnp.fft.irfft(cross, num_fft), max_lag)


def correlate_pairs(
    spectra: Complex[Array, "M F"], num_fft: int, max_lag: int, oversampling: int
) -> Float[Array, "Q L"]:
    """Correlate the signals of all pairs of nodes, in the order of `node_pairs`.

    Equals `correlate` with the second node of each pair as the reference. But 435
    transforms of full length for 30 nodes would take most of the time, for few lags.
    So the whitened signals are cut into blocks of 2 max_lag samples: the lags of a
    block need only that block of one node, and max_lag samples more on either side of
    the other. Their short transforms are as exact (overlap-save), and products are
    summed over blocks before the inverse.

    Args:
        spectra: Spectra of transforms of `num_fft` samples.
        num_fft: Length of the circle.
        max_lag: Largest lag in samples.
        oversampling: Lags per sample, from zeros appended to the spectrum;
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
    # One transform for both: on CPUs, two at the same time wait for each other forever.
    first, second = jnp.fft.rfft(jnp.stack([long, short]))
    products = jnp.einsum(
        "akf,bkf->fab", first, second.conj(), precision=jax.lax.Precision.HIGHEST
    )
    one, other = node_pairs(len(spectra))
    cross = products[:, one, other].T
    if oversampling > 1:  # A longer transform counts the last bin twice.
        cross = cross.at[:, -1].multiply(0.5)
    longer = jnp.fft.irfft(cross, 2 * block * oversampling) * oversampling
    return _middle(longer, max_lag * oversampling)


def interpolate(
    correlation: Float[Array, " L"], lag: Float[Array, " P"], oversampling: int
) -> Float[Array, " P"]:
    """Interpolate a correlation at lags in samples, by cubic convolution.

    Linear interpolation would pull peaks to the entries, by millimeters even at twice
    the rate. Source: R. G. Keys, "Cubic convolution interpolation for digital image
    processing", IEEE Trans. Acoust. Speech Signal Process. 29, 1981. Lags beyond the
    last entry but one get its value.
    """
    last = correlation.shape[0] - 1
    index = jnp.clip(lag * oversampling + last // 2, 1.0, last - 1)
    left = jnp.minimum(index.astype(jnp.int32), last - 2)
    a, b, c, d = (correlation[left + step] for step in (-1, 0, 1, 2))
    x = index - left
    bend = 2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)
    return b + 0.5 * x * (c - a + x * bend)


def refine_peaks(
    rows: Float[Array, "M L"], peaks: Int[Array, " M"]
) -> tuple[Int[Array, " M"], Float[Array, " M"], Float[Array, " M"]]:
    """Find where between the entries peaks are, by a parabola through three of them.

    Args:
        rows: Correlations.
        peaks: Highest entry of each.

    Returns:
        The entries, none of them at an end; how far beyond each the parabola's vertex is,
        up to half an entry; and the values there.
    """
    inner = jnp.clip(peaks, 1, rows.shape[1] - 2)
    around = jnp.take_along_axis(rows, inner[:, None] + jnp.arange(-1, 2), axis=1)
    left, height, right = around.T
    bend = left - 2 * height + right
    shift = 0.5 * (left - right) / jnp.where(bend < 0, bend, -jnp.inf)
    return inner, jnp.clip(shift, -0.5, 0.5), height


def _middle(wrapped: Float[Array, "Q _"], max_lag: int) -> Float[Array, "Q L"]:
    """Select lags from -max_lag to max_lag of a circle that starts at lag 0."""
    return jnp.concatenate([wrapped[:, -max_lag:], wrapped[:, : max_lag + 1]], axis=1)
