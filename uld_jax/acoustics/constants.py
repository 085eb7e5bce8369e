"""Room acoustics: absorption for a reverberation time, and measures of responses.

Rooms are boxes whose six walls absorb alike. Sources: W. C. Sabine, Collected
Papers on Acoustics, 1922; M. R. Schroeder, "New method of measuring reverberation
time", J. Acoust. Soc. Am. 37, 1965; ISO 3382-1:2009. Everything is in float64.
"""

import math

import numpy as np
from jaxtyping import Float, Int, Real

from uld_jax.runtime import errors

SPEED_OF_SOUND = 343.0  # In meters per second, of air at 20 degrees Celsius.
SAMPLE_RATE = 16_000

_HEADROOM_DB = 5.0  # ISO 3382 leaves out the first 5 dB of a decay.


class AcousticsError(errors.InputError):
    """A room or a response that has no such property, with the reason."""


def smallest_t60(
    room_size: Real[np.ndarray, "*B 3"],
) -> float | Float[np.ndarray, "*B"]:
    """Return the reverberation time of a room that absorbs all, in seconds (Sabine).

    Sabine's formula reaches no shorter time: 24 ln(10) V / (c S).

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
    """Return the share of energy that every wall absorbs, in (0, 1] (Sabine).

    The inverse of T60 = 24 ln(10) V / (c S a).

    Args:
        room_size: Sides of the rooms, in meters.
        t60: Reverberation times, in seconds.

    Raises:
        AcousticsError: If a value is not a positive number, or a room cannot
            have so short a reverberation time.
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
    """Return how often images must be reflected to last for T60.

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


def energy_decay(response: Real[np.ndarray, "*B N"]) -> Float[np.ndarray, "*B N"]:
    """Return the energy that is still to come, in dB below all of it (Schroeder).

    It starts at 0 dB, and is minus infinity where nothing follows.

    Args:
        response: Impulse responses.

    Raises:
        AcousticsError: If a response is silent or has NaN or infinity.
    """
    remaining = _remaining(response)
    return _decibels(remaining, remaining[..., :1])


def reverberation_time(
    response: Real[np.ndarray, "*B N"],
    decay: int | float = 30,
    sample_rate: int = SAMPLE_RATE,
) -> float | Float[np.ndarray, "*B"]:
    """Return the time of a decay by 60 dB, in seconds: T30, T20 (ISO 3382).

    The slope of a straight line through the energy decay between -5 dB and
    -5 - `decay` dB. A response must be long enough: one cut off while it is loud
    seems to decay faster, and that cannot be told from the response.

    Args:
        response: Impulse responses.
        decay: Decibels that the line covers: 30 for T30, 20 for T20.
        sample_rate: Samples per second.

    Raises:
        AcousticsError: If a response is silent, has NaN or infinity, or has no
            decay in that range, as without reflections.
    """
    level = energy_decay(response)
    used = (level <= -_HEADROOM_DB) & (level >= -_HEADROOM_DB - decay)
    top = np.where(used, level, -np.inf).max(axis=-1)
    bottom = np.where(used, level, np.inf).min(axis=-1)
    flat = np.asarray(top <= bottom)  # One sample, a gap of zeros, or nothing.
    if flat.any():
        raise AcousticsError(
            f"{flat.sum()} of {flat.size} responses have no decay between "
            f"{-_HEADROOM_DB:g} and {-_HEADROOM_DB - decay:g} dB to measure a "
            "reverberation time from"
        )
    level = np.where(used, level, 0.0)
    time = np.arange(level.shape[-1]) / sample_rate
    mean_time = (used * time).sum(axis=-1) / used.sum(axis=-1)
    offset = np.where(used, time - mean_time[..., None], 0.0)
    slope = (offset * level).sum(axis=-1) / (offset**2).sum(axis=-1)
    return -60.0 / slope


def clarity(
    response: Real[np.ndarray, "*B N"],
    onset: int | Int[np.ndarray, "*#B"],
    milliseconds: int | float = 50,
    sample_rate: int = SAMPLE_RATE,
) -> float | Float[np.ndarray, "*B"]:
    """Return early over late energy in dB: C50 at 50 ms, C80 at 80 ms (ISO 3382).

    Early is all up to that time after the onset, with what little rings before it.
    It is infinite where nothing is late.

    Args:
        response: Impulse responses.
        onset: Sample at which the direct sound arrives.
        milliseconds: Time after the onset that divides early from late.
        sample_rate: Samples per second.

    Raises:
        AcousticsError: If a response is silent or has NaN or infinity, or an onset
            is outside of it.
    """
    remaining = _remaining(response)
    length = remaining.shape[-1]
    onset = np.broadcast_to(onset, remaining.shape[:-1])
    if np.any((onset < 0) | (onset >= length)):
        raise AcousticsError(
            f"onsets from {onset.min()} to {onset.max()} are not all in responses of "
            f"{length} samples"
        )
    first_late = np.minimum(onset + round(milliseconds * sample_rate / 1e3), length)
    so_far = np.cumsum(np.square(response, dtype=np.float64), axis=-1)
    nothing = np.zeros_like(so_far[..., :1])
    early, late = (
        np.take_along_axis(np.concatenate(parts, axis=-1), first_late[..., None], -1)
        for parts in ((nothing, so_far), (remaining, nothing))
    )
    return _decibels(early, late)[..., 0]


def direct_to_reverberant(
    response: Real[np.ndarray, "*B N"],
    onset: int | Int[np.ndarray, "*#B"],
    milliseconds: int | float = 2.5,
    sample_rate: int = SAMPLE_RATE,
) -> float | Float[np.ndarray, "*B"]:
    """Return the direct over the reverberant energy in dB (DRR).

    The direct sound is all up to 2.5 ms after the onset, as is usual; reflections
    with less than 0.86 m of detour are in there too. For the arguments and errors
    see `clarity`.
    """
    return clarity(response, onset, milliseconds, sample_rate)


def _positive(name: str, unit: str, values: float | np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        raise AcousticsError(
            f"{name} {values[wrong][0]:g} is not a positive number of {unit}"
        )
    return values


def _remaining(response: np.ndarray) -> np.ndarray:
    """Return the energy from each sample on."""
    energy = np.square(response, dtype=np.float64)
    if not np.isfinite(energy).all():
        raise AcousticsError("a response holds NaN or infinity")
    remaining = np.cumsum(energy[..., ::-1], axis=-1)[..., ::-1]
    if not energy.any(axis=-1).all():
        silent = int((~energy.any(axis=-1)).sum())
        raise AcousticsError(f"{silent} of the responses are silent or empty")
    return remaining


def _decibels(energy: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return 10 log10 of a ratio of energies, infinite where one of them is zero."""
    with np.errstate(divide="ignore"):
        return 10 * (np.log10(energy) - np.log10(reference))
