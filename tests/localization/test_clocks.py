"""Offsets of nodes from positions, against exact paths and plain formulas."""

import numpy as np
import pytest
import scipy.optimize

from uld_jax.localization import clocks, times

NODES = np.random.default_rng(2).uniform([0, 0, 0.5], [6, 5, 2.2], (9, 3))
TALKER = np.array([2.3, 3.1, 1.5])
PATHS = np.linalg.norm(NODES - TALKER, axis=1)


@pytest.mark.parametrize("wild", range(9))
def test_one_wild_node_does_not_change_the_others(wild):
    """Whichever it is: delays are on a circle of half a second."""
    late = 0.01 * np.random.default_rng(3).normal(size=9)
    late[wild] = 0.24
    delays = (PATHS / 343.0 + late + 0.37) % 0.5
    found = clocks.subtract_paths(delays, NODES, TALKER)
    wrong = found - late
    wrong = np.delete(wrong, wild)
    np.testing.assert_allclose(wrong, wrong[0], atol=1e-9)
    assert abs(np.median(found)) < 1e-12


def test_an_unknown_node_stays_unknown():
    delays = PATHS / 343.0
    delays[4] = np.nan
    found = clocks.subtract_paths(delays, NODES, TALKER)
    assert np.flatnonzero(np.isnan(found)).tolist() == [4]
    np.testing.assert_allclose(np.delete(found, 4), 0.0, atol=1e-12)


def test_standard_errors_are_those_of_many_positions():
    rng = np.random.default_rng(5)
    root = np.array([[0.02, 0, 0], [0.01, 0.03, 0], [0, 0, 0.05]])
    given = clocks.standard_errors(NODES, TALKER, root @ root.T)
    moved = TALKER + rng.normal(size=(20_000, 3)) @ root.T
    offsets = np.linalg.norm(NODES - moved[:, None], axis=-1)
    # Relative to the mean of the nodes, and with the error of a time itself.
    offsets -= offsets.mean(axis=1, keepdims=True)
    expected = np.sqrt(offsets.var(axis=0) + times.LEAST_ERROR**2) / 343.0
    np.testing.assert_allclose(given, expected, rtol=0.05)


def swap(*pairs):
    paths = PATHS.copy()
    for one, other in pairs:
        paths[[one, other]] = paths[[other, one]]
    return (paths - PATHS) / 343.0


def test_exchanged_nodes_fit_each_other():
    apart = np.abs(PATHS[:, None] - PATHS)
    one, other = np.unravel_index(apart.argmax(), apart.shape)
    found = clocks.find_exchanged(swap((one, other)), PATHS)
    assert found.tolist() == [sorted([one, other])]
    assert len(clocks.find_exchanged(np.zeros(9), PATHS)) == 0
    # One that is late alone has no partner.
    late = np.zeros(9)
    late[one] = 0.01
    assert len(clocks.find_exchanged(late, PATHS)) == 0


def test_a_node_that_fits_two_others_is_not_called_exchanged():
    paths = np.array([1.0, 2.0, 2.0, 3.0, 4.0])
    late = np.array([1.0, -1.0, -1.0, 0.0, 0.0]) / 343.0
    assert len(clocks.find_exchanged(late, paths)) == 0


def test_errors_of_clocks_move_positions_as_in_many_trials():
    """Positions fitted on the plan by SciPy, to times by clocks that are off."""
    rng = np.random.default_rng(3)
    nodes = rng.uniform([0, 0, 1.3], [6, 5, 1.3], (7, 3))
    talker = np.array([2.2, 3.1, 1.3])
    factor = 1e-5 * rng.normal(size=(7, 7))
    paths = np.linalg.norm(nodes - talker, axis=1)

    def fit(late):
        def misfits(unknowns):
            away = np.linalg.norm(nodes - [*unknowns[:2], 1.3], axis=1)
            return paths + 343.0 * late - away - unknowns[2]

        return scipy.optimize.least_squares(misfits, [2.2, 3.1, 0.0]).x[:2]

    found = [fit(factor @ rng.normal(size=7)) for _ in range(400)]
    expected = clocks.position_covariance(nodes, talker, factor @ factor.T)
    measured = np.cov(np.transpose(found))
    np.testing.assert_allclose(expected, measured, atol=0.15 * measured.max())
    # A time that all clocks are late moves no position.
    shared = clocks.position_covariance(nodes, talker, np.full((7, 7), 1e-6))
    np.testing.assert_allclose(shared, 0.0, atol=1e-15)
