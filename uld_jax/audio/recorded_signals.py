"""Signals that real nodes recorded: read, checked, in windows of active speech.

Nothing here is mended in silence: what cannot be right raises an error that names
file and node.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.audio import signals as signals_lib
from uld_jax.runtime import errors

PEAK = 30_000  # Of the integers of a scene.

_CLIPPED_SHARE = 1e-3
_FULL_SCALE = 1 - 2**-14


class SignalError(errors.InputError):
    """A recording that cannot be used, with the reason."""


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        frames: Samples of each channel.
        rate: Samples a second.
        channels: Number of channels.
    """

    frames: int
    rate: int
    channels: int


def header(path: pathlib.Path) -> Header:
    """Return the header of an audio file.

    Raises:
        SignalError: If it is missing or unreadable.
    """
    soundfile = signals_lib.require_soundfile()
    try:
        info = soundfile.info(path)
    except (OSError, RuntimeError):
        state = "unreadable" if path.exists() else "missing"
        raise SignalError(f"{str(path)!r} is {state}") from None
    return Header(info.frames, info.samplerate, info.channels)


def read(path: pathlib.Path, start: int = 0, num_samples: int = -1) -> np.ndarray:
    """Return [channels, N] float32 samples of a file; by default all.

    Raises:
        SignalError: If it is missing or unreadable, or ends before.
    """
    soundfile = signals_lib.require_soundfile()
    try:
        samples, _ = soundfile.read(
            path, num_samples, start, dtype="float32", always_2d=True
        )
    except (OSError, RuntimeError):
        state = "unreadable" if path.exists() else "missing"
        raise SignalError(f"{str(path)!r} is {state}") from None
    if num_samples >= 0 and len(samples) < num_samples:
        raise SignalError(
            f"{str(path)!r} ends after {start + len(samples)} samples, before "
            f"{start + num_samples}: it is not whole"
        )
    return samples.T


def check(
    signals: np.ndarray, nodes: Sequence[str | int], what: str, clipping: bool = True
) -> None:
    """Raise unless every node has recorded something that can be right.

    Args:
        signals: [M, N], full scale at one.
        nodes: Their names.
        what: The recording, for the message.
        clipping: Whether clipped signals are an error.

    Raises:
        SignalError: If a signal holds NaN or infinity, is constant (a dead or
            unplugged microphone), or has a thousandth of its samples at full scale.
    """
    peaks = np.abs(signals) >= _FULL_SCALE
    wrong = [
        ("holds NaN or infinity", ~np.isfinite(signals).all(axis=1)),
        ("is silent (all its samples are equal)", np.ptp(signals, axis=1) == 0),
    ]
    if clipping:
        clipped = peaks.mean(axis=1) > _CLIPPED_SHARE
        wrong.append(("is clipped (0.1 % of it is at full scale)", clipped))
    for reason, where in wrong:
        if where.any():
            named = ", ".join(str(nodes[k]) for k in np.flatnonzero(where)[:5])
            more = " and others" if where.sum() > 5 else ""
            raise SignalError(f"{what}: the signal of node {named}{more} {reason}")


def active_starts(signals: np.ndarray, num_samples: int) -> np.ndarray:
    """Return the starts, every 10 ms, of windows with enough energy at the nodes.

    A window holds at least a thousandth (-30 dB) of the energy, over all nodes, of the
    strongest. The paper does not say how it chose its 2 s.

    Args:
        signals: [M, N].
        num_samples: Length of a window.

    Raises:
        CorpusError: If the signals are shorter, or silent.
    """
    return signals_lib.active_starts(
        np.sqrt((signals.astype(np.float64) ** 2).mean(axis=0)), num_samples
    )


def to_stored(signals: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Return signals [M, N] as data sets store them, and the gain of the scene.

    One gain for all nodes, so that what they hear keeps its level against the others.
    """
    gain = np.float32(PEAK / max(float(np.abs(signals).max()), 1e-9))
    return np.round(signals * gain).astype(np.int16), gain
