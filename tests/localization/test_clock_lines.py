"""Clocks as lines over time: right within their standard errors, whatever wrong peaks."""

import unittest.mock

import numpy as np
import pytest

from uld_jax.localization import answers, clock_lines

SPEED = 343.0
PLACES = np.array([[1.0, 1.0], [4.0, 1.5], [2.0, 3.5]])


def windows(late, places=PLACES, radius=0.05):
    """Make the windows [W, M] of talkers who stay at each place for as many in turn."""
    stays = np.repeat(np.arange(len(places)), -(-len(late) // len(places)))
    return [
        unittest.mock.Mock(
            spec=answers.Localization,
            node_offsets=own,
            position=places[stay],
            determined=True,
            radius_90=radius,
        )
        for own, stay in zip(late, stays, strict=False)
    ]


def draw(rng, moments, offset, drift, place_error=0.01, time_error=0.003):
    """Draw how late a node is: its place is wrong, so that each place has an error."""
    own = rng.normal(scale=place_error / SPEED, size=len(PLACES))
    stays = np.repeat(np.arange(len(PLACES)), -(-len(moments) // len(PLACES)))
    noise = rng.normal(scale=time_error / SPEED, size=len(moments))
    middle = moments - moments.mean()
    return offset + drift * middle + own[stays[: len(moments)]] + noise


def test_lines_are_exact_without_errors():
    moments = np.arange(1.0, 25.0, 2.0)
    late = np.column_stack([0.01 + 2e-5 * (moments - 12.0), 0 * moments])
    found = clock_lines.fit(windows(late), moments)
    np.testing.assert_allclose(found.offsets, [0.01, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.drifts, [2e-5, 0.0], atol=1e-12)


def test_standard_errors_are_those_of_many_recordings():
    """By simulation: deviations in units of their errors have a deviation of one."""
    rng = np.random.default_rng(0)
    moments = np.arange(1.0, 25.0, 2.0)
    late = np.column_stack([draw(rng, moments, 0.02, 1.5e-5) for _ in range(600)])
    found = clock_lines.fit(windows(late), moments)
    for values, truth, sizes in (
        (found.offsets, 0.02, found.offset_errors),
        (found.drifts, 1.5e-5, found.drift_errors),
    ):
        scaled = (values - truth) / sizes
        assert np.isfinite(scaled).all()
        assert 0.85 < np.sqrt(np.mean(scaled**2)) < 1.1
    assert np.median(found.drift_errors) < 3e-6


def test_larger_errors_make_larger_standard_errors():
    rng = np.random.default_rng(1)
    moments = np.arange(1.0, 49.0, 2.0)
    late = np.column_stack(
        [draw(rng, moments, 0.0, 0.0, time_error=0.02) for _ in range(400)]
    )
    found = clock_lines.fit(windows(late), moments)
    assert 0.8 < np.sqrt(np.nanmean((found.drifts / found.drift_errors) ** 2)) < 1.25


def test_wrong_peaks_change_nothing():
    rng = np.random.default_rng(2)
    moments = np.arange(1.0, 33.0, 2.0)
    late = np.column_stack([draw(rng, moments, -0.01, 3e-5) for _ in range(100)])
    for own in late.T:
        wrong = rng.choice(len(moments), 6, replace=False)
        own[wrong] = rng.uniform(-0.02, 0.02, 6)
    found = clock_lines.fit(windows(late), moments)
    scaled = (found.drifts - 3e-5) / found.drift_errors
    assert np.mean(np.abs(scaled) < 3) > 0.97
    assert np.isfinite(found.offsets).all()


def test_one_place_shows_a_drift_and_no_offset():
    moments = np.arange(1.0, 25.0, 2.0)
    late = (0.004 + 1e-5 * moments)[:, None]
    found = clock_lines.fit(windows(late, PLACES[:1]), moments)
    assert np.isnan(found.offsets[0]) and np.isnan(found.offset_errors[0])
    assert found.drifts[0] == pytest.approx(1e-5)


def test_few_windows_show_no_drift_and_fewer_nothing():
    moments = np.array([1.0, 3.0, 9.0])
    late = np.full((3, 1), 0.002)
    found = clock_lines.fit(windows(late), moments)
    assert found.offsets[0] == pytest.approx(0.002) and np.isnan(found.drifts[0])
    assert np.isnan(clock_lines.fit(windows(late[:2]), moments[:2])).all()


def test_scattered_times_are_no_clock():
    rng = np.random.default_rng(3)
    moments = np.arange(1.0, 25.0, 2.0)
    late = rng.uniform(-0.02, 0.02, (len(moments), 50))
    found = clock_lines.fit(windows(late), moments)
    assert np.isnan(found.offsets).mean() > 0.95


@pytest.mark.parametrize("changed", [{"radius": 0.4}])
def test_unsure_positions_tell_nothing(changed):
    moments = np.arange(1.0, 25.0, 2.0)
    late = np.full((len(moments), 1), 0.002)
    assert np.isnan(clock_lines.fit(windows(late, **changed), moments)).all()
