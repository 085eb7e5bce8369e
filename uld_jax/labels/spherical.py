"""Unbiased label of a direction: grid points all over a sphere, with no pole.

Grids of azimuth and elevation crowd at the poles, where neighbors in azimuth are the same
direction. Here the grid points are the corners of an icosahedron whose faces are divided
into triangles. A direction has weights at the corners of its triangle, such that the
weighted mean of the corners points where it does: what the hat functions of the
unbiased label distribution are on a line. The paper has no such label; this is ours.
"""

import functools
from typing import NamedTuple

import numpy as np

from uld_jax.labels import arrays, axes, boxes
from uld_jax.labels.arrays import Array


class SphericalGrid(NamedTuple):
    """Grid points on a sphere.

    Attributes:
        points: Unit vectors [V, 3], with V = 10 I^2 + 2.
        faces: Indices of the corners of each triangle, [20 I^2, 3].
        inverses: Of the matrices with these corners as columns, [20 I^2, 3, 3].
        adjacent: Whether two points are corners of one triangle, or the same, [V, V].
    """

    points: np.ndarray
    faces: np.ndarray
    inverses: np.ndarray
    adjacent: np.ndarray


@functools.lru_cache(maxsize=4)
def make_spherical_grid(resolution: int) -> SphericalGrid:
    """Divide the sides of an icosahedron into so many parts, and project to the sphere.

    Args:
        resolution: Number of parts I of a side: neighbors are 63 degrees / I apart.

    Raises:
        ValueError: If it is not a whole number of at least 1.

    >>> import uld_jax
    >>> print(len(uld_jax.make_spherical_grid(4).points))
    162
    """
    boxes.check_resolution(resolution)
    golden = (1 + 5**0.5) / 2
    corners = np.array(
        [
            np.roll([0.0, one, other * golden], turn)
            for turn in range(3)
            for one in (-1, 1)
            for other in (-1, 1)
        ]
    )
    apart = np.linalg.norm(corners[:, None] - corners, axis=-1)
    triples = np.array(
        [
            (i, j, k)
            for i in range(12)
            for j in range(i + 1, 12)
            for k in range(j + 1, 12)
            if max(apart[i, j], apart[j, k], apart[i, k]) < 2.1
        ]
    )
    index: dict[tuple[float, ...], int] = {}
    points, faces = [], []

    def number(face: np.ndarray, i: int, j: int) -> int:
        point = (
            face[0] + (i * (face[1] - face[0]) + j * (face[2] - face[0])) / resolution
        )
        key = tuple((np.round(point, 9) + 0.0).tolist())
        if key not in index:
            index[key] = len(points)
            points.append(point / np.linalg.norm(point))
        return index[key]

    for face in corners[triples]:
        for i in range(resolution):
            for j in range(resolution - i):
                right, up = number(face, i + 1, j), number(face, i, j + 1)
                faces.append((number(face, i, j), right, up))
                if i + j < resolution - 1:
                    faces.append((right, number(face, i + 1, j + 1), up))
    points, faces = np.array(points), np.array(faces)
    adjacent = np.eye(len(points), dtype=bool)
    for one in range(3):
        for other in range(3):
            adjacent[faces[:, one], faces[:, other]] = True
    inverses = np.linalg.inv(points[faces].transpose(0, 2, 1))
    return SphericalGrid(points, faces, inverses, adjacent)


