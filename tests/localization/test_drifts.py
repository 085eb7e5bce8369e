"""Drifts of clocks from the correlations of windows, wherever the talker is."""

import numpy as np
import pytest
from free_field import delay
from numpy.testing import assert_allclose

from uld_jax.localization import drifts

RATE = 16_000
DRIFTS = 1e-6 * np.array([20.0, 0.0, 0.0, -100.0, 0.0])


def record(stays, rates=DRIFTS, seed=1, noise=0.3, samples=16_000):
    """Make windows 2 s apart, so many at each place, whose echoes are loud and unknown."""
    rng = np.random.default_rng(seed)
    made, times = [], 2.0 * np.arange(sum(stays)) + 1
    for place, stay in enumerate(stays):
        late = np.random.default_rng(place).uniform(0, 0.02, (4, len(rates)))
        for _ in range(stay):
            said = rng.normal(size=samples)
            moment = times[len(made)]
            sound = sum(delay(said, one + rates * moment) for one in late)
            made.append(sound + noise * sound.std() * rng.normal(size=sound.shape))
    return np.float32(made), times


def test_drifts_are_found_at_several_places_where_no_peak_is_the_direct_one():
    found = drifts.find(*record([4, 4, 4]))
    assert_allclose(found.values, DRIFTS, atol=5e-6)
    assert (np.abs(found.values - DRIFTS) < 4 * found.errors).all()
    assert_allclose(found.sure, DRIFTS, atol=5e-6)
    assert (found.errors < 4e-6).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_talker_who_never_stays_shows_no_sure_drift(seed):
    assert_allclose(drifts.find(*record([1] * 8, seed=seed)).sure, 0)


def test_agreeing_clocks_and_offsets_are_no_drift():
    found = drifts.find(*record([4, 4], rates=np.zeros(5)))
    assert_allclose(found.values, 0, atol=3e-6)
    assert_allclose(found.sure, 0)


def test_a_silent_node_is_left_alone_and_noise_is_not_sure():
    windows, times = record([5, 5])
    windows[:, 0] = 0.0
    windows[:, 2] = np.random.default_rng(2).normal(size=windows[:, 2].shape)
    found = drifts.find(windows, times)
    assert np.isnan(found.values[0]) and np.isnan(found.errors[0])
    assert found.sure[0] == found.sure[2] == 0
    assert found.sure[3] == pytest.approx(DRIFTS[3], abs=3e-6)


def test_most_clocks_are_the_reference():
    found = drifts.find(*record([6], rates=DRIFTS + 3e-5))
    assert_allclose(found.values, DRIFTS, atol=3e-6)


def test_few_windows_show_nothing():
    windows, times = record([3])
    assert np.isnan(drifts.find(windows, times)).all()
    assert_allclose(drifts.find(windows, times).sure, 0)
