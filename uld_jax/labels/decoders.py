"""Decoders of a distribution over a grid: means, peaks, and how wide they are.

Arguments are those of `codes.decode_wad`, the paper's decoder; the grid may be points from
wall to wall, as that of ULD, or centers of cells, as that of one-hot.
"""

from typing import NamedTuple

import numpy as np

from uld_jax.labels import arrays, axes, boxes
from uld_jax.labels.arrays import Array
from uld_jax.labels.axes import Grid

NO_PEAK = "scores hold NaN, which has no peak"


def decode_local_mean(
    joint: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
    window: int = 1,
    grid: Grid = "points",
) -> Array:
    """Decode joint distributions to the mean around the peak of each marginal.

    Args:
        joint: As `decode_wad`.
        room_size: See there.
        low: See there.
        high: See there.
        window: Grid points on each side of the peak that count; 1 is weighted adjacent
            decoding, and as many as there are is the mean.
        grid: Whether entries are at grid points from wall to wall, as ULD's, or at the
            centers of cells.

    Returns:
        Positions (x, y, ...), [..., N], in the unit of the box.

    Raises:
        ValueError: As `decode_wad`; or if the window is not a whole number of at least 0.

    >>> import uld_jax
    >>> joint = [[0.1, 0.0, 0.0], [0.1, 0.4, 0.4], [0.0, 0.0, 0.0]]
    >>> print(uld_jax.decode_local_mean(joint, room_size=[4.0, 4.0], window=2).round(1))
    [2.4 1.8]
    """
    if isinstance(window, bool) or not isinstance(window, int | np.integer):
        raise ValueError(f"window is {window!r}; it must be a whole number")
    if window < 0:
        raise ValueError(f"window is {window}; it must be at least 0")
    joint, box = read_joint(joint, room_size, low, high, grid)
    return axes.decode_marginals(axes.marginals(joint, box.num_axes), box, window, grid)


def decode_mean(
    joint: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
    grid: Grid = "points",
) -> Array:
    """Decode joint distributions to their means.

    The mean is the least squared error, if the distribution is right; a network's
    background far from its peak biases it to the middle of the room.

    Args:
        joint: As `decode_wad`.
        room_size: See there.
        low: See there.
        high: See there.
        grid: As `decode_local_mean`.

    Returns:
        Positions (x, y, ...), [..., N], in the unit of the box.

    Raises:
        ValueError: As `decode_wad`.

    >>> import uld_jax
    >>> joint = uld_jax.encode_uld([1.0, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(uld_jax.decode_mean(joint, room_size=[4.0, 4.0]))
    [1. 3.]
    """
    joint, box = read_joint(joint, room_size, low, high, grid)
    return axes.decode_marginals(axes.marginals(joint, box.num_axes), box, np.inf, grid)


def decode_argmax(
    scores: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
    grid: Grid = "points",
) -> Array:
    """Decode scores to the grid point, or the cell's center, of the largest one.

    Args:
        scores: As `decode_wad`, but may be any numbers: logits have the same peak.
        room_size: See there.
        low: See there.
        high: See there.
        grid: As `decode_local_mean`.

    Returns:
        Positions (x, y, ...), [..., N], in the unit of the box.

    Raises:
        ValueError: If a score is NaN, there are too few, or a side is not positive.

    >>> import uld_jax
    >>> scores = [[0.1, 0.2, 0.0], [0.6, 0.1, 0.0], [0.0, 0.0, 0.0]]
    >>> print(uld_jax.decode_argmax(scores, room_size=[4.0, 4.0]))
    [0. 2.]
    """
    scores, box = read_joint(scores, room_size, low, high, grid, weights=False)
    N = box.num_axes
    index = arrays.like(axes.peak_cell(scores, N), scores)
    return axes.from_index(index, axes.counts(scores, N), box, grid)


def decode_covariance(
    joint: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
    grid: Grid = "points",
) -> Array:
    """Compute the covariance of joint distributions around their means.

    That of the ULD of one position is not zero: each axis has the variance t (1 - t)
    cells^2, where t is how far the position is from a grid point, in cells.

    Args:
        joint: As `decode_wad`.
        room_size: See there.
        low: See there.
        high: See there.
        grid: As `decode_local_mean`.

    Returns:
        Covariances [..., N, N], in the squared unit of the box.

    Raises:
        ValueError: As `decode_wad`.

    >>> import uld_jax
    >>> joint = uld_jax.encode_uld([1.0, 2.0], room_size=[4.0, 4.0], resolution=2)
    >>> print(uld_jax.decode_covariance(joint, room_size=[4.0, 4.0]))
    [[1. 0.]
     [0. 0.]]
    """
    joint, box = read_joint(joint, room_size, low, high, grid)
    return _mean_and_covariance(joint, box, grid)[1]


class Modes(NamedTuple):
    """The peaks of distributions, highest first.

    Attributes:
        positions: [..., P, N], in the unit of the box.
        masses: Share of each distribution within the window of the peak, [..., P].
        covariances: Of that share, [..., P, N, N].

    >>> import uld_jax
    >>> joint = uld_jax.encode_uld([1.0, 3.0], room_size=[4.0, 4.0], resolution=2)
    >>> modes: uld_jax.Modes = uld_jax.decode_modes(joint, [4.0, 4.0], num_modes=1)
    >>> print(modes.positions, modes.masses)
    [[1. 3.]] [1.]
    """

    positions: Array
    masses: Array
    covariances: Array


