"""Clocks of nodes: signals resampled for drifts and for starts between samples."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from uld_jax.simulation import nonuniform_fft

_HALF_WIDTH = 10  # Samples of the interpolating sinc on each side.
_SHAPE = 5.0  # Of its window: errors at -50 dB up to 6.5 kHz.
# Samples over which its weights are linear; they move by a twentieth at most.
_BLOCK = 256
LARGEST_DRIFT = 200.0  # In ppm: quartz is within half of it.
LARGEST_OFFSET = 1.0  # In samples.


def reach(num_samples: int) -> int:
    """Count the samples beside a segment that reading it by other clocks takes."""
    drift = LARGEST_DRIFT * 1e-6 * num_samples / 2
    return math.ceil(drift + LARGEST_OFFSET) + _HALF_WIDTH + _BLOCK


def read_by_clocks(
    signals: Float[Array, "M D"],
    drifts_ppm: Float[Array, " M"],
    offsets: Float[Array, " M"],
    first: int,
    num_samples: int,
) -> Float[Array, "M N"]:
    """Read a segment as nodes do whose clocks drift, and start between samples.

    A node whose clock is slow by 100 ppm takes its samples 1.0001 samples apart. Clocks
    agree in the middle of the segment, up to the offsets. Without drift and offset, the
    samples are those of the segment to the bit.

    Args:
        signals: They have `reach` samples on either side of the segment.
        drifts_ppm: How much slower each clock is, in millionths.
        offsets: By how many samples each one's samples are late.
        first: First sample of the segment.
        num_samples: Samples N of the segment.
    """
    num_blocks = -(-num_samples // _BLOCK)
    edges = _BLOCK * jnp.arange(num_blocks + 1, dtype=jnp.float32)
    # Where the sample at each edge of a block is read, less the edge: [M, blocks + 1].
    late = (edges - num_samples / 2) * (1e-6 * drifts_ppm)[:, None] + offsets[:, None]
    whole = jnp.round(late[:, :-1])
    taps = jnp.arange(-_HALF_WIDTH, _HALF_WIDTH + 1, dtype=jnp.float32)
    start = _weights(late[:, :-1] - whole, taps)
    change = (_weights(late[:, 1:] - whole, taps) - start) / _BLOCK
    begins = first - _HALF_WIDTH + _BLOCK * jnp.arange(num_blocks)
    begins = begins + whole.astype(jnp.int32)
    length = _BLOCK + 2 * _HALF_WIDTH

    def cut(signal: Array, begins: Array) -> Array:
        return jax.vmap(
            lambda begin: jax.lax.dynamic_slice_in_dim(signal, begin, length)
        )(begins)

    parts = jax.vmap(cut)(signals, begins)
    start, change, parts = nonuniform_fft.apart((start, change, parts))
    step = jnp.arange(_BLOCK, dtype=jnp.float32)
    read = sum(
        (start[..., tap, None] + step * change[..., tap, None])
        * parts[..., tap : tap + _BLOCK]
        for tap in range(2 * _HALF_WIDTH + 1)
    )
    return read.reshape(len(signals), -1)[:, :num_samples]


def _weights(
    late: Float[Array, "M T"], taps: Float[Array, " K"]
) -> Float[Array, "M T K"]:
    """Compute a windowed sinc around each time, at whole samples.

    The window is the exponential of a semicircle, which is about Kaiser's.
    """
    offset = taps - late[..., None]
    inside = jnp.maximum(1 - (offset / (_HALF_WIDTH + 0.5)) ** 2, 0)
    window = jnp.exp(_SHAPE * (jnp.sqrt(inside) - 1))
    # A sine for each time, of alternating sign, so that it is exactly 0 at whole ones.
    sine = jnp.sin(jnp.pi * late)[..., None] * jnp.where(taps % 2 == 0, -1.0, 1.0)
    safe = jnp.where(offset == 0, 1.0, offset)
    return jnp.where(offset == 0, 1.0, window * sine / (jnp.pi * safe))
