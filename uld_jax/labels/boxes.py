"""The box that holds positions, in any number of dimensions, and checks of both.

A box is given by `room_size`, its sides from a corner at zero, or by its corners `low`
and `high`. Values are checked wherever they are known: not inside `jax.jit`, `jax.vmap`
and `torch.compile`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.labels import arrays
from uld_jax.labels.arrays import Array


class Box(NamedTuple):
    """A box: its lower corner and its sides.

    Attributes:
        low: Lower corner, [..., N]; None where it is zero.
        sides: Sides, [..., N].
    """

    low: Array | None
    sides: Array

    @property
    def num_axes(self) -> int:
        """Number of dimensions N."""
        return self.sides.shape[-1]

    def to_cells(self, positions: Array, each: Sequence[int]) -> Array:
        """Convert positions [..., N] to cells, of which each axis has so many."""
        positions = positions if self.low is None else positions - self.low
        return positions * arrays.like(np.array(each), positions) / self.sides

    def from_cells(self, cells: Array, each: Sequence[int]) -> Array:
        """Convert coordinates in cells to positions [..., N]."""
        positions = cells * self.sides / arrays.like(np.array(each), cells)
        return positions if self.low is None else positions + self.low


def read(
    others: Sequence[Array],
    room_size: Array | None,
    low: Array | None,
    high: Array | None,
) -> tuple[Box, tuple[Array, ...]]:
    """Read a box, and convert it and other arrays to one library and precision.

    Args:
        others: Arrays beside those of the box, such as positions.
        room_size: Sides [..., N] of a box from zero, or None.
        low: Lower corner [..., N], or None for zero.
        high: Upper corner [..., N], or None.

    Returns:
        The box, and the other arrays.

    Raises:
        ValueError: If neither or both of `room_size` and `high` are given, shapes do
            not match, or a side is not finite and above 0.
    """
    if (room_size is None) == (high is None):
        given = "both" if high is not None else "neither"
        raise ValueError(
            f"{given} of room_size and high given: say room_size, the sides of a room "
            "from zero, or the corners low and high"
        )
    if room_size is not None and low is not None:
        raise ValueError("low goes with high: give both corners, or room_size alone")
    _check_sides(room_size, low, high)
    if low is None:
        *others, sides = arrays.as_floats(
            *others, high if room_size is None else room_size
        )
        return Box(None, sides), tuple(others)
    *others, low, high = arrays.as_floats(*others, low, high)
    return Box(low, high - low), tuple(others)


def _check_sides(
    room_size: Array | None, low: Array | None, high: Array | None
) -> None:
    """Raise unless a box has a finite and positive side for each axis."""
    name, upper = ("high", high) if room_size is None else ("room_size", room_size)
    shape = np.shape(upper)
    if not shape:
        raise ValueError(f"{name} is one number; it needs one for each axis: [N]")
    if low is not None and np.shape(low)[-1:] != shape[-1:]:
        raise ValueError(
            f"low has shape {np.shape(low)} and high {shape}; both need a coordinate for "
            "each axis, last"
        )
    corners = arrays.look_at(upper if low is None else low, upper)
    if corners is None:
        return
    sides = corners[1] if low is None else corners[1] - corners[0]
    xp = arrays.namespace(sides)
    if not bool(xp.all(xp.isfinite(sides) & (sides > 0))):
        what = f"{name if low is None else 'high - low'} is {arrays.to_numpy(sides).tolist()}"
        raise ValueError(f"{what}; every side must be finite and above 0")


def read_resolution(resolution: object, num_axes: int) -> tuple[int, ...]:
    """Read a resolution, one for all axes or one each.

    Raises:
        ValueError: If one is not a whole number of at least 1, or there are more or
            fewer than axes.
    """
    if isinstance(resolution, Sequence | np.ndarray) and not isinstance(
        resolution, str
    ):
        each = tuple(resolution)
        if len(each) != num_axes:
            raise ValueError(
                f"resolution is {list(each)}, for {len(each)} axes; positions have "
                f"{num_axes}"
            )
    else:
        each = (resolution,) * num_axes
    for one in each:
        check_resolution(one)
    return tuple(int(one) for one in each)


def check_resolution(resolution: object) -> None:
    """Raise unless `resolution`, the number of cells per axis, is usable.

    Raises:
        ValueError: If it is not a whole number of at least 1.
    """
    if isinstance(resolution, bool) or not isinstance(resolution, int | np.integer):
        raise ValueError(f"resolution is {resolution!r}; it must be a whole number")
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}; a room has at least 1 cell")


def check_positions(
    positions: Array,
    room_size: Array | None = None,
    low: Array | None = None,
    high: Array | None = None,
) -> None:
    """Raise unless all positions [..., N] lie in their boxes.

    Args:
        positions: Coordinates [..., N].
        room_size: Sides [..., N] of a box from zero, or None.
        low: Lower corner [..., N], or None for zero.
        high: Upper corner [..., N], or None.

    Raises:
        ValueError: If a side is not positive, or a position is NaN or outside its box;
            the message names the first such position.
    """
    _check_sides(room_size, low, high)
    upper = high if room_size is None else room_size
    known = arrays.look_at(positions, upper, upper if low is None else low)
    if known is None:
        return
    points, upper, lower = known
    if low is None:
        lower = lower * 0
    xp = arrays.namespace(points)
    # A wall may lie one rounding away: sides of rooms pass through single precision.
    inside = (points >= lower) & (points <= upper + 1e-6 * (upper - lower))
    if bool(xp.all(inside)):
        return
    inside = np.asarray(arrays.to_numpy(inside), bool)
    first = tuple(np.argwhere(~inside.all(axis=-1))[0])
    point, lower, upper = (
        np.broadcast_to(arrays.to_numpy(one), inside.shape)[first].tolist()
        for one in (points, lower, upper)
    )
    where = f"room of {upper}" if low is None else f"box from {lower} to {upper}"
    raise ValueError(
        f"position {point} is not inside the {where}; both walls belong to it "
        '(outside="clip" moves positions to the nearest wall)'
    )


def check_not_nan(values: Array, message: str) -> None:
    """Raise if a known value is NaN.

    Raises:
        ValueError: With the message, if one is.
    """
    known = arrays.look_at(values)
    if known is not None and bool(arrays.namespace(*known).any(known[0] != known[0])):
        raise ValueError(message)


def check_angles(angles: Array, name: str) -> None:
    """Raise unless all known angles are finite.

    Raises:
        ValueError: If one is not; the message calls them by the name.
    """
    known = arrays.look_at(angles)
    if known and not bool(arrays.namespace(*known).all(abs(known[0]) < np.inf)):
        raise ValueError(f"{name} holds NaN or infinite angles")


def check_weights(weights: Array, num_axes: int, name: str = "joint") -> None:
    """Raise unless weights are those of a distribution, up to their sum.

    Args:
        weights: Weights, the last `num_axes` axes of which are one distribution.
        num_axes: Number of these axes.
        name: What the message calls them.

    Raises:
        ValueError: If one is NaN, infinite or negative, or all of a distribution are
            zero.
    """
    known = arrays.look_at(weights)
    if known is None:
        return
    (weights,), xp = known, arrays.namespace(*known)
    if not bool(xp.all(xp.isfinite(weights))):
        raise ValueError(f"{name} holds NaN or infinite values")
    if not bool(xp.all(weights >= 0)):
        least = arrays.to_numpy(weights).min()
        raise ValueError(
            f"{name} holds {least:.3g}; probabilities are not negative (are these "
            "logits? take their softmax over the whole grid first)"
        )
    last = tuple(range(-num_axes, 0))
    if not bool(xp.all(xp.sum(weights, axis=last) > 0)):
        raise ValueError(f"{name} is zero everywhere, which is no distribution")
