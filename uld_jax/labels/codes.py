"""Label codes of a position on the floor plan, and their decoders (Sec. 2, 3.2).

Everything is written for one position; batch it with `jax.vmap`. A code on the plan has
rows y and columns x. `room_size` is (length, width) = (x, y) in meters. Cells are
fractions of the actual room along each axis, with sides room_size / resolution.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

HEAT_MAP_SIGMA = 0.1

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

    Computes the centroid relative to the peak, which is Eq. 5 with less rounding.
    """
    points = jnp.arange(marginal.shape[-1])
    # Neighbors by their index, so that equal values are no special case and a neighbor
    # beyond the wall has no weight.
    offset = points - jnp.argmax(marginal)
    weights = jnp.where(jnp.abs(offset) <= 1, marginal, 0.0)
    # Sums, not a dot product: accelerators round the factors of dot products.
    shift = (weights * offset).sum() / weights.sum()
    return (jnp.argmax(marginal) + shift) * length / (marginal.shape[-1] - 1)


def encode_uld(
    position: ArrayLike, room_size: ArrayLike, resolution: int
) -> Float[Array, "K K"]:
    """Encode a position as its joint unbiased label distribution (Eqs. 1-3).

    Args:
        position: (x, y) in meters, [2], walls included.
        room_size: (length, width) in meters, [2].
        resolution: Number of cells I per axis; K = I + 1 grid points.

    Returns:
        Joint distribution [K, K], rows y and columns x; it sums to one.

    Raises:
        ValueError: If a shape is wrong, the position is NaN or outside the room, a
            side is not positive, or `resolution` < 1. Values are not checked inside
            `jit` and `vmap`.

    >>> import uld_jax
    >>> print(uld_jax.encode_uld([1.0, 3.0], room_size=[4.0, 4.0], resolution=2))
    [[0.   0.   0.  ]
     [0.25 0.25 0.  ]
     [0.25 0.25 0.  ]]
    """
    position, room_size = _checked(position, room_size, resolution)
    x = encode_axis(position[0], room_size[0], resolution)
    y = encode_axis(position[1], room_size[1], resolution)
    return y[:, None] * x[None, :]


def decode_wad(joint: ArrayLike, room_size: ArrayLike) -> Float[Array, "2"]:
    """Decode a joint distribution by weighted adjacent decoding (Eqs. 4-5).

    Inverts `encode_uld` without quantization error.

    Args:
        joint: Joint distribution [K, K], rows y and columns x, of any positive sum.
        room_size: (length, width) in meters, [2].

    Returns:
        Position (x, y) in meters.

    Raises:
        ValueError: If the joint is not square with at least 2 grid points per axis, or
            a side is not positive. Values are not checked inside `jit` and `vmap`.

    >>> import uld_jax
    >>> joint = uld_jax.encode_uld([1.0, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(uld_jax.decode_wad(joint, room_size=[4.0, 4.0]))
    [1. 3.]
    """
    joint, room_size = _as_float(joint), _as_float(room_size)
    if joint.ndim != 2 or joint.shape[0] != joint.shape[1] or joint.shape[0] < 2:
        raise ValueError(f"joint has shape {joint.shape}; it must be [K, K], K >= 2")
    check_room(room_size)
    x = decode_axis(joint.sum(axis=0), room_size[0])
    y = decode_axis(joint.sum(axis=1), room_size[1])
    return jnp.stack([x, y])


# --- Cells: one-hot ------------------------------------------------------------


