"""Windows at one place, by times of arrival."""

import numpy as np
from numpy.testing import assert_allclose

from uld_jax.localization import same_places

RNG = np.random.default_rng(0)
PATTERNS = RNG.uniform(0, 6, (3, 7))


def windows(order, noise=0.005):
    """Make windows at places in an order, each with its own common part."""
    made = PATTERNS[order] + RNG.uniform(-50, 50, (len(order), 1))
    return made + noise * RNG.normal(size=made.shape)


def test_windows_at_one_place_are_found_in_any_order():
    order = [0, 0, 1, 0, 2, 2, 1]
    found = same_places.find(windows(order))
    assert found.of_window.tolist() == order
    for place in range(3):
        apart = found.arrivals[place] - PATTERNS[place]
        assert_allclose(apart, np.median(apart), atol=0.02)


def test_wrong_times_of_a_few_nodes_do_not_part_windows():
    seen = windows([0, 0, 0, 1, 1])
    seen[0, 2] += 0.7
    seen[1, 5] -= 0.4
    found = same_places.find(seen)
    assert found.of_window.tolist() == [0, 0, 0, 1, 1]
    apart = found.arrivals[0] - PATTERNS[0]
    assert_allclose(apart, np.median(apart), atol=0.02)  # Medians of three.


def test_a_node_of_few_windows_has_no_time():
    seen = windows([0, 0, 0, 0])
    seen[:3, 1] = np.nan
    seen[:2, 2] = np.nan
    found = same_places.find(seen)
    assert found.of_window.tolist() == [0, 0, 0, 0]
    assert np.isnan(found.arrivals[0]).tolist() == [False, True] + 5 * [False]


def test_three_times_that_agree_are_no_place():
    seen = windows([0, 0])
    seen[:, 3:] = np.nan
    assert same_places.find(seen).of_window.tolist() == [0, 1]


def test_nodes_of_which_a_third_agrees_are_two_places():
    seen = windows([0, 0], noise=0.0)
    seen[1] += np.array([0.05, -0.05, 0.1, -0.1, 0.15, 0.0, 0.0])
    assert same_places.find(seen).of_window.tolist() == [0, 1]


def test_windows_that_were_at_one_place_stay_together():
    """By clocks that were wrong, times at one place moved apart."""
    seen = windows([0, 0, 1, 2], noise=0.0)
    seen[1] += 0.3 * np.arange(7)
    assert same_places.find(seen).of_window.tolist() == [0, 1, 2, 3]
    found = same_places.find(seen, np.array([5, 5, 7, 2]))
    assert found.of_window.tolist() == [0, 0, 1, 2]
    assert len(found.arrivals) == 3


def test_windows_without_a_node_in_common_are_at_one_place_by_another():
    seen = windows([0, 0, 0], noise=0.0)
    seen[0, 4:] = np.nan
    seen[2, :3] = np.nan
    found = same_places.find(seen)
    assert found.of_window.tolist() == [0, 0, 0]
    apart = found.arrivals[0] - PATTERNS[0]
    assert_allclose(apart, np.median(apart), atol=1e-9)
