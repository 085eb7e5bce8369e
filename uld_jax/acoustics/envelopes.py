"""Envelopes of the cross-correlations of all pairs of nodes, small enough to keep.

An envelope shows how likely each difference of distances is. Unlike the correlation
itself it varies slowly with the lag, so that a coarse grid of the room can read it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Bool, Float, Real, UInt8

from uld_jax.acoustics import constants, correlations

# Powers that spectra are whitened by: for the least blurred envelope, whose peaks tell
# few nodes apart from their ghosts; and for the others, which noise at all frequencies
# disturbs less.
WHITENINGS = (0.85, 0.7)
BAND = (150.0, 7000.0)  # Hz.
LARGEST_LAG = 960  # Samples at 16 kHz on either side: 60 ms, 20.6 m.
STEP = 2  # Samples between two lags.
NUM_LAGS = 2 * LARGEST_LAG // STEP + 1
# Standard deviations of the Gaussians that envelopes are blurred by, in lags, and which
# lags are kept: 3, 10 and 30 samples or 6, 21 and 64 cm.
BLURS = ((1.5, 1), (5.0, 4), (15.0, 12))
NUM_KEPT = tuple(2 * (NUM_LAGS // 2 // step) + 1 for _, step in BLURS)
# Steps of the stored bytes per unit of the natural logarithm: they reach from 1/200 to
# 200 times the mean, and round by 2 %.
STEPS_PER_NEPER = 24.0
_ZERO = 128
# Neighboring bins of a cross-spectrum are summed to one, so that this many samples of
# lags stay apart: 250 ms on either side.
_CIRCLE = 8000


def pair_envelopes(
    signals: Real[Array, "M N"], mask: Bool[Array, " M"] | None = None
) -> UInt8[Array, "Q 1283"]:
    """Compute the envelopes of the correlations of all pairs, blurred, in bytes.

    Of the whole signals, whitened to powers of 0.85 and 0.7 within 150 to 7,000 Hz: noise
    at all frequencies counts less than with the phase transform. The one-sided spectrum
    makes the correlation analytic; its magnitude is the envelope. Each is divided by
    its mean over the lags and blurred (`BLURS`): the first once, the second twice, more.
    The bytes are logarithms, one blur after the other, in the order of
    `correlations.node_pairs`. Lags are by how many samples a sound reaches the first
    node later than the second: see `to_log`.

    Of signals of a second or longer, neighboring bins are summed before the inverse
    transform, four at 2 s, which makes it as much shorter. The envelope is multiplied by
    a sinc that is 0.98 at the largest lag, and lags beyond 250 ms fold back, damped.

    Args:
        signals: Signals of the nodes, floats or integers, of any level.
        mask: True where a node is present; None for all. Pairs with absent or silent
            nodes have a flat envelope.

    Raises:
        ValueError: If the signals are shorter than the largest lag.
    """
    num_nodes, num_samples = signals.shape
    if num_samples <= LARGEST_LAG:
        raise ValueError(
            f"signals have {num_samples} samples; correlations up to 60 ms need at "
            f"least {LARGEST_LAG + 1}"
        )
    mask = jnp.ones(num_nodes, bool) if mask is None else mask
    # Long enough that wanted lags do not wrap around.
    group = max(1, (num_samples + LARGEST_LAG) // _CIRCLE)
    length = scipy.fft.next_fast_len(
        math.ceil((num_samples + LARGEST_LAG) / (2 * group))
    )
    num_fft = 2 * group * length
    bins = np.arange(group * length) * constants.SAMPLE_RATE / num_fft
    in_band = (bins >= BAND[0]) & (bins <= BAND[1])
    one, other = correlations.node_pairs(num_nodes)
    around = LARGEST_LAG // STEP

    def envelope(whitening: float) -> Float[Array, "Q L"]:
        spectra = correlations.whiten(
            signals.astype(jnp.float32), mask, num_fft, whitening
        )[:, : group * length]
        spectra = jnp.where(in_band, spectra, 0.0).reshape(num_nodes, length, group)
        cross = (spectra[one] * spectra[other].conj()).sum(axis=-1)
        # Bins up to half the sample rate alone: a lag lasts two samples.
        analytic = jnp.fft.ifft(cross, axis=-1)
        middle = [analytic[:, -around:], analytic[:, : around + 1]]
        return jnp.abs(jnp.concatenate(middle, axis=1))

    return _to_bytes(*map(envelope, WHITENINGS))


def _to_bytes(
    sharp: Float[Array, "Q L"], robust: Float[Array, "Q L"]
) -> UInt8[Array, "Q _"]:
    """Blur envelopes, the first once, and convert them to bytes."""

    def relative(envelope):
        mean = envelope.mean(axis=1, keepdims=True)
        return jnp.where(mean > 0, envelope / jnp.where(mean > 0, mean, 1.0), 1.0)

    sharp, robust = relative(sharp), relative(robust)
    blurred = [
        blur(envelope, sigma, step)
        for envelope, (sigma, step) in zip((sharp, robust, robust), BLURS, strict=True)
    ]
    logs = jnp.log(jnp.maximum(jnp.concatenate(blurred, axis=1), 1e-6))
    steps = jnp.round(STEPS_PER_NEPER * logs) + _ZERO
    return jnp.clip(steps, 0, 255).astype(jnp.uint8)


def to_log(stored: UInt8[Array, "*Q _"]) -> list[Float[Array, "*Q _"]]:
    """Restore the logarithms of envelopes for each blur, at the lags that are kept.

    Relative to the mean over the lags. Entry K // 2 + k of the K of a blur is at
    2 k samples times its step.
    """
    return [_restore(part) for part in _parts(stored)]


def read(
    stored: UInt8[Array, "*Q _"], lags: Float[Array, "*Q L"]
) -> list[Float[Array, "*Q L"]]:
    """Read the logarithms of envelopes for each blur at any lags, linearly.

    Beyond the kept lags nothing is known: there it is their mean.

    Args:
        stored: Bytes of `pair_envelopes`.
        lags: Lags in samples at 16 kHz.
    """
    found, inside = [], jnp.abs(lags) <= LARGEST_LAG
    for part, (_, step) in zip(_parts(stored), BLURS, strict=True):
        last = part.shape[-1] - 1
        place = lags / (STEP * step) + last // 2
        left = jnp.clip(place.astype(jnp.int32), 0, last - 1)
        below, above = (
            _restore(jnp.take_along_axis(part, left + one, -1)) for one in (0, 1)
        )
        mean = _restore(part).mean(axis=-1, keepdims=True)
        value = below + (place - left) * (above - below)
        found.append(jnp.where(inside, value, mean))
    return found


def _parts(stored: UInt8[Array, "*Q _"]) -> list[UInt8[Array, "*Q _"]]:
    return jnp.split(stored, np.cumsum(NUM_KEPT)[:-1], axis=-1)


def _restore(stored: UInt8[Array, "*Q K"]) -> Float[Array, "*Q K"]:
    return (stored.astype(jnp.float32) - _ZERO) / STEPS_PER_NEPER


def blur(
    envelopes: Float[Array, "*Q L"], sigma: float, step: int
) -> Float[Array, "*Q K"]:
    """Blur envelopes by a Gaussian and keep every few lags, the middle one among them.

    Beyond the ends they are continued by their last value.

    Args:
        envelopes: Values at L equidistant lags, L odd.
        sigma: Standard deviation of the Gaussian, in lags.
        step: Distance of the lags kept, in lags; K = 2 (L // 2 // step) + 1.
    """
    reach = math.ceil(3 * sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    half = envelopes.shape[-1] // 2
    kept = half // step
    padding = [(0, 0)] * (envelopes.ndim - 1) + [(reach, reach)]
    padded = jnp.pad(envelopes, padding, mode="edge")
    first = half - kept * step
    length = 2 * kept * step + 1
    return sum(
        float(tap)
        * jax.lax.slice_in_dim(
            padded, first + shift, first + shift + length, step, axis=-1
        )
        for shift, tap in enumerate(taps)
    )
