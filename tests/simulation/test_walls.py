"""Unequal walls: their filters against SciPy, their decay against rendered rooms."""

import dataclasses

import numpy as np
import pytest
import scipy.signal
from made_rooms import keys_of, silence

from benchmarks.rendering import measures
from uld_jax.acoustics import constants
from uld_jax.simulation import furniture, rendering, scenes, walls
from uld_jax.simulation import rooms as rooms_lib

RATE = constants.SAMPLE_RATE
RNG = np.random.default_rng(3)
ABSORPTION = RNG.uniform(0.05, 0.9, 6)
POLES = RNG.uniform(0.0, 0.6, 6)


@pytest.mark.parametrize("frequency", [0.0, 500.0, 1800.0, 4000.0, 8000.0])
def test_a_wall_is_a_one_pole_filter(frequency):
    gains = walls.filter_gain(ABSORPTION, POLES, frequency)
    for gain, absorption, pole in zip(gains, ABSORPTION, POLES, strict=True):
        numerator = [np.sqrt(1 - absorption) * (1 - pole)]
        _, response = scipy.signal.freqz(
            numerator, [1, -pole], worN=[frequency], fs=RATE
        )
        assert gain == pytest.approx(abs(response[0]), rel=1e-9)


def test_bands_have_the_gains_at_their_centers():
    low, high = walls.log_gains(ABSORPTION, POLES)
    np.testing.assert_allclose(
        np.exp(low), walls.filter_gain(ABSORPTION, POLES, 500.0), rtol=1e-12
    )
    np.testing.assert_allclose(
        np.exp(high), walls.filter_gain(ABSORPTION, POLES, 4000.0), rtol=1e-12
    )
    assert (high <= low).all()


def test_a_cube_decays_between_its_slowest_and_its_fastest_direction():
    size, absorption = np.array([4.0, 4.0, 4.0]), np.full(6, 0.3)
    found = walls.reverberation_time(size, absorption, np.zeros(6))
    # Along an axis sound meets a wall each side, along a diagonal sqrt(3) of them.
    exact = 6 * np.log(10) * 4.0 / (343.0 * -np.log(0.7))
    assert exact / np.sqrt(3) < found < exact


def test_half_the_absorption_in_nepers_takes_twice_as_long():
    size, nepers = np.array([5.0, 7.0, 3.0]), RNG.uniform(0.1, 1.0, 6)
    once, half = (
        walls.reverberation_time(size, -np.expm1(-nepers * part), np.zeros(6))
        for part in (1.0, 0.5)
    )
    assert half == pytest.approx(2 * once, rel=1e-3)


def test_rooms_are_computed_together_as_one_by_one():
    size = RNG.uniform(3, 9, (4, 3))
    absorption, poles = RNG.uniform(0.1, 0.7, (2, 4, 6))
    together = walls.reverberation_time(size, absorption, poles)
    each = [
        walls.reverberation_time(*one)
        for one in zip(size, absorption, poles, strict=True)
    ]
    np.testing.assert_allclose(together, each, rtol=1e-9)


@pytest.mark.parametrize("t60", [0.15, 0.5, 1.2])
def test_absorptions_are_found_for_a_t60(t60):
    size, ratios = np.array([6.0, 4.5, 3.0]), 2.0 ** RNG.uniform(-1, 1, 6)
    damping = RNG.uniform(0, 0.5, 6)
    absorption, poles = walls.absorptions_for(size, t60, ratios, damping)
    found = walls.reverberation_time(size, absorption, poles)
    assert found == pytest.approx(t60, rel=2e-3)
    nepers = -np.log1p(-absorption)
    np.testing.assert_allclose(nepers / nepers[0], ratios / ratios[0], rtol=1e-6)
    np.testing.assert_allclose(poles, damping * absorption, rtol=1e-9)


SETTINGS = rooms_lib.RenderSettings(
    num_samples=4000,
    before=0,
    late="full",
    responses=True,
    highpass=0.0,
    response_length=14_000,
)


@pytest.fixture(scope="module")
def furnished():
    """Rooms of the Ad-1 recipe with any furniture."""
    rng = np.random.default_rng(11)
    drawn = [
        dataclasses.replace(
            scenes.draw_adhoc(rng, 1, (10.0, 20.0), num_nodes=8), t60=t60
        )
        for t60 in np.linspace(0.25, 0.65, 6)
    ]
    kind = furniture.Ranges(share=1.0)
    inside = [kind.draw(number, scene) for number, scene in enumerate(drawn)]
    return rooms_lib.Rooms.of(drawn, inside)


def times_of(rooms, settings):
    """Return T30 below and above 1 kHz, mean over the nodes, by Schroeder's integral."""
    rendered = rendering.render(rooms, silence(rooms, settings), keys_of(6), settings)
    responses = np.asarray(rendered.responses[:, 0], float)
    times = []
    for band in ([200, 700], [2000, 7000]):
        edges = scipy.signal.butter(4, band, "band", fs=RATE, output="sos")
        part = scipy.signal.sosfiltfilt(edges, responses)
        times.append(measures.reverberation_time(part).mean(axis=1))
    return times


@pytest.mark.parametrize("late", rooms_lib.LATE_FIELDS)
def test_responses_decay_with_the_t60_asked_for(furnished, late):
    """With all that the recipe draws; high frequencies decay faster."""
    low, high = times_of(furnished, dataclasses.replace(SETTINGS, late=late))
    ratio = (low + high) / 2 / furnished.t60
    np.testing.assert_allclose(ratio, 1.0, atol=0.08)
    assert ratio.mean() == pytest.approx(1.0, abs=0.04)
    assert (high < low).mean() > 0.8
