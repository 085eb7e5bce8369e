"""The grid of a code, axis by axis: its coordinates are x first, its array has x last."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from uld_jax.labels import arrays, boxes
from uld_jax.labels.arrays import Array

Grid = Literal["points", "cells"]


def counts(code: Array, num_axes: int) -> tuple[int, ...]:
    """List the entries of a code [..., Ky, Kx] along each coordinate, x first."""
    return tuple(code.shape[: -num_axes - 1 : -1])


def encode_axis(chi: Array, resolution: int) -> Array:
    """Spread one coordinate over its two nearest grid points (Eq. 1).

    Eq. 1 is the hat function max(0, 1 - |i - chi|), which needs no case for the
    far wall: there only grid point I has any weight.

    Args:
        chi: Coordinate in cells, from 0 to I, [...].
        resolution: Number of cells I; the result has K = I + 1 entries.

    Returns:
        Non-negative weights that sum to one, [..., K].
    """
    xp = arrays.namespace(chi)
    points = arrays.like(np.arange(resolution + 1), chi)
    weights = 1.0 - xp.abs(points - chi[..., None])
    return xp.where(weights < 0, 0.0, weights)  # NaN stays NaN.


def decode_axis(marginal: Array, window: int | float = 1) -> Array:
    """Decode one axis by weighted adjacent decoding, in grid points (Eq. 5).

    Computes the centroid relative to the peak, which is Eq. 5 with less rounding.

    Args:
        marginal: Non-negative weights [..., K], of any positive sum.
        window: Grid points on each side of the peak that count; 1 is Eq. 5.

    Returns:
        Coordinate from 0 to K - 1, [...].
    """
    xp = arrays.namespace(marginal)
    peak = xp.argmax(marginal, axis=-1, keepdims=True)
    points = arrays.like(np.arange(marginal.shape[-1]), marginal)
    # Neighbors by their index, so that equal values are no special case and a neighbor
    # beyond the wall has no weight.
    offset = points - arrays.like(peak, marginal)
    weights = xp.where(xp.abs(offset) <= window, marginal, 0.0)
    # Sums, not a dot product: accelerators round the factors of dot products.
    shift = divide(xp.sum(weights * offset, axis=-1), xp.sum(weights, axis=-1))
    return arrays.like(peak[..., 0], marginal) + shift


def peak_cell(scores: Array, num_axes: int = 2) -> Array:
    """Find (column, row, ...) of the largest score; the first one where several are.

    Args:
        scores: Scores, the last `num_axes` axes of which are the grid's, x last.
        num_axes: Number of coordinates N.

    Returns:
        Whole numbers [..., N].
    """
    xp = arrays.namespace(scores)
    index = xp.argmax(xp.reshape(scores, (*scores.shape[:-num_axes], -1)), axis=-1)
    coordinates = []
    for count in counts(scores, num_axes):
        coordinates.append(index % count)
        index = index // count
    return xp.stack(coordinates, axis=-1)


def outer(parts: Sequence[Array], combine: Callable[..., Any] = operator.mul) -> Array:
    """Combine arrays [..., K], x first, to one of all axes, x last.

    Args:
        parts: One for each coordinate.
        combine: What to do with two; without it they are multiplied.
    """
    whole = parts[0]
    for depth, part in enumerate(parts[1:], 1):
        xp = arrays.namespace(part)
        part = part[(..., *(None,) * depth)]
        whole = combine(part, xp.expand_dims(whole, axis=-depth - 1))
    return whole


def marginals(joint: Array, num_axes: int) -> tuple[Array, ...]:
    """Sum a joint [..., Ky, Kx] over all but one axis each, x first: [..., K]."""
    xp = arrays.namespace(joint)
    all_axes = set(range(-num_axes, 0))
    return tuple(
        xp.sum(joint, axis=tuple(sorted(all_axes - {-1 - axis})))
        if num_axes > 1
        else joint
        for axis in range(num_axes)
    )


def decode_marginals(
    parts: Sequence[Array], box: boxes.Box, window: int | float, grid: Grid
) -> Array:
    """Decode one distribution for each coordinate to the mean around its peak."""
    xp = arrays.namespace(*parts)
    index = xp.stack([decode_axis(part, window) for part in parts], axis=-1)
    return from_index(index, [part.shape[-1] for part in parts], box, grid)


def from_index(
    index: Array, number: Sequence[int], box: boxes.Box, grid: Grid
) -> Array:
    """Convert the index of an entry, by parts, too, to a position [..., N].

    Args:
        index: For each coordinate from 0 to its number of entries - 1, [..., N].
        number: Entries along each coordinate.
        box: Of the grid.
        grid: Points from wall to wall, or centers of cells.
    """
    if grid == "cells":
        return box.from_cells(index + 0.5, number)
    return box.from_cells(index, [count - 1 for count in number])


def occupied(cells: Array, each: Sequence[int]) -> list[Array]:
    """Mark the cell that holds a coordinate in cells, [..., I] for each coordinate."""
    return [
        arrays.like(np.arange(count), cells)
        == floor(cells[..., axis], count)[..., None]
        for axis, count in enumerate(each)
    ]


def near(index: Array, code: Array, window: int) -> Array:
    """Mark the entries of a code within a window of an index [..., N]."""
    xp = arrays.namespace(code)
    index = arrays.like(index, code)
    parts = [
        xp.abs(arrays.like(np.arange(count), code) - index[..., axis, None]) <= window
        for axis, count in enumerate(counts(code, index.shape[-1]))
    ]
    return outer(parts, operator.and_)


def floor(cells: Array, count: int) -> Array:
    """Round coordinates in cells down to the cell that holds them."""
    xp = arrays.namespace(cells)
    return xp.clip(xp.floor(cells), 0.0, count - 1.0)


def divide(values: Array, weight: Array) -> Array:
    """Divide by a weight; NaN, without a warning, where it is zero."""
    xp = arrays.namespace(values)
    return values / xp.where(weight > 0, weight, np.nan)
