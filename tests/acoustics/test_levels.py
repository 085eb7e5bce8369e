import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from uld_jax.acoustics import levels

RNG = np.random.default_rng(0)
SIGNALS = RNG.normal(size=(3, 8000)) * [[1.0], [0.3], [0.1]]


def level_statistics(signals, mask=None):
    return np.asarray(levels.level_statistics(jnp.asarray(signals), mask))


def band_levels(signals):
    return np.asarray(levels.band_levels(jnp.asarray(signals)))


def test_filters_are_triangles_between_mel_frequencies():
    found = levels.mel_filters()
    assert found.shape == (256, 24)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-6)
    mels = np.linspace(
        *(2595 * np.log10(1 + np.array([100.0, 7600.0]) / 700)), levels.NUM_BANDS + 2
    )
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.arange(1, 257) * 31.25
    for band in range(8, 24):  # Wide enough to hold several bins.
        expected = np.interp(bins, edges[band : band + 3], [0, 1, 0], left=0, right=0)
        np.testing.assert_allclose(found[:, band], expected / expected.sum(), atol=1e-6)


def test_white_noise_of_unit_power_is_at_zero_decibels():
    noise = np.random.default_rng(1).normal(size=(1, 160_000))
    found = np.asarray(band_levels(noise))
    mean = 10 * np.log10((10 ** (found / 10)).mean(axis=(0, 1)))
    np.testing.assert_allclose(mean, 0, atol=0.3)


def test_levels_are_those_of_scipys_spectrogram():
    _, _, spectra = scipy.signal.stft(
        SIGNALS, nperseg=512, boundary="even", padded=False, scaling="spectrum"
    )
    powers = np.abs(spectra[:, 1:]) ** 2 * 256**2  # SciPy divides by the window's sum.
    level = np.sqrt((SIGNALS**2).mean())
    bands = np.einsum("mft,fb->mtb", powers, levels.mel_filters())
    expected = 10 * np.log10(bands / (0.375 * 512 * level**2) + 1e-8)
    found = band_levels(SIGNALS)
    frames = slice(1, expected.shape[1] - 1)  # The ends are mirrored otherwise.
    np.testing.assert_allclose(found[:, frames], expected[:, frames], atol=2e-2)


def test_statistics_are_those_of_numpy():
    of_time = np.asarray(band_levels(SIGNALS), np.float64)
    found = level_statistics(SIGNALS)
    quantiles = np.quantile(of_time, levels.QUANTILES, axis=1, method="nearest")
    np.testing.assert_allclose(found[:, :3], np.moveaxis(quantiles, 0, 1), atol=1e-3)
    power = 10 * np.log10((10 ** (of_time / 10)).mean(axis=1))
    np.testing.assert_allclose(found[:, 3], power, atol=1e-3)
    steps = np.diff(of_time, axis=1)
    count = of_time.shape[1]
    rise, fall = np.clip(steps, 0, None), np.clip(steps, None, 0)
    np.testing.assert_allclose(found[:, 4], rise.sum(axis=1) / count, atol=1e-3)
    np.testing.assert_allclose(found[:, 5], fall.sum(axis=1) / count, atol=1e-3)
    np.testing.assert_allclose(found[:, 6], of_time.std(axis=1), atol=1e-3)


def test_a_gain_raises_the_levels_alone():
    before = np.asarray(level_statistics(SIGNALS))
    gains = np.array([[2.0], [1.0], [1.0]])
    after = np.asarray(level_statistics(SIGNALS * gains))
    change = after[0] - before[0] - (after[1] - before[1])
    rises = levels.NUM_LEVELS
    np.testing.assert_allclose(change[:rises], 20 * np.log10(2), atol=2e-3)
    np.testing.assert_allclose(change[rises:], 0, atol=2e-3)


def test_silence_is_finite_and_absent_nodes_do_not_matter():
    silent = np.concatenate([SIGNALS, np.zeros((1, 8000))])
    assert np.isfinite(np.asarray(level_statistics(np.zeros((2, 8000))))).all()
    mask = jnp.array([True, True, True, False])
    found = level_statistics(silent, mask)
    np.testing.assert_allclose(found[:3], level_statistics(SIGNALS), atol=1e-3)


def test_too_short_signals_are_refused():
    with pytest.raises(ValueError, match="too short"):
        level_statistics(np.zeros((2, 200)))
