"""Quantization errors of labels: what remains of a label that is right, once decoded.

Positions are uniform in the box, angles on the circle, directions on the sphere. In one to
three dimensions and on the circle the mean error is a closed form. A box of more dimensions
has one integral over a line, whatever their number, and the sphere, for which there is no
closed form, an integral over each triangle; both are computed to near double precision.
"""

import math

import numpy as np

from uld_jax.labels import arrays, boxes, circular, codes, spherical
from uld_jax.labels.arrays import Array

# By label: decoders that give the position back, and those that give the center of the
# cell, or the grid point, nearest to it.
_EXACT = {
    "uld": ("wad", "mean", "local_mean"),
    "refined_grid": ("refined_grid",),
}
_NEAREST = {
    "one_hot": ("cells", "argmax", "mean", "local_mean"),
    "heat_map": ("cells", "argmax"),
    "refined_grid": (),
    "uld": ("argmax",),
    "soft": ("cells", "argmax"),
}
# Of a label whose decoder is not given: that of its scheme.
_OWN = {
    "one_hot": "cells",
    "heat_map": "cells",
    "refined_grid": "refined_grid",
    "uld": "wad",
    "soft": "cells",
}
_AROUND = ("wad", "argmax")  # Decoders of an angle and of a direction.
_TERMS = 10  # Of a series.
_QUADRATURE = 24  # Points a side.


def box_quantization_error(
    label: str,
    room_size: Array | None = None,
    resolution: codes.Resolution = 1,
    *,
    low: Array | None = None,
    high: Array | None = None,
    decoder: str | None = None,
) -> float:
    """Compute the mean error of a right label of a uniform position, once decoded.

    It is zero for the unbiased label distribution with weighted adjacent decoding. A
    decoder of the largest entry gives the nearest center of a cell, or the nearest grid
    point: along each axis, the distance to either is uniform from zero to half a cell.
    So a grid of points has the same mean error as one of cells with the same resolution.

    Args:
        label: "uld", "one_hot", "heat_map", "refined_grid" or "soft".
        room_size: Sides of the room, [N], in any unit.
        resolution: Number of cells I of each axis, or one for all.
        low: Lower corner of the box, [N], with `high` in place of `room_size`.
        high: Upper corner of the box, [N].
        decoder: "wad", "cells", "refined_grid", "argmax", "mean" or "local_mean", as the
            functions `decode_...`; by default the one of the label.

    Returns:
        The mean distance, in the unit of the box.

    Raises:
        ValueError: If there is no such label, its error with the decoder is not known,
            the box is not one box, or a side or resolution is not positive.

    >>> import uld_jax
    >>> print(uld_jax.box_quantization_error("uld", [6.0, 6.0], resolution=5))
    0.0
    >>> print(round(uld_jax.box_quantization_error("one_hot", [6.0, 6.0], resolution=6), 3))
    0.383
    """
    if label not in _OWN:
        raise ValueError(f"label is {label!r}; there are {', '.join(_OWN)}")
    box, _ = boxes.read((), room_size, low, high)
    sides = arrays.to_numpy(box.sides)
    if sides.ndim != 1:
        raise ValueError(
            f"the box has shape {sides.shape}; give the sides of one box, [N]"
        )
    each = np.array(boxes.read_resolution(resolution, len(sides)))
    decoder = _OWN[label] if decoder is None else decoder
    if decoder in _EXACT.get(label, ()):
        return 0.0
    if decoder in _NEAREST[label]:
        return _mean_distance(sides / each / 2)
    known = (*_EXACT.get(label, ()), *_NEAREST[label])
    raise ValueError(
        f"the error of label {label!r} with decoder {decoder!r} is not known; it is with "
        f"{', '.join(known)}"
    )


def circular_quantization_error(resolution: int, *, decoder: str = "argmax") -> float:
    """Compute the mean error of a right label of a uniform angle, once decoded.

    Args:
        resolution: Number of grid points I, as of `encode_circular`.
        decoder: "wad", `decode_circular`, which has none; or "argmax", the angle of the
            largest entry, whose error is uniform from zero to half a step.

    Returns:
        The mean absolute difference of angles, in rad: zero or pi / (2 I).

    Raises:
        ValueError: If there is no such decoder, or the resolution is not a whole number
            of at least 3.

    >>> import uld_jax
    >>> print(round(uld_jax.circular_quantization_error(8), 4))
    0.1963
    """
    circular.check_resolution(resolution)
    return math.pi / (2 * int(resolution)) if _is_argmax(decoder) else 0.0


