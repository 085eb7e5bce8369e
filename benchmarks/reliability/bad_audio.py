"""Files and signals that cannot be right, or look so: one change of a small session each."""

import os
import pathlib
import struct
from collections.abc import Callable

import numpy as np
import soundfile

from benchmarks.reliability import small_session
from benchmarks.reliability.bad_changes import Change, edit, forbid, listed, then
from benchmarks.reliability.bad_kind import Kind

_ALL = tuple(small_session.NODES)
_RATE = small_session.RATE
_LINE = "nodes.csv', line 3, node 'window': "
_RATE_AT, _CHANNELS_AT, _BITS_AT, _DATA_AT = 24, 22, 34, 40  # In a plain WAV header.


def signal(
    change_signal: Callable[[np.ndarray], np.ndarray],
    *names: str,
    rate: int = _RATE,
    subtype: str = "PCM_16",
) -> Change:
    """Make a change of the signals of some recorders, by default of `window`."""

    def change(folder):
        for name in names or ("window",):
            own = change_signal(small_session.read_signal(folder, name))
            small_session.write_signal(folder, name, own, rate, subtype)

    return change


def data(change_bytes: Callable[[bytes], bytes], *names: str) -> Change:
    """Make a change of the bytes of some recorders' files, by default of `window`."""

    def change(folder):
        for name in names or ("window",):
            path = folder / f"{name}.wav"
            path.write_bytes(change_bytes(path.read_bytes()))

    return change


def header(at: int, kind: str, value: int) -> Change:
    """Make a change of a number in the header of a WAV file."""

    def change_bytes(content):
        content = bytearray(content)
        struct.pack_into(kind, content, at, value)
        return bytes(content)

    return data(change_bytes)


def convert(ending: str, kind: str, *names: str) -> Change:
    """Make a change of files to another format, also in the table."""

    def change(folder):
        for name in names or _ALL:
            own = small_session.read_signal(folder, name)
            soundfile.write(folder / f"{name}{ending}", own, _RATE, format=kind)
            (folder / f"{name}.wav").unlink()
            edit(f"{name}.wav", f"{name}{ending}")(folder)

    return change


