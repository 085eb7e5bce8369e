"""Signals read from files, checked, cut, and stored in 16 bits.

Dry utterances, of one talker or one noise, come at 16 kHz, whatever their file's rate,
without their mean. Recordings by several nodes are read as they are. They are never
repaired silently: a signal that cannot be right raises an error with its file and node.
"""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from uld_jax.audio import builtin
from uld_jax.runtime import errors

SAMPLE_RATE = builtin.SAMPLE_RATE
ACTIVE_DB = -30.0  # Least energy of an active stretch against the strongest.
PEAK = 30_000  # Of a recorded scene's integers.

_FULL_SCALE = 32_767
_ACTIVE_HOP = 160
_CACHED_BYTES = 500_000_000
_CACHED_STARTS = 500
CLIPPED_FROM = 1 - 2**-14  # Full scale at one.
CLIPPED_SHARE = 1e-3
_FLOATS_TO = (
    2.0  # A float file with values beyond has another scale, and clips nowhere.
)
BROKEN, SILENT = "holds NaN or infinity", "is silent (all its samples are equal)"
CLIPPED = "is clipped (0.1 % of it is at full scale)"
FAULTS = (BROKEN, SILENT, CLIPPED)  # The worst first.


class CorpusError(errors.InputError):
    """A corpus that cannot be used, with the reason."""


class SignalError(errors.InputError):
    """A recording that cannot be used, with the reason."""


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


class Header(NamedTuple):
    """Facts from an audio file's header.

    Attributes:
        frames: Samples of each channel.
        rate: Sample rate in hertz.
        channels: Number of channels.
    """

    frames: int
    rate: int
    channels: int


def cut(signal: np.ndarray, start: int, length: int) -> np.ndarray:
    """Cut `length` samples from `start`, filled with zeros beyond the signal."""
    samples = np.zeros(length, np.float32)
    first, last = max(start, 0), min(start + length, len(signal))
    samples[first - start : last - start] = signal[first:last]
    return samples


def active_starts(signal: np.ndarray, num_samples: int) -> np.ndarray:
    """Find the starts, every 10 ms, of stretches with enough energy.

    Enough is a thousandth (`ACTIVE_DB`) of the strongest stretch's energy.

    Args:
        signal: [N], or [M, N] of M nodes, whose powers are averaged.
        num_samples: Length of a stretch.

    Raises:
        CorpusError: If the signal is shorter than one stretch, or silent.
    """
    if signal.ndim == 2:
        signal = np.sqrt((signal.astype(np.float64) ** 2).mean(axis=0))
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
    """Find where an excerpt with margins may start in a noise, or its repetition."""
    signal = load_noise(utterance, before + num_samples + after)
    return active_starts(signal[before : len(signal) - after], num_samples)


def load_noise(utterance: Utterance, total: int) -> np.ndarray:
    """Load a noise, repeated if it is shorter than an excerpt of `total` samples.

    It is repeated so often that an excerpt may start at any of its samples.
    """
    signal = load(utterance)
    if len(signal) < total:
        signal = np.resize(signal, len(signal) + total - 1)
    return signal


def to_int16(signal: np.ndarray, peak: float | None = None) -> np.ndarray:
    """Convert a signal to 16-bit integers with its peak at full scale.

    Args:
        signal: Of any shape.
        peak: Peak of the signal it was cut from; by default its own.
    """
    peak = float(np.abs(signal).max()) if peak is None else peak
    return np.round(signal * (_FULL_SCALE / max(peak, 1e-9))).astype(np.int16)


def to_float(integers: Any) -> Any:
    """Convert 16-bit integers, of NumPy or JAX, to float32 below one, exactly."""
    return integers.astype(np.float32) * np.float32(2**-15)


