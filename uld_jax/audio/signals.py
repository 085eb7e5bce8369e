"""Utterances, dry signals of one talker or noise: read, cut, in 16 bits.

Files are FLAC, WAV or Ogg, others are built in. Whatever a file's rate, its signal
comes at 16 kHz, without its mean.
"""

import collections
import dataclasses
import functools
import pathlib

import numpy as np

from uld_jax.audio import builtin_noise, builtin_speech
from uld_jax.runtime import errors

SAMPLE_RATE = builtin_speech.SAMPLE_RATE
_FULL_SCALE = 32_767
ACTIVE_DB = -30.0
_ACTIVE_HOP = 160
_CACHED_BYTES = 500_000_000
_CACHED_STARTS = 500


class CorpusError(errors.InputError):
    """A corpus that cannot be used, with the reason."""


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One dry signal: its talker and where it is.

    Attributes:
        name: Path below the corpus folder, or the name of a built-in signal.
        talker: Who speaks; for noise, the recording it was cut from.
        path: The file; None for a built-in signal.
    """

    name: str
    talker: str
    path: pathlib.Path | None = None


def cut(signal: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return `length` samples from `start` on, zero where the signal has none."""
    samples = np.zeros(length, np.float32)
    first, last = max(start, 0), min(start + length, len(signal))
    samples[first - start : last - start] = signal[first:last]
    return samples


def active_starts(signal: np.ndarray, num_samples: int) -> np.ndarray:
    """Return the starts, every 10 ms, of the stretches with enough energy.

    Raises:
        CorpusError: If the signal is shorter than one stretch, or silent.
    """
    if len(signal) < num_samples:
        raise CorpusError(f"shorter than {num_samples} samples")
    total = np.concatenate([[0.0], np.cumsum(signal.astype(np.float64) ** 2)])
    starts = np.arange(0, len(signal) - num_samples + 1, _ACTIVE_HOP)
    energy = total[starts + num_samples] - total[starts]
    if energy.max() <= 1e-12 * num_samples:
        raise CorpusError("silent")
    return starts[energy >= energy.max() * 10 ** (ACTIVE_DB / 10)]


@functools.lru_cache(maxsize=_CACHED_STARTS)
def noise_starts(
    utterance: Utterance, num_samples: int, before: int, after: int
) -> np.ndarray:
    """Return where an excerpt with margins may start in a noise, or its repetition."""
    signal = load_noise(utterance, before + num_samples + after)
    return active_starts(signal[before : len(signal) - after], num_samples)


def load_noise(utterance: Utterance, total: int) -> np.ndarray:
    """Return a noise; one too short for an excerpt is repeated to start anywhere."""
    signal = load(utterance)
    if len(signal) < total:
        signal = np.resize(signal, len(signal) + total - 1)
    return signal


def to_int16(signal: np.ndarray, peak: float | None = None) -> np.ndarray:
    """Return a signal as 16-bit integers that reach full scale at its peak.

    Args:
        signal: Of any shape.
        peak: The peak of what it was cut from; by default its own.
    """
    peak = float(np.abs(signal).max()) if peak is None else peak
    return np.round(signal * (_FULL_SCALE / max(peak, 1e-9))).astype(np.int16)


def to_float(integers):
    """Return 16-bit integers, of NumPy or JAX, as float32 below one; it is exact."""
    return integers.astype(np.float32) * np.float32(2**-15)


def num_samples(utterance: Utterance) -> int:
    """Return about how long an utterance is at 16 kHz; of a file by its header."""
    if utterance.path is None:
        return len(load(utterance))
    info = require_soundfile().info(utterance.path)
    return -(-info.frames * SAMPLE_RATE // info.samplerate)


class _Signals(collections.OrderedDict):
    """Signals read last, up to so many bytes; recordings of noise can be long."""

    def keep(self, utterance: Utterance, signal: np.ndarray) -> None:
        self[utterance] = signal
        held = sum(kept.nbytes for kept in self.values())
        while held > _CACHED_BYTES and len(self) > 1:
            held -= self.popitem(last=False)[1].nbytes


_signals = _Signals()


def load(utterance: Utterance) -> np.ndarray:
    """Return an utterance's signal [N], float32 at 16 kHz, without its mean.

    Of a file with several channels the first is taken. What was read last is kept.

    Raises:
        CorpusError: If the file is unreadable, empty, or holds NaN or infinity.
    """
    if utterance in _signals:
        _signals.move_to_end(utterance)
    else:
        _signals.keep(utterance, _read(utterance))
    return _signals[utterance]


def _read(utterance: Utterance) -> np.ndarray:
    if utterance.path is None:
        made_by = (
            builtin_noise if builtin_noise.is_noise(utterance.name) else builtin_speech
        )
        return made_by.synthesize(utterance.name)
    soundfile = require_soundfile()
    try:
        signal, rate = soundfile.read(utterance.path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError):
        raise CorpusError("unreadable") from None
    signal = signal[:, 0]
    if not signal.size:
        raise CorpusError("empty")
    if not np.isfinite(signal).all():
        raise CorpusError("holds NaN or infinity")
    if rate != SAMPLE_RATE:
        import soxr

        signal = soxr.resample(signal, rate, SAMPLE_RATE)
    return signal - signal.mean()


def require_soundfile():
    """Return the soundfile module, or say how to install it."""
    try:
        import soundfile
    except ImportError:
        raise CorpusError(
            "reading audio files needs soundfile: pip install 'uld-jax[data]'"
        ) from None
    return soundfile
