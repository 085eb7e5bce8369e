"""Label codes of a position on the floor plan and their decoders (Sec. 2, 3.2).

Everything is written for one position; batch it with `jax.vmap`. A joint code
is indexed [row = y, column = x]. `room_size` is (length, width) = (x, y) in
meters, and the cells are fractions of the actual room on each axis, so that
their sides are room_size / resolution.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

HEAT_MAP_SIGMA = 0.1


def check_resolution(resolution: object) -> None:
    """Raise unless `resolution`, the number of cells per axis, is usable.

    Raises:
        ValueError: If it is not a whole number of at least 1.
    """
    if isinstance(resolution, bool) or not isinstance(resolution, int | np.integer):
        raise ValueError(f"resolution is {resolution!r}; it must be a whole number")
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}; a room has at least 1 cell")


def check_room(room_size: ArrayLike) -> None:
    """Raise unless every side of a room, in meters, is finite and positive.

    Values inside a `jax.jit` or `jax.vmap` are not known yet and pass.

    Raises:
        ValueError: If a side is not finite or not above 0.
    """
    if isinstance(room_size, jax.core.Tracer):
        return
    sides = np.asarray(room_size)
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        raise ValueError(
            f"room_size is {sides.tolist()} m; every side must be finite and above 0"
        )


def check_positions(positions: ArrayLike, room_size: ArrayLike) -> None:
    """Raise unless all positions [..., 2] lie in their rooms [..., 2], in meters.

    Runs on the host, on concrete values only: inside `jax.jit` or `jax.vmap` it
    costs nothing and checks nothing, so check a whole batch before tracing.

    Raises:
        ValueError: If a room side is not positive, or a position is NaN or
            outside its room; the message names the first such position.
    """
    check_room(room_size)
    if isinstance(positions, jax.core.Tracer) or isinstance(room_size, jax.core.Tracer):
        return
    points, sides = np.broadcast_arrays(np.asarray(positions), np.asarray(room_size))
    # Sides of rooms pass through float32, so a wall may lie one rounding away.
    inside = (points >= 0) & (points <= sides * (1 + 1e-6))
    bad = np.argwhere(~inside.all(axis=-1))
    if len(bad):  # A single bad position has no index, so `bad` may be empty.
        first = tuple(bad[0])
        raise ValueError(
            f"position {points[first].tolist()} m is not inside the room of "
            f"{sides[first].tolist()} m (x, y); positions run from 0 to the far wall"
        )


# --- Unbiased label distribution (ULD) and weighted adjacent decoding (WAD) -----


def encode_axis(
    position: Float[Array, ""], length: Float[Array, ""], resolution: int
) -> Float[Array, " K"]:
    """Spread one coordinate over its two nearest grid points (Eq. 1).

    Eq. 1 is the hat function max(0, 1 - |i - chi|), which needs no case for the
    far wall: at position = length only grid point I has any weight.

    Args:
        position: Coordinate in meters, within [0, length].
        length: Room length along this axis, in meters.
        resolution: Number of cells I; the result has K = I + 1 entries.

    Returns:
        Non-negative weights that sum to one.
    """
    chi = position * resolution / length
    return jnp.maximum(0.0, 1.0 - jnp.abs(jnp.arange(resolution + 1) - chi))


def decode_axis(
    marginal: Float[Array, " K"], length: Float[Array, ""]
) -> Float[Array, ""]:
    """Decode one axis by weighted adjacent decoding, in meters (Eq. 5).

    The neighbors of the peak are chosen by their index, so that equal values
    are no special case, and a neighbor beyond the wall has no weight. The
    centroid is taken relative to the peak, which is Eq. 5 with less rounding.
    """
    points = jnp.arange(marginal.shape[-1])
    offset = points - jnp.argmax(marginal)
    weights = jnp.where(jnp.abs(offset) <= 1, marginal, 0.0)
    # Sums, not a dot product: accelerators round the factors of dot products.
    shift = (weights * offset).sum() / weights.sum()
    return (jnp.argmax(marginal) + shift) * length / (marginal.shape[-1] - 1)


def encode_uld(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Float[Array, "K K"]:
    """Return the joint unbiased label distribution of a position (Eqs. 1-3).

    Args:
        position: (x, y) in meters, walls included.
        room_size: (length, width) in meters.
        resolution: Number of cells I per axis; K = I + 1 grid points.

    Returns:
        Joint distribution, rows y, columns x; it sums to one.

    Raises:
        ValueError: If the position is NaN or outside the room, a side is not
            positive or `resolution` < 1. Not checked under `jit` or `vmap`.
    """
    check_resolution(resolution)
    position, room_size = jnp.asarray(position), jnp.asarray(room_size)
    check_positions(position, room_size)
    x = encode_axis(position[0], room_size[0], resolution)
    y = encode_axis(position[1], room_size[1], resolution)
    return y[:, None] * x[None, :]


def decode_wad(
    joint: Float[Array, "K K"], room_size: Float[Array, "2"]
) -> Float[Array, "2"]:
    """Return the position (x, y) of a joint distribution, in meters (Eqs. 4-5).

    The inverse of `encode_uld` without any quantization error. The joint need
    not sum to one.

    Raises:
        ValueError: If the joint is not square with at least 2 grid points per
            axis, or a side is not positive (not checked under `jit`).
    """
    if joint.shape[0] != joint.shape[1] or joint.shape[0] < 2:
        raise ValueError(f"joint has shape {joint.shape}; it must be [K, K], K >= 2")
    room_size = jnp.asarray(room_size)
    check_room(room_size)
    x = decode_axis(joint.sum(axis=0), room_size[0])
    y = decode_axis(joint.sum(axis=1), room_size[1])
    return jnp.stack([x, y])


# --- Cells: one-hot ------------------------------------------------------------


def locate_cell(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Int[Array, "2"]:
    """Return the cell (column, row) that holds a position; a far wall is inside."""
    cell = jnp.floor(position * resolution / room_size).astype(jnp.int32)
    return jnp.clip(cell, 0, resolution - 1)


def cell_center(
    cell: Int[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Float[Array, "2"]:
    """Return the center (x, y) of a cell (column, row), in meters."""
    return (cell + 0.5) * room_size / resolution


def peak_cell(scores: Float[Array, "I I"]) -> Int[Array, "2"]:
    """Return (column, row) of the largest score; the first one where several are."""
    row, column = jnp.unravel_index(jnp.argmax(scores), scores.shape)
    return jnp.stack([column, row]).astype(jnp.int32)


def occupied_cell(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Bool[Array, "I I"]:
    """Return a mask over the cells, rows y, true where the position is."""
    column, row = locate_cell(position, room_size, resolution)
    index = jnp.arange(resolution)
    return (index[:, None] == row) & (index[None, :] == column)


def encode_one_hot(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Float[Array, "I I"]:
    """Return one at the cell that holds the position, zero elsewhere (Sec. 3.2).

    Raises:
        ValueError: As `encode_uld`.
    """
    check_resolution(resolution)
    position, room_size = jnp.asarray(position), jnp.asarray(room_size)
    check_positions(position, room_size)
    return occupied_cell(position, room_size, resolution).astype(jnp.float32)


def decode_cells(
    scores: Float[Array, "I I"], room_size: Float[Array, "2"]
) -> Float[Array, "2"]:
    """Return the center (x, y) of the cell of largest score, in meters.

    The decoder of one-hot (Sec. 1). The paper does not say how its heat map is
    decoded; we take the same.
    """
    room_size = jnp.asarray(room_size)
    check_room(room_size)
    return cell_center(peak_cell(scores), room_size, scores.shape[-1])


# --- Heat map ------------------------------------------------------------------


def encode_heat_map(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Float[Array, "I I"]:
    """Return a Gaussian bump around the position, sampled at the cell centers.

    The paper does not say in what unit its standard deviation of 0.1 is; we
    read it as a tenth of the room's side on each axis, the only reading under
    which a map of 2 x 2 cells is not all zero. The paper does not say how the
    bump is scaled; ours has height 1 at the position itself.

    Raises:
        ValueError: As `encode_uld`.
    """
    check_resolution(resolution)
    position, room_size = jnp.asarray(position), jnp.asarray(room_size)
    check_positions(position, room_size)
    centers = (jnp.arange(resolution) + 0.5) / resolution
    deviation = (centers[None, :] - (position / room_size)[:, None]) / HEAT_MAP_SIGMA
    x, y = jnp.exp(-0.5 * deviation**2)
    return y[:, None] * x[None, :]


# --- Refined grid --------------------------------------------------------------


def encode_refined_grid(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Float[Array, "3 I I"]:
    """Return presence, x ratio and y ratio of every cell (refined grid, Sec. 3.2).

    The ratios run from 0 to 1 over the cell that holds the position. Elsewhere
    all three are zero.

    Raises:
        ValueError: As `encode_uld`.
    """
    check_resolution(resolution)
    position, room_size = jnp.asarray(position), jnp.asarray(room_size)
    check_positions(position, room_size)
    cell = locate_cell(position, room_size, resolution)
    ratios = position * resolution / room_size - cell
    mask = occupied_cell(position, room_size, resolution)
    values = jnp.stack([jnp.ones_like(ratios[0]), ratios[0], ratios[1]])
    return jnp.where(mask, values[:, None, None], 0.0)


def decode_refined_grid(
    scores: Float[Array, "3 I I"], room_size: Float[Array, "2"]
) -> Float[Array, "2"]:
    """Return the refined position (x, y) in the most likely cell, in meters.

    The paper does not say how its refined grid is decoded; we take the ratios of
    the cell of largest presence.
    """
    room_size = jnp.asarray(room_size)
    check_room(room_size)
    presence, *ratios = scores
    column, row = cell = peak_cell(presence)
    ratio = jnp.stack([ratio[row, column] for ratio in ratios])
    return (cell + ratio) * room_size / presence.shape[-1]
