"""Speech and noise made by a formula, for runs without a corpus.

Speech: a glottal pulse train with a wandering pitch runs through three resonances, a
new set for each syllable; fricatives and pauses stand between the syllables. Noise: five
kinds that differ in spectrum and in time. A signal follows from its name alone.
"""

import functools
import hashlib

import numpy as np

SAMPLE_RATE = 16_000

_SPEECH_SECONDS = 4.0
_UTTERANCES_PER_TALKER = 3
_TALKERS = {"train": 40, "dev": 10, "test": 10}

_NOISE_LENGTH = 10 * SAMPLE_RATE
_NOISES_PER_KIND = {"train": 8, "dev": 2, "test": 2}
_LOWEST_FREQUENCY = 40.0  # Of a small loudspeaker.
_BABBLE_VOICES = 6


@functools.cache
def speech_names() -> dict[str, tuple[str, ...]]:
    """List the names of the built-in utterances by part, talker first."""
    return {
        part: tuple(
            f"{part}{talker:02d}-{utterance}"
            for talker in range(num_talkers)
            for utterance in range(_UTTERANCES_PER_TALKER)
        )
        for part, num_talkers in _TALKERS.items()
    }


@functools.cache
def noise_names() -> dict[str, tuple[str, ...]]:
    """List the names of the built-in noises by part, kind first."""
    return {
        part: tuple(
            f"{kind}-{part}{number:02d}" for kind in _KINDS for number in range(count)
        )
        for part, count in _NOISES_PER_KIND.items()
    }


def synthesize(name: str) -> np.ndarray:
    """Synthesize the signal of a name, float32 at 16 kHz, the same every time.

    Speech has 64,000 samples, noise 160,000.
    """
    make = _KINDS.get(name.split("-", 1)[0])
    if make is None:
        return _speech(name)
    return (0.1 * _unit(make(_random_stream(name)))).astype(np.float32)


def _random_stream(name: str) -> np.random.Generator:
    """Seed a random stream by a name alone."""
    return np.random.default_rng(
        np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32)
    )


def _speech(name: str) -> np.ndarray:
    voice = _random_stream(name.split("-", 1)[0])
    pitch, tract = (
        np.exp(voice.uniform(np.log(90), np.log(250))),
        voice.uniform(0.9, 1.2),
    )
    rng = _random_stream(name)
    total = int(_SPEECH_SECONDS * SAMPLE_RATE)
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


def _vowel(
    rng: np.random.Generator, pitch: float, tract: float, length: int
) -> np.ndarray:
    """Synthesize a voiced syllable of `length` samples."""
    contour = pitch * np.exp(np.cumsum(rng.normal(0, 0.0006, length)))
    phase = np.cumsum(contour / SAMPLE_RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    breath = rng.normal(0, 0.01, length)
    signal = _filter([1.0], [1.0, -0.9], pulses + breath)
    formants = rng.uniform([250, 850, 2300], [850, 2300, 3200]) * tract
    for frequency, bandwidth in zip(formants, (80.0, 110.0, 160.0), strict=True):
        signal = _resonate(signal, frequency, bandwidth) + 0.1 * signal
    return signal


def _fricative(rng: np.random.Generator, length: int) -> np.ndarray:
    """Synthesize an unvoiced consonant of `length` samples."""
    return _resonate(rng.normal(0, 1, length), rng.uniform(2500, 6500), 1500.0)


def _resonate(signal: np.ndarray, frequency: float, bandwidth: float) -> np.ndarray:
    """Filter by one formant: a pole pair at a frequency with a bandwidth, in Hz."""
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    angle = 2 * np.pi * frequency / SAMPLE_RATE
    poles = [1.0, -2 * radius * np.cos(angle), radius**2]
    return _filter([sum(poles)], poles, signal)


def _filter(
    numerator: list[float], denominator: list[float], signal: np.ndarray
) -> np.ndarray:
    from scipy import signal as scipy_signal  # Takes longer to import than JAX.

    return scipy_signal.lfilter(numerator, denominator, signal)


def _unit(signal: np.ndarray) -> np.ndarray:
    """Scale a signal to mean 0 and power 1."""
    signal = signal - signal.mean()
    return signal / np.sqrt(np.mean(signal**2))


def _colored(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Synthesize noise whose power density falls as frequency to the power `slope`."""
    frequency = np.fft.rfftfreq(_NOISE_LENGTH, 1 / SAMPLE_RATE)
    audible = frequency >= _LOWEST_FREQUENCY
    gain = np.where(audible, np.maximum(frequency, 1.0) ** (-slope / 2), 0.0)
    white = np.fft.rfft(rng.normal(size=_NOISE_LENGTH))
    return np.fft.irfft(white * gain, _NOISE_LENGTH)


def _hum(rng: np.random.Generator) -> np.ndarray:
    """Synthesize harmonics of 50 or 60 Hz that swell a little, over pink noise."""
    fundamental = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
    orders = np.arange(1, 41)
    levels = orders ** -rng.uniform(0.4, 1.2) * rng.lognormal(0.0, 0.8, len(orders))
    angle = 2 * np.pi * fundamental / SAMPLE_RATE * np.arange(_NOISE_LENGTH)
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    signal = sum(
        level * np.sin(order * angle + phase)
        for order, level, phase in zip(orders, levels, phases, strict=True)
    )
    swell = np.sin(angle / fundamental * rng.uniform(0.2, 2.0))
    return _unit(signal) * (1 + 0.3 * swell) + 0.2 * _unit(_colored(rng, 1.0))


def _babble(rng: np.random.Generator) -> np.ndarray:
    """Add several voices, none of which is in the speech corpus."""
    total = np.zeros(_NOISE_LENGTH)
    for _ in range(_BABBLE_VOICES):
        voice, parts = f"babble{rng.integers(2**62)}", []
        while sum(map(len, parts)) < _NOISE_LENGTH:
            parts.append(_speech(f"{voice}-{len(parts)}"))
        total += rng.uniform(0.5, 1.0) * np.concatenate(parts)[:_NOISE_LENGTH]
    return total


def _clatter(rng: np.random.Generator) -> np.ndarray:
    """Synthesize knocks at random times, all on the same few resonances."""
    knocks = rng.random(_NOISE_LENGTH) < rng.uniform(3.0, 12.0) / SAMPLE_RATE
    knocks = knocks * rng.lognormal(0.0, 0.5, _NOISE_LENGTH)
    signal = 0.03 * rng.normal(size=_NOISE_LENGTH)
    for _ in range(4):
        angle = 2 * np.pi * rng.uniform(300, 5000) / SAMPLE_RATE
        radius = np.exp(-1 / (rng.uniform(0.003, 0.03) * SAMPLE_RATE))
        poles = [1.0, -2 * radius * np.cos(angle), radius**2]
        signal += _unit(_filter([1.0], poles, knocks))
    return signal


_KINDS = {
    "pink": functools.partial(_colored, slope=1.0),
    "brown": functools.partial(_colored, slope=2.0),
    "hum": _hum,
    "babble": _babble,
    "clatter": _clatter,
}
