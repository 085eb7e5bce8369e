"""Sum fractionally delayed pulses: deposit on a finer grid, FFT, correction.

A pulse is spread over four points of a grid of twice the sample rate, and the effect of
the spreading on the spectrum is divided out: a nonuniform FFT of type 1 (Barnett et al.
2019, SIAM J. Sci. Comput. 41). The resulting pulse is that of pyroomacoustics, a sinc
of 81 taps under a Hann window.

A low grid has an eighth of the rate, for what pulses have below 1 kHz alone: they are then
added to the spectra of others by `add_low`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Complex, Float, Num

from uld_jax.acoustics import constants
from uld_jax.simulation import walls

OVERSAMPLING = 2
LEAD = 40  # Samples ahead of time zero, for the first half of the earliest pulse.

_WIDTH = 4
_SHAPE = 2.3 * _WIDTH
_DEGREE = 6
_FOLD_FROM = 0.46  # Of the sample rate; there is no aliasing below it.
_FIXED_POINT = 2.0**27  # Leaves room for 16 pulses as strong as the strongest.
_FADE = (1 / math.sqrt(2), math.sqrt(2))  # Of the crossover: where the low band fades.


def _spread(offset: np.ndarray) -> np.ndarray:
    """Compute the exponential of a semicircle, at offsets in grid points."""
    circle = np.sqrt(np.maximum(1 - (2 * offset / _WIDTH) ** 2, 0))
    return np.exp(_SHAPE * (circle - 1))


@functools.cache
def _coefficients() -> np.ndarray:
    """Fit polynomials [degree + 1, 4] of the fraction, one for each point."""
    # Fitted at Chebyshev's nodes. From here on they are the kernel: their transform is
    # divided out, so the error of the fit does not matter.
    fraction = 0.5 + 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    columns = [
        np.polynomial.polynomial.polyfit(
            fraction, _spread(point - 1 - fraction), _DEGREE
        )
        for point in range(_WIDTH)
    ]
    return np.stack(columns, axis=1)


def _kernel_spectrum(frequency: np.ndarray) -> np.ndarray:
    """Compute the kernel's Fourier transform, frequency in cycles per grid point."""
    nodes, weights = np.polynomial.legendre.leggauss(32)
    fraction = (nodes + 1) / 2
    spectrum = np.zeros_like(frequency)
    for point in range(_WIDTH):
        values = np.polynomial.polynomial.polyval(fraction, _coefficients()[:, point])
        angles = 2 * np.pi * frequency[:, None] * (point - 1 - fraction)
        spectrum += np.cos(angles) @ (values * weights / 2)
    return spectrum


def _pulse_spectrum(frequency: np.ndarray) -> np.ndarray:
    """Compute the transform of sinc(t) under a Hann window of +-40 samples.

    Frequency is in cycles per sample.
    """
    # The sinc's rectangle, convolved with the window's transform, is a sum of sine
    # integrals.
    length = 2 * LEAD
    spectrum = np.zeros_like(frequency)
    for shift, weight in ((0, 0.5), (-1, 0.25), (1, 0.25)):
        for edge, sign in ((0.5, 1), (-0.5, -1)):
            argument = np.pi * length * (frequency + edge - shift / length)
            spectrum += sign * weight * scipy.special.sici(argument)[0] / np.pi
    return spectrum


