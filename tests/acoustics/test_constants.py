import math

import numpy as np
import pytest

from uld_jax.acoustics import constants
from uld_jax.runtime import errors

RATE = 16_000


def decaying_noise(t60, seconds, seed=0, num_responses=1):
    """Return Gaussian noise whose energy falls by 60 dB in T60."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    return rng.normal(size=(num_responses, len(time))) * 10 ** (-3 * time / t60)


def smooth_decay(t60, seconds):
    """Return a response whose squares are exactly exponential, signs aside."""
    time = np.arange(int(seconds * RATE))
    return (-1.0) ** time * 10 ** (-3 * time / RATE / t60)


def test_absorption_and_order_are_those_of_pyroomacoustics():
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    rng = np.random.default_rng(0)
    sides = rng.uniform([3, 3, 2.4], [12, 12, 5], size=(2000, 3))
    t60 = rng.uniform(0.25, 1.5, size=2000)
    absorption = constants.sabine_absorption(sides, t60)
    order = constants.image_order(sides, t60)
    expected = [
        pyroomacoustics.inverse_sabine(t, room)
        for t, room in zip(t60, sides, strict=True)
    ]
    np.testing.assert_allclose(absorption, [a for a, _ in expected], rtol=1e-12)
    np.testing.assert_array_equal(order, [n for _, n in expected])
    assert len(set(order)) > 50


def test_one_room_is_a_batch_of_none():
    """A cube of 6 m: V / S = 1, so that a T60 c = 24 ln(10)."""
    cube = np.array([6, 6, 6])
    absorption = constants.sabine_absorption(cube, 0.5)
    assert np.ndim(absorption) == 0
    np.testing.assert_allclose(absorption, 24 * np.log(10) / 343 / 0.5, rtol=1e-14)
    assert constants.image_order(cube, 0.5) == math.ceil(171.5 / (6 / 2**0.5) - 1)
    # Rooms [2, 1] and times [3] broadcast like any arrays.
    rooms = np.array([[[6.0, 6.0, 6.0]], [[3.0, 3.0, 3.0]]])
    times = np.array([0.5, 1.0, 2.0], np.float32)
    np.testing.assert_allclose(
        constants.sabine_absorption(rooms, times),
        absorption * 0.5 / times * np.array([[1.0], [0.5]]),
    )
    assert constants.image_order(rooms, times).shape == (2, 3)


def test_the_smallest_t60_can_just_be_had():
    """SIMULATION.md 1.1 lists these by hand."""
    rooms = np.array([[4, 4, 4.2], [6, 6, 4.2], [7, 7, 4.2], [10, 10, 4.2]])
    shortest = constants.smallest_t60(rooms)
    np.testing.assert_allclose(shortest, [0.109, 0.141, 0.154, 0.184], atol=6e-4)
    np.testing.assert_allclose(constants.sabine_absorption(rooms, shortest), 1.0)
    with pytest.raises(constants.AcousticsError, match="cannot have T60"):
        constants.sabine_absorption(rooms, shortest * 0.999)


def test_too_short_a_t60_names_the_room_and_the_remedy():
    rooms = np.array([[4, 4, 4.2], [10, 9, 4.2]], np.float32)
    with pytest.raises(errors.InputError) as caught:
        constants.sabine_absorption(rooms, 0.12)
    assert "a room of 10 x 9 x 4.2 m cannot have T60 = 0.12 s" in str(caught.value)
    advice = float(str(caught.value).split()[-2])
    assert 0.99 < constants.sabine_absorption(rooms[1], advice) <= 1
    # One room at several times: the time that fails is named.
    with pytest.raises(errors.InputError, match=r"T60 = 0\.11 s"):
        constants.sabine_absorption(rooms[1], np.array([0.3, 0.11]))


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_length_and_no_time_is_refused(bad):
    room = np.array([5.0, 6.0, 4.2])
    for function in (constants.sabine_absorption, constants.image_order):
        with pytest.raises(constants.AcousticsError, match=r"T60 .* of seconds"):
            function(room, bad)
        with pytest.raises(constants.AcousticsError, match=r"room size .* of meters"):
            function(np.array([5.0, bad, 4.2]), 0.5)


def test_the_energy_decay_is_schroeders_sum():
    response = np.array([3.0, 0.0, -2.0, 1.0, 0.0])
    expected = 10 * np.log10(np.array([14, 5, 5, 1]) / 14)
    decay = constants.energy_decay(response)
    np.testing.assert_allclose(decay[:4], expected, atol=1e-12)
    assert decay[4] == -np.inf
    np.testing.assert_allclose(
        constants.energy_decay(np.array([response, 5 * response]))[1], decay
    )
    # Integers of recordings do not overflow.
    loud = np.array([30_000, 30_000], np.int16)
    np.testing.assert_allclose(constants.energy_decay(loud), [0, -3.0103], atol=1e-4)


@pytest.mark.parametrize("decay", [20.0, 30.0])
def test_an_exponential_has_its_reverberation_time(decay):
    for t60 in (0.2, 0.6, 1.2):
        response = smooth_decay(t60, 2 * t60)
        np.testing.assert_allclose(
            constants.reverberation_time(response, decay), t60, rtol=1e-6
        )
    # The same samples, said to be twice as fast, decay in half the time.
    half = constants.reverberation_time(response, decay, sample_rate=2 * RATE)
    np.testing.assert_allclose(half, 0.6, rtol=1e-6)


def test_the_time_is_of_the_asked_range_alone():
    """A decay of two slopes: T20 hears the first, T60 of 40 dB the second too."""
    first, second = smooth_decay(0.3, 0.15)[:2000], smooth_decay(1.5, 3.0)
    response = np.concatenate([first, abs(first[-1]) * second])
    level = constants.energy_decay(response)
    assert constants.reverberation_time(response, 5.0) < 0.45
    assert constants.reverberation_time(response, 40.0) > 1.0
    used = (level <= -5) & (level >= -45)
    slope = np.polyfit(np.flatnonzero(used) / RATE, level[used], 1)[0]
    np.testing.assert_allclose(
        constants.reverberation_time(response, 40.0), -60 / slope, rtol=1e-9
    )


def test_noise_has_the_time_of_its_envelope_and_pyroomacoustics_agrees():
    responses = decaying_noise(0.5, 1.0, num_responses=16)
    times = constants.reverberation_time(responses)
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
    actual = constants.reverberation_time(room.rir[0][0], 20.0)
    np.testing.assert_allclose(actual, expected, rtol=5e-3)


def test_no_decay_has_no_reverberation_time():
    alone = np.zeros(1000)
    alone[40] = 1.0
    echo = alone.copy()
    echo[500] = 0.3  # Ten dB down and level until then.
    for response in (alone, echo):
        with pytest.raises(constants.AcousticsError, match="1 of 2 responses have no"):
            constants.reverberation_time(
                np.stack([response, smooth_decay(0.02, 1.0)[:1000]])
            )


def test_clarity_of_an_exponential_is_its_closed_form():
    """ISO 3382: C50 = 10 lg(exp(13.8 x 0.05 s / T60) - 1) of an exponential decay."""
    for t60 in (0.2, 0.6, 1.2):
        response = np.concatenate([np.zeros(777), smooth_decay(t60, 3 * t60)])
        expected = 10 * np.log10(10 ** (6 * 0.05 / t60) - 1)
        np.testing.assert_allclose(
            constants.clarity(response, 777), expected, atol=1e-6
        )
        expected = 10 * np.log10(10 ** (6 * 0.08 / t60) - 1)
        np.testing.assert_allclose(
            constants.clarity(response, 777, 80.0), expected, atol=1e-6
        )
        expected = 10 * np.log10(10 ** (6 * 0.0025 / t60) - 1)
        np.testing.assert_allclose(
            constants.direct_to_reverberant(response, 777), expected, atol=1e-6
        )


def test_energy_is_divided_at_one_sample():
    """At 1 kHz a millisecond is a sample; the fifth is the first that is late."""
    response = np.array([0.0, 0.1, 2.0, 1.0, 0.0, 0.5, 0.5])
    expected = 10 * np.log10((0.01 + 4 + 1) / (0.25 + 0.25))
    actual = constants.clarity(response, 2, milliseconds=3, sample_rate=1000)
    np.testing.assert_allclose(actual, expected)
    batch = np.stack([response, np.roll(response, -1)])
    np.testing.assert_allclose(
        constants.clarity(batch, np.array([2, 1]), 3.0, 1000)[1],
        10 * np.log10((0.01 + 4 + 1) / (0.25 + 0.25)),
    )
    with np.errstate(all="raise"):
        assert constants.clarity(response, 2, 50.0, 1000) == np.inf
        assert constants.clarity(response, 0, 0.0, 1000) == -np.inf


def test_direct_to_reverberant_of_two_taps():
    response = np.zeros((3, 4000))
    response[:, 100], response[:, 2000] = 1.0, [0.5, 0.1, 0.0]
    response[:, 100 + 39] = 1.0  # 2.44 ms later: still direct.
    response[0, 100 + 40] = 0.5  # 2.5 ms later: not any more.
    np.testing.assert_allclose(
        constants.direct_to_reverberant(response, np.array([100, 100, 100])),
        [10 * np.log10(2 / 0.5), 10 * np.log10(2 / 0.01), np.inf],
    )


def test_what_cannot_be_measured_is_refused():
    response = np.stack([np.ones(100), np.zeros(100)])
    for function in (constants.energy_decay, constants.reverberation_time):
        with pytest.raises(constants.AcousticsError, match="1 of the responses are si"):
            function(response)
    with pytest.raises(constants.AcousticsError, match="1 of the responses are si"):
        constants.clarity(response, 3)
    with pytest.raises(constants.AcousticsError, match="NaN or infinity"):
        constants.energy_decay(np.array([1.0, np.nan]))
    for onset in (-1, 100):
        with pytest.raises(constants.AcousticsError, match="responses of 100 samples"):
            constants.clarity(response[0], onset)
