"""One pass over a recording, against the whole of it."""

import numpy as np
import pytest
from audio_files import RATE, write

from uld_jax.audio import session_files, surveys
from uld_jax.audio import signals as signals_lib

LONG = 2 * 160_000 + 12_345  # Samples: two blocks and part of a hop.


@pytest.fixture
def channels_of(tmp_path):
    """Write signals, each into a file of its own, and find their channels."""

    def make(signals, rate=RATE):
        channels = []
        for number, signal in enumerate(signals):
            path = tmp_path / f"{number}.wav"
            write(path, np.asarray(signal), rate, subtype="FLOAT")
            header = signals_lib.read_header(path)
            channels.append(session_files.Channel(path, 0, header.frames, header.rate))
        return channels

    return make


def noises(count=2, length=LONG):
    rng = np.random.default_rng(0)
    return 0.1 * rng.normal(size=(count, length)) + 0.02


def test_means_and_powers_are_those_of_the_whole(channels_of):
    signals = np.float32(noises())
    signals[1, 40_000:] = 0.0
    channels = channels_of([signals[0], signals[1, :40_000]])
    found = surveys.survey(channels)
    assert found.lengths.tolist() == [LONG, 40_000]
    assert found.faults == ("", "")
    means = signals[0].mean(), signals[1, :40_000].mean()
    np.testing.assert_allclose(found.means, means, rtol=1e-4)
    centered = np.zeros((2, -(-LONG // 160) * 160))
    centered[0, :LONG] = signals[0] - means[0]
    centered[1, :40_000] = signals[1, :40_000] - means[1]
    powers = np.square(centered).reshape(2, -1, 160).mean(axis=2)
    np.testing.assert_allclose(found.powers, powers, rtol=1e-3, atol=1e-9)
    starts = np.array([0, 32_000, 64_000])
    expected = [np.square(centered[:, s : s + 32_000]).mean() for s in starts]
    np.testing.assert_allclose(found.window_powers(starts, 32_000), expected, rtol=1e-3)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_faults_are_named(channels_of, rate):
    good, silent, broken = noises(3, 80_000)
    clipped = good.copy()  # The same sound, so that it is known when each started.
    silent[:] = 0.01
    clipped[:100] = 1.0
    broken[50] = np.nan
    found = surveys.survey(channels_of([good, silent, clipped, broken], rate))
    np.testing.assert_allclose(found.means[[0, 3]], 0.02, atol=2e-3)
    for fault, word in zip(found.faults, ("", "silent", "clipped", "NaN"), strict=True):
        assert (word in fault) if word else not fault
    assert np.isfinite(found.powers).all()
    said = found.describe(["a", "b", "c", "d"])
    assert [line[:6] for line in said] == ["Node b", "Node c", "Node d"]


def test_recorders_that_started_late_are_moved(channels_of):
    rng = np.random.default_rng(1)
    gains = np.repeat(10 ** rng.uniform(-2, 0, 60), 1600)
    sound = 0.1 * rng.normal(size=len(gains)) * gains
    late = 8_000
    channels = channels_of([sound[:80_000], sound[late:70_000]])
    found = surveys.survey(channels)
    assert found.starts[0] == 0
    assert found.starts[1] == pytest.approx(late, abs=160)
    assert found.num_samples == 80_000
    assert found.common == (found.starts[1], found.starts[1] + 62_000)
    started, ended = found.describe(["a", "b"])
    assert started == "Node b started 0.50 s after the first"
    assert ended == "Node b ended 0.6 s before the last"


def test_clipped_recorders_that_started_late_are_moved_too(channels_of):
    """As by a clap beside each: how loud they are from time to time still shows it."""
    rng = np.random.default_rng(1)
    gains = np.repeat(10 ** rng.uniform(-2, 0, 60), 1600)
    sound = 0.1 * rng.normal(size=len(gains)) * gains
    sound[40_000:40_200] = 1.0
    late = 8_000
    found = surveys.survey(channels_of([sound[:80_000], sound[late:70_000]]))
    assert found.faults == (signals_lib.CLIPPED, signals_lib.CLIPPED)
    assert found.starts[1] == pytest.approx(late, abs=160)
