"""The joint posterior, against shares computed by hand."""

import numpy as np
import pytest

from uld_jax.localization import fusion, posterior, times


def fit_at(position, evidence):
    spread = 1e-6 * np.eye(2)
    return times.Fit(np.array([*position, 1.4]), spread, evidence, None, None)


def test_times_count_between_places_up_to_a_limit_and_more_within_one():
    """The votes have two places, 9 to 1, and times say the lesser one, 5 cm off."""
    sides = np.array([6.4, 6.4])
    points = posterior.grid(sides, 64)
    probability = 1e-12 * np.ones((65, 65))
    for place, share in (((1.0, 1.0), 0.9), ((5.0, 5.0), 0.1)):
        density = np.exp(-0.5 * ((points - place) ** 2).sum(-1) / 0.2**2)
        probability += share * density / density.sum()
    flat = points.reshape(-1, 2)
    masses = probability.ravel() / probability.sum()
    cloud = posterior.Cloud(flat, masses, np.zeros((len(flat), 2)))

    def mass(where, *fits):
        found, confirmed = fusion.confirm(cloud, probability, sides, [*fits])
        assert len(confirmed) == sum(fit.evidence > 0 for fit in fits)
        near = np.linalg.norm(found.points - where, axis=1)
        return found.masses[near < 1.0].sum(), found.masses[near < 0.01].sum()

    lesser = np.array([5.05, 5.0])
    assert mass(lesser, fit_at(lesser, -1.0))[0] == pytest.approx(0.1, abs=0.01)
    around, there = mass(lesser, fit_at(lesser, 30.0))
    # exp(2) x 0.1 against 0.9, and nearly all of it where times say.
    assert around == pytest.approx(0.739 / (0.739 + 0.9), abs=0.02)
    assert there > 0.98 * around
    # Where votes say nothing, times add nearly nothing.
    nowhere = np.array([1.0, 5.0])
    assert mass(nowhere, fit_at(nowhere, 60.0))[0] < 1e-4
    # One far behind another counts less than before.
    greater = np.array([1.0, 1.0])
    both = mass(lesser, fit_at(greater, 80.0), fit_at(lesser, 10.0))[0]
    assert both < 0.02


def test_one_place_is_confirmed_once_and_what_is_not_a_number_never():
    sides = np.array([6.4, 6.4])
    points = posterior.grid(sides, 64).reshape(-1, 2)
    probability = np.full((65, 65), 1 / len(points))
    variances = np.zeros((len(points), 2))
    cloud = posterior.Cloud(points, probability.ravel(), variances)
    place = np.array([2.0, 3.0])
    fits = [fit_at(place, 20.0), fit_at(place + 0.1, 15.0), fit_at(place + 2.0, np.nan)]
    found, confirmed = fusion.confirm(cloud, probability, sides, fits)
    assert confirmed == [fits[0]]
    assert np.isfinite(found.masses).all()
