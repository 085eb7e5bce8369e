"""Deposited pulses against sums in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import decibels

from uld_jax.simulation import nonuniform_fft

NUM_FFT = 2048


def hann_sinc(delays, gains):
    """Return the sum of pulses under a Hann window of 81 taps, in float64."""
    time = np.arange(NUM_FFT) - nonuniform_fft.LEAD - np.asarray(delays, float)[:, None]
    window = np.where(np.abs(time) < 40, 0.5 + 0.5 * np.cos(np.pi * time / 40), 0)
    return (np.asarray(gains, float)[:, None] * np.sinc(time) * window).sum(0)


@functools.partial(jax.jit, static_argnames="deterministic")
def responses(delays, gains, deterministic=False):
    batch = delays.shape[:-1]
    grid = nonuniform_fft.empty(batch, NUM_FFT, deterministic=deterministic)
    grid = nonuniform_fft.deposit(grid, delays, gains)
    return nonuniform_fft.spectra(grid, batch, NUM_FFT)


def draw(num_responses, num_pulses, seed=0):
    rng = np.random.default_rng(seed)
    delays = rng.uniform(
        0, NUM_FFT - 2 * nonuniform_fft.LEAD - 2, (num_responses, num_pulses)
    )
    gains = rng.uniform(0.1, 1, (num_responses, num_pulses))
    return jnp.asarray(delays, jnp.float32), jnp.asarray(gains, jnp.float32)


def test_many_pulses_are_their_sum():
    delays, gains = draw(3, 200)
    actual = np.asarray(responses(delays, gains))
    expected = np.fft.rfft(
        [hann_sinc(*pair) for pair in zip(delays, gains, strict=True)]
    )
    below_7k = slice(0, NUM_FFT * 7 // 16)
    for mine, exact in zip(actual, expected, strict=True):
        assert decibels(mine, exact) < -55
        assert decibels(mine[below_7k], exact[below_7k]) < -65


def test_pulses_have_their_delay_and_no_ripple():
    """512 fractions; phase slope and level from 0.1 to 7 kHz."""
    delays = 300 + np.arange(512) / 512
    spectra = np.asarray(
        responses(jnp.asarray(delays[:, None], jnp.float32), jnp.ones((512, 1)))
    )
    bins = np.arange(13, 896)
    angular = 2 * np.pi * bins / NUM_FFT
    turned = spectra[:, bins] * np.exp(
        1j * angular * (nonuniform_fft.LEAD + delays[:, None])
    )
    slopes = (np.angle(turned) * angular).sum(1) / (angular**2).sum()
    assert np.abs(slopes).max() < 2e-4
    assert np.ptp(slopes) < 4e-4
    assert np.abs(20 * np.log10(np.abs(turned))).max() < 0.03


def test_the_earliest_and_the_latest_pulse_are_whole():
    delays = jnp.array([[0.0], [NUM_FFT - 2 * nonuniform_fft.LEAD - 2.0]])
    actual = np.fft.irfft(responses(delays, jnp.ones((2, 1))), NUM_FFT)
    for mine, delay in zip(actual, delays, strict=True):
        assert decibels(mine, hann_sinc(delay, [1.0])) < -55


def test_int32_sums_do_not_depend_on_the_order():
    delays, gains = draw(2, 5000)
    shuffled = np.random.default_rng(1).permutation(5000)
    straight = responses(delays, gains, deterministic=True)
    other = responses(delays[:, shuffled], gains[:, shuffled], deterministic=True)
    np.testing.assert_array_equal(straight, other)
    inexact = responses(delays, gains)
    assert decibels(straight, np.asarray(inexact)) < -95
    reordered = responses(delays[:, shuffled], gains[:, shuffled])
    assert decibels(reordered, np.asarray(inexact)) < -120


def test_as_many_coincident_pulses_as_promised_do_not_overflow():
    delays, gains = jnp.full((1, 15), 100.0), jnp.ones((1, 15))
    actual = responses(delays, gains, deterministic=True)
    assert decibels(actual, np.asarray(responses(delays, gains))) < -95


def test_pulses_add_to_what_is_in_the_grid():
    delays, gains = draw(2, 50)
    grid = nonuniform_fft.empty((2,), NUM_FFT, deterministic=False)
    for half in (slice(0, 25), slice(25, 50)):
        grid = nonuniform_fft.deposit(grid, delays[:, half], gains[:, half])
    in_parts = nonuniform_fft.spectra(grid, (2,), NUM_FFT)
    assert decibels(in_parts, np.asarray(responses(delays, gains))) < -100


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_empty_grid_is_silent(deterministic):
    grid = nonuniform_fft.empty((1,), NUM_FFT, deterministic=deterministic)
    assert not np.asarray(nonuniform_fft.spectra(grid, (1,), NUM_FFT)).any()
