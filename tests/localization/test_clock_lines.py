"""Clocks as lines over time: right within their standard errors, whatever wrong peaks."""

from unittest import mock

import numpy as np
import pytest

from uld_jax.localization import answers, clock_lines

SPEED = 343.0
PLACES = np.array([[1.0, 1.0, 1.5], [4.0, 1.5, 1.2], [2.0, 3.5, 1.4]])
MOMENTS = np.arange(1.0, 37.0, 2.0)


def windows(rng, offsets, drifts, places=PLACES, moments=MOMENTS, **errors):
    """Make windows of talkers at each place in turn, as `localize` would see them.

    Positions are off, differently in each window, and times are relative to these.
    """
    errors = {"time": 0.003, "node": 0.005, "position": 0.05, "wrong": 0.0} | errors
    count = len(offsets)
    angles = 2 * np.pi * np.arange(count) / count
    nodes = np.column_stack([2.5 + 2.4 * np.cos(angles), 2.2 + 2 * np.sin(angles)])
    nodes = np.column_stack([nodes, 1.0 + 0.3 * np.cos(3 * angles)])
    true_nodes = nodes + rng.normal(scale=errors["node"], size=nodes.shape)
    found = []
    for number, moment in enumerate(moments):
        place = places[number * len(places) // len(moments)]
        seen = place + rng.normal(scale=errors["position"], size=3)
        late = offsets + drifts * (moment - moments.mean())
        late = late + np.linalg.norm(place - true_nodes, axis=1) / SPEED
        late = late - np.linalg.norm(seen - nodes, axis=1) / SPEED
        late = late + rng.normal(scale=errors["time"], size=count) / SPEED
        wrong = rng.uniform(size=count) < errors["wrong"]
        late = np.where(wrong, rng.uniform(-0.02, 0.02, count), late)
        found.append(
            mock.Mock(
                spec=answers.Localization,
                node_positions=nodes,
                node_offsets=late - np.median(late),
                position=seen[:2],
                height=seen[2],
                determined=True,
                radius_90=0.1,
            )
        )
    return found


def clocks(count, node=1, offset=0.0, drift=0.0):
    offsets, drifts = np.zeros((2, count))
    offsets[node], drifts[node] = offset, drift
    return offsets, drifts


@pytest.mark.parametrize("drift", [3e-5, -1.5e-4])
def test_a_clock_is_found_without_errors(drift):
    rng = np.random.default_rng(0)
    expected = clocks(7, 1, 0.01, drift)
    lines = clock_lines.fit(windows(rng, *expected, time=0.0, node=0.0), MOMENTS)
    np.testing.assert_allclose(lines.offsets, expected[0], atol=5e-6)
    np.testing.assert_allclose(lines.drifts, expected[1], atol=3e-7)


@pytest.mark.parametrize(("count", "wrong"), [(6, 0.0), (8, 0.1)])
def test_deviations_are_those_that_standard_errors_say(count, wrong):
    """By simulation: small drifts, too, which a position by them would hide."""
    rng = np.random.default_rng(count)
    offset, drift = 3e-4, 3e-5
    scaled, sizes = [], []
    for _ in range(30):
        found = windows(rng, *clocks(count, 1, offset, drift), wrong=wrong)
        lines = clock_lines.fit(found, MOMENTS)
        known = np.array([lines.offsets[1] - offset, lines.drifts[1] - drift])
        errors = np.array([lines.offset_errors[1], lines.drift_errors[1]])
        scaled.append(known / errors)
        sizes.append(lines.drift_errors[1])
    assert np.isfinite(scaled).mean() > 0.9
    deviations = np.sqrt(np.nanmean(np.square(scaled), axis=0))
    assert (deviations > 0.3).all() and (deviations < 1.3).all()
    assert np.nanmedian(sizes) < 4e-6


def test_nothing_drifts_where_clocks_agree():
    rng = np.random.default_rng(3)
    scaled = []
    for _ in range(20):
        lines = clock_lines.fit(windows(rng, *clocks(6), wrong=0.1), MOMENTS)
        scaled.append(lines.drifts / lines.drift_errors)
    assert np.nanmax(np.abs(scaled)) < 4


def test_one_place_shows_a_drift_and_no_offset():
    found = windows(np.random.default_rng(4), *clocks(7, 2, 2e-4, 2e-5), PLACES[:1])
    lines = clock_lines.fit(found, MOMENTS)
    assert np.isnan(lines.offsets).all() and np.isnan(lines.offset_errors).all()
    assert lines.drifts[2] == pytest.approx(2e-5, abs=4 * lines.drift_errors[2])


def test_few_windows_show_no_drift_and_fewer_nothing():
    moments = np.array([1.0, 3.0, 9.0])
    found = windows(np.random.default_rng(5), *clocks(7, 1, 2e-3), moments=moments)
    lines = clock_lines.fit(found, moments)
    assert lines.offsets[1] == pytest.approx(2e-3, abs=4 * lines.offset_errors[1])
    assert np.isnan(lines.drifts).all()
    assert np.isnan(clock_lines.fit(found[:2], moments[:2])).all()


def test_scattered_times_are_no_clock():
    rng = np.random.default_rng(6)
    found = windows(rng, *clocks(6))
    for one in found:
        one.node_offsets[3] = rng.uniform(-0.02, 0.02)
    assert np.isnan(clock_lines.fit(found, MOMENTS).offsets[3])


def test_windows_that_are_not_determined_tell_nothing():
    found = windows(np.random.default_rng(7), *clocks(6))
    for one in found:
        one.determined = False
    assert np.isnan(clock_lines.fit(found, MOMENTS)).all()
