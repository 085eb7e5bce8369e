import numpy as np
import pytest

from benchmarks.rendering import measures

RATE = 16_000


def decaying_noise(t60, seconds, seed=0, num_responses=1):
    """Make Gaussian noise whose energy falls by 60 dB in T60."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    return rng.normal(size=(num_responses, len(time))) * 10 ** (-3 * time / t60)


def smooth_decay(t60, seconds):
    """Make a response whose squares are exactly exponential, signs aside."""
    time = np.arange(int(seconds * RATE))
    return (-1.0) ** time * 10 ** (-3 * time / RATE / t60)


def test_the_energy_decay_is_schroeders_sum():
    response = np.array([3.0, 0.0, -2.0, 1.0, 0.0])
    expected = 10 * np.log10(np.array([14, 5, 5, 1]) / 14)
    decay = measures.energy_decay(response)
    np.testing.assert_allclose(decay[:4], expected, atol=1e-12)
    assert decay[4] == -np.inf
    np.testing.assert_allclose(
        measures.energy_decay(np.array([response, 5 * response]))[1], decay
    )
    # Integers of recordings do not overflow.
    loud = np.array([30_000, 30_000], np.int16)
    np.testing.assert_allclose(measures.energy_decay(loud), [0, -3.0103], atol=1e-4)


@pytest.mark.parametrize("decay", [20.0, 30.0])
def test_an_exponential_has_its_reverberation_time(decay):
    for t60 in (0.2, 0.6, 1.2):
        response = smooth_decay(t60, 2 * t60)
        np.testing.assert_allclose(
            measures.reverberation_time(response, decay), t60, rtol=1e-6
        )
    # The same samples, said to be twice as fast, decay in half the time.
    half = measures.reverberation_time(response, decay, sample_rate=2 * RATE)
    np.testing.assert_allclose(half, 0.6, rtol=1e-6)


def test_the_time_is_of_the_asked_range_alone():
    """A decay of two slopes: T20 covers the first, 40 dB the second too."""
    first, second = smooth_decay(0.3, 0.15)[:2000], smooth_decay(1.5, 3.0)
    response = np.concatenate([first, abs(first[-1]) * second])
    level = measures.energy_decay(response)
    assert measures.reverberation_time(response, 5.0) < 0.45
    assert measures.reverberation_time(response, 40.0) > 1.0
    used = (level <= -5) & (level >= -45)
    slope = np.polyfit(np.flatnonzero(used) / RATE, level[used], 1)[0]
    np.testing.assert_allclose(
        measures.reverberation_time(response, 40.0), -60 / slope, rtol=1e-9
    )


def test_noise_has_the_time_of_its_envelope_and_pyroomacoustics_agrees():
    responses = decaying_noise(0.5, 1.0, num_responses=16)
    times = measures.reverberation_time(responses)
    assert times.shape == (16,)
    np.testing.assert_allclose(times, 0.5, rtol=0.05)
    np.testing.assert_allclose(times.mean(), 0.5, rtol=0.01)
    experimental = pytest.importorskip("pyroomacoustics.experimental")
    # Its range is shifted by the step of one sample, no more.
    for response, time in zip(responses[:4], times[:4], strict=True):
        expected = experimental.measure_rt60(response, fs=RATE, decay_db=30)
        np.testing.assert_allclose(time, expected, rtol=1e-3)


def test_a_room_of_pyroomacoustics_is_measured_alike():
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    room = pyroomacoustics.ShoeBox(
        [5.0, 4.0, 3.0],
        fs=RATE,
        materials=pyroomacoustics.Material(0.3),
        max_order=12,
        use_rand_ism=False,
        air_absorption=False,
    )
    room.add_source([1.0, 1.2, 1.5])
    room.add_microphone([3.5, 2.9, 1.1])
    room.compute_rir()
    expected = pyroomacoustics.experimental.measure_rt60(
        room.rir[0][0], fs=RATE, decay_db=20
    )
    actual = measures.reverberation_time(room.rir[0][0], 20.0)
    np.testing.assert_allclose(actual, expected, rtol=5e-3)


def test_no_decay_has_no_reverberation_time():
    alone = np.zeros(1000)
    alone[40] = 1.0
    echo = alone.copy()
    echo[500] = 0.3  # Ten dB down and level until then.
    for response in (alone, echo):
        with pytest.raises(ValueError, match="1 of 2 responses have no"):
            measures.reverberation_time(
                np.stack([response, smooth_decay(0.02, 1.0)[:1000]])
            )


def test_clarity_of_an_exponential_is_its_closed_form():
    """ISO 3382: C50 = 10 lg(exp(13.8 x 0.05 s / T60) - 1) of an exponential decay."""
    for t60 in (0.2, 0.6, 1.2):
        response = np.concatenate([np.zeros(777), smooth_decay(t60, 3 * t60)])
        expected = 10 * np.log10(10 ** (6 * 0.05 / t60) - 1)
        np.testing.assert_allclose(measures.clarity(response, 777), expected, atol=1e-6)
        expected = 10 * np.log10(10 ** (6 * 0.08 / t60) - 1)
        np.testing.assert_allclose(
            measures.clarity(response, 777, 80.0), expected, atol=1e-6
        )
        expected = 10 * np.log10(10 ** (6 * 0.0025 / t60) - 1)
        np.testing.assert_allclose(
            measures.direct_to_reverberant(response, 777), expected, atol=1e-6
        )


def test_energy_is_divided_at_one_sample():
    """At 1 kHz a millisecond is a sample; the fifth is the first that is late."""
    response = np.array([0.0, 0.1, 2.0, 1.0, 0.0, 0.5, 0.5])
    expected = 10 * np.log10((0.01 + 4 + 1) / (0.25 + 0.25))
    actual = measures.clarity(response, 2, milliseconds=3, sample_rate=1000)
    np.testing.assert_allclose(actual, expected)
    batch = np.stack([response, np.roll(response, -1)])
    np.testing.assert_allclose(
        measures.clarity(batch, np.array([2, 1]), 3.0, 1000)[1],
        10 * np.log10((0.01 + 4 + 1) / (0.25 + 0.25)),
    )
    with np.errstate(all="raise"):
        assert measures.clarity(response, 2, 50.0, 1000) == np.inf
        assert measures.clarity(response, 0, 0.0, 1000) == -np.inf


def test_direct_to_reverberant_of_two_taps():
    response = np.zeros((3, 4000))
    response[:, 100], response[:, 2000] = 1.0, [0.5, 0.1, 0.0]
    response[:, 100 + 39] = 1.0  # 2.44 ms later: still direct.
    response[0, 100 + 40] = 0.5  # 2.5 ms later: not any more.
    np.testing.assert_allclose(
        measures.direct_to_reverberant(response, np.array([100, 100, 100])),
        [10 * np.log10(2 / 0.5), 10 * np.log10(2 / 0.01), np.inf],
    )


def test_what_cannot_be_measured_is_refused():
    response = np.stack([np.ones(100), np.zeros(100)])
    for function in (measures.energy_decay, measures.reverberation_time):
        with pytest.raises(ValueError, match="1 of the responses are si"):
            function(response)
    with pytest.raises(ValueError, match="1 of the responses are si"):
        measures.clarity(response, 3)
    with pytest.raises(ValueError, match="NaN or infinity"):
        measures.energy_decay(np.array([1.0, np.nan]))
    for onset in (-1, 100):
        with pytest.raises(ValueError, match="responses of 100 samples"):
            measures.clarity(response[0], onset)
