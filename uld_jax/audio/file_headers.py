"""Headers of a session's files, checked before any sample is read."""

import pathlib
import stat
import struct
from typing import NamedTuple

from uld_jax.audio import signals as signals_lib
from uld_jax.audio.session_problems import SessionError

LOWEST_RATE, HIGHEST_RATE = 8000, 384_000
ENDINGS = (".wav", ".flac", ".ogg", ".mp3")

_LEAST_SECONDS = 0.01
_CONVERT = "copy it again, or convert it with ffmpeg, for example to WAV"
_UNKNOWN = 0x7FFF0000  # Lengths from here are those of programs that do not know it.


class Header(NamedTuple):
    """Facts of a file that can be read.

    Attributes:
        frames: Samples of each channel.
        rate: Sample rate in hertz.
        channels: Number of channels.
        missing: Samples that the header names and the file does not have.
    """

    frames: int
    rate: int
    channels: int
    missing: int = 0


def read(path: pathlib.Path) -> Header:
    """Read and check the header of a file.

    Raises:
        SessionError: If it cannot be read, has no samples, or a rate that cannot be used.
    """
    _check_kind(path)
    try:
        frames, rate, channels = signals_lib.read_header(path)
    except signals_lib.SignalError as error:
        raise SessionError(f"{error}; {_CONVERT}") from None
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise SessionError(
            f"{str(path)!r} has a sample rate of {rate} Hz; record at {LOWEST_RATE} Hz or "
            f"more, up to {HIGHEST_RATE}"
        )
    named, held, frame_bytes = _find_lengths(path)
    if not frames and not named and held >= _LEAST_SECONDS * rate * frame_bytes > 0:
        raise SessionError(
            f"{str(path)!r} has a header that was never finished: it names no samples, "
            f"and {held:,} bytes follow; repair it, with ffmpeg for example"
        )
    if frames < _LEAST_SECONDS * rate:
        count = f"{frames} samples" if frames else "no samples"
        raise SessionError(f"{str(path)!r} has {count}; record it again, or remove it")
    missing = (named - held) // max(frame_bytes, 1)
    return Header(frames, rate, channels, max(missing, 0))


def _check_kind(path: pathlib.Path) -> None:
    """Raise a SessionError if there is no file that this user may read."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise SessionError(
                f"{str(path)!r} is a link to {str(path.readlink())!r}, which does not "
                "exist; copy the file itself"
            ) from None
        raise SessionError(_describe_missing(path)) from None
    except OSError as error:  # A link to itself, or a folder without permission.
        what = "is a link that leads nowhere" if path.is_symlink() else "is unreadable"
        raise SessionError(
            f"{str(path)!r} {what} ({error.strerror}); copy the file itself"
        ) from None
    if stat.S_ISDIR(kind):
        raise SessionError(f"{str(path)!r} is a folder; give a file")
    # Opening a pipe would wait for ever.
    if not stat.S_ISREG(kind):
        raise SessionError(f"{str(path)!r} is no file, but a pipe or a device; copy it")
    if not path.stat().st_size:
        raise SessionError(f"{str(path)!r} is empty; {_CONVERT}")
    try:
        path.open("rb").close()
    except PermissionError:
        raise SessionError(
            f"{str(path)!r} cannot be read: this user has no permission; change it"
        ) from None


def _describe_missing(path: pathlib.Path) -> str:
    """Say that there is no file, and which one may be meant."""
    near = []
    if path.parent.is_dir():
        near = [
            file.name
            for file in sorted(path.parent.iterdir())
            if file.name.lower() == path.name.lower() or file.stem == path.stem
        ]
    but = f", but {' and '.join(map(repr, near))}" if near else ""
    return f"there is no file {str(path)!r}{but}; correct the name"


def _find_lengths(path: pathlib.Path) -> tuple[int, int, int]:
    """Find the bytes of samples that the header of a WAV file names, and those it has.

    Audio libraries read what is there, and say nothing of what is missing.

    Returns:
        Both, and the bytes of a sample of all channels; zeros where they are not known.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        riff, _, wave = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
        if (riff, wave) != (b"RIFF", b"WAVE"):
            return 0, 0, 0
        frame_bytes = 0
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"fmt ":
                (frame_bytes,) = struct.unpack("<12xH", file.read(14).ljust(14, b"\0"))
                file.seek(length - 14, 1)
            elif name == b"data":
                if length >= _UNKNOWN:
                    return 0, 0, 0
                return length, size - file.tell(), frame_bytes
            else:
                file.seek(length + length % 2, 1)
    return 0, 0, 0
