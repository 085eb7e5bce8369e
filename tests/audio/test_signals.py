"""Signals read, checked, cut and stored."""

import numpy as np
import pytest
from audio_files import RATE, tone, write

from uld_jax.audio import corpora
from uld_jax.audio import signals as signals_lib


def test_another_rate_is_resampled_without_aliases(tmp_path):
    rate = 48_000
    path = tmp_path / "train" / "11-f.wav"
    write(path, tone(1.0, rate, 1000.0) + tone(1.0, rate, 9000.0), rate)
    utterance = signals_lib.Utterance("f", "11", path)
    signal = signals_lib.load(utterance)
    assert len(signal) == RATE
    middle = signal[2000:-2000]
    expected = tone(1.0, RATE, 1000.0)[2000:-2000]
    np.testing.assert_allclose(middle, expected, atol=2e-3)


def test_the_mean_is_removed_and_the_first_channel_taken(tmp_path):
    path = tmp_path / "train" / "11-g.wav"
    write(path, np.stack([tone() + 0.2, tone(frequency=100.0)], axis=1))
    signal = signals_lib.load(signals_lib.Utterance("g", "11", path))
    assert abs(signal.mean()) < 1e-6
    np.testing.assert_allclose(signal, tone(), atol=2e-3)


def test_windows_hold_active_speech():
    levels = [10 ** (decibels / 20) for decibels in (0, -28, -32, -60)]
    parts = [level * tone(0.5) for level in levels]
    signal = np.concatenate([np.zeros(8000), *parts, np.zeros(80)])
    starts = signals_lib.active_starts(signal.astype(np.float32), 2560)
    for start in range(0, len(signal) - 2560, 160):
        energy = (signal[start : start + 2560] ** 2).sum()
        assert (start in starts) == (energy >= 1e-3 * (tone(0.16) ** 2).sum() * 0.999)


def test_signals_are_kept_up_to_a_number_of_bytes(monkeypatch):
    names = corpora.open_speech("builtin").utterances["train"][:5]
    size = max(signals_lib.load(name).nbytes for name in names)
    monkeypatch.setattr(signals_lib, "_CACHED_BYTES", 3 * size)
    monkeypatch.setattr(signals_lib, "_signals", signals_lib._Signals())
    first = [signals_lib.load(name) for name in names[:3]]
    assert signals_lib.load(names[0]) is first[0]
    signals_lib.load(names[3])
    assert list(signals_lib._signals) == [names[2], names[0], names[3]]
    np.testing.assert_array_equal(signals_lib.load(names[1]), first[1])


def test_signals_in_16_bits_reach_full_scale_and_come_back():
    signal = np.float32([0.0, 0.25, -0.1])
    integers = signals_lib.to_int16(signal)
    assert integers.dtype == np.int16
    np.testing.assert_array_equal(integers, [0, 32_767, -13_107])
    np.testing.assert_array_equal(signals_lib.to_int16(signal, 0.5), [0, 16_384, -6553])
    back = signals_lib.to_float(integers)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back * 2**15, integers)
    assert (signals_lib.to_int16(np.zeros(3, np.float32)) == 0).all()


def test_a_length_is_known_from_the_header(tmp_path):
    path = tmp_path / "one-1.wav"
    write(path, np.ones(8001), 8000)
    utterance = signals_lib.Utterance("one-1.wav", "one", path)
    assert signals_lib.num_samples(utterance) == 16_002
    builtin = corpora.open_speech("builtin").utterances["dev"][0]
    assert signals_lib.num_samples(builtin) == len(signals_lib.load(builtin))


def noise(num_nodes=3, n=4000, level=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return (level * rng.normal(size=(num_nodes, n))).astype(np.float32)


def test_channels_come_first_and_a_part_is_that_part(tmp_path):
    signals = noise(2, 500)
    path = tmp_path / "a.wav"
    write(path, signals.T, subtype="FLOAT")
    assert signals_lib.read_header(path) == (500, 16_000, 2)
    np.testing.assert_array_equal(signals_lib.read_recording(path), signals)
    part = signals_lib.read_recording(path, 100, 50)
    np.testing.assert_array_equal(part, signals[:, 100:150])


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "a.wav"
    for read in (signals_lib.read_header, signals_lib.read_recording):
        with pytest.raises(signals_lib.SignalError, match=r"a\.wav' is missing"):
            read(path)
    path.write_bytes(b"RIFF")
    for read in (signals_lib.read_header, signals_lib.read_recording):
        with pytest.raises(signals_lib.SignalError, match=r"a\.wav' is unread"):
            read(path)
    write(path, noise(1, 500).T)
    with pytest.raises(signals_lib.SignalError, match=r"ends after 500 .* 600"):
        signals_lib.read_recording(path, 400, 200)


def test_what_cannot_be_right_is_refused_with_the_node():
    signals_lib.check_recording(noise(), ["a", "b", "c"], "it")
    for wrong, reason in (
        (np.nan, "NaN or infinity"),
        (np.inf, "NaN or infinity"),
        (1.0, "clipped"),
    ):
        signals = noise()
        signals[1, :20] = wrong
        with pytest.raises(
            signals_lib.SignalError, match=f"it: the signal of node b .*{reason}"
        ):
            signals_lib.check_recording(signals, ["a", "b", "c"], "it")
    loud = noise()
    loud[1, :20] = -1.0
    signals_lib.check_recording(loud, [1, 2, 3], "it", clipping=False)
    loud[1, 4:20] = 0.1
    signals_lib.check_recording(loud, [1, 2, 3], "it")  # Four samples of 4,000.
    for constant in (0.0, 0.25):
        dead = noise()
        dead[[0, 2]] = constant
        with pytest.raises(signals_lib.SignalError, match=r"node 7, 9 is silent"):
            signals_lib.check_recording(dead, [7, 8, 9], "it")


def test_levels_between_nodes_are_kept():
    signals = noise() * np.array([[1.0], [0.1], [0.01]], np.float32)
    stored, gain = signals_lib.to_stored(signals)
    assert stored.dtype == np.int16
    assert np.abs(stored).max() == 30_000
    np.testing.assert_allclose(stored / gain, signals, atol=0.51 / gain)


def test_windows_are_where_any_node_receives_something():
    """Half a second of noise at one node alone, in silence."""
    signals = np.zeros((3, 16_000), np.float32)
    signals[2, 8000:] = noise(1, 8000)[0]
    starts = signals_lib.active_starts(signals, 1600)
    assert starts.min() == 6400 + 160  # Ten milliseconds of it are enough.
    assert starts.max() == 16_000 - 1600
    assert (np.diff(starts) == 160).all()
