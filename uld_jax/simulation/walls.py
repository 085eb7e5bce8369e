"""Walls that absorb unequally and more at high frequencies: filters and decay; in NumPy.

A wall reflects by a one-pole low-pass, sqrt(1 - a) (1 - p) / (1 - p / z), with absorption
a at the lowest frequencies and pole p. The renderer has two bands, below and above 1 kHz;
a reflection multiplies each by the filter's gain at that band's center.

Walls come in the order x = 0, x = Lx, y = 0, y = Ly, floor, ceiling.
"""

import numpy as np
from jaxtyping import Float

from uld_jax.acoustics import constants

CENTERS = (500.0, 4000.0)  # Hz, of the bands.
CROSSOVER = 1000.0  # Hz, between them.
_NUM_DIRECTIONS = 128
# Images that come together add as amplitudes, the more of them the later, so rendered
# rooms decay more slowly than energies: measured in 12 rooms (0.98 to 1.09).
_COHERENT = 1.03
_ROUNDS = 12  # Of the search for absorptions; each leaves a tenth of the error or less.
# Decibels of the decay that a reverberation time is read from (T30).
_LEVELS_DB = (-5.0, -35.0)


def filter_gain(
    absorption: Float[np.ndarray, "*B"],
    pole: Float[np.ndarray, "*#B"],
    frequency: float | Float[np.ndarray, "*#B"],
) -> Float[np.ndarray, "*B"]:
    """Compute the gain of one reflection at a frequency in Hz."""
    turn = np.exp(-2j * np.pi * np.asarray(frequency) / constants.SAMPLE_RATE)
    return np.sqrt(1 - absorption) * (1 - pole) / np.abs(1 - pole * turn)


def log_gains(
    absorption: Float[np.ndarray, "*B 6"], pole: Float[np.ndarray, "*B 6"]
) -> Float[np.ndarray, "*B 2 6"]:
    """Compute the logarithms of the gains of a reflection, below and above 1 kHz."""
    gains = [filter_gain(absorption, pole, frequency) for frequency in CENTERS]
    return np.log(np.stack(gains, axis=-2))


def _directions() -> Float[np.ndarray, "D 3"]:
    """Spread directions evenly over an octant; a room's decay is alike in all."""
    number = np.arange(_NUM_DIRECTIONS) + 0.5
    height = number / _NUM_DIRECTIONS
    azimuth = np.pi / 2 * (number * (np.sqrt(5) - 1) / 2 % 1)
    level = np.sqrt(1 - height**2)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), height], axis=-1)


def reverberation_time(
    size: Float[np.ndarray, "*B 3"],
    absorption: Float[np.ndarray, "*B 6"],
    pole: Float[np.ndarray, "*B 6"],
) -> float | Float[np.ndarray, "*B"]:
    """Predict the T30 of a room's responses in seconds, mean of the two bands.

    Sound that travels in a direction u meets walls across an axis |u| / L times a meter,
    in turn the two of them. Its energy, averaged over directions, is the decay (Lehmann
    and Johansson 2008), which is no exponential. T30 is of Schroeder's integral from -5
    to -35 dB.

    Args:
        size: Sides of the rooms in meters.
        absorption: Of the six walls, between 0 and 1.
        pole: Of their filters, from 0 to 1.
    """
    gains = log_gains(absorption, pole)
    # Nepers of energy a reflection, mean of the two walls of an axis: [*B, 2, 3].
    losses = -gains.reshape(*gains.shape[:-1], 3, 2).sum(axis=-1)
    rates = constants.SPEED_OF_SOUND * np.einsum(
        "da,...a->...d", _directions(), losses / size[..., None, :]
    )
    weights = 1 / rates / (1 / rates).sum(axis=-1, keepdims=True)

    def level(times: np.ndarray) -> np.ndarray:
        """Compute Schroeder's integral in dB at times [*B, 2, T], less its start."""
        left = np.exp(-rates[..., None] * times[..., None, :])
        return 10 * np.log10(np.einsum("...d,...dt->...t", weights, left))

    # The slowest direction bounds the times of a level.
    most = -min(_LEVELS_DB) * np.log(10) / 10 / rates.min(axis=-1)
    grid = most[..., None] * np.linspace(0, 1, 65) ** 2
    levels = level(grid)
    rows = [part.reshape(-1, grid.shape[-1]) for part in (levels, grid)]
    first, last = (
        np.array([np.interp(-wanted, -row, at) for row, at in zip(*rows, strict=True)])
        for wanted in _LEVELS_DB
    )
    first, last = (at.reshape(most.shape) for at in (first, last))
    times = first[..., None] + (last - first)[..., None] * np.linspace(0, 1, 16)
    offsets = times - times.mean(axis=-1, keepdims=True)
    slope = (offsets * level(times)).sum(axis=-1) / (offsets**2).sum(axis=-1)
    return _COHERENT * (-60 / slope).mean(axis=-1)


def absorptions_for(
    size: Float[np.ndarray, "3"],
    t60: float,
    ratios: Float[np.ndarray, "6"],
    damping: Float[np.ndarray, "6"],
) -> tuple[Float[np.ndarray, "6"], Float[np.ndarray, "6"]]:
    """Find unequal walls of a room whose responses decay with the T60 asked for.

    That is the mean of the T30 below and above 1 kHz, as `reverberation_time` predicts it.

    Args:
        size: Sides in meters.
        t60: The T60 asked for, in seconds.
        ratios: How much more a wall absorbs than the mean one.
        damping: Poles over absorptions, from 0 to 1: with 0.5, a wall absorbs about
            twice as much (in nepers) at 4 kHz as at the lowest frequencies.

    Returns:
        Absorptions and poles.
    """
    sides = np.asarray(size, np.float64)
    surface = 2 * (sides * np.roll(sides, 1)).sum()
    mean = 24 * np.log(10) * sides.prod() / (constants.SPEED_OF_SOUND * surface * t60)
    for _ in range(_ROUNDS):
        absorption = -np.expm1(-mean * ratios)
        pole = damping * absorption
        found = reverberation_time(sides, absorption, pole)
        if abs(found / t60 - 1) < 1e-3:
            break
        mean *= found / t60
    return absorption, pole