@functools.lru_cache(maxsize=8)
def _correction(num_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the weights of the wanted bins and of those that alias into them."""
    frequency = np.arange(num_fft // 2 + 1) / num_fft
    alias = 1 - frequency[int(_FOLD_FROM * num_fft) :]
    return tuple(
        (_pulse_spectrum(f) / _kernel_spectrum(f / OVERSAMPLING)).astype(np.float32)
        for f in (frequency, alias)
    )


def empty(
    batch: tuple[int, ...], num_fft: int, *, deterministic: bool, decimation: int = 1
) -> Num[Array, " _"]:
    """Make an empty, flat grid for responses of shape [*batch, num_fft].

    It is flat because accelerators scatter fastest into one dimension.

    Args:
        batch: Shape of the batch of responses.
        num_fft: Length of the transform that follows, in samples.
        deterministic: Sum in int32, independent of the order of additions.
            Otherwise in float32.
        decimation: By how much the rate of a low grid is lower.
    """
    size = int(np.prod(batch)) * (OVERSAMPLING * num_fft // decimation)
    return jnp.zeros(size, jnp.int32 if deterministic else jnp.float32)


def apart(arrays):
    """Keep XLA on CPUs from fusing the arrays' producers with their consumers."""
    # Fused, they would be computed again for every element. Accelerators gain by fusing.
    if jax.default_backend() == "cpu":
        return jax.lax.optimization_barrier(arrays)
    return arrays


def deposit(
    grid: Num[Array, " _"],
    delays: Float[Array, "*R P"],
    gains: Float[Array, "*R P"],
    decimation: int = 1,
) -> Num[Array, " _"]:
    """Add P pulses to each response of a grid.

    Args:
        grid: From `empty`, or from an earlier deposit.
        delays: In samples, from 0 to the length of the grid less 82.
        gains: In a deterministic grid, at most 15 in sum where pulses coincide.
        decimation: As the grid was made with.
    """
    num_responses = int(np.prod(delays.shape[:-1]))
    length = grid.size // num_responses
    position = OVERSAMPLING / decimation * (delays + LEAD)
    whole = jnp.floor(position)
    fraction = position - whole
    first = whole.astype(jnp.int32).reshape(num_responses, -1) - 1
    first += length * jnp.arange(num_responses)[:, None]
    scale = _FIXED_POINT if grid.dtype == jnp.int32 else 1.0
    coefficients = (_coefficients() * scale).astype(np.float32)
    first, fraction, gains = apart((first, fraction, gains))
    points = []
    for column in coefficients.T:
        value = jnp.full_like(fraction, column[-1])
        for coefficient in column[-2::-1]:
            value = value * fraction + coefficient
        points.append(value * gains)
    values = jnp.stack(apart(points), axis=-1).reshape(-1, _WIDTH)
    if grid.dtype == jnp.int32:
        values = jnp.round(values).astype(jnp.int32)
    return jax.lax.scatter_add(
        grid,
        first.reshape(-1, 1),
        values,
        jax.lax.ScatterDimensionNumbers((1,), (), (0,)),
        mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )


def spectra(
    grid: Num[Array, " _"], batch: tuple[int, ...], num_fft: int
) -> Complex[Array, "*R F"]:
    """Compute the spectra [*batch, num_fft // 2 + 1] of the responses in a grid.

    Time zero of a response is at sample `LEAD`.
    """
    fine = jnp.fft.rfft(
        grid.reshape(*batch, OVERSAMPLING * num_fft).astype(jnp.float32)
    )
    low, alias = (jnp.asarray(weights) for weights in _correction(num_fft))
    if grid.dtype == jnp.int32:
        low, alias = low / _FIXED_POINT, alias / _FIXED_POINT
    num_bins = num_fft // 2 + 1
    start = num_bins - alias.size
    # Bin m of the wanted rate also gets what the pulses have at num_fft - m.
    folded = fine[..., num_fft - start : num_fft - num_bins : -1].conj() * alias
    wanted = fine[..., :num_bins] * low
    return wanted.at[..., start:].add(folded)


def low_weight(frequency: np.ndarray) -> np.ndarray:
    """Compute the share of the low band at a frequency in Hz: one, then fading to none."""
    first, last = (walls.CROSSOVER * edge for edge in _FADE)
    octaves = np.log(np.maximum(frequency, first) / first) / np.log(last / first)
    return np.cos(np.pi / 2 * np.minimum(octaves, 1)) ** 2


def low_decimation(num_fft: int) -> int:
    """Choose by how much the rate of a low grid is lower: the grid has whole points."""
    return 8 if num_fft % 4 == 0 else 4


@functools.lru_cache(maxsize=8)
def _low_correction(num_fft: int) -> np.ndarray:
    """Compute the weights of a low grid's bins, as far as the low band goes."""
    last = math.ceil(_FADE[1] * walls.CROSSOVER / constants.SAMPLE_RATE * num_fft)
    frequency = np.arange(last) / num_fft
    kernel = _kernel_spectrum(frequency * low_decimation(num_fft) / OVERSAMPLING)
    weight = low_weight(frequency * constants.SAMPLE_RATE)
    return (weight * _pulse_spectrum(frequency) / kernel).astype(np.float32)


def add_low(
    spectra: Complex[Array, "*R F"],
    grid: Float[Array, " _"],
    num_fft: int,
    *,
    deterministic: bool,
) -> Complex[Array, "*R F"]:
    """Add what a low grid holds, below 1 kHz, to the spectra of responses.

    Args:
        spectra: From `spectra`.
        grid: The low grid, converted to float32, of the decimation `low_decimation`.
        num_fft: Length of the transform, in samples.
        deterministic: Whether the grid was summed in int32.
    """
    fine = jnp.fft.rfft(grid.reshape(*spectra.shape[:-1], -1))
    weights = _low_correction(num_fft) / (_FIXED_POINT if deterministic else 1.0)
    low = fine[..., : weights.size] * weights
    beyond = spectra.shape[-1] - weights.size
    return spectra + jnp.pad(low, [(0, 0)] * (low.ndim - 1) + [(0, beyond)])
