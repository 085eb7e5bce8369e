"""Unbiased label of an angle: grid points on a circle, which has no walls.

Feng, Gong, Bao and Zhang, "Unbiased Label Distribution for Sound Source Localization"
(reference 15), has the label of an azimuth. Its grid ends at 0 and 180 degrees, those of a
linear array; ours goes around, so that 359 degrees are next to 0.
"""

import numpy as np

from uld_jax.labels import arrays, axes, boxes
from uld_jax.labels.arrays import Array

TURN = 2 * np.pi
_LEAST = 3  # With fewer, a grid point has the same neighbor on both sides.


def encode_circular(azimuth: Array, resolution: int) -> Array:
    """Encode angles as unbiased label distributions on a circle.

    Args:
        azimuth: Angles in rad, of any size and sign, [...].
        resolution: Number of grid points I, at the angles 2 pi i / I.

    Returns:
        Distributions [..., I] that sum to one; two neighbors have weight.

    Raises:
        ValueError: If an angle is not finite, or the resolution is not a whole number of
            at least 3.

    >>> import numpy as np
    >>> import uld_jax
    >>> print(uld_jax.encode_circular(np.radians(315.0), resolution=4))
    [0.5 0.  0.  0.5]
    """
    check_resolution(resolution)
    boxes.check_angles(azimuth, "azimuth")
    (azimuth,) = arrays.as_floats(azimuth)
    xp = arrays.namespace(azimuth)
    turns = azimuth / TURN
    chi = (turns - xp.floor(turns)) * resolution
    apart = xp.abs(arrays.like(np.arange(resolution), chi) - chi[..., None])
    apart = xp.where(apart > resolution / 2, resolution - apart, apart)
    return xp.where(apart > 1, 0.0, 1 - apart)


def decode_circular(distribution: Array) -> Array:
    """Decode distributions on a circle by weighted adjacent decoding.

    Inverts `encode_circular` without quantization error; the angle of the largest entry,
    rounded to the grid, has a mean error of pi / (2 I).

    Args:
        distribution: Distributions [..., I] of any positive sum.

    Returns:
        Angles in rad, from 0 to 2 pi, [...].

    Raises:
        ValueError: If there are fewer than 3 entries, one is negative or not finite, or
            all are zero.

    >>> import numpy as np
    >>> import uld_jax
    >>> print(np.degrees(uld_jax.decode_circular([0.5, 0.0, 0.0, 0.5])))
    315.0
    """
    shape = np.shape(distribution)
    if not shape or shape[-1] < _LEAST:
        raise ValueError(
            f"distribution has shape {tuple(shape)}; a circle has at least {_LEAST} points"
        )
    boxes.check_weights(distribution, 1, "distribution")
    (distribution,) = arrays.as_floats(distribution)
    xp = arrays.namespace(distribution)
    count = shape[-1]
    peak = arrays.like(xp.argmax(distribution, axis=-1, keepdims=True), distribution)
    offset = arrays.like(np.arange(count), distribution) - peak
    offset = xp.where(offset > count / 2, offset - count, offset)
    offset = xp.where(offset < -count / 2, offset + count, offset)
    weights = xp.where(xp.abs(offset) <= 1, distribution, 0.0)
    shift = axes.divide(xp.sum(weights * offset, axis=-1), xp.sum(weights, axis=-1))
    turns = (peak[..., 0] + shift) / count
    return TURN * (turns - xp.floor(turns))


def check_resolution(resolution: object) -> None:
    """Raise unless a circle can have so many grid points.

    Raises:
        ValueError: If it is not a whole number of at least 3.
    """
    boxes.check_resolution(resolution)
    if resolution < _LEAST:
        raise ValueError(
            f"resolution is {resolution}; a circle needs at least {_LEAST}"
        )
