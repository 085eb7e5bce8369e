"""Alignment against known delays, amplitudes against free field, likelihoods by SciPy."""

import free_field
import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from uld_jax.acoustics import constants
from uld_jax.localization import alignment

TALKER = np.array([2.3, 3.1, 1.5])
RNG = np.random.default_rng(4)
NODES = np.float32(RNG.uniform([0, 0, 0.5], [6, 5, 2.2], (9, 3)))
PATHS = np.linalg.norm(NODES - TALKER, axis=1)
ALL = np.ones(9, bool)
correlate = jax.jit(alignment.correlate)
measure = jax.jit(alignment.measure)
align_blind = jax.jit(alignment.align_blind)
align_guided = jax.jit(alignment.align_guided)
log_likelihoods = jax.jit(alignment.log_likelihoods)


def record(late, num_samples=16_000, noise=0.0, windows=1):
    """Record a colored noise in free field, with some clocks late, in seconds."""
    source = np.cumsum(RNG.normal(size=2**16)) * 0.2 + RNG.normal(size=2**16)
    source -= source.mean()
    delays = PATHS / constants.SPEED_OF_SOUND + late
    signals = free_field.delay(source, delays) / PATHS[:, None]
    signals += noise * RNG.normal(size=signals.shape)
    starts = 8_000 + num_samples * np.arange(windows)
    cut = [signals[:, start : start + num_samples] for start in starts]
    return np.float32(cut), delays


def away(found, delays):
    """Compute errors of delays in seconds, up to a common one."""
    error = np.asarray(found, np.float64) - delays
    error -= np.median(error)
    return (error + 0.25) % 0.5 - 0.25


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.08])
def test_nodes_are_aligned_whatever_their_clocks(spread):
    signals, delays = record(spread * RNG.normal(size=9), noise=0.05)
    found = align_blind(correlate(signals, ALL))
    assert np.abs(away(found / 8000, delays)).max() < 1.5 / 8000
    refined = measure(signals, ALL, found[None])
    assert np.abs(away(refined.delays[0], delays)).max() < 0.2 / 16_000


def test_a_position_guides_the_alignment():
    signals, delays = record(0.001 * RNG.normal(size=9), noise=0.05)
    envelopes = correlate(signals, ALL)
    near = np.float32(TALKER + np.array([0.15, -0.1, 0.1]))
    found = align_guided(envelopes, NODES, ALL, near)
    assert np.abs(away(found / 8000, delays)).max() < 1.5 / 8000


def test_windows_of_the_same_clocks_are_added_up():
    late = 0.02 * RNG.normal(size=9)
    signals, delays = record(late, num_samples=4_000, noise=2.0, windows=8)
    few = np.abs(away(align_blind(correlate(signals[:1], ALL)) / 8000, delays))
    many = np.abs(away(align_blind(correlate(signals, ALL)) / 8000, delays))
    assert (many < 2 / 8000).sum() > (few < 2 / 8000).sum()


def test_amplitudes_fall_with_distance_in_free_field():
    signals, delays = record(0.005 * RNG.normal(size=9), num_samples=32_000)
    lags = np.rint(delays * 8000).astype(int)
    found = measure(signals, ALL, lags[None])
    relative = found.amplitudes[0] * PATHS
    np.testing.assert_allclose(relative / relative.mean(), 1.0, atol=0.02)
    # Nothing but direct sound is received.
    np.testing.assert_allclose(found.powers[0], found.amplitudes[0] ** 2, rtol=0.03)


def test_factor_does_not_see_the_diagonal():
    amplitudes = np.float32(RNG.uniform(0.2, 2.0, 9))
    gram = np.outer(amplitudes, amplitudes) + np.diag(np.float32(RNG.uniform(0, 9, 9)))
    found, powers = jax.jit(alignment.factor)(gram)
    np.testing.assert_allclose(found, amplitudes, rtol=1e-3)
    np.testing.assert_array_equal(powers, np.diag(gram))


def measured(noise=0.05):
    amplitudes = np.float32(np.exp(noise * RNG.normal(size=9)) / PATHS)
    powers = np.float32(amplitudes**2 + 0.1)
    return alignment.Alignment(
        np.zeros((1, 9), np.float32), amplitudes[None], powers[None]
    )


