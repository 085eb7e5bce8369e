"""Radii of networks: spreads against NumPy, and shares that they hold."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.labels import schemes
from uld_jax.pretrained import uncertainty

ROOM = np.float32([4.0, 9.5])


def spread(label, plane, position):
    arrays = (jnp.asarray(one, jnp.float32) for one in (plane, position, ROOM))
    return float(uncertainty.spread(label, *arrays))


@pytest.mark.parametrize("resolution", [1, 2, 8])
@pytest.mark.parametrize("place", [(0.0, 9.5), (0.31, 0.5), (2.0, 7.77), (4.0, 0.0)])
def test_the_label_of_a_position_has_no_spread(resolution, place):
    """Though up to four grid points share it."""
    label = schemes.Label("uld", resolution)
    code = label.encode(np.float32(place), ROOM)
    assert spread(label, code, place) < 0.02 * 9.5 / resolution


def test_doubt_between_two_places_is_the_deviation_of_both():
    """By the variance of a mixture, with ULD's own left out."""
    label = schemes.Label("uld", 8)
    places = np.array([[1.0, 2.375], [3.0, 7.125]])  # At grid points.
    codes = [np.asarray(label.encode(np.float32(at), ROOM)) for at in places]
    middle = places.mean(axis=0)  # Also one.
    expected = np.linalg.norm(places[0] - middle)
    assert spread(label, sum(codes) / 2, middle) == pytest.approx(expected, rel=1e-4)


def test_cells_are_at_their_centers():
    label = schemes.Label("one_hot", 2)
    plane = [[0.5, 0.5], [0.0, 0.0]]
    by_hand = np.mean(
        [np.hypot(1.0 - 1.4, 2.375 - 2.0) ** 2, np.hypot(3.0 - 1.4, 0.375) ** 2]
    )
    assert spread(label, plane, [1.4, 2.0]) == pytest.approx(np.sqrt(by_hand), rel=1e-5)
    # Scores need not sum to one.
    doubled = 2 * np.array(plane)
    assert spread(label, doubled, [1.4, 2.0]) == pytest.approx(
        np.sqrt(by_hand), rel=1e-5
    )


def test_without_a_table_a_normal_distribution_is_taken_as_it_is():
    """By sampling: 90 % of its points are within the radius."""
    label, rng = schemes.Label("uld", 64), np.random.default_rng(0)
    middle, deviation = np.array([2.0, 4.75]), 0.4
    plane = np.zeros((65, 65))
    for row, column in itertools.product(range(65), repeat=2):
        at = np.array([column, row]) * ROOM / 64
        plane[row, column] = np.exp(-0.5 * (((at - middle) / deviation) ** 2).sum())
    found = spread(label, plane, middle)
    radius = float(uncertainty.radius(np.float32(found), None))
    points = rng.normal(scale=deviation, size=(200_000, 2))
    held = (np.linalg.norm(points, axis=1) <= radius).mean()
    assert held == pytest.approx(0.9, abs=0.005)


def errors_of(rng, count):
    """Draw spreads, and errors that are half as large, or more where spreads are small."""
    spreads = rng.uniform(0.01, 2.0, count)
    return spreads, (0.3 * spreads + 0.1) * rng.rayleigh(size=count)


def test_radii_hold_nine_of_ten_new_errors_at_every_spread():
    rng = np.random.default_rng(1)
    table = uncertainty.fit(*errors_of(rng, 2_000))
    assert table["sources"] == 2_000 and len(table["radii"]) == 8
    spreads, errors = errors_of(rng, 20_000)
    held = errors <= np.asarray(uncertainty.radius(spreads, table))
    assert held.mean() == pytest.approx(0.9, abs=0.02)
    for low, high in itertools.pairwise([0.01, 0.5, 1.0, 1.5, 2.0]):
        some = (spreads >= low) & (spreads < high)
        assert held[some].mean() == pytest.approx(0.9, abs=0.05)


def test_few_sources_make_one_group_and_radii_never_fall():
    few = uncertainty.fit(np.arange(1.0, 21.0), np.arange(20.0, 0.0, -1.0))
    assert few["radii"] == [19.0]  # Of 21, the 19th is the first rank of 90 %.
    falling = uncertainty.fit(np.arange(200.0), np.arange(200.0, 0.0, -1.0))
    assert falling["radii"] == sorted(falling["radii"])
    one = uncertainty.fit(np.array([0.0]), np.array([0.5]))
    assert one == {"spreads": [0.0], "radii": [0.5], "sources": 1}


def test_beyond_the_last_group_radii_grow_with_the_spread():
    table = {"spreads": [1.0, 2.0], "radii": [0.3, 0.5], "sources": 100}
    spreads = np.float32([0.0, 1.0, 1.5, 2.0, 6.0])
    found = uncertainty.radius(spreads, table)
    np.testing.assert_allclose(found, [0.3, 0.3, 0.4, 0.5, 1.5], rtol=1e-6)
