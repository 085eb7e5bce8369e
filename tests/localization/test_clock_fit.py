"""Evidence of clocks: by hand, and against how often chance has as much."""

import math

import numpy as np
import pytest
import scipy.optimize

from uld_jax.localization import clock_fit


def test_evidence_is_the_equation():
    found = clock_fit._evidence(np.array([7, 6, 8]), np.array([8, 8, 8]), 4, 4, 7)
    expected = (21 - 12 - 7) * math.log(3.0 / 0.08)
    expected -= math.log(8) + math.log(28) + math.log(1) + math.log(4)
    assert found == pytest.approx(expected)


def test_no_trusted_place_has_no_evidence():
    empty = np.zeros(0, int)
    assert clock_fit._evidence(empty, empty, 3, 4, 0) == -np.inf


def test_chance_seldom_has_evidence():
    """Times that are uniform over the range, by the best of all offsets at each place.

    One unknown a place, its start, as when positions and clocks were given.
    """
    rng = np.random.default_rng(0)
    best = []
    for _ in range(2_000):
        times = rng.uniform(0, 3.0, (3, 8))
        within = np.abs(times[:, :, None] - times[:, None]) < 0.04
        agree = within.sum(axis=-1).max(axis=-1)
        best.append(clock_fit._evidence(agree, np.full(3, 8), 3, 1, 0))
    # By the rule, E or more is as rare as exp(-E).
    assert np.mean(np.array(best) > 2.0) < np.exp(-2.0)
    assert np.mean(np.array(best) > 0.0) > 0.0001


def test_slopes_are_those_of_differences():
    errors = np.array([-30.0, -1.0, -1e-3, 0.0, 1e-9, 0.5, 4.0])
    above, below = clock_fit._doubt(errors + 1e-6), clock_fit._doubt(errors - 1e-6)
    np.testing.assert_allclose(
        clock_fit._doubt_slope(errors), (above - below) / 2e-6, rtol=1e-4, atol=1e-6
    )


def test_the_jacobian_is_that_of_differences(monkeypatch):
    """In the first step, where nothing fits yet; with places, nodes and times left out."""
    rng = np.random.default_rng(1)
    nodes = rng.uniform(0, 5, (6, 3))
    starts = rng.uniform(1, 4, (3, 3))
    late = 0.01 * rng.normal(size=(3, 6))
    late[1, 2] = np.nan
    seen = []
    solve = scipy.optimize.least_squares

    def check(residuals, unknowns, jacobian, *, args, **rest):
        at = unknowns + 0.01 * rng.normal(size=len(unknowns))
        expected = scipy.optimize.approx_fprime(at, residuals, 1e-7, *args)
        np.testing.assert_allclose(jacobian(at, *args), expected, rtol=1e-3, atol=1e-3)
        seen.append(args)
        return solve(residuals, unknowns, jacobian, args=args, **rest)

    monkeypatch.setattr(scipy.optimize, "least_squares", check)
    covariances = np.tile(0.1 * np.eye(2), (3, 1, 1))
    clock_fit.fit(
        starts, covariances, late, nodes, np.array([-3.0, 1.0, 2.0]), (1.35, 0.3)
    )
    assert len(seen) == 12  # Three models, four spreads.


def test_a_place_is_trusted_if_more_times_agree_than_by_chance():
    def trusted(agree, total):
        times = np.arange(total)[None]
        found = clock_fit._find_trusted(times < agree, times >= 0, 4)
        return bool(found[0])

    assert not trusted(6, 8)  # Any 4 agree, and two more of 8 sometimes do.
    assert trusted(7, 8)
    assert trusted(6, 6)
    assert not trusted(5, 5)
    assert trusted(15, 30)
    assert not trusted(8, 30)
