"""Label codes of a position in a room, and their decoders (Sec. 2, 3.2).

Positions have any number N of coordinates and any leading axes. They lie in a room, whose
sides `room_size` begin at zero, or in a box from `low` to `high`; a box may be one for all
positions, or one each. Cells are fractions of the sides, side / resolution along each axis.

A code has its axes in the reverse order of coordinates, as images have: on the floor plan
rows are y and columns x, in space it is [z, y, x]. Arrays are NumPy's, JAX's or PyTorch's
(`arrays`): what comes in decides what goes out.

Values are checked where they are known. Inside `jax.jit`, `jax.vmap` and `torch.compile`
they are not: there a position outside is moved to the nearest wall, and a distribution
that is zero everywhere decodes to NaN. Outside them, the checks of JAX's and PyTorch's
arrays wait for the device.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from uld_jax.labels import arrays, axes, boxes, decoders
from uld_jax.labels.arrays import Array

HEAT_MAP_SIGMA = 0.1

Outside = Literal["raise", "clip"]
Resolution = int | np.integer | Sequence[int] | np.ndarray

# --- Unbiased label distribution (ULD) and weighted adjacent decoding (WAD) -----


def encode_uld(
    position: Array,
    room_size: Array | None = None,
    resolution: Resolution = 1,
    *,
    low: Array | None = None,
    high: Array | None = None,
    outside: Outside = "raise",
) -> Array:
    """Encode positions as joint unbiased label distributions (Eqs. 1-3).

    Args:
        position: Coordinates (x, y, ...) [..., N], walls included.
        room_size: Sides of the room from zero, [..., N], in the unit of the position.
        resolution: Number of cells I of each axis, or one for all; K = I + 1 grid points.
        low: Lower corner of the box, [..., N], with `high` in place of `room_size`.
        high: Upper corner of the box, [..., N].
        outside: Whether a position outside raises, or is moved to the nearest wall.

    Returns:
        Joint distribution [..., Ky, Kx], [..., Kz, Ky, Kx] and so on; it sums to one.

    Raises:
        ValueError: If shapes do not match, a position is NaN or outside, a side is not
            positive, or a resolution < 1.

    >>> import uld_jax
    >>> print(uld_jax.encode_uld([1.0, 3.0], room_size=[4.0, 4.0], resolution=2))
    [[0.   0.   0.  ]
     [0.25 0.25 0.  ]
     [0.25 0.25 0.  ]]
    """
    return axes.outer(
        encode_marginals(
            position, room_size, resolution, low=low, high=high, outside=outside
        )
    )


def encode_marginals(
    position: Array,
    room_size: Array | None = None,
    resolution: Resolution = 1,
    *,
    low: Array | None = None,
    high: Array | None = None,
    outside: Outside = "raise",
) -> tuple[Array, ...]:
    """Encode positions as one unbiased label distribution for each axis (Eqs. 1-2).

    The joint of `encode_uld` is their outer product. With many dimensions, learn these
    by `losses.factorized_cross_entropy`: they have N K entries, the joint K^N.

    Args:
        position: As `encode_uld`, and all others.
        room_size: See there.
        resolution: See there.
        low: See there.
        high: See there.
        outside: See there.

    Returns:
        For each coordinate, x first: weights [..., K] that sum to one.

    Raises:
        ValueError: As `encode_uld`.

    >>> import uld_jax
    >>> x, y = uld_jax.encode_marginals([1.0, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(x, y)
    [0.5 0.5 0. ] [0.  0.5 0.5]
    """
    cells, _, each = read_positions(position, room_size, resolution, low, high, outside)
    return tuple(
        axes.encode_axis(cells[..., axis], count) for axis, count in enumerate(each)
    )


def decode_wad(
    joint: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
) -> Array:
    """Decode joint distributions by weighted adjacent decoding (Eqs. 4-5).

    Inverts `encode_uld` without quantization error.

    Args:
        joint: Joint distributions [..., Ky, Kx], or [..., Kz, Ky, Kx] and so on, of any
            positive sum.
        room_size: Sides of the room from zero, [..., N].
        low: Lower corner of the box, [..., N], with `high` in place of `room_size`.
        high: Upper corner of the box, [..., N].

    Returns:
        Positions (x, y, ...), [..., N], in the unit of the box.

    Raises:
        ValueError: If an axis has fewer than 2 grid points, the joint is negative, not
            finite or zero everywhere, or a side is not positive.

    >>> import uld_jax
    >>> joint = uld_jax.encode_uld([1.0, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(uld_jax.decode_wad(joint, room_size=[4.0, 4.0]))
    [1. 3.]
    """
    return decoders.decode_local_mean(joint, room_size, low=low, high=high)


def decode_marginals(
    marginals: Sequence[Array],
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
) -> Array:
    """Decode one distribution for each axis by weighted adjacent decoding (Eq. 5).

    Args:
        marginals: For each coordinate, x first: weights [..., K], of any positive sum.
        room_size: As `decode_wad`, and the others.
        low: See there.
        high: See there.

    Returns:
        Positions (x, y, ...), [..., N], in the unit of the box.

    Raises:
        ValueError: As `decode_wad`; or if there are more or fewer marginals than axes.

    >>> import uld_jax
    >>> marginals = uld_jax.encode_marginals([1.0, 3.0], [4.0, 4.0], resolution=2)
    >>> print(uld_jax.decode_marginals(marginals, room_size=[4.0, 4.0]))
    [1. 3.]
    """
    raw = tuple(marginals)
    box, marginals = boxes.read(raw, room_size, low, high)
    if len(marginals) != box.num_axes:
        raise ValueError(
            f"{len(marginals)} marginals for a box of {box.num_axes} axes; give one each"
        )
    for marginal in raw:
        if np.ndim(marginal) == 0 or np.shape(marginal)[-1] < 2:
            raise ValueError(
                f"a marginal has shape {np.shape(marginal)}; it must be [..., K]"
            )
        boxes.check_weights(marginal, 1, "a marginal")
    return axes.decode_marginals(marginals, box, 1, "points")


# --- Cells: one-hot ------------------------------------------------------------


def locate_cell(position: Array, room_size: Array, resolution: int) -> Array:
    """Find the cell (column, row, ...) that holds a position; a far wall is inside.

    Args:
        position: Coordinates (x, y, ...) [..., N].
        room_size: Sides [..., N].
        resolution: Number of cells I per axis.

    Returns:
        Whole numbers [..., N].
    """
    position, room_size = arrays.as_floats(position, room_size)
    xp = arrays.namespace(position)
    return xp.astype(
        axes.floor(position * resolution / room_size, resolution), xp.int32
    )


def cell_center(cell: Array, room_size: Array, resolution: int) -> Array:
    """Compute the center (x, y, ...) of a cell (column, row, ...), [..., N]."""
    (room_size,) = arrays.as_floats(room_size)
    return (arrays.like(cell, room_size) + 0.5) * room_size / resolution


def encode_one_hot(
    position: Array,
    room_size: Array | None = None,
    resolution: Resolution = 1,
    *,
    low: Array | None = None,
    high: Array | None = None,
    outside: Outside = "raise",
) -> Array:
    """Encode positions as one at the cell that holds each, zero elsewhere (Sec. 3.2).

    Args:
        position: As `encode_uld`, and all others.
        room_size: See there.
        resolution: See there.
        low: See there.
        high: See there.
        outside: See there.

    Returns:
        Codes [..., Iy, Ix], [..., Iz, Iy, Ix] and so on.

    Raises:
        ValueError: As `encode_uld`.

    >>> import uld_jax
    >>> print(uld_jax.encode_one_hot([1.0, 3.0], room_size=[4.0, 4.0], resolution=2))
    [[0. 0.]
     [1. 0.]]
    """
    cells, _, each = read_positions(position, room_size, resolution, low, high, outside)
    return arrays.like(axes.outer(axes.occupied(cells, each)), cells)


def decode_cells(
    scores: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
) -> Array:
    """Decode scores of cells to the center of the largest one.

    The decoder of one-hot (Sec. 1). The paper does not say how its heat map is
    decoded; we take the same. It is `decoders.decode_argmax` of cells.

    Args:
        scores: Scores [..., Iy, Ix], or [..., Iz, Iy, Ix] and so on; any numbers.
        room_size: As `decode_wad`.
        low: See there.
        high: See there.

    Returns:
        Positions (x, y, ...), [..., N], in the unit of the box.

    Raises:
        ValueError: If a score is NaN, or a side is not positive.

    >>> import uld_jax
    >>> print(uld_jax.decode_cells([[0.1, 0.2], [0.6, 0.1]], room_size=[4.0, 4.0]))
    [1. 3.]
    """
    return decoders.decode_argmax(scores, room_size, low=low, high=high, grid="cells")


# --- Heat map ------------------------------------------------------------------


def encode_heat_map(
    position: Array,
    room_size: Array | None = None,
    resolution: Resolution = 1,
    *,
    low: Array | None = None,
    high: Array | None = None,
    outside: Outside = "raise",
) -> Array:
    """Encode positions as Gaussians around them, sampled at the cell centers.

    The paper does not say in what unit its standard deviation of 0.1 is; we
    read it as a tenth of the room's side on each axis, the only reading under
    which a map of 2 x 2 cells is not all zero. The paper does not say how the
    Gaussian is scaled; ours has height 1 at the position itself.

    Args:
        position: As `encode_uld`, and all others.
        room_size: See there.
        resolution: See there.
        low: See there.
        high: See there.
        outside: See there.

    Returns:
        Codes [..., Iy, Ix], [..., Iz, Iy, Ix] and so on.

    Raises:
        ValueError: As `encode_uld`.

    >>> import uld_jax
    >>> code = uld_jax.encode_heat_map([1.0, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(code.round(2))
    [[0. 0.]
     [1. 0.]]
    """
    cells, _, each = read_positions(position, room_size, resolution, low, high, outside)
    xp = arrays.namespace(cells)
    marginals = []
    for axis, count in enumerate(each):
        centers = arrays.like((np.arange(count) + 0.5) / count, cells)
        deviation = (centers - cells[..., axis, None] / count) / HEAT_MAP_SIGMA
        marginals.append(xp.exp(-0.5 * deviation**2))
    return axes.outer(marginals)


# --- Refined grid --------------------------------------------------------------


def encode_refined_grid(
    position: Array,
    room_size: Array | None = None,
    resolution: Resolution = 1,
    *,
    low: Array | None = None,
    high: Array | None = None,
    outside: Outside = "raise",
) -> Array:
    """Encode positions as cells and the ratios inside them (refined grid, Sec. 3.2).

    The ratios run from 0 to 1 over the cell that holds the position. Elsewhere
    all entries are zero.

    Args:
        position: As `encode_uld`, and all others.
        room_size: See there.
        resolution: See there.
        low: See there.
        high: See there.
        outside: See there.

    Returns:
        Presence and the ratio along x, y, ... of every cell, [..., 1 + N, Iy, Ix] and
        so on.

    Raises:
        ValueError: As `encode_uld`.

    >>> import uld_jax
    >>> code = uld_jax.encode_refined_grid([0.5, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(code[:, 1, 0])
    [1.   0.25 0.5 ]
    """
    cells, _, each = read_positions(position, room_size, resolution, low, high, outside)
    xp = arrays.namespace(cells)
    mask = axes.outer(axes.occupied(cells, each))
    channels = [arrays.like(mask, cells)]
    for axis, count in enumerate(each):
        ratio = cells[..., axis] - axes.floor(cells[..., axis], count)
        channels.append(xp.where(mask, ratio[(..., *(None,) * len(each))], 0.0))
    return xp.stack(channels, axis=-len(each) - 1)


def decode_refined_grid(
    scores: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
) -> Array:
    """Decode refined grids to the refined position in the most likely cell.

    The paper does not say how its refined grid is decoded; we take the ratios of
    the cell of largest presence.

    Args:
        scores: Presence and ratios of every cell, [..., 1 + N, Iy, Ix] and so on.
        room_size: As `decode_wad`.
        low: See there.
        high: See there.

    Returns:
        Positions (x, y, ...), [..., N], in the unit of the box.

    Raises:
        ValueError: If the shape is another, a score is NaN, or a side is not positive.

    >>> import uld_jax
    >>> code = uld_jax.encode_refined_grid([0.5, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(uld_jax.decode_refined_grid(code, room_size=[4.0, 4.0]))
    [0.5 3. ]
    """
    raw = scores
    box, (scores,) = boxes.read((scores,), room_size, low, high)
    N = box.num_axes
    if scores.ndim < N + 1 or scores.shape[-N - 1] != N + 1:
        raise ValueError(
            f"scores have shape {scores.shape}; a refined grid of {N} axes has presence "
            f"and {N} ratios of every cell, [{N + 1}, I, ...]"
        )
    xp = arrays.namespace(scores)
    boxes.check_not_nan(raw, decoders.NO_PEAK)
    grid = (slice(None),) * N
    presence = scores[(..., 0, *grid)]
    cell = axes.peak_cell(presence, N)
    mask = axes.near(cell, presence, 0)
    last = tuple(range(-N, 0))
    ratios = [
        xp.sum(xp.where(mask, scores[(..., 1 + axis, *grid)], 0.0), axis=last)
        for axis in range(N)
    ]
    cells = arrays.like(cell, scores) + xp.stack(ratios, axis=-1)
    return box.from_cells(cells, axes.counts(presence, N))


# --- What they share -----------------------------------------------------------


def read_positions(
    position: Array,
    room_size: Array | None,
    resolution: Resolution,
    low: Array | None,
    high: Array | None,
    outside: Outside,
) -> tuple[Array, boxes.Box, tuple[int, ...]]:
    """Read the arguments of an encoder.

    Args:
        position: As `encode_uld`, and all others.
        room_size: See there.
        resolution: See there.
        low: See there.
        high: See there.
        outside: See there.

    Returns:
        Coordinates in cells [..., N], the box, and the resolution of each axis.

    Raises:
        ValueError: As `encode_uld`.
    """
    if outside not in ("raise", "clip"):
        raise ValueError(f"outside is {outside!r}; it is 'raise' or 'clip'")
    raw = position
    box, (position,) = boxes.read((position,), room_size, low, high)
    N = box.num_axes
    if position.ndim == 0 or position.shape[-1] != N:
        raise ValueError(
            f"position has shape {tuple(position.shape)}, for a box of {N} axes; its "
            f"last axis must hold {N} coordinates"
        )
    each = boxes.read_resolution(resolution, N)
    if outside == "raise":
        boxes.check_positions(raw, room_size, low, high)
    else:
        boxes.check_not_nan(raw, "position holds NaN, which has no code")
    xp = arrays.namespace(position)
    cells = box.to_cells(position, each)
    clipped = [
        xp.clip(cells[..., axis], 0.0, float(count)) for axis, count in enumerate(each)
    ]
    return xp.stack(clipped, axis=-1), box, each
