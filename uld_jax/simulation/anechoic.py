"""Render the signals at the nodes of sources in free space, in JAX.

A dry excerpt is longer than the rendered segment. It starts `before` samples earlier,
for sound that arrives late. Both of its ends are faded, because delays in the frequency
domain are circular.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float

from uld_jax.acoustics.constants import SAMPLE_RATE, SPEED_OF_SOUND

_GUARD = 128  # Samples on each side for the ringing of a fractional delay.
_TAPER = 384  # Samples of the fade at each end; a shorter one leaks beyond 8 kHz.


def excerpt_margins(largest_distance: float) -> tuple[int, int]:
    """Count the samples of dry signal needed before and after a segment.

    Args:
        largest_distance: Largest distance between source and node, in meters.
    """
    largest_delay = math.ceil(largest_distance / SPEED_OF_SOUND * SAMPLE_RATE)
    return largest_delay + _GUARD + _TAPER, _GUARD + _TAPER


def _fade(num_samples: int) -> np.ndarray:
    """Compute a window of ones with raised cosine ends."""
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_TAPER) + 0.5) / _TAPER)
    window = np.ones(num_samples)
    window[:_TAPER] = rise
    window[-_TAPER:] = rise[::-1]
    return window


class DirectPaths(NamedTuple):
    """The direct paths from S sources to M nodes, each array [M, S].

    A delay in samples is whole + fraction. Rounding it to one float32 would leave an
    error of -85 dB in the signals.

    Attributes:
        whole: Whole samples of the delay, int32.
        fraction: Rest of the delay, float32 in [0, 1).
        distance: Length in meters, float32.
    """

    whole: jax.Array | np.ndarray
    fraction: jax.Array | np.ndarray
    distance: jax.Array | np.ndarray


def direct_paths(
    source_positions: np.ndarray, node_positions: np.ndarray
) -> DirectPaths:
    """Compute the direct paths between positions [S, 3] and [M, 3], in meters.

    The host computes them in float64.
    """
    offsets = node_positions[:, None].astype(np.float64) - source_positions[None]
    distance = np.linalg.norm(offsets, axis=-1)
    delay = distance / SPEED_OF_SOUND * SAMPLE_RATE
    whole = np.floor(delay)
    return DirectPaths(
        whole.astype(np.int32),
        (delay - whole).astype(np.float32),
        distance.astype(np.float32),
    )


@functools.partial(jax.jit, static_argnames=("before", "num_samples"))
def render_anechoic(
    dry: Float[Array, "S D"], paths: DirectPaths, *, before: int, num_samples: int
) -> Float[Array, "M N"]:
    """Render the signals [M, N] at the nodes of sources in free space.

    Every source arrives with its exact delay r / c and with amplitude 1 / r, as in
    pyroomacoustics without reflections. All nodes share one clock.

    Args:
        dry: Dry excerpts at 16 kHz. They start `before` samples ahead of the
            segment and end at least 512 samples after it: `excerpt_margins`.
        paths: The direct paths from the sources to the nodes.
        before: Samples of `dry` ahead of the segment.
        num_samples: Length N of the segment.

    Raises:
        ValueError: If the excerpts are too short for the segment.
    """
    length = dry.shape[-1]
    if before < _GUARD + _TAPER or length < before + num_samples + _GUARD + _TAPER:
        raise ValueError(
            f"a dry excerpt of {length} samples with {before} before the segment is "
            f"too short for {num_samples} samples; lengthen it by excerpt_margins"
        )
    # Even, so that irfft returns as many samples as rfft took.
    num_fft = 2 * scipy.fft.next_fast_len((length + 1) // 2, real=True)
    # Whole samples turn the phase by whole steps, which integers count exactly.
    bins = jnp.arange(num_fft // 2 + 1)
    steps = (bins * paths.whole[..., None]) % num_fft + bins * paths.fraction[..., None]
    phases = 2 * jnp.pi / num_fft * steps
    response = jax.lax.complex(jnp.cos(phases), -jnp.sin(phases))
    spectra = jnp.fft.rfft(dry * jnp.asarray(_fade(length), dry.dtype), num_fft)
    received = (response / paths.distance[..., None] * spectra[None]).sum(axis=1)
    return jnp.fft.irfft(received, num_fft)[:, before : before + num_samples]