def encode_spherical(direction: Array, resolution: int) -> Array:
    """Encode azimuths and elevations as unbiased label distributions on a sphere.

    Args:
        direction: Azimuth, around z from x toward y, and elevation above the xy plane,
            in rad, [..., 2].
        resolution: Parts I of a side of the icosahedron; there are V = 10 I^2 + 2 points.

    Returns:
        Distributions [..., V] that sum to one; the three corners of a triangle have
        weight.

    Raises:
        ValueError: If the last axis has another length, an angle is not finite, or the
            resolution is not a whole number of at least 1.

    >>> import uld_jax
    >>> code = uld_jax.encode_spherical([2.5, 1.2], resolution=3)
    >>> print(code.shape, (code > 0).sum(), uld_jax.decode_spherical(code).round(6))
    (92,) 3 [2.5 1.2]
    """
    if not np.shape(direction) or np.shape(direction)[-1] != 2:
        raise ValueError(
            f"direction has shape {tuple(np.shape(direction))}; its last axis must hold "
            "azimuth and elevation"
        )
    boxes.check_angles(direction, "direction")
    grid = make_spherical_grid(resolution)
    (direction,) = arrays.as_floats(direction)
    xp = arrays.namespace(direction)
    azimuth, elevation = direction[..., 0], direction[..., 1]
    vector = xp.stack(
        [
            xp.cos(elevation) * xp.cos(azimuth),
            xp.cos(elevation) * xp.sin(azimuth),
            xp.sin(elevation),
        ],
        axis=-1,
    )
    inverses = arrays.like(grid.inverses, vector)
    weights = xp.sum(inverses * vector[..., None, None, :], axis=-1)  # [..., F, 3]
    # The triangle that holds it has none below zero, but for rounding.
    face = xp.argmax(xp.min(weights, axis=-1), axis=-1, keepdims=True)
    chosen = arrays.like(np.arange(len(grid.faces)), vector) == arrays.like(
        face, vector
    )
    corners = arrays.like(grid.faces, vector)
    corner = xp.sum(xp.where(chosen[..., None], corners, 0.0), axis=-2)
    weights = xp.sum(xp.where(chosen[..., None], weights, 0.0), axis=-2)
    weights = xp.where(weights > 0, weights, 0.0)
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    points = arrays.like(np.arange(len(grid.points)), vector)
    return xp.sum(
        xp.where(points == corner[..., None], weights[..., None], 0.0), axis=-2
    )


def decode_spherical(distribution: Array) -> Array:
    """Decode distributions on a sphere to the mean direction around their peaks.

    Inverts `encode_spherical` without quantization error: the points that are averaged
    are the peak and its five or six neighbors.

    Args:
        distribution: Distributions [..., V] of any positive sum.

    Returns:
        Azimuth, from -pi to pi, and elevation in rad, [..., 2].

    Raises:
        ValueError: If no grid has so many points, an entry is negative or not finite, or
            all are zero.

    >>> import numpy as np
    >>> import uld_jax
    >>> print(uld_jax.decode_spherical(np.eye(12)[0]).round(3))
    [ 1.571 -1.017]
    """
    shape = tuple(np.shape(distribution))
    resolution = round(((shape[-1] - 2) / 10) ** 0.5) if shape and shape[-1] > 2 else 0
    if not shape or resolution < 1 or 10 * resolution**2 + 2 != shape[-1]:
        raise ValueError(
            f"distribution has shape {shape}; a sphere has 10 I^2 + 2 points: 12, 42, "
            "92, ..."
        )
    boxes.check_weights(distribution, 1, "distribution")
    grid = make_spherical_grid(resolution)
    (distribution,) = arrays.as_floats(distribution)
    xp = arrays.namespace(distribution)
    peak = xp.argmax(distribution, axis=-1, keepdims=True)
    points = arrays.like(np.arange(shape[-1]), distribution)
    at_peak = (points == arrays.like(peak, distribution))[..., None]
    adjacent = arrays.like(grid.adjacent, distribution)
    near = xp.sum(xp.where(at_peak, adjacent, 0.0), axis=-2)
    vector = xp.sum(
        (distribution * near)[..., None] * arrays.like(grid.points, distribution),
        axis=-2,
    )
    vector = axes.divide(vector, xp.sum(distribution, axis=-1, keepdims=True))
    x, y, z = (vector[..., axis] for axis in range(3))
    return xp.stack([xp.atan2(y, x), xp.atan2(z, xp.hypot(x, y))], axis=-1)
