"""Noises made by a formula, for runs without a corpus.

Five kinds that differ in spectrum and in time: steady pink and brown noise, the
hum of mains and its harmonics, the babble of several built-in voices, and a
clatter of short resonant knocks. Every name is a recording of its own.
"""

import functools

import numpy as np
import scipy.signal

from uld_jax.audio import builtin_speech

SAMPLE_RATE = builtin_speech.SAMPLE_RATE

_SECONDS = 10
_LENGTH = _SECONDS * SAMPLE_RATE
_NOISES_PER_KIND = {"train": 8, "dev": 2, "test": 2}
_LOWEST_FREQUENCY = 40.0  # A small loudspeaker's.
_BABBLE_VOICES = 6


def _colored(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Return noise whose power density is one over frequency to the power `slope`."""
    frequency = np.fft.rfftfreq(_LENGTH, 1 / SAMPLE_RATE)
    heard = frequency >= _LOWEST_FREQUENCY
    gain = np.where(heard, np.maximum(frequency, 1.0) ** (-slope / 2), 0.0)
    return np.fft.irfft(np.fft.rfft(rng.normal(size=_LENGTH)) * gain, _LENGTH)


def _unit(signal: np.ndarray) -> np.ndarray:
    """Return a signal of mean 0 and power 1."""
    signal = signal - signal.mean()
    return signal / np.sqrt(np.mean(signal**2))


def _hum(rng: np.random.Generator) -> np.ndarray:
    """Return the harmonics of 50 or 60 Hz that swell a little, over pink noise."""
    fundamental = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
    orders = np.arange(1, 41)
    levels = orders ** -rng.uniform(0.4, 1.2) * rng.lognormal(0.0, 0.8, len(orders))
    angle = 2 * np.pi * fundamental / SAMPLE_RATE * np.arange(_LENGTH)
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    signal = sum(
        level * np.sin(order * angle + phase)
        for order, level, phase in zip(orders, levels, phases, strict=True)
    )
    swell = np.sin(angle / fundamental * rng.uniform(0.2, 2.0))
    return _unit(signal) * (1 + 0.3 * swell) + 0.2 * _unit(_colored(rng, 1.0))


def _babble(rng: np.random.Generator) -> np.ndarray:
    """Return several voices at once, none of which the speech corpus has."""
    total = np.zeros(_LENGTH)
    for _ in range(_BABBLE_VOICES):
        voice, parts = f"babble{rng.integers(2**62)}", []
        while sum(map(len, parts)) < _LENGTH:
            parts.append(builtin_speech.synthesize(f"{voice}-{len(parts)}"))
        total += rng.uniform(0.5, 1.0) * np.concatenate(parts)[:_LENGTH]
    return total


def _clatter(rng: np.random.Generator) -> np.ndarray:
    """Return knocks at random times, all on the same few resonances."""
    knocks = rng.random(_LENGTH) < rng.uniform(3.0, 12.0) / SAMPLE_RATE
    knocks = knocks * rng.lognormal(0.0, 0.5, _LENGTH)
    signal = 0.03 * rng.normal(size=_LENGTH)
    for _ in range(4):
        angle = 2 * np.pi * rng.uniform(300, 5000) / SAMPLE_RATE
        radius = np.exp(-1 / (rng.uniform(0.003, 0.03) * SAMPLE_RATE))
        poles = [1.0, -2 * radius * np.cos(angle), radius**2]
        signal += _unit(scipy.signal.lfilter([1.0], poles, knocks))
    return signal


_KINDS = {
    "pink": functools.partial(_colored, slope=1.0),
    "brown": functools.partial(_colored, slope=2.0),
    "hum": _hum,
    "babble": _babble,
    "clatter": _clatter,
}


@functools.cache
def noise_names() -> dict[str, tuple[str, ...]]:
    """Return the names of the built-in noises by split, kind first."""
    return {
        split: tuple(
            f"{kind}-{split}{number:02d}" for kind in _KINDS for number in range(count)
        )
        for split, count in _NOISES_PER_KIND.items()
    }


def is_noise(name: str) -> bool:
    """Tell a name of this module from one of `builtin_speech`."""
    return name.split("-", 1)[0] in _KINDS


def synthesize(name: str) -> np.ndarray:
    """Return the noise of a name, [160000] float32 at 16 kHz, the same every time."""
    kind = name.split("-", 1)[0]
    signal = _KINDS[kind](builtin_speech.random_stream(name))
    return (0.1 * _unit(signal)).astype(np.float32)
