"""When recorders started, found from levels."""

import numpy as np
import pytest

from uld_jax.audio import start_offsets


def speech(rng, steps):
    """Make powers of syllables, 40 ms to 300 ms long, over 40 dB."""
    levels = []
    while len(levels) < steps:
        levels += [rng.uniform(-40, 0)] * int(rng.integers(4, 30))
    return 10 ** (np.array(levels[:steps]) / 10)


def recorded(talk, starts, length, rng, noise=1e-3):
    """Cut what recorders of differing gains and noise hear."""
    rows = []
    for start in starts:
        own = talk[start : start + length] * rng.uniform(0.01, 10)
        rows.append(own + own.max() * noise * rng.chisquare(100, length) / 100)
    return np.array(rows)


@pytest.mark.parametrize("length", [300, 1200, 12_000])
def test_late_recorders_are_found(length):
    rng = np.random.default_rng(length)
    starts = np.array([40, 0, 31, 40, min(900, length // 3)])
    powers = recorded(speech(rng, length + 1000), starts, length, rng)
    late, known = start_offsets.estimate(powers, [length] * 5, range(5), [True] * 5)
    assert known.all()
    np.testing.assert_allclose(late, starts, atol=1)


def test_recorders_in_time_stay_as_they_are():
    """Delays of a room are none."""
    rng = np.random.default_rng(0)
    for length in (200, 1000):
        for _ in range(20):
            starts = rng.integers(0, 4, size=6)
            powers = recorded(speech(rng, length + 9), starts, length, rng)
            late, _ = start_offsets.estimate(powers, [length] * 6, range(6), [True] * 6)
            np.testing.assert_array_equal(late, 0)


def test_what_does_not_hear_the_talker_is_not_moved():
    rng = np.random.default_rng(1)
    for _ in range(20):
        powers = recorded(speech(rng, 1300), [0, 200, 0], 1000, rng)
        powers[2] = rng.chisquare(100, 1000)
        lengths = [1000, 700, 1000]
        late, known = start_offsets.estimate(powers, lengths, "abc", [True] * 3)
        assert known.tolist() == [True, True, False]
        np.testing.assert_allclose(late, [0, 200, 0], atol=1)


def test_slow_changes_are_no_likeness():
    """Of noise that comes and goes, each recorder's own or in common."""
    rng = np.random.default_rng(4)
    for length in (6_000, 60_000):
        for _ in range(5):
            walks = np.cumsum(0.1 * rng.normal(size=(3, length)), axis=1)
            powers = 10 ** (walks / 10) * rng.chisquare(100, (3, length)) / 100
            late, known = start_offsets.estimate(
                powers, [length] * 3, "abc", [True] * 3
            )
            np.testing.assert_array_equal(late, 0)
            assert known.sum() <= 2  # The liveliest is like itself.
            trend = np.cumsum(0.02 * rng.normal(size=length))
            powers = 10 ** (trend / 10) * rng.chisquare(100, (3, length)) / 100
            late, _ = start_offsets.estimate(powers, [length] * 3, "abc", [True] * 3)
            np.testing.assert_array_equal(late, 0)


def test_starts_that_are_too_far_apart_are_not_known():
    rng = np.random.default_rng(5)
    powers = recorded(speech(rng, 10_000), [0, 0, 3500], 6000, rng)
    late, known = start_offsets.estimate(powers, [6000] * 3, "abc", [True] * 3)
    np.testing.assert_array_equal(late, 0)
    assert known.tolist() == [True, True, False]
    powers = recorded(speech(rng, 10_000), [0, 1200, 2900], 6000, rng)
    late, known = start_offsets.estimate(powers, [6000] * 3, "abc", [True] * 3)
    np.testing.assert_allclose(late, [0, 1200, 2900], atol=1)


def test_nodes_of_one_file_start_together():
    rng = np.random.default_rng(2)
    powers = recorded(speech(rng, 1300), [0, 150, 150, 0], 1000, rng)
    lengths = [1000] * 4
    powers[2] = rng.chisquare(100, 1000)  # By itself it would tell nothing.
    late, _ = start_offsets.estimate(powers, lengths, "abbc", [True] * 4)
    np.testing.assert_allclose(late, [0, 150, 150, 0], atol=1)
    np.testing.assert_array_equal(
        start_offsets.estimate(powers, lengths, "aaaa", [True] * 4)[0], 0
    )
    used = [True, False, False, True]
    np.testing.assert_array_equal(
        start_offsets.estimate(powers, lengths, "abbc", used)[0], 0
    )


def test_correlations_are_pearsons():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=220), rng.normal(size=180)
    lags, likeness, overlap = start_offsets._correlate(first, second)
    assert (overlap >= 100).all()
    for lag in (-70, -3, 0, 40):
        (at,) = np.flatnonzero(lags == lag)
        one = first[max(0, -lag) : 180 - lag if lag >= -40 else 220]
        other = second[max(0, lag) : max(0, lag) + len(one)]
        one = one[: len(other)]
        assert overlap[at] == len(other)
        assert likeness[at] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-6)
