"""Sound that arrives: raw PCM cut anywhere, devices that fail, and what is missing."""

import io
import os
import re
import sys
import threading
import types

import numpy as np
import pytest

from uld_jax.audio import live

RNG = np.random.default_rng(0)
SCALES = {"s16le": 2**15, "s24le": 2**31, "s32le": 2**31, "f32le": 1.0}


def encode(signals, sample_format):
    """Write signals [M, n] between -1 and 1 as another program would."""
    if sample_format == "f32le":
        return signals.T.astype("<f4").tobytes()
    bits = 8 * live.FORMATS[sample_format]
    numbers = np.round(signals.T.ravel() * (2 ** (bits - 1) - 1)).astype(int).tolist()
    return b"".join(
        number.to_bytes(bits // 8, "little", signed=True) for number in numbers
    )


@pytest.mark.parametrize("sample_format", live.FORMATS)
def test_every_format_is_decoded(sample_format):
    signals = RNG.uniform(-1, 1, (3, 500))
    signals[:, :2] = [[1.0, -1.0]]
    found = live.decode(encode(signals, sample_format), 3, sample_format)
    assert found.shape == (3, 500)
    np.testing.assert_allclose(found / SCALES[sample_format], signals, atol=1e-4)


class Pieces(io.RawIOBase):
    """Bytes that arrive in pieces, with None where none have come yet."""

    def __init__(self, data, sizes):
        self.data, self.sizes = data, sizes

    def read(self, _):
        size = next(self.sizes, len(self.data))
        if size is None:
            return None
        piece, self.data = self.data[:size], self.data[size:]
        return piece


@pytest.mark.parametrize("sample_format", live.FORMATS)
def test_frames_are_whole_however_they_arrive(sample_format):
    signals = RNG.uniform(-1, 1, (3, 500))
    data = encode(signals, sample_format)
    sizes = iter([1, None, 2, 7, 100, None, 1, 1, 1000])
    said = []
    blocks = list(
        live.read_pcm(Pieces(data, sizes), 3, 16_000, sample_format, said.append)
    )
    assert len(blocks) >= 3
    np.testing.assert_array_equal(
        np.concatenate(blocks, axis=1), live.decode(data, 3, sample_format)
    )
    assert not said


def test_a_frame_that_is_not_whole_is_said():
    said = []
    blocks = list(live.read_pcm(io.BytesIO(bytes(65)), 3, 8_000, "s24le", said.append))
    assert sum(block.shape[1] for block in blocks) == 7
    assert re.match(
        "The input ends with 2 of the 9 bytes of a frame .3 channels", *said
    )


def test_sound_is_taken_as_soon_as_it_arrives():
    """A pipe need not be full, and is emptied while nobody asks for more."""
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe:  # noqa: PTH123
        blocks = live.read_pcm(pipe, 2, 16_000, "s16le", print)
        os.write(writing, bytes(4))
        assert next(blocks).shape == (2, 1)
        # A pipe holds 64 KiB.
        done = threading.Thread(target=os.write, args=(writing, bytes(400_000)))
        done.start()
        done.join(timeout=20)
        assert not done.is_alive()
        os.close(writing)
        assert sum(block.shape[1] for block in blocks) == 100_000


def test_an_input_that_cannot_be_read_is_an_error():
    def fail(_):
        raise OSError("gone")

    source = types.SimpleNamespace(read=fail)
    with pytest.raises(live.LiveError, match="cannot be read: gone"):
        list(live.read_pcm(source, 2, 16_000, "s16le", print))


class Recorder:
    """A device of two channels, in place of sounddevice's."""

    active = True

    def __init__(self, **given):
        Recorder.given, self.take = given, given["callback"]
        if given["channels"] > 2:
            raise sys.modules["sounddevice"].PortAudioError(
                "Invalid number of channels"
            )

    def __enter__(self):
        block = np.arange(6, dtype=np.float32).reshape(3, 2)
        fine = types.SimpleNamespace(input_overflow=False)
        lost = types.SimpleNamespace(input_overflow=True)
        self.take(block, 3, None, fine)
        block[:] = 9  # It is the device's, which writes it again.
        self.take(block, 3, None, lost)

    def __exit__(self, *_):
        Recorder.active = False


@pytest.fixture
def device(monkeypatch):
    class PortAudioError(Exception):
        pass

    module = types.SimpleNamespace(InputStream=Recorder, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(live, "_PATIENCE", 0.01)
    monkeypatch.setattr(Recorder, "active", False)


def test_a_device_is_recorded_and_what_is_lost_is_said(device):
    said = []
    blocks = live.read_device("3", 2, 48_000, said.append)
    np.testing.assert_array_equal(next(blocks), [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(next(blocks), np.full((2, 3), 9))
    assert len(said) == 1 and said[0].startswith("Sound was lost")
    with pytest.raises(live.LiveError, match="'3' has stopped recording"):
        next(blocks)
    assert Recorder.given["device"] == 3
    assert Recorder.given["samplerate"] == 48_000


def test_a_device_that_cannot_record_so_is_named(device):
    with pytest.raises(
        live.LiveError, match=r"'usb' cannot record 8 channels at 16000"
    ):
        live.read_device("usb", 8, 16_000, print)


@pytest.mark.parametrize("missing", [ImportError, OSError])
def test_without_sounddevice_the_error_says_what_to_install(monkeypatch, missing):
    if missing is ImportError:
        monkeypatch.setitem(sys.modules, "sounddevice", None)
    else:
        original = __import__

        def without_library(name, *rest):
            if name == "sounddevice":
                raise OSError("PortAudio library not found")
            return original(name, *rest)

        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        monkeypatch.setattr("builtins.__import__", without_library)
    with pytest.raises(live.LiveError, match=r"pip install 'uld-jax\[live\]'"):
        live.read_device("usb", 8, 16_000, print)
