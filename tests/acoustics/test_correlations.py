"""GCC-PHAT against its written-out definition in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.acoustics import correlations

EVERYWHERE = jnp.ones(3, bool)


_whiten = jax.jit(correlations.whiten, static_argnums=2)
correlate_pairs = jax.jit(correlations.correlate_pairs, static_argnums=(1, 2, 3))


def speech_like(num_samples, num_nodes=3, seed=0):
    """Return colored noise with a share in common, each node at another level."""
    rng = np.random.default_rng(seed)
    common = np.convolve(rng.normal(size=num_samples), [1, 1.6, 0.7], "same")
    noise = rng.normal(size=(num_nodes, num_samples))
    delayed = np.stack([np.roll(common, 7 * node) for node in range(num_nodes)])
    levels = 10.0 ** -np.arange(num_nodes)[:, None]
    return (levels * (delayed + 0.3 * noise)).astype(np.float32)


def whiten(signals, num_fft, *whitening, mask=EVERYWHERE):
    return _whiten(signals, jnp.asarray(mask), num_fft, *whitening)


def numpy_phat(signals, num_fft, max_lag):
    """Return all pairs' correlations by inverse transforms of whole length."""
    spectra = np.fft.rfft(signals.astype(float), num_fft)
    spectra /= np.abs(spectra)
    first, second = np.triu_indices(len(signals), 1)
    whole = np.fft.irfft(spectra[first] * spectra[second].conj(), num_fft)
    return np.concatenate([whole[:, -max_lag:], whole[:, : max_lag + 1]], axis=1)


@pytest.mark.parametrize(
    ("num_samples", "max_lag"),
    [(4000, 32), (500, 256)],
    ids=["many groups of blocks", "less than a block"],
)
def test_correlations_are_those_of_numpy(num_samples, max_lag):
    signals = speech_like(num_samples)
    num_fft = correlations.transform_length(num_samples, max_lag)
    spectra = whiten(signals, num_fft)
    expected = numpy_phat(signals, num_fft, max_lag)
    found = correlate_pairs(spectra, num_fft, max_lag, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    by_reference = correlations.correlate(spectra, spectra[1], num_fft, max_lag)
    np.testing.assert_allclose(by_reference[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(by_reference[2], expected[2][::-1], atol=1e-6)


def test_between_samples_the_correlation_is_that_of_a_shifted_signal():
    """Shift in the frequency domain; -50 dB, away from where lags are cut off."""
    signals, max_lag = speech_like(4000), 128
    num_fft = correlations.transform_length(4000, max_lag)
    spectra = whiten(signals, num_fft)
    found = np.asarray(correlate_pairs(spectra, num_fft, max_lag, 2))
    assert found.shape == (3, 4 * max_lag + 1)
    half = np.exp(1j * np.pi / num_fft * np.arange(num_fft // 2 + 1))
    spectra = np.asarray(spectra, complex)
    shifted = np.fft.irfft(spectra[0] * spectra[1].conj() * half, num_fft)
    expected = np.concatenate([shifted[-max_lag // 2 :], shifted[: max_lag // 2]])
    error = found[0, max_lag + 1 : 3 * max_lag : 2] - expected
    assert np.abs(error).max() < 10 ** (-50 / 20) * np.abs(expected).max()
    whole = numpy_phat(signals, num_fft, max_lag)
    np.testing.assert_allclose(found[:, ::2], whole, atol=1e-3)


def test_a_delay_is_a_peak_of_height_one_at_its_lag():
    """The first node of a pair receives it 5 samples later than the second."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=512).astype(np.float32)
    signals = np.stack([np.roll(noise, 5), noise])
    spectra = whiten(signals, 512, mask=EVERYWHERE[:2])
    (row,) = np.asarray(correlate_pairs(spectra, 512, 32, 1))
    np.testing.assert_allclose(row, np.arange(65) == 32 + 5, atol=1e-5)


def test_no_level_matters_and_no_lag_wraps_around():
    signals = speech_like(600)
    num_fft = correlations.transform_length(600, 200)
    assert num_fft >= 800
    quiet = signals * np.array([[1e-18], [1.0], [1e18]], np.float32)
    np.testing.assert_allclose(
        whiten(quiet, num_fft),
        whiten(signals, num_fft),
        atol=1e-4,
    )


def test_silent_and_absent_nodes_are_zero_whatever_they_hold():
    signals = speech_like(400)
    signals[0] = 0.0
    signals[2] = np.nan
    spectra = whiten(signals, 512, mask=[True, True, False])
    assert (np.asarray(spectra[::2]) == 0).all()
    np.testing.assert_allclose(np.abs(spectra[1]), 1.0, atol=1e-5)
    assert (np.asarray(correlate_pairs(spectra, 512, 32, 2)) == 0).all()


def test_less_whitening_keeps_a_power_of_the_magnitudes():
    signals = speech_like(400)
    found = np.asarray(whiten(signals, 512, 0.7))
    spectra = np.fft.rfft(signals.astype(float), 512)
    expected = spectra / np.abs(spectra) ** 0.7
    expected /= np.sqrt((np.abs(expected) ** 2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_correlation_is_read_as_by_cubic_convolution():
    """Exact for parabolas, and -50 dB for a peak that fills half of the band."""
    entries, lags = np.arange(-20, 21) / 2, np.linspace(-9, 9, 101)

    def read(function, lags):
        row = jnp.asarray(function(entries), jnp.float32)
        return np.asarray(
            correlations.interpolate(row, jnp.asarray(lags, jnp.float32), 2)
        )

    def parabola(lag):
        return 0.3 * lag**2 - lag + 2.0

    np.testing.assert_allclose(read(parabola, lags), parabola(lags), atol=1e-5)
    peak = read(lambda lag: np.sinc((lag - 0.2) / 2), lags)
    assert np.abs(peak - np.sinc((lags - 0.2) / 2)).max() < 10 ** (-50 / 20)
    ends = parabola(np.array([-9.5, 9.5]))
    np.testing.assert_allclose(read(parabola, [-100.0, 100.0]), ends, atol=1e-5)


def test_the_lag_bound_covers_the_nodes_and_seldom_changes():
    """The farthest two nodes are 10 m apart: 466.5 samples."""
    nodes = np.zeros((2, 3, 3), np.float32)
    nodes[1, 2] = [6.0, 8.0, 0.0]
    assert correlations.lag_bound(nodes) == 512
    assert correlations.lag_bound(nodes * 0.5) == 256
    assert correlations.lag_bound(nodes * 10) == 4864  # Of 4664.7 samples.
    nodes[1, 2] = np.nan
    mask = np.array([[True] * 3, [True, True, False]])
    assert correlations.lag_bound(nodes, mask) == 256
    bounds = []
    jax.jit(lambda nodes: bounds.append(correlations.lag_bound(nodes)))(
        jnp.asarray(nodes)
    )
    assert bounds == [correlations.LARGEST_LAG]
