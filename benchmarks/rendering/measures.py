"""Measures of room impulse responses: decay, T60, clarity, direct sound.

Sources: M. R. Schroeder, "New method of measuring reverberation time", J. Acoust. Soc.
Am. 37, 1965; ISO 3382-1:2009. Everything is in float64.
"""

import numpy as np
from jaxtyping import Float, Int, Real

from uld_jax.acoustics.constants import SAMPLE_RATE

_HEADROOM_DB = 5.0  # ISO 3382 leaves out the first 5 dB of a decay.


def energy_decay(response: Real[np.ndarray, "*B N"]) -> Float[np.ndarray, "*B N"]:
    """Compute the energy still to come, in dB below all of it (Schroeder).

    It starts at 0 dB, and is minus infinity where nothing follows.

    Args:
        response: Impulse responses.

    Raises:
        ValueError: If a response is silent or has NaN or infinity.
    """
    remaining = _remaining(response)
    return _decibels(remaining, remaining[..., :1])


def reverberation_time(
    response: Real[np.ndarray, "*B N"],
    decay: int | float = 30,
    sample_rate: int = SAMPLE_RATE,
) -> float | Float[np.ndarray, "*B"]:
    """Compute the time of a decay by 60 dB, in seconds: T30, T20 (ISO 3382).

    The slope of a straight line through the energy decay between -5 dB and
    -5 - `decay` dB. A response must be long enough: one cut off while it is loud
    seems to decay faster, which the response itself does not show.

    Args:
        response: Impulse responses.
        decay: Decibels that the line covers: 30 for T30, 20 for T20.
        sample_rate: Samples per second.

    Raises:
        ValueError: If a response is silent, has NaN or infinity, or has no
            decay in that range, as without reflections.
    """
    level = energy_decay(response)
    used = (level <= -_HEADROOM_DB) & (level >= -_HEADROOM_DB - decay)
    top = np.where(used, level, -np.inf).max(axis=-1)
    bottom = np.where(used, level, np.inf).min(axis=-1)
    flat = np.asarray(top <= bottom)  # One sample, a gap of zeros, or nothing.
    if flat.any():
        raise ValueError(
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
    """Compute early over late energy in dB: C50 at 50 ms, C80 at 80 ms (ISO 3382).

    Early is all up to that time after the onset, with what little rings before it.
    It is infinite where nothing is late.

    Args:
        response: Impulse responses.
        onset: Sample at which the direct sound arrives.
        milliseconds: Time after the onset that divides early from late.
        sample_rate: Samples per second.

    Raises:
        ValueError: If a response is silent or has NaN or infinity, or an onset
            is outside of it.
    """
    remaining = _remaining(response)
    length = remaining.shape[-1]
    onset = np.broadcast_to(onset, remaining.shape[:-1])
    if np.any((onset < 0) | (onset >= length)):
        raise ValueError(
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
    """Compute the direct over the reverberant energy in dB (DRR).

    The direct sound is all up to 2.5 ms after the onset, as is usual; reflections
    with less than 0.86 m of detour are in there too. For the arguments and errors
    see `clarity`.
    """
    return clarity(response, onset, milliseconds, sample_rate)


def _remaining(response: np.ndarray) -> np.ndarray:
    """Compute the energy from each sample on."""
    energy = np.square(response, dtype=np.float64)
    if not np.isfinite(energy).all():
        raise ValueError("a response holds NaN or infinity")
    remaining = np.cumsum(energy[..., ::-1], axis=-1)[..., ::-1]
    if not energy.any(axis=-1).all():
        silent = int((~energy.any(axis=-1)).sum())
        raise ValueError(f"{silent} of the responses are silent or empty")
    return remaining


def _decibels(energy: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Compute 10 log10 of a ratio of energies, infinite where one of them is zero."""
    with np.errstate(divide="ignore"):
        return 10 * (np.log10(energy) - np.log10(reference))
