"""Summaries of posteriors against those of normal distributions."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from uld_jax.labels import codes
from uld_jax.localization import posterior

SIDES = np.array([6.0, 4.0])
CELLS = 64


def on_grid(*parts):
    """Give the probability of a mixture of normal distributions: (mean, std, mass)."""
    points = posterior.grid(SIDES, CELLS)
    total = np.zeros(points.shape[:2])
    for mean, deviation, mass in parts:
        density = np.exp(-0.5 * ((points - mean) ** 2).sum(-1) / deviation**2)
        total += mass * density / density.sum()
    return total


def refined(probability, mean, deviation):
    """Combine with what a normal distribution says near the peaks."""
    peaks = posterior.find_peaks(probability, SIDES)
    fine = [
        -0.5
        * ((posterior.patch(peak, SIDES, CELLS) - mean) ** 2).sum(-1)
        / deviation**2
        for peak in peaks
    ]
    return peaks, posterior.combine(probability, SIDES, peaks, np.stack(fine))


@pytest.mark.parametrize("deviation", [0.12, 0.25, 0.4])
def test_a_normal_distribution_is_one_mode_with_its_mean_and_spread(deviation):
    mean = np.array([2.9, 1.9])
    peaks, cloud = refined(on_grid((mean, deviation, 1.0)), mean, deviation)
    (mode,) = posterior.find_modes(cloud, peaks)
    np.testing.assert_allclose(mode.position, mean, atol=5e-3)
    np.testing.assert_allclose(
        mode.covariance, deviation**2 * np.eye(2), atol=0.03 * deviation**2 + 1e-3
    )
    assert mode.mass == pytest.approx(1.0)
    expected = deviation * np.sqrt(scipy.stats.chi2(2).ppf(0.9))
    assert posterior.radius(cloud, mode.position) == pytest.approx(expected, rel=0.03)


def test_patches_show_what_is_narrower_than_a_cell():
    mean, deviation = np.array([2.22, 1.71]), 0.04
    coarse = on_grid((mean, 0.1, 1.0))
    peaks, cloud = refined(coarse, mean, deviation)
    (mode,) = posterior.find_modes(cloud, peaks)
    assert cloud.masses.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(mode.position, mean, atol=0.02)
    assert np.sqrt(np.trace(mode.covariance) / 2) < 0.08


def test_two_places_are_two_modes_with_their_masses():
    parts = ((np.array([1.5, 1.0]), 0.1, 0.3), (np.array([4.0, 3.0]), 0.1, 0.7))
    probability = on_grid(*parts)
    peaks = posterior.find_peaks(probability, SIDES)
    fine = np.zeros((len(peaks), len(posterior.patch(peaks[0], SIDES, CELLS))))
    cloud = posterior.combine(probability, SIDES, peaks, fine)
    heavy, light = posterior.find_modes(cloud, peaks)
    assert heavy.mass == pytest.approx(0.7, abs=0.01)
    assert light.mass == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(light.position, [1.5, 1.0], atol=0.02)
    # 90 % needs both.
    assert posterior.radius(cloud, heavy.position) > 3.0


def test_a_peak_at_a_wall_stays_in_the_room():
    probability = on_grid((np.array([0.0, 2.0]), 0.05, 1.0))
    peaks, cloud = refined(probability, np.array([0.0, 2.0]), 0.05)
    (mode,) = posterior.find_modes(cloud, peaks)
    assert 0.0 <= mode.position[0] < 0.1
    assert cloud.points[cloud.masses > 0].min() >= 0.0


def test_an_added_distribution_has_its_share_mean_and_covariance():
    probability = on_grid((np.array([1.5, 1.0]), 0.1, 1.0))
    peaks, cloud = refined(probability, np.array([1.5, 1.0]), 0.1)
    mean = np.array([4.0, 3.0])
    covariance = np.array([[4e-4, 1e-4], [1e-4, 2e-4]])
    cloud = posterior.add(cloud, [(mean, covariance, 3.0)])
    assert cloud.masses.sum() == pytest.approx(1.0)
    first, second = posterior.find_modes(cloud, np.stack([mean, peaks[0]]))
    assert (first.mass, second.mass) == pytest.approx((0.75, 0.25))
    np.testing.assert_allclose(first.position, mean, atol=1e-6)
    np.testing.assert_allclose(first.covariance, covariance, rtol=0.02)


def test_the_code_is_the_mean_of_the_points_codes():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (20, 2)) * SIDES
    masses = rng.dirichlet(np.ones(20))
    cloud = posterior.Cloud(points, masses, np.zeros((20, 2)))
    each = [codes.encode_uld(jnp.asarray(p), jnp.asarray(SIDES), 8) for p in points]
    expected = np.tensordot(masses, np.asarray(each).reshape(20, 9, 9), 1)
    np.testing.assert_allclose(posterior.encode(cloud, SIDES, 8), expected, atol=1e-6)


def test_what_does_not_dip_is_one_mode():
    flat = posterior.find_peaks(np.full((65, 65), 1 / 65**2), SIDES)
    assert len(flat) == 1
    shoulder = on_grid(
        (np.array([2.0, 2.0]), 0.3, 0.6), (np.array([2.5, 2.0]), 0.3, 0.4)
    )
    assert len(posterior.find_peaks(shoulder, SIDES)) == 1
    apart = on_grid((np.array([2.0, 2.0]), 0.3, 0.6), (np.array([3.5, 2.0]), 0.3, 0.4))
    assert len(posterior.find_peaks(apart, SIDES)) == 2


def test_a_likelihood_counts_in_full_around_a_peak_and_little_between():
    points = np.array([[1.0, 1.0], [1.2, 1.0], [4.0, 4.0], [4.2, 4.0]])
    masses = np.array([0.4, 0.4, 0.1, 0.1])
    cloud = posterior.Cloud(points, masses, np.zeros((4, 2)))
    peaks = np.array([[1.1, 1.0], [4.1, 4.0]])
    logs = np.array([0.0, -1.0, 10.0, 9.5])
    found = posterior.multiply(cloud, peaks, logs, most=2.0).masses
    assert found.sum() == pytest.approx(1.0)
    assert found[1] / found[0] == pytest.approx(np.exp(-1.0))
    assert found[3] / found[2] == pytest.approx(np.exp(-0.5))
    # Between them exp(2), not exp(10).
    assert found[2:].sum() / found[:2].sum() == pytest.approx(np.exp(2.0) * 0.2 / 0.8)
    # Up to the limit, it is a product.
    little = 0.1 * logs
    expected = masses * np.exp(little)
    np.testing.assert_allclose(
        posterior.multiply(cloud, peaks, little, most=2.0).masses,
        expected / expected.sum(),
    )


def test_a_likelihood_of_zero_leaves_a_place_as_it_was():
    points = np.array([[1.0, 1.0], [4.0, 4.0], [4.2, 4.0]])
    cloud = posterior.Cloud(points, np.array([0.5, 0.25, 0.25]), np.zeros((3, 2)))
    logs = np.array([0.0, -2000.0, -3000.0])
    found = posterior.multiply(cloud, points[:2], logs, most=2.0).masses
    assert found[1] == found[2]
    assert found[1:].sum() / found[0] == pytest.approx(np.exp(-2.0))
