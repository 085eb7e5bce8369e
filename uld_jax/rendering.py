"""Signals at the nodes from a scene and dry sources, in JAX.

A dry excerpt is longer than the segment that is wanted: it starts `before`
samples ahead of it, so that what arrives late is there, and both of its ends
are faded out, because delays in the frequency domain are circular.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float

SAMPLE_RATE = 16_000
SPEED_OF_SOUND = 343.0

_GUARD = 128  # Samples on each side for the ringing of a fractional delay.
_TAPER = 128  # Samples of the fade at each end.


def excerpt_margins(largest_distance: float) -> tuple[int, int]:
    """Return how many samples of dry signal are needed before and after a segment.

    Args:
        largest_distance: Longest way from a source to a node, in meters.
    """
    largest_delay = math.ceil(largest_distance / SPEED_OF_SOUND * SAMPLE_RATE)
    return largest_delay + _GUARD + _TAPER, _GUARD + _TAPER


def _fade(num_samples: int) -> np.ndarray:
    """Return ones with raised cosine ends."""
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_TAPER) + 0.5) / _TAPER)
    window = np.ones(num_samples)
    window[:_TAPER] = rise
    window[-_TAPER:] = rise[::-1]
    return window


def _phases(delays: Float[Array, "M S"], num_fft: int) -> Float[Array, "M S F"]:
    """Return the phase 2 pi f tau of every frequency, in radians, modulo 2 pi.

    The whole samples of a delay are reduced in integers and only the fraction
    in float32: naively, the largest phases would be wrong by 1e-4 radian.
    """
    whole = jnp.floor(delays)
    fraction = delays - whole
    bins = jnp.arange(num_fft // 2 + 1)
    turns = (bins * whole.astype(jnp.int32)[..., None]) % num_fft
    return 2 * jnp.pi / num_fft * (turns + bins * fraction[..., None])


@functools.partial(jax.jit, static_argnames=("before", "num_samples"))
def render_anechoic(
    dry: Float[Array, "S D"],
    source_positions: Float[Array, "S 3"],
    node_positions: Float[Array, "M 3"],
    *,
    before: int,
    num_samples: int,
) -> Float[Array, "M N"]:
    """Return what the nodes hear of the sources in free space.

    Every source arrives with its exact delay r / c and with amplitude 1 / r, as
    in pyroomacoustics with no reflections, all nodes on one clock.

    Args:
        dry: Dry excerpts at 16 kHz. They start `before` samples ahead of the
            segment and end at least 256 samples after it: `excerpt_margins`.
        source_positions: In meters.
        node_positions: In meters.
        before: Samples of `dry` ahead of the segment.
        num_samples: Length N of the segment.

    Raises:
        ValueError: If the excerpts are too short for the segment.
    """
    length = dry.shape[-1]
    if before < _GUARD + _TAPER or length < before + num_samples + _GUARD + _TAPER:
        raise ValueError(
            f"a dry excerpt of {length} samples with {before} before the segment is "
            f"too short for {num_samples} samples; see excerpt_margins"
        )
    # Even, so that irfft gives back as many samples as went in.
    num_fft = 2 * scipy.fft.next_fast_len((length + 1) // 2, real=True)
    offsets = node_positions[:, None, :] - source_positions[None, :, :]
    distance = jnp.sqrt((offsets**2).sum(axis=-1))
    phases = _phases(distance / SPEED_OF_SOUND * SAMPLE_RATE, num_fft)
    response = jax.lax.complex(jnp.cos(phases), -jnp.sin(phases))
    spectra = jnp.fft.rfft(dry * jnp.asarray(_fade(length), dry.dtype), num_fft)
    received = (response / distance[..., None] * spectra[None]).sum(axis=1)
    return jnp.fft.irfft(received, num_fft)[:, before : before + num_samples]
