"""Signals of real nodes: read, checked, cut."""

import audio_files
import numpy as np
import pytest

from uld_jax.audio import recorded_signals


def noise(num_nodes=3, n=4000, level=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return (level * rng.normal(size=(num_nodes, n))).astype(np.float32)


def test_channels_come_first_and_a_part_is_that_part(tmp_path):
    signals = noise(2, 500)
    path = tmp_path / "a.wav"
    audio_files.write(path, signals.T, subtype="FLOAT")
    assert recorded_signals.header(path) == (500, 16_000, 2)
    np.testing.assert_array_equal(recorded_signals.read(path), signals)
    part = recorded_signals.read(path, 100, 50)
    np.testing.assert_array_equal(part, signals[:, 100:150])


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "a.wav"
    for read in (recorded_signals.header, recorded_signals.read):
        with pytest.raises(recorded_signals.SignalError, match=r"a\.wav' is missing"):
            read(path)
    path.write_bytes(b"RIFF")
    for read in (recorded_signals.header, recorded_signals.read):
        with pytest.raises(recorded_signals.SignalError, match=r"a\.wav' is unread"):
            read(path)
    audio_files.write(path, noise(1, 500).T)
    with pytest.raises(recorded_signals.SignalError, match=r"ends after 500 .* 600"):
        recorded_signals.read(path, 400, 200)


def test_what_cannot_be_right_is_told_with_the_node():
    recorded_signals.check(noise(), ["a", "b", "c"], "it")
    for wrong, reason in (
        (np.nan, "NaN or infinity"),
        (np.inf, "NaN or infinity"),
        (1.0, "clipped"),
    ):
        signals = noise()
        signals[1, :20] = wrong
        with pytest.raises(
            recorded_signals.SignalError, match=f"it: the signal of node b .*{reason}"
        ):
            recorded_signals.check(signals, ["a", "b", "c"], "it")
    loud = noise()
    loud[1, :20] = -1.0
    recorded_signals.check(loud, [1, 2, 3], "it", clipping=False)
    loud[1, 4:20] = 0.1
    recorded_signals.check(loud, [1, 2, 3], "it")  # Four samples of 4,000.
    for constant in (0.0, 0.25):
        dead = noise()
        dead[[0, 2]] = constant
        with pytest.raises(recorded_signals.SignalError, match=r"node 7, 9 is silent"):
            recorded_signals.check(dead, [7, 8, 9], "it")


def test_windows_are_where_the_nodes_hear_something():
    """Half a second of noise at one node alone, in silence."""
    signals = np.zeros((3, 16_000), np.float32)
    signals[2, 8000:] = noise(1, 8000)[0]
    starts = recorded_signals.active_starts(signals, 1600)
    assert starts.min() == 6400 + 160  # Ten milliseconds of it are enough.
    assert starts.max() == 16_000 - 1600
    assert (np.diff(starts) == 160).all()


def test_levels_between_nodes_are_kept():
    signals = noise() * np.array([[1.0], [0.1], [0.01]], np.float32)
    stored, gain = recorded_signals.to_stored(signals)
    assert stored.dtype == np.int16
    assert np.abs(stored).max() == 30_000
    np.testing.assert_allclose(stored / gain, signals, atol=0.51 / gain)