def locate_cell(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Int[Array, "2"]:
    """Find the cell (column, row) that holds a position; a far wall is inside."""
    cell = jnp.floor(position * resolution / room_size).astype(jnp.int32)
    return jnp.clip(cell, 0, resolution - 1)


def cell_center(
    cell: Int[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Float[Array, "2"]:
    """Compute the center (x, y) of a cell (column, row), in meters."""
    return (cell + 0.5) * room_size / resolution


def peak_cell(scores: Float[Array, "I I"]) -> Int[Array, "2"]:
    """Find (column, row) of the largest score; the first one where several are."""
    row, column = jnp.unravel_index(jnp.argmax(scores), scores.shape)
    return jnp.stack([column, row]).astype(jnp.int32)


def occupied_cell(
    position: Float[Array, "2"], room_size: Float[Array, "2"], resolution: int
) -> Bool[Array, "I I"]:
    """Mark the cell that holds a position, rows y."""
    column, row = locate_cell(position, room_size, resolution)
    index = jnp.arange(resolution)
    return (index[:, None] == row) & (index[None, :] == column)


def encode_one_hot(
    position: ArrayLike, room_size: ArrayLike, resolution: int
) -> Float[Array, "I I"]:
    """Encode a position as one at the cell that holds it, zero elsewhere (Sec. 3.2).

    Args:
        position: (x, y) in meters, [2], walls included.
        room_size: (length, width) in meters, [2].
        resolution: Number of cells I per axis.

    Returns:
        The code [I, I], rows y and columns x.

    Raises:
        ValueError: As `encode_uld`.

    >>> import uld_jax
    >>> print(uld_jax.encode_one_hot([1.0, 3.0], room_size=[4.0, 4.0], resolution=2))
    [[0. 0.]
     [1. 0.]]
    """
    position, room_size = _checked(position, room_size, resolution)
    return occupied_cell(position, room_size, resolution).astype(jnp.float32)


def decode_cells(scores: ArrayLike, room_size: ArrayLike) -> Float[Array, "2"]:
    """Decode scores of cells to the center of the largest one.

    The decoder of one-hot (Sec. 1). The paper does not say how its heat map is
    decoded; we take the same.

    Args:
        scores: Scores [I, I], rows y and columns x.
        room_size: (length, width) in meters, [2].

    Returns:
        Position (x, y) in meters.

    Raises:
        ValueError: If a side is not positive (not checked inside `jit` and `vmap`).

    >>> import uld_jax
    >>> print(uld_jax.decode_cells([[0.1, 0.2], [0.6, 0.1]], room_size=[4.0, 4.0]))
    [1. 3.]
    """
    scores, room_size = _as_float(scores), _as_float(room_size)
    check_room(room_size)
    return cell_center(peak_cell(scores), room_size, scores.shape[-1])


# --- Heat map ------------------------------------------------------------------


def encode_heat_map(
    position: ArrayLike, room_size: ArrayLike, resolution: int
) -> Float[Array, "I I"]:
    """Encode a position as a Gaussian around it, sampled at the cell centers.

    The paper does not say in what unit its standard deviation of 0.1 is; we
    read it as a tenth of the room's side on each axis, the only reading under
    which a map of 2 x 2 cells is not all zero. The paper does not say how the
    Gaussian is scaled; ours has height 1 at the position itself.

    Args:
        position: (x, y) in meters, [2], walls included.
        room_size: (length, width) in meters, [2].
        resolution: Number of cells I per axis.

    Returns:
        The code [I, I], rows y and columns x.

    Raises:
        ValueError: As `encode_uld`.

    >>> import uld_jax
    >>> code = uld_jax.encode_heat_map([1.0, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(code.round(2))
    [[0. 0.]
     [1. 0.]]
    """
    position, room_size = _checked(position, room_size, resolution)
    centers = (jnp.arange(resolution) + 0.5) / resolution
    deviation = (centers[None, :] - (position / room_size)[:, None]) / HEAT_MAP_SIGMA
    x, y = jnp.exp(-0.5 * deviation**2)
    return y[:, None] * x[None, :]


# --- Refined grid --------------------------------------------------------------


def encode_refined_grid(
    position: ArrayLike, room_size: ArrayLike, resolution: int
) -> Float[Array, "3 I I"]:
    """Encode a position as its cell and the ratios inside it (refined grid, Sec. 3.2).

    The ratios run from 0 to 1 over the cell that holds the position. Elsewhere
    all three entries are zero.

    Args:
        position: (x, y) in meters, [2], walls included.
        room_size: (length, width) in meters, [2].
        resolution: Number of cells I per axis.

    Returns:
        Presence, x ratio and y ratio of every cell, [3, I, I], rows y and columns x.

    Raises:
        ValueError: As `encode_uld`.

    >>> import uld_jax
    >>> code = uld_jax.encode_refined_grid([0.5, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(code[:, 1, 0])
    [1.   0.25 0.5 ]
    """
    position, room_size = _checked(position, room_size, resolution)
    cell = locate_cell(position, room_size, resolution)
    ratios = position * resolution / room_size - cell
    mask = occupied_cell(position, room_size, resolution)
    values = jnp.stack([jnp.ones_like(ratios[0]), ratios[0], ratios[1]])
    return jnp.where(mask, values[:, None, None], 0.0)


def decode_refined_grid(scores: ArrayLike, room_size: ArrayLike) -> Float[Array, "2"]:
    """Decode a refined grid to the refined position in the most likely cell.

    The paper does not say how its refined grid is decoded; we take the ratios of
    the cell of largest presence.

    Args:
        scores: Presence, x ratio and y ratio of every cell, [3, I, I].
        room_size: (length, width) in meters, [2].

    Returns:
        Position (x, y) in meters.

    Raises:
        ValueError: If a side is not positive (not checked inside `jit` and `vmap`).

    >>> import uld_jax
    >>> code = uld_jax.encode_refined_grid([0.5, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(uld_jax.decode_refined_grid(code, room_size=[4.0, 4.0]))
    [0.5 3. ]
    """
    scores, room_size = _as_float(scores), _as_float(room_size)
    check_room(room_size)
    presence, *ratios = scores
    column, row = cell = peak_cell(presence)
    ratio = jnp.stack([ratio[row, column] for ratio in ratios])
    return (cell + ratio) * room_size / presence.shape[-1]


# --- Checks --------------------------------------------------------------------
# Values inside `jax.jit` and `jax.vmap` are not known yet, and pass.


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

    Runs on the host, on concrete values only, so check a whole batch before tracing.

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


def _checked(
    position: ArrayLike, room_size: ArrayLike, resolution: int
) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    """Convert the arguments of an encoder to arrays, and check them."""
    check_resolution(resolution)
    position, room_size = _as_float(position), _as_float(room_size)
    if position.shape != (2,) or room_size.shape != (2,):
        raise ValueError(
            f"position has shape {position.shape} and room_size {room_size.shape}; both "
            "must be (x, y): use jax.vmap for several positions"
        )
    check_positions(position, room_size)
    return position, room_size


def _as_float(values: ArrayLike) -> Float[Array, "..."]:
    array = jnp.asarray(values)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return array if is_float else array.astype(jnp.float32)