def test_likelihoods_are_those_of_scipy():
    found = measured()
    points = np.float32([TALKER, TALKER + np.array([0.5, 0.2, 0.0])])
    error = 0.04 * np.sqrt(found.powers[0]) / found.amplitudes[0]

    def best(values, scales):
        def cost(center):
            return -scipy.stats.t.logpdf(values, 3, center, scales).sum()

        grid = np.linspace(values.min(), values.max(), 200)
        start = min(grid, key=cost)
        bounds = (start - 0.1, start + 0.1)
        return -scipy.optimize.minimize_scalar(
            cost, bounds=bounds, method="bounded"
        ).fun

    for number, point in enumerate(points):
        values = np.log(np.linalg.norm(NODES - point, axis=1) * found.amplitudes[0])
        gains = [best(values, np.hypot(error, gain)) for gain in (0.08, 0.2, 0.45, 0.9)]
        expected = scipy.special.logsumexp(gains) - np.log(4)
        expected -= best(np.log(found.amplitudes[0]), np.hypot(error, 0.8))
        logs = log_likelihoods(points, NODES, ALL, found)
        assert logs[0, number] == pytest.approx(expected, abs=0.02)


def test_the_talkers_place_is_the_likeliest():
    axis = np.linspace(0.2, 5.0, 25)
    x, y = np.meshgrid(axis, axis)
    points = np.float32(np.stack([x, y, np.full_like(x, 1.5)], axis=-1).reshape(-1, 3))
    logs = np.asarray(log_likelihoods(points, NODES, ALL, measured(0.01))[0])
    assert np.linalg.norm(points[logs.argmax()] - TALKER) < 0.25
    assert logs.max() > 5


def test_few_known_amplitudes_say_nothing():
    found = measured()
    powers = found.powers.copy()
    powers[:, 2:] = 1e4
    logs = log_likelihoods(NODES[:3], NODES, ALL, found._replace(powers=powers))
    np.testing.assert_array_equal(logs, 0.0)


def test_an_absent_node_equals_none():
    signals, _ = record(0.01 * RNG.normal(size=9), noise=0.05)
    mask = ALL.copy()
    mask[7:] = False
    whole = correlate(signals, mask)
    fewer = correlate(signals[:, :7], mask[:7])
    np.testing.assert_allclose(whole[:7, :7], fewer, atol=1e-3)
    np.testing.assert_array_equal(whole[7:], 0.0)
    position = np.float32(TALKER)
    guided = align_guided(whole, NODES, mask, position)
    np.testing.assert_array_equal(
        guided[:7], align_guided(fewer, NODES[:7], mask[:7], position)
    )
    one = measure(signals, mask, guided[None])
    other = measure(signals[:, :7], mask[:7], guided[None, :7])
    points = np.float32(TALKER + RNG.normal(size=(20, 3)))
    np.testing.assert_allclose(
        log_likelihoods(points, NODES, mask, one),
        log_likelihoods(points, NODES[:7], mask[:7], other),
        atol=0.05,
    )


def test_silence_has_no_likelihood():
    signals = np.zeros((1, 9, 4_000), np.float32)
    lags = align_blind(correlate(signals, ALL))
    found = measure(signals, ALL, lags[None])
    logs = log_likelihoods(NODES, NODES, ALL, found)
    np.testing.assert_array_equal(logs, 0.0)


def test_a_late_node_is_found_by_the_others():
    late = np.zeros(9)
    late[[2, 5]] = 0.2, -0.0123
    signals, _ = record(late, num_samples=32_000, noise=0.3)
    trusted = ALL.copy()
    trusted[[2, 5]] = False
    paths = np.float32(PATHS / constants.SPEED_OF_SOUND)
    found, contrast = jax.jit(alignment.find_late)(signals, ALL, trusted, paths)
    np.testing.assert_allclose(found, late, atol=0.2 / 16_000)
    assert contrast.min() > 7


def test_a_node_with_nothing_in_common_does_not_stand_out():
    signals, _ = record(0.0, num_samples=32_000)
    signals[0, 4] = RNG.normal(size=32_000)
    signals[0, 6] = 0.0
    paths = np.float32(PATHS / constants.SPEED_OF_SOUND)
    _, contrast = jax.jit(alignment.find_late)(signals, ALL, ALL, paths)
    assert contrast[4] < 6
    assert contrast[6] == 0
    assert np.delete(contrast, [4, 6]).min() > 7