def spherical_quantization_error(resolution: int, *, decoder: str = "argmax") -> float:
    """Compute the mean error of a right label of a uniform direction, once decoded.

    There is no closed form. The 20 faces of the icosahedron are alike, so that the
    triangles of one are enough. In a triangle, the corner with the largest weight is the
    answer; each of its three parts is integrated by Gauss and Legendre's rule, to twelve
    digits.

    Args:
        resolution: Parts I of a side of the icosahedron, as of `encode_spherical`.
        decoder: "wad", `decode_spherical`, which has none; or "argmax", the direction of
            the largest entry.

    Returns:
        The mean angle between the two directions, in rad.

    Raises:
        ValueError: If there is no such decoder, or the resolution is not a whole number
            of at least 1.

    >>> import uld_jax
    >>> print(round(uld_jax.spherical_quantization_error(4), 4))
    0.1059
    """
    boxes.check_resolution(resolution)
    if not _is_argmax(decoder):
        return 0.0
    grid = spherical.make_spherical_grid(int(resolution))
    corners = grid.points[
        grid.faces[: resolution**2]
    ]  # [F, 3 corners, 3], of one face.
    weights, areas = _around_a_corner()
    total = solid_angle = 0.0
    for corner in range(3):
        turned = np.roll(corners, -corner, axis=1)
        vectors = weights @ turned  # [F, Q, 3]
        lengths = np.linalg.norm(vectors, axis=-1)
        # A solid angle is det(corners) dw / |v|^3, with v the sum of weighted corners.
        solid = np.abs(np.linalg.det(turned))[:, None] * areas / lengths**3
        across = np.linalg.norm(np.cross(vectors, turned[:, None, 0]), axis=-1)
        along = np.sum(vectors * turned[:, None, 0], axis=-1)
        total += float(np.sum(solid * np.arctan2(across, along)))
        solid_angle += float(np.sum(solid))
    return total / solid_angle


def _is_argmax(decoder: str) -> bool:
    if decoder not in _AROUND:
        raise ValueError(f"decoder is {decoder!r}; there are {', '.join(_AROUND)}")
    return decoder == "argmax"


def _around_a_corner() -> tuple[np.ndarray, np.ndarray]:
    """Make a quadrature of the part of a triangle where its first weight is the largest.

    Returns:
        Weights of the three corners [Q, 3], and areas [Q] in the plane of the last two.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
    nodes, weights = (nodes + 1) / 2, weights / 2
    # In two triangles at the corner, from where the angle grows in proportion to `out`.
    out, along = (one.ravel() for one in np.meshgrid(nodes, nodes, indexing="ij"))
    area = out * np.outer(weights, weights).ravel() / 6
    third = out * along / 3
    second = out * (1 - along) / 2 + third
    triangle = np.stack([1 - second - third, second, third], axis=-1)
    return np.concatenate([triangle, triangle[:, [0, 2, 1]]]), np.tile(area, 2)


def _mean_distance(sides: np.ndarray) -> float:
    """Compute the mean distance from a corner of a box to a uniform point in it.

    The integral of the distance r over the box is, because r grows in proportion, that
    over the sides that do not touch the corner, each times its distance, by N + 1.
    """
    if len(sides) == 1:
        return float(sides[0] / 2)
    if len(sides) > 3:
        return _mean_distance_of_many(sides)
    mean_of_side = _mean_over_edge if len(sides) == 2 else _mean_over_side
    parts = [
        mean_of_side(float(sides[axis]), *map(float, np.delete(sides, axis)))
        for axis in range(len(sides))
    ]
    return sum(parts) / (len(sides) + 1)


def _mean_over_edge(height: float, a: float) -> float:
    """Compute the mean of sqrt(height^2 + x^2), x from 0 to a."""
    return math.hypot(height, a) / 2 + height**2 * math.asinh(a / height) / (2 * a)


def _mean_over_side(height: float, a: float, b: float) -> float:
    """Compute the mean of sqrt(height^2 + x^2 + y^2), x from 0 to a and y to b."""
    diagonal = math.hypot(height, a, b)
    total = a * b * diagonal / 3
    total += a * (3 * height**2 + a**2) / 6 * math.asinh(b / math.hypot(height, a))
    total += b * (3 * height**2 + b**2) / 6 * math.asinh(a / math.hypot(height, b))
    total -= height**3 / 3 * math.atan(a * b / (height * diagonal))
    return total / (a * b)


def _mean_distance_of_many(sides: np.ndarray) -> float:
    """Compute the mean distance in any number of dimensions, by one integral.

    The mean root of S is that of (1 - exp(-s^2 S)) / s^2 over s > 0, by the root of pi; and
    the mean of exp(-s^2 S) is a product over the axes. With s = exp(t), the trapezoidal
    rule has the digits of double precision.
    """
    longest = float(sides.max())
    step = 0.1
    s = np.exp(np.arange(-36.0, 36.0, step))
    share = -np.expm1(
        np.sum(_log_mean_gaussian(s[:, None] * (sides / longest)), axis=-1)
    )
    return longest * float(np.sum(share / s)) * step / math.sqrt(math.pi)


def _log_mean_gaussian(z: np.ndarray) -> np.ndarray:
    """Compute the logarithm of the mean of exp(-(z u)^2), u from 0 to 1."""
    near = np.minimum(z, 0.5)
    # By its series, less one, where the logarithm would lose digits.
    series = sum(
        (-1) ** k * near ** (2 * k) / (math.factorial(k) * (2 * k + 1))
        for k in range(1, _TERMS + 1)
    )
    far = np.maximum(z, 0.5)
    erf = np.array([math.erf(one) for one in far.ravel()]).reshape(z.shape)
    return np.where(
        z <= 0.5, np.log1p(series), np.log(math.sqrt(math.pi) * erf / (2 * far))
    )
