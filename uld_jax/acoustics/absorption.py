"""Absorption of walls for a reverberation time (Sabine).

Rooms are boxes whose six walls absorb alike. Source: W. C. Sabine, Collected Papers on
Acoustics, 1922. Everything is in float64.
"""

import math

import numpy as np
from jaxtyping import Float, Int, Real

from uld_jax.acoustics.constants import SPEED_OF_SOUND
from uld_jax.runtime import errors


class AcousticsError(errors.InputError):
    """A room that cannot have a reverberation time, with the reason."""


def smallest_t60(
    room_size: Real[np.ndarray, "*B 3"],
) -> float | Float[np.ndarray, "*B"]:
    """Compute the shortest reverberation time of a room, in seconds.

    That of walls that absorb all: 24 ln(10) V / (c S).

    Args:
        room_size: Sides of the rooms, in meters.

    Raises:
        AcousticsError: If a side is not a positive number.
    """
    sides = _positive("room size", "meters", room_size)
    x, y, z = np.moveaxis(sides, -1, 0)
    surface = 2 * (x * y + x * z + y * z)
    return 24 * math.log(10) * (x * y * z) / (SPEED_OF_SOUND * surface)


def sabine_absorption(
    room_size: Real[np.ndarray, "*#B 3"],
    t60: float | np.floating | Real[np.ndarray, "*#B"],
) -> float | Float[np.ndarray, "*B"]:
    """Compute the share of energy that every wall absorbs, in (0, 1].

    The inverse of T60 = 24 ln(10) V / (c S a).

    Args:
        room_size: Sides of the rooms, in meters.
        t60: Reverberation times, in seconds.

    Raises:
        AcousticsError: If a value is not a positive number, or a room cannot
            have so short a reverberation time; the message has its shortest.
    """
    t60 = _positive("T60", "seconds", t60)
    shortest = smallest_t60(room_size)
    absorption = shortest / t60
    if np.any(absorption > 1):
        sides = np.broadcast_to(room_size, (*np.shape(absorption), 3)).reshape(-1, 3)
        at = int(np.argmax(np.ravel(absorption > 1)))
        asked = np.broadcast_to(t60, np.shape(absorption)).ravel()[at]
        least = np.broadcast_to(shortest, np.shape(absorption)).ravel()[at]
        raise AcousticsError(
            f"a room of {' x '.join(f'{side:g}' for side in sides[at])} m cannot have "
            f"T60 = {asked:g} s, even with walls that absorb all; its smallest T60 is "
            f"{math.ceil(least * 1e4) / 1e4:.4f} s"
        )
    return absorption


def image_order(
    room_size: Real[np.ndarray, "*#B 3"],
    t60: float | np.floating | Real[np.ndarray, "*#B"],
) -> int | Int[np.ndarray, "*B"] | np.integer:
    """Compute how often images must be reflected to last for T60.

    Images up to an order fill a diamond of rooms; the order is the smallest whose
    diamond holds the ball of radius c T60, as in pyroomacoustics (inverse_sabine).

    Args:
        room_size: Sides of the rooms, in meters.
        t60: Reverberation times, in seconds.

    Raises:
        AcousticsError: If a value is not a positive number.
    """
    x, y, z = np.moveaxis(_positive("room size", "meters", room_size), -1, 0)
    t60 = _positive("T60", "seconds", t60)
    radii = [a * b / np.sqrt(a**2 + b**2) for a, b in ((x, y), (x, z), (y, z))]
    order = np.ceil(SPEED_OF_SOUND * t60 / np.minimum.reduce(radii) - 1)
    return order.astype(np.int64)


def _positive(name: str, unit: str, values: float | np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        raise AcousticsError(
            f"{name} {values[wrong][0]:g} is not a positive number of {unit}"
        )
    return values
