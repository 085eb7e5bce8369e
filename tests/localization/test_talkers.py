"""Several talkers at once: each is found, in any order, and what is not there is doubted."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import several_talkers

import uld_jax
from uld_jax.acoustics import correlations
from uld_jax.localization import (
    conclusions,
    fusion,
    observation,
    posterior,
    srp_phat,
    times,
)

ROOM = np.array([6.0, 5.0, 2.8])
NODES = np.random.default_rng(0).uniform([0.2, 0.2, 0.6], [5.8, 4.8, 2.0], (10, 3))
PLACES = np.array([[2.3, 3.1, 1.4], [4.6, 1.2, 1.5], [1.0, 0.9, 1.3]])
RATE = several_talkers.RATE


def speak(places, nodes=NODES, seconds=2.0):
    return several_talkers.speak(places, nodes, seconds)


def match(found, places):
    """Compute the distances of the best assignment, in the order of the places."""
    apart = np.linalg.norm(
        np.array([one.position for one in found])[:, None] - places[:, :2], axis=-1
    )
    rows, columns = scipy.optimize.linear_sum_assignment(apart)
    return apart[rows, columns]


@pytest.fixture(scope="module")
def two():
    return uld_jax.localize(speak(PLACES[:2]), RATE, NODES, ROOM, num_sources=2)


def test_two_talkers_are_found_within_centimeters_and_their_radii(two):
    assert all(one.determined for one in two)
    wrong = match(two, PLACES[:2])
    assert wrong.max() < 0.03
    assert (wrong < 3 * np.array([one.radius_90 for one in two]).max()).all()
    assert not any("late" in reason for one in two for reason in one.reasons)


def test_three_talkers_are_found():
    found = uld_jax.localize(speak(PLACES), RATE, NODES, ROOM, num_sources=3)
    assert np.sort(match(found, PLACES))[:2].max() < 0.05
    sure = [one for one in found if one.determined]
    assert match(sure, PLACES).max() < 0.05


def test_the_order_of_nodes_and_the_level_change_nothing(two):
    order = np.random.default_rng(2).permutation(len(NODES))
    again = uld_jax.localize(
        100 * speak(PLACES[:2])[order], RATE, NODES[order], ROOM, num_sources=2
    )
    for one, other in zip(two, again, strict=True):
        np.testing.assert_allclose(one.position, other.position, atol=2e-3)


def test_a_second_talker_who_does_not_speak_is_doubted():
    first, second = uld_jax.localize(
        speak(PLACES[:1]), RATE, NODES, ROOM, num_sources=2
    )
    assert np.linalg.norm(first.position - PLACES[0, :2]) < 0.03
    assert not second.determined
    assert second.reasons


def test_clocks_that_differ_determine_no_second_talker():
    late = np.random.default_rng(3).integers(0, 800, len(NODES))
    signals = speak(PLACES[:2], seconds=2.1)
    moved = [
        one[shift : shift + 2 * RATE] for one, shift in zip(signals, late, strict=True)
    ]
    found = uld_jax.localize(np.array(moved), RATE, NODES, ROOM, num_sources=2)
    assert not any(
        one.determined and miss > 3 * one.radius_90
        for one, miss in zip(found, match(found, PLACES[:2]), strict=True)
    )
    assert not found[1].determined


def test_too_few_nodes_determine_nobody():
    found = uld_jax.localize(
        speak(PLACES[:2], NODES[:2]), RATE, NODES[:2], ROOM, num_sources=2
    )
    assert [one.determined for one in found] == [False, False]


def test_what_is_suppressed_is_the_talkers_lag_alone():
    """Against a pulse for each of two talkers at its lag, by hand."""
    nodes = np.float32([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    one, other = correlations.node_pairs(3)
    paths = np.linalg.norm(nodes - PLACES[:2, None], axis=-1) / 343.0 * RATE
    lags = paths[:, one] - paths[:, other]
    oversampling = srp_phat.OVERSAMPLING
    axis = np.arange(-400 * oversampling, 400 * oversampling + 1) / oversampling
    pulses = np.exp(-0.5 * (axis - lags[..., None]) ** 2)
    fit = times.Fit(
        jnp.float32(PLACES[0]),
        jnp.eye(2),
        jnp.float32(9.0),
        jnp.zeros(3),
        jnp.ones(3, bool),
    )
    both = jnp.float32(pulses.sum(axis=0))
    left = np.asarray(times.suppress(both, jnp.asarray(nodes), fit))
    assert np.abs(lags[0] - lags[1]).min() > 12
    np.testing.assert_allclose(left, pulses[1], atol=1e-3)


def test_an_offset_that_may_be_anothers_has_no_error_either(monkeypatch):
    observed = observation.observe(speak(PLACES[:1]), RATE, NODES, ROOM, None)
    points = posterior.grid(ROOM[:2], 8).reshape(-1, 2)
    masses = np.full(len(points), 1 / len(points))
    cloud = posterior.Cloud(points, masses, np.full(points.shape, 0.1))
    evidence = fusion.Evidence(cloud, PLACES[:1, :2], [], None, np.inf)
    offsets, errors = np.zeros(len(NODES)), np.full(len(NODES), 1e-5)
    offsets[3] = 0.02
    monkeypatch.setattr(
        conclusions,
        "_estimate_offsets",
        lambda *_: conclusions._Offsets(offsets, errors, 1.4, [], []),
    )
    found = conclusions.conclude(observed, evidence, alone=False)
    unknown = np.arange(len(NODES)) == 3
    np.testing.assert_array_equal(np.isnan(found.node_offsets), unknown)
    np.testing.assert_array_equal(np.isnan(found.node_offset_errors), unknown)