def decode_modes(
    joint: Array,
    room_size: Array | None = None,
    *,
    low: Array | None = None,
    high: Array | None = None,
    num_modes: int = 2,
    window: int = 1,
    grid: Grid = "points",
) -> Modes:
    """Decode joint distributions to several peaks.

    Takes the highest entry with those around it, decodes their mean, removes them, and
    goes on. Labels whose grid points are apart are decoded exactly.

    Args:
        joint: As `decode_wad`.
        room_size: See there.
        low: See there.
        high: See there.
        num_modes: Number P of peaks.
        window: Grid points on each side of a peak, along each axis, that belong to it.
        grid: As `decode_local_mean`.

    Returns:
        The peaks; one beyond all that is there has no mass, and its position is NaN.

    Raises:
        ValueError: As `decode_wad`; or if `num_modes` < 1 or `window` < 0.

    >>> import uld_jax
    >>> both = [
    ...     uld_jax.encode_uld([x, y], room_size=[8.0, 8.0], resolution=8)
    ...     for x, y in ((1.5, 6.0), (5.25, 2.5))
    ... ]
    >>> found = uld_jax.decode_modes(0.7 * both[0] + 0.3 * both[1], [8.0, 8.0])
    >>> print(found.positions, found.masses)
    [[1.5  6.  ]
     [5.25 2.5 ]] [0.7 0.3]
    """
    if num_modes < 1 or window < 0:
        raise ValueError(
            f"num_modes is {num_modes} and window {window}; they are at least 1 and 0"
        )
    joint, box = read_joint(joint, room_size, low, high, grid)
    xp = arrays.namespace(joint)
    N = box.num_axes
    last = tuple(range(-N, 0))
    joint = joint / xp.sum(joint, axis=last, keepdims=True)
    positions, masses, covariances = [], [], []
    for _ in range(num_modes):
        near = axes.near(axes.peak_cell(joint, N), joint, window)
        part = xp.where(near, joint, 0.0)
        masses.append(xp.sum(part, axis=last))
        mean, covariance = _mean_and_covariance(part, box, grid)
        positions.append(mean)
        covariances.append(covariance)
        joint = xp.where(near, 0.0, joint)
    return Modes(
        xp.stack(positions, axis=-2),
        xp.stack(masses, axis=-1),
        xp.stack(covariances, axis=-3),
    )


def read_joint(
    joint: Array,
    room_size: Array | None,
    low: Array | None,
    high: Array | None,
    grid: Grid,
    weights: bool = True,
) -> tuple[Array, boxes.Box]:
    """Read the arguments of a decoder.

    Args:
        joint: Array with the axes of a grid last.
        room_size: As `codes.decode_wad`.
        low: See there.
        high: See there.
        grid: Of its entries.
        weights: Whether they must be those of a distribution.

    Returns:
        The array, and the box.

    Raises:
        ValueError: As `codes.decode_wad`.
    """
    if grid not in ("points", "cells"):
        raise ValueError(f"grid is {grid!r}; it is 'points' or 'cells'")
    raw = joint
    box, (joint,) = boxes.read((joint,), room_size, low, high)
    N, least = box.num_axes, 2 if grid == "points" else 1
    if joint.ndim < N or min(joint.shape[-N:]) < least:
        shape = ", ".join(f"K{axis}" for axis in reversed("xyzuvw"[:N]))
        raise ValueError(
            f"joint has shape {tuple(joint.shape)}; a box of {N} axes needs [..., {shape}], "
            f"each K at least {least}"
        )
    if weights:
        boxes.check_weights(raw, N)
    else:
        boxes.check_not_nan(raw, NO_PEAK)
    return joint, box


def _mean_and_covariance(
    joint: Array, box: boxes.Box, grid: Grid
) -> tuple[Array, Array]:
    """Compute the mean [..., N] and the covariance [..., N, N] of weights."""
    xp = arrays.namespace(joint)
    N = box.num_axes
    number = axes.counts(joint, N)
    all_axes = set(range(-N, 0))
    total = xp.sum(joint, axis=tuple(all_axes))
    means, offsets = [], []
    for axis, marginal in enumerate(axes.marginals(joint, N)):
        index = arrays.like(np.arange(number[axis]), joint)
        means.append(axes.divide(xp.sum(marginal * index, axis=-1), total))
        offsets.append(index - means[-1][..., None])
    rows = [[None] * N for _ in range(N)]
    for one in range(N):
        for two in range(one, N):
            others = tuple(sorted(all_axes - {-1 - one, -1 - two}))
            part = xp.sum(joint, axis=others) if others else joint
            if one == two:
                moment = xp.sum(part * offsets[one] ** 2, axis=-1)
            else:
                product = offsets[two][..., :, None] * offsets[one][..., None, :]
                moment = xp.sum(part * product, axis=(-2, -1))
            rows[one][two] = rows[two][one] = axes.divide(moment, total)
    covariance = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    mean = axes.from_index(xp.stack(means, axis=-1), number, box, grid)
    cells = number if grid == "cells" else [count - 1 for count in number]
    side = box.sides / arrays.like(np.array(cells), joint)
    return mean, covariance * side[..., :, None] * side[..., None, :]
