"""Drifts of clocks from times of arrival in windows, wherever the talker is."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from uld_jax.localization import drifts

SPEED = 343.0
NODES = np.random.default_rng(0).uniform([0, 0, 0.5], [6, 5, 2], (6, 3))
DRIFTS = 1e-6 * np.array([20.0, 0.0, 0.0, -35.0, 0.0, 0.0])


def arrive(stays, wrong=0.0, noise=0.004, rates=DRIFTS, seed=1):
    """Make times of arrival of windows 2 s apart, so many at each place."""
    rng = np.random.default_rng(seed)
    places = rng.uniform([0, 0, 1], [6, 5, 1.7], (len(stays), 3)).repeat(stays, axis=0)
    times = 2.0 * np.arange(len(places)) + 1
    paths = np.linalg.norm(places[:, None] - NODES, axis=-1)
    found = (
        paths + SPEED * np.outer(times, rates) + noise * rng.normal(size=paths.shape)
    )
    found += rng.uniform(-50, 50, (len(places), 1))  # Starts of words.
    bad = rng.uniform(size=paths.shape) < wrong
    found[bad] += rng.uniform(0.1, 3.0, bad.sum())
    return found, times


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_drifts_are_found_at_several_places_with_wrong_times(wrong):
    found = drifts.find(*arrive([10, 10, 10], wrong))
    assert_allclose(found, DRIFTS, atol=1.5e-6)


def test_a_talker_who_never_stays_shows_none():
    assert_allclose(drifts.find(*arrive([1] * 24)), 0)


def test_an_offset_is_no_drift():
    times_of_arrival, times = arrive([8, 8], rates=np.zeros(6))
    times_of_arrival += SPEED * 0.01 * np.arange(6)
    assert_allclose(drifts.find(times_of_arrival, times), 0)


def test_a_node_with_few_times_is_left_alone():
    times_of_arrival, times = arrive([10, 10])
    times_of_arrival[3:, 0] = np.nan
    found = drifts.find(times_of_arrival, times)
    assert_allclose(found[1:], DRIFTS[1:], atol=1.5e-6)
    assert found[0] == 0


def test_most_clocks_are_the_reference():
    times_of_arrival, times = arrive([12], rates=DRIFTS + 5e-5)
    assert_allclose(drifts.find(times_of_arrival, times), DRIFTS, atol=2e-6)


def test_few_windows_show_nothing():
    assert_allclose(drifts.find(*arrive([3, 2])), 0)
    assert_allclose(drifts.find(*arrive([1])), 0)
