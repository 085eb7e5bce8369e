"""Clocks of nodes: resampled sines and noise against their closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import decibels

from uld_jax.acoustics import constants
from uld_jax.simulation import node_clocks

RATE, COUNT = constants.SAMPLE_RATE, 16_000
DRIFTS = np.float32([0.0, 100.0, -100.0, 35.0, 200.0])
OFFSETS = np.float32([0.3, 0.0, 0.5, -0.5, 0.0])


def read(signal_at, drifts=DRIFTS, offsets=OFFSETS):
    """Return what nodes read of a signal, given at times in samples."""
    beside = node_clocks.reach(COUNT)
    signal = signal_at(np.arange(-beside, COUNT + beside, dtype=float))
    signals = jnp.asarray(np.tile(signal, (len(drifts), 1)), jnp.float32)
    read = node_clocks.read_by_clocks(
        signals, jnp.asarray(drifts), jnp.asarray(offsets), beside, COUNT
    )
    return np.asarray(read, float)


@pytest.mark.parametrize("frequency", [100.0, 1500.0, 4000.0, 6500.0])
def test_a_sine_is_read_when_the_clock_says(frequency):
    angular = 2 * np.pi * frequency / RATE
    found = read(lambda times: np.sin(angular * times))
    samples = np.arange(COUNT, dtype=float)
    for row, drift, offset in zip(found, DRIFTS, OFFSETS, strict=True):
        times = samples + drift * 1e-6 * (samples - COUNT / 2) + offset
        assert decibels(row, np.sin(angular * times)) < (
            -50 if frequency < 5000 else -42
        )


def test_the_delay_is_right_to_a_thousandth_of_a_sample():
    """Phase of a sine at 2 kHz, in the middle of the segment."""
    angular = 2 * np.pi * 2000.0 / RATE
    found = read(lambda times: np.sin(angular * times), 0 * DRIFTS, OFFSETS)
    samples = np.arange(COUNT)
    phase = np.angle(found @ np.exp(-1j * angular * samples) * 1j)
    np.testing.assert_allclose(phase / angular, OFFSETS, atol=1e-3)


def test_exact_clocks_change_no_bit():
    noise = np.random.default_rng(0).normal(size=COUNT + 2 * node_clocks.reach(COUNT))
    found = read(lambda _: noise, 0 * DRIFTS, 0 * OFFSETS)
    beside = node_clocks.reach(COUNT)
    exact = np.float32(noise)[beside : beside + COUNT]
    for row in found:
        np.testing.assert_array_equal(np.float32(row), exact)
