"""Signals read, cut and stored."""

import numpy as np
from audio_files import RATE, tone, write

from uld_jax.audio import corpora, signals


def test_another_rate_is_resampled_without_aliases(tmp_path):
    rate = 48_000
    path = tmp_path / "train" / "11-f.wav"
    write(path, tone(1.0, rate, 1000.0) + tone(1.0, rate, 9000.0), rate)
    utterance = signals.Utterance("f", "11", path)
    signal = signals.load(utterance)
    assert len(signal) == RATE
    middle = signal[2000:-2000]
    expected = tone(1.0, RATE, 1000.0)[2000:-2000]
    np.testing.assert_allclose(middle, expected, atol=2e-3)


def test_the_mean_is_removed_and_the_first_channel_taken(tmp_path):
    path = tmp_path / "train" / "11-g.wav"
    write(path, np.stack([tone() + 0.2, tone(frequency=100.0)], axis=1))
    signal = signals.load(signals.Utterance("g", "11", path))
    assert abs(signal.mean()) < 1e-6
    np.testing.assert_allclose(signal, tone(), atol=2e-3)


def test_windows_hold_active_speech():
    levels = [10 ** (decibels / 20) for decibels in (0, -28, -32, -60)]
    parts = [level * tone(0.5) for level in levels]
    signal = np.concatenate([np.zeros(8000), *parts, np.zeros(80)])
    starts = signals.active_starts(signal.astype(np.float32), 2560)
    for start in range(0, len(signal) - 2560, 160):
        energy = (signal[start : start + 2560] ** 2).sum()
        assert (start in starts) == (energy >= 1e-3 * (tone(0.16) ** 2).sum() * 0.999)


def test_signals_are_kept_up_to_a_number_of_bytes(monkeypatch):
    names = corpora.open_speech("builtin").utterances["train"][:5]
    size = max(signals.load(name).nbytes for name in names)
    monkeypatch.setattr(signals, "_CACHED_BYTES", 3 * size)
    monkeypatch.setattr(signals, "_signals", signals._Signals())
    first = [signals.load(name) for name in names[:3]]
    assert signals.load(names[0]) is first[0]
    signals.load(names[3])
    assert list(signals._signals) == [names[2], names[0], names[3]]
    np.testing.assert_array_equal(signals.load(names[1]), first[1])


def test_signals_in_16_bits_reach_full_scale_and_come_back():
    signal = np.float32([0.0, 0.25, -0.1])
    integers = signals.to_int16(signal)
    assert integers.dtype == np.int16
    np.testing.assert_array_equal(integers, [0, 32_767, -13_107])
    np.testing.assert_array_equal(signals.to_int16(signal, 0.5), [0, 16_384, -6553])
    back = signals.to_float(integers)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back * 2**15, integers)
    assert (signals.to_int16(np.zeros(3, np.float32)) == 0).all()


def test_a_length_is_known_from_the_header(tmp_path):
    path = tmp_path / "one-1.wav"
    write(path, np.ones(8001), 8000)
    utterance = signals.Utterance("one-1.wav", "one", path)
    assert signals.num_samples(utterance) == 16_002
    builtin = corpora.open_speech("builtin").utterances["dev"][0]
    assert signals.num_samples(builtin) == len(signals.load(builtin))
