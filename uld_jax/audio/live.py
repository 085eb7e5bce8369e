"""Sound that arrives: raw PCM from a pipe, or a recording device.

Both are read by a thread of their own, so that nothing is lost while a position is
computed.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from uld_jax.runtime import errors

FORMATS = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}  # Bytes of a sample.

_CHUNK = 0.1  # Seconds that are read at once, at most.
_MOST_WAITING = 2400  # Chunks: of a pipe's, four minutes.
_PATIENCE = 2.0  # Seconds without sound after which a device is looked at.


class LiveError(errors.InputError):
    """Sound that cannot be read, with the reason."""


def decode(data: bytes, num_channels: int, sample_format: str) -> np.ndarray:
    """Convert interleaved raw PCM to signals [M, n].

    Args:
        data: Whole frames: a sample of each channel.
        num_channels: M.
        sample_format: One of `FORMATS`. 24 bits become the upper ones of 32.

    >>> from uld_jax.audio import live
    >>> live.decode(bytes([1, 0, 2, 0, 3, 0, 255, 255]), 2, "s16le").tolist()
    [[1, 3], [2, -1]]
    """
    if sample_format == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = wide.view("<i4")[:, 0]
    else:
        kinds = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}
        samples = np.frombuffer(data, kinds[sample_format])
    return samples.reshape(-1, num_channels).T


def read_pcm(
    stream: Any,
    num_channels: int,
    sample_rate: int | float,
    sample_format: str,
    warn: Callable[[str], None],
) -> Iterator[np.ndarray]:
    """Read interleaved raw PCM until it ends.

    Args:
        stream: A binary file, such as `sys.stdin.buffer`.
        num_channels: M.
        sample_rate: In Hz.
        sample_format: One of `FORMATS`.
        warn: Called with a sentence if the last frame is not whole.

    Yields:
        Signals [M, n], as they come.
    """
    # The raw file returns what there is; a buffered one waits for all, and its lock is
    # not free when the interpreter ends.
    stream = getattr(stream, "raw", stream)
    frame = num_channels * FORMATS[sample_format]
    size = frame * max(1, round(_CHUNK * sample_rate))
    rest = b""
    for data in _read_ahead(lambda: stream.read(size)):
        data = rest + data
        whole = len(data) // frame * frame
        data, rest = data[:whole], data[whole:]
        if data:
            yield decode(data, num_channels, sample_format)
    if rest:
        warn(
            f"The input ends with {len(rest)} of the {frame} bytes of a frame "
            f"({num_channels} channels of {sample_format}), which were left out; check "
            "that it has as many channels as there are nodes, in this format"
        )


def _read_ahead(read: Callable[[], bytes | None]) -> Iterator[bytes]:
    """Read in a thread until there is nothing more."""
    waiting = queue.Queue(_MOST_WAITING)

    def work():
        try:
            while (data := read()) != b"":
                if data is None:  # Nothing yet, in a pipe that does not wait.
                    time.sleep(0.01)
                else:
                    waiting.put(data)
            waiting.put(b"")
        except (OSError, ValueError) as error:
            waiting.put(error)

    threading.Thread(target=work, daemon=True).start()
    while data := waiting.get():
        if isinstance(data, Exception):
            raise LiveError(f"the input cannot be read: {data}")
        yield data


def read_device(
    name: str, num_channels: int, sample_rate: int | float, warn: Callable[[str], None]
) -> Iterator[np.ndarray]:
    """Open a device by `sounddevice`, to record from it without end.

    Args:
        name: Of the device, a part of it, or its number.
        num_channels: M.
        sample_rate: In Hz.
        warn: Called with a sentence if sound is lost.

    Returns:
        Signals [M, n], float32, as they come: recording begins with the first.

    Raises:
        LiveError: If sounddevice is not installed, or the device cannot record so.
    """
    sounddevice = _import_sounddevice()
    waiting, lost = queue.Queue(_MOST_WAITING), threading.Event()

    def take(block, _, __, status):
        if status.input_overflow:
            lost.set()
        try:
            waiting.put_nowait(block.T.copy())
        except queue.Full:
            lost.set()

    try:
        recorder = sounddevice.InputStream(
            device=int(name) if name.isdigit() else name,
            channels=num_channels,
            samplerate=sample_rate,
            dtype="float32",
            callback=take,
        )
    except (ValueError, sounddevice.PortAudioError) as error:
        raise LiveError(
            f"device {name!r} cannot record {num_channels} channels at {sample_rate:g} "
            f"Hz: {error}; python -m sounddevice lists the devices"
        ) from None
    return _record(recorder, name, waiting, lost, warn)


def _record(recorder, name, waiting, lost, warn) -> Iterator[np.ndarray]:
    """Yield what a device's callback puts into a queue; say what it lost."""
    with recorder:
        while True:
            try:
                yield waiting.get(timeout=_PATIENCE)
            except queue.Empty:
                if not recorder.active:
                    raise LiveError(f"device {name!r} has stopped recording") from None
            if lost.is_set():
                lost.clear()
                warn(
                    "Sound was lost: from here on, times are too early. Use a longer hop "
                    "or fewer nodes"
                )


def _import_sounddevice():
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: without its C library.
        raise LiveError(
            f"recording from a device needs sounddevice ({error}): pip install "
            "'uld-jax[live]', and PortAudio; or pipe raw PCM into standard input"
        ) from None
    return sounddevice
