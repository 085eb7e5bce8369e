"""Speech-like signals made by a formula, for runs without a corpus.

A glottal pulse train with a wandering pitch runs through three resonances, a
new set for each syllable; fricatives and pauses stand between the syllables.
They sound like nobody, but they have a voice's pitch, formants and gaps.
"""

import functools
import hashlib

import numpy as np
import scipy.signal

SAMPLE_RATE = 16_000

_SECONDS = 4.0
_UTTERANCES_PER_TALKER = 3
_TALKERS = {"train": 40, "dev": 10, "test": 10}


@functools.cache
def utterance_names() -> dict[str, tuple[str, ...]]:
    """Return the names of the built-in utterances by split, talker first."""
    return {
        split: tuple(
            f"{split}{talker:02d}-{utterance}"
            for talker in range(num_talkers)
            for utterance in range(_UTTERANCES_PER_TALKER)
        )
        for split, num_talkers in _TALKERS.items()
    }


def random_stream(name: str) -> np.random.Generator:
    """Return the random stream that belongs to a name alone."""
    return np.random.default_rng(
        np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32)
    )


def _resonate(signal: np.ndarray, frequency: float, bandwidth: float) -> np.ndarray:
    """Filter by one formant: a pole pair at a frequency with a bandwidth, in Hz."""
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    angle = 2 * np.pi * frequency / SAMPLE_RATE
    poles = [1.0, -2 * radius * np.cos(angle), radius**2]
    return scipy.signal.lfilter([sum(poles)], poles, signal)


def _vowel(
    rng: np.random.Generator, pitch: float, tract: float, length: int
) -> np.ndarray:
    """Return a voiced syllable of `length` samples."""
    contour = pitch * np.exp(np.cumsum(rng.normal(0, 0.0006, length)))
    phase = np.cumsum(contour / SAMPLE_RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    breath = rng.normal(0, 0.01, length)
    signal = scipy.signal.lfilter([1.0], [1.0, -0.9], pulses + breath)
    formants = rng.uniform([250, 850, 2300], [850, 2300, 3200]) * tract
    for frequency, bandwidth in zip(formants, (80.0, 110.0, 160.0), strict=True):
        signal = _resonate(signal, frequency, bandwidth) + 0.1 * signal
    return signal


def _fricative(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return an unvoiced consonant of `length` samples."""
    return _resonate(rng.normal(0, 1, length), rng.uniform(2500, 6500), 1500.0)


def synthesize(name: str) -> np.ndarray:
    """Return the signal of a name, [64000] float32 at 16 kHz, the same every time."""
    voice = random_stream(name.split("-", 1)[0])
    pitch, tract = (
        np.exp(voice.uniform(np.log(90), np.log(250))),
        voice.uniform(0.9, 1.2),
    )
    rng = random_stream(name)
    total = int(_SECONDS * SAMPLE_RATE)
    signal = np.zeros(total)
    position = 0
    while position < total:
        kind = rng.choice(["vowel", "fricative", "pause"], p=[0.6, 0.28, 0.12])
        length = int(rng.uniform(0.06, 0.22) * SAMPLE_RATE)
        length = min(length, total - position)
        if kind != "pause":
            if kind == "vowel":
                piece = _vowel(rng, pitch * rng.uniform(0.85, 1.15), tract, length)
            else:
                piece = _fricative(rng, length)
            level = rng.uniform(0.5, 1.0) * (1.0 if kind == "vowel" else 0.3)
            fade = np.minimum(
                1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / 160
            )
            piece = piece * fade
            signal[position : position + length] = (
                level * piece / max(np.sqrt(np.mean(piece**2)), 1e-9)
            )
        position += length
    signal += rng.normal(0, 1e-3, total)
    signal -= signal.mean()
    return (0.1 * signal / np.sqrt(np.mean(signal**2))).astype(np.float32)