def num_samples(utterance: Utterance) -> int:
    """Count an utterance's samples at 16 kHz, from the header if it is a file."""
    if utterance.path is None:
        return len(load(utterance))
    import soundfile

    info = soundfile.info(utterance.path)
    return -(-info.frames * SAMPLE_RATE // info.samplerate)


class _Signals(collections.OrderedDict):
    """The signals loaded last, up to so many bytes; recordings of noise can be long."""

    def keep(self, utterance: Utterance, signal: np.ndarray) -> None:
        self[utterance] = signal
        held = sum(kept.nbytes for kept in self.values())
        while held > _CACHED_BYTES and len(self) > 1:
            held -= self.popitem(last=False)[1].nbytes


_signals = _Signals()


def load(utterance: Utterance) -> np.ndarray:
    """Load an utterance's signal [N], float32 at 16 kHz, without its mean.

    A file's first channel is taken. The signals loaded last are kept in memory.

    Raises:
        CorpusError: If the file is unreadable, empty, or holds NaN or infinity.
    """
    if utterance in _signals:
        _signals.move_to_end(utterance)
    else:
        _signals.keep(utterance, _load(utterance))
    return _signals[utterance]


def _load(utterance: Utterance) -> np.ndarray:
    if utterance.path is None:
        return builtin.synthesize(utterance.name)
    import soundfile

    try:
        signal, rate = soundfile.read(utterance.path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError):
        raise CorpusError("unreadable") from None
    signal = signal[:, 0]
    if not signal.size:
        raise CorpusError("empty")
    if not np.isfinite(signal).all():
        raise CorpusError("holds NaN or infinity")
    signal = resample(signal, rate)
    return signal - signal.mean()


def resample(signal: np.ndarray, rate: int) -> np.ndarray:
    """Resample a signal [N] of some rate to 16 kHz."""
    if rate == SAMPLE_RATE:
        return signal
    import soxr

    return soxr.resample(signal, rate, SAMPLE_RATE)


def read_header(path: pathlib.Path) -> Header:
    """Read the header of a recording's file.

    Raises:
        SignalError: If it is missing or unreadable.
    """
    import soundfile

    try:
        info = soundfile.info(path)
    except (OSError, RuntimeError):
        raise _unread(path) from None
    return Header(info.frames, info.samplerate, info.channels)


def read_recording(
    path: pathlib.Path, start: int = 0, num_samples: int = -1
) -> np.ndarray:
    """Read samples [channels, N], float32, of a recording's file; by default all.

    Raises:
        SignalError: If the file is missing, unreadable, or ends too early.
    """
    import soundfile

    try:
        samples, _ = soundfile.read(
            path, num_samples, start, dtype="float32", always_2d=True
        )
    except (OSError, RuntimeError):
        if not path.is_file() or not start + max(num_samples, 0):
            raise _unread(path) from None
        last = f" to {start + num_samples}" if num_samples >= 0 else " on"
        raise SignalError(
            f"{str(path)!r} is damaged or truncated: its samples from {start}{last} "
            "cannot be read"
        ) from None
    if num_samples >= 0 and len(samples) < num_samples:
        raise SignalError(
            f"{str(path)!r} is truncated: it ends after {start + len(samples)} samples, "
            f"before {start + num_samples}"
        )
    return samples.T


def _unread(path: pathlib.Path) -> SignalError:
    if not path.exists():
        return SignalError(f"{str(path)!r} is missing")
    empty = "" if path.stat().st_size else ", it is empty"
    return SignalError(f"{str(path)!r} is unreadable{empty}")


def check_recording(
    signals: np.ndarray, nodes: Sequence[str | int], what: str, clipping: bool = True
) -> None:
    """Check that every node's signal can be right.

    Args:
        signals: [M, N], full scale at one.
        nodes: Names of the nodes.
        what: The recording, for the message.
        clipping: Whether clipped signals are an error.

    Raises:
        SignalError: If a signal holds NaN or infinity, is constant (a dead or
            unplugged microphone), or has a thousandth of its samples at full scale.
    """
    clipped = np.zeros(len(signals), bool)
    if clipping:
        peaks = np.abs(signals)
        clipped = are_clipped((peaks >= CLIPPED_FROM).mean(axis=1), peaks.max(axis=1))
    finite = np.isfinite(signals).all(axis=1)
    faults = name_faults(finite, np.ptp(signals, axis=1) == 0, clipped)
    raise_faults(faults, nodes, what)


def are_clipped(shares: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Check which signals are clipped.

    Args:
        shares: Of each signal's samples at full scale, or beyond, [M].
        peaks: Of each, full scale at one, [M].

    >>> import numpy as np
    >>> from uld_jax.audio import signals
    >>> signals.are_clipped(np.array([0.0, 0.2, 0.2]), np.array([0.5, 1.0, 30.0])).tolist()
    [False, True, False]
    """
    return (shares > CLIPPED_SHARE) & (peaks < _FLOATS_TO)


def is_usable(fault: str) -> bool:
    """Check whether a signal can be localized with, of which this is the worst fault.

    >>> is_usable(""), is_usable(CLIPPED), is_usable(SILENT)
    (True, True, False)
    """
    return fault in ("", CLIPPED)


def name_faults(
    finite: np.ndarray, silent: np.ndarray, clipped: np.ndarray
) -> tuple[str, ...]:
    """Name the worst fault of each of M signals, one of `FAULTS`; empty if there is none.

    Args:
        finite: Whether a signal holds no NaN and no infinity, [M].
        silent: Whether all its samples are equal, [M].
        clipped: Whether too many are at full scale, [M].
    """
    wrong = np.stack([~finite, silent, clipped, np.ones(len(finite), bool)])
    return tuple((*FAULTS, "")[kind] for kind in wrong.argmax(axis=0))


def raise_faults(faults: Sequence[str], nodes: Sequence[str | int], what: str) -> None:
    """Raise a SignalError that names the nodes with the worst fault, if there are any."""
    for fault in FAULTS:
        names = [str(n) for n, own in zip(nodes, faults, strict=True) if own == fault]
        if names:
            more = " and others" if len(names) > 5 else ""
            raise SignalError(
                f"{what}: the signal of node {', '.join(names[:5])}{more} {fault}"
            )


def to_stored(signals: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Convert signals [M, N] to a data set's 16-bit integers and the scene's gain.

    All nodes share one gain, so that their levels against each other are kept.
    """
    gain = np.float32(PEAK / max(float(np.abs(signals).max()), 1e-9))
    return np.round(signals * gain).astype(np.int16), gain