def resample(rate: int) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function that resamples a signal from 16 kHz to another rate."""
    import soxr

    return lambda own: soxr.resample(own, _RATE, rate)


def _remove_audio(folder):
    for name in _ALL:
        (folder / f"{name}.wav").unlink()


def _cut_flac(folder):
    convert(".flac", "FLAC", "window")(folder)
    content = (folder / "window.flac").read_bytes()
    (folder / "window.flac").write_bytes(content[: len(content) // 2])


def _link(target: str) -> Change:
    def change(folder):
        (folder / "window.wav").unlink()
        (folder / "window.wav").symlink_to(target)

    return change


def _make_folder(folder):
    (folder / "window.wav").unlink()
    (folder / "window.wav").mkdir()


def _make_pipe(folder):
    (folder / "window.wav").unlink()
    os.mkfifo(folder / "window.wav")


def _swap(folder):
    first, second = folder / "window.wav", folder / "board.wav"
    first.rename(folder / "kept"), second.rename(first)
    (folder / "kept").rename(second)


def _copy(gain: float) -> Change:
    def change(folder):
        own = small_session.read_signal(folder, "board")
        small_session.write_signal(folder, "window", gain * own)

    return change


def _put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change_signal(own):
        own[3000:3010] = value
        return own

    return change_signal


def _hum(own):
    time = np.arange(len(own)) / _RATE
    lines = sum(np.sin(2 * np.pi * 50.0 * k * time) for k in range(1, 5))
    return 0.3 * own + 0.1 * lines


def _gaps(own):
    for second in (1, 3, 6):
        own[second * _RATE : second * _RATE + _RATE // 4] = 0.0
    return own


def _tone(own):
    return 0.3 * np.sin(2 * np.pi * 440.0 / _RATE * np.arange(len(own)))


def _noise(own):
    seed = round(1e6 * abs(float(own[1000])))
    return 0.1 * np.random.default_rng(seed).normal(size=len(own))


def _late(folder):
    """Let one recorder start 20 s after the others, in a recording of 32 s."""
    signals = small_session.render(small_session.MANY)
    for name, own in zip(_ALL, signals, strict=True):
        begin = 20 * _RATE if name == "window" else 0
        small_session.write_signal(folder, name, own[begin:])


def _another_time(folder):
    """Let one recorder have recorded another talk, so that nothing overlaps."""
    other = small_session.render(small_session.MANY)[1, 16 * _RATE : 24 * _RATE]
    small_session.write_signal(folder, "window", other)


def _stereo(own):
    return np.stack([own, 0.5 * own], axis=1)


def _number_channels(number: int) -> Change:
    def change(folder):
        lines = (folder / "nodes.csv").read_text().splitlines()
        lines = [f"{lines[0]},channel", *(f"{line},{number}" for line in lines[1:])]
        (folder / "nodes.csv").write_text("\n".join(lines) + "\n")

    return change


def _one_file(num_channels: int) -> Change:
    """Write one file with some channels for all nodes."""

    def change(folder):
        signals = [small_session.read_signal(folder / "meeting", n) for n in _ALL]
        small_session.write_signal(
            folder, "meeting", np.stack(signals[:num_channels], axis=1)
        )

    return then(
        small_session.list_recordings,
        change,
        edit("meeting,", "meeting.wav,", "recordings.csv"),
    )


def _in_folder(change: Change) -> Change:
    return listed(lambda folder: change(folder / "meeting"))


def _twice(folder: pathlib.Path) -> None:
    own = small_session.read_signal(folder, "desk")
    soundfile.write(folder / "desk.flac", own, _RATE)


KINDS: dict[str, Kind] = {
    "no audio at all": Kind(_remove_audio, 2, "6 problems", _LINE, "no file", "window.wav'"),
    "no audio in the folder": Kind(
        listed(lambda f: _remove_audio(f / "meeting")),
        *(2, "recordings.csv', line 2", "NODE.wav for each node"),
    ),
    "file of 0 bytes": Kind(data(lambda _: b""), 2, _LINE, "window.wav' is empty"),
    "header alone": Kind(data(lambda b: b[:44]), 2, _LINE, "window.wav'", "no samples"),
    "header without samples": Kind(
        signal(lambda own: own[:0]), 2, _LINE, "window.wav'", "no samples"
    ),
    "half a header": Kind(data(lambda b: b[:30]), 2, _LINE, "window.wav' is unreadable"),
    "text named .wav": Kind(
        data(lambda _: b"hello " * 99), 2, _LINE, "window.wav' is unreadable"
    ),
    "zeros named .wav": Kind(
        data(lambda b: bytes(len(b))), 2, _LINE, "window.wav' is unreadable"
    ),
    "WAV cut after 3 s": Kind(
        data(lambda b: b[: 44 + 2 * 3 * _RATE]),
        *(1, "Node window has 3.0 s of the 8.0 s", "Copy its file again"),
    ),
    "all WAVs cut after 4 s": Kind(
        data(lambda b: b[: 44 + 2 * 4 * _RATE], *_ALL),
        *(1, "Node door", "4.0 s of the 8.0 s"),
    ),
    "WAV header never finished": Kind(header(_DATA_AT, "<I", 0), 2, _LINE, "window.wav'"),
    "WAV of unknown length": Kind(header(_DATA_AT, "<I", 2**32 - 1), 0),
    "FLAC cut in half": Kind(_cut_flac, 2, "window.flac' is damaged or truncated"),
    "all silent": Kind(signal(lambda own: 0 * own, *_ALL), 2, "every node is silent"),
    "one silent": Kind(signal(lambda own: 0 * own), 2, "Node window is silent"),
    "four silent": Kind(
        signal(lambda own: 0 * own, *_ALL[:4]), 2, "2 nodes can be used, and 3 are"
    ),
    "clipped": Kind(signal(lambda own: (9 * own).clip(-1, 1)), 1, "Node window is clipped"),
    "constant part": Kind(
        signal(lambda own: 0.4 * own + 0.5), 1, "Node window has a constant part"
    ),
    "NaN in samples": Kind(
        signal(_put(np.nan), subtype="FLOAT"), 2, "Node window holds NaN"
    ),
    "infinity in samples": Kind(
        signal(_put(np.inf), subtype="FLOAT"), 2, "Node window holds NaN or infinity"
    ),
    "NaN alone": Kind(
        signal(lambda own: np.nan * own, *_ALL, subtype="FLOAT"), 2, "NaN"
    ),
    "8 bits": Kind(signal(lambda own: own, *_ALL, subtype="PCM_U8"), 0),
    "24 bits": Kind(signal(lambda own: own, *_ALL, subtype="PCM_24"), 0),
    "floats": Kind(signal(lambda own: own, *_ALL, subtype="FLOAT"), 0),
    "floats a little beyond full scale": Kind(
        signal(lambda own: 3 * own, subtype="FLOAT"), 0
    ),
    "floats on the scale of 16 bits": Kind(
        signal(lambda own: 32_768 * own, subtype="FLOAT"),
        *(2, "Node window", "beyond full scale", "Not usable"),
    ),
    "rate of 100 Hz": Kind(header(_RATE_AT, "<I", 100), 2, _LINE, "100 Hz", "8000"),
    "rate of 1 MHz": Kind(
        header(_RATE_AT, "<I", 10**6), 2, _LINE, "1000000 Hz", "384000"
    ),
    "rate of 0 Hz": Kind(header(_RATE_AT, "<I", 0), 2, _LINE, "window.wav' is unreadable"),
    "no channels": Kind(header(_CHANNELS_AT, "<H", 0), 2, _LINE, "is unreadable"),
    "no bits": Kind(header(_BITS_AT, "<H", 0), 2, _LINE, "is unreadable"),
    "channel beyond the file's": Kind(
        _number_channels(2), 2, _LINE, "has 1 channel", "names channel 2"
    ),
    "stereo, and no channel named": Kind(
        signal(_stereo), 2, _LINE, "window.wav' has 2 channels", "a column channel"
    ),
    "stereo, and its channel named": Kind(
        then(signal(_stereo, *_ALL), _number_channels(1)), 0
    ),
    "one file with too few channels": Kind(
        _one_file(4), 2, "recordings.csv', line 2", "4 channels; expected 6"
    ),
    "one file for all": Kind(_one_file(6), 0),
    "another rate": Kind(signal(resample(48_000), rate=48_000), 0),
    "telephone's rate": Kind(
        signal(resample(8_000), rate=8_000), 1, "Node window holds nothing above 4 kHz"
    ),
    "another length": Kind(
        signal(lambda own: own[: 6 * _RATE]), 1, "Node window ended 2.0 s before"
    ),
    "shorter than half a second": Kind(
        signal(lambda own: own[: _RATE // 3], *_ALL), 2, "0.333 s long", "record"
    ),
    "one shorter than half a second": Kind(
        signal(lambda own: own[: _RATE // 3]), 1, "Node window ended 7.7 s before"
    ),
    "MP3": Kind(convert(".mp3", "MP3"), 0),
    "MP3 in the folder": Kind(
        then(convert(".mp3", "MP3"), small_session.list_recordings), 0
    ),
    "M4A in the folder": Kind(
        listed(
            lambda f: (f / "meeting/desk.wav").rename(f / "meeting/desk.m4a") and None
        ),
        *(2, "line 2", "desk.m4a' cannot be read; convert it"),
    ),
    "file without permission": Kind(forbid("window.wav"), 2, _LINE, "permission"),
    "link to nothing": Kind(_link("gone.wav"), 2, _LINE, "window.wav'", "gone.wav"),
    "link to itself": Kind(_link("window.wav"), 2, _LINE, "window.wav'", "link"),
    "link to nothing in the folder": Kind(
        listed(lambda f: _link("gone.wav")(f / "meeting")),
        *(2, "line 2", "window.wav'", "gone.wav"),
    ),
    "folder named .wav": Kind(_make_folder, 2, _LINE, "window.wav' is a folder"),
    "folder named .wav in the folder": Kind(
        _in_folder(_make_folder), 2, "line 2", "window.wav' is a folder"
    ),
    "pipe": Kind(_make_pipe, 2, _LINE, "window.wav' is no file"),
    "pipe in the folder": Kind(
        _in_folder(_make_pipe), 2, "line 2", "window.wav' is no file"
    ),
    "two files of one node": Kind(
        listed(lambda f: _twice(f / "meeting")), 2, "line 2", "keep one of them"
    ),
    "files exchanged": Kind(_swap, 1, "does not fit the others: sound reached it"),
    "copy of another": Kind(_copy(1.0), 1, "Node board has the same signal as node window"),
    "copy of another, half as loud": Kind(
        _copy(0.5), 1, "Node board has the same signal as node window"
    ),
    "polarity inverted": Kind(signal(lambda own: -own), 1, "Node window", "polarity"),
    "tones alone": Kind(signal(_tone, *_ALL), 2, "Positions are determined in 0 of"),
    "noise alone": Kind(signal(_noise, *_ALL), 2, "Positions are determined in 0 of"),
    "one of noise alone": Kind(signal(_noise), 1, "Node window"),
    "hum": Kind(signal(_hum), 1, "Node window hums"),
    "gaps": Kind(signal(_gaps), 1, "Node window has gaps: 0.8 s"),
    "late by 0.3 s": Kind(
        signal(lambda own: own[_RATE * 3 // 10 :]), 1, "Node window started 0.30 s"
    ),
    "late by 20 s": Kind(_late, 1, "Node window started 20.00 s after the first"),
    "recorded at another time": Kind(
        _another_time, 1, "Node window has no start that could be found"
    ),
}  # fmt: skip
