"""Localization without the network of votes."""

import numpy as np
import pytest
from free_field import delay, free_field

import uld_jax
from uld_jax.localization import batches, localize, posterior, votes

ROOM = np.array([6.0, 5.0, 2.8])
TALKER = np.array([2.3, 3.1, 1.4])
NODES = np.random.default_rng(0).uniform([0.2, 0.2, 0.6], [5.8, 4.8, 2.0], (8, 3))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Make the network of votes an error."""

    def load_network(all_heights):
        raise AssertionError("the network of votes was asked")

    monkeypatch.setattr(votes, "load_network", load_network)


def record():
    return free_field(np.random.default_rng(1), [TALKER], NODES, 32_000)


def localize_one(signals, **given):
    return uld_jax.localize(signals, 16_000, NODES, ROOM, method="analytic", **given)


def error(found):
    return np.linalg.norm(found.position - TALKER[:2])


def test_exact_times_give_millimeters_and_say_so():
    found = localize_one(record())
    assert found.determined
    assert error(found) < 0.01
    assert error(found) < 3 * found.radius_90 < 0.1
    assert found.probability.sum() == pytest.approx(1.0)


def test_a_known_height_narrows_the_answer():
    found = localize_one(record(), source_height=1.4)
    assert error(found) < 0.005
    assert found.height == pytest.approx(1.4, abs=0.01)


def test_wrong_clocks_leave_amplitudes_which_are_as_sure_as_they_say():
    late = np.random.default_rng(2).normal(0, 0.01, len(NODES))
    moved = np.array(
        [
            delay(signal, [seconds])[0]
            for signal, seconds in zip(record(), late, strict=True)
        ]
    )
    found = localize_one(moved)
    assert found.determined
    assert error(found) < 0.1
    assert error(found) < found.radius_90 < 0.5
    # A position and the clocks it implies explain each other.
    implied = found.node_offsets - np.nanmedian(found.node_offsets)
    expected = late - np.median(late)
    known = np.isfinite(implied)
    assert known.sum() >= 4
    np.testing.assert_allclose(implied[known], expected[known], atol=2e-3)


def test_independent_noise_determines_nothing():
    noise = np.random.default_rng(3).normal(size=(8, 32_000))
    found = localize_one(noise)
    assert not found.determined
    assert found.radius_90 > 1.0


def test_a_batch_is_localized_one_by_one():
    signals = np.stack([record(), record()[:, ::-1]])
    positions, radii = localize.fused(
        signals, np.stack([NODES, NODES]), np.stack([ROOM, ROOM]), method="analytic"
    )
    alone = localize_one(signals[0])
    np.testing.assert_array_equal(positions[0, 0], np.float32(alone.position))
    assert radii[0, 0] == np.float32(alone.radius_90)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_sources": 2}, "method is 'analytic', which cannot tell talkers apart"),
        ({"num_sources": 0}, "num_sources is 0; ask for 1 to 3"),
    ],
)
def test_what_needs_the_network_is_refused(given, message):
    with pytest.raises(batches.RecordingError, match=message):
        localize_one(record(), **given)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(batches.RecordingError, match="'votes'; give one of fused, ana"):
        uld_jax.localize(record(), 16_000, NODES, ROOM, method="votes")


def test_an_even_posterior_is_that_of_a_rectangle():
    sides = np.array([4.0, 3.0])
    cloud = posterior.spread_evenly(sides, 64)
    assert cloud.masses.sum() == pytest.approx(1.0)
    # A uniform distribution has a variance of a twelfth of its squared width.
    np.testing.assert_allclose(
        posterior.scatter(cloud, sides / 2),
        np.diag(sides**2 / 12),
        rtol=0.04,
        atol=1e-9,
    )
