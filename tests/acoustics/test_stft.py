import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from uld_jax.acoustics import stft


@pytest.mark.parametrize("num_samples", [257, 2560, 3000, 16000])
def test_stft_is_scipys(num_samples):
    signals = np.random.default_rng(0).normal(size=(2, num_samples))
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.get_window("hann", 512, fftbins=True),
        hop=256,
        fs=16_000,
        phase_shift=None,
    )
    padded = np.pad(signals, [(0, 0), (256, 256)], mode="reflect")
    frames = num_samples // 256 + 1
    # SciPy's slice p is centered on sample 256 p of what it is given.
    expected = transform.stft(padded, p0=1, p1=frames + 1)
    expected = expected.swapaxes(1, 2)[..., 1:]
    actual = stft.stft(jnp.asarray(signals, jnp.float32))
    assert actual.shape == (2, frames, 256) == expected.shape
    assert stft.num_frames(num_samples) == frames
    error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert error < 1e-5


def test_l1_segments_have_eleven_frames():
    assert stft.num_frames(2560) == 11
    assert stft.num_frames(32_000) == 126


def test_features_stack_real_and_imaginary_parts():
    signals = jnp.asarray(np.random.default_rng(1).normal(size=(3, 1024)), jnp.float32)
    level = np.sqrt((np.asarray(signals) ** 2).mean())
    spectra = np.asarray(stft.stft(signals)) / level
    stacked = stft.spectral_features(signals)
    assert stacked.shape == (3, 5, 512)
    np.testing.assert_allclose(stacked[..., :256], spectra.real, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(stacked[..., 256:], spectra.imag, rtol=1e-3, atol=1e-4)


def test_a_scene_has_one_level():
    """Loudness of the scene drops out, level differences between nodes stay."""
    signals = np.random.default_rng(2).normal(size=(3, 1024)).astype(np.float32)
    signals *= np.array([1.0, 0.1, 3.0], np.float32)[:, None]
    quiet = stft.spectral_features(jnp.asarray(signals * 1e-3))
    loud = stft.spectral_features(jnp.asarray(signals * 1e3))
    np.testing.assert_allclose(quiet, loud, rtol=1e-3, atol=1e-3)
    energy = np.asarray((loud**2).mean((1, 2)))
    np.testing.assert_allclose(np.sqrt(energy[2] / energy[1]), 30.0, rtol=0.1)


def test_silence_stays_zero():
    assert (stft.spectral_features(jnp.zeros((2, 1024))) == 0).all()


def test_a_signal_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="256 samples is too short"):
        stft.stft(jnp.zeros((2, 256)))


@pytest.mark.parametrize("num_samples", [512, 2560, 2600])
def test_a_signal_comes_back_from_its_bins(num_samples):
    signals = np.random.default_rng(3).normal(size=(2, num_samples)).astype(np.float32)
    signals += 0.5  # The DC bin counts.
    back = stft.invert(stft.all_bins(jnp.asarray(signals)), num_samples)
    np.testing.assert_allclose(back, signals, atol=1e-5)


def test_the_inverse_of_changed_bins_is_scipys():
    """Bins that belong to no signal: the least-squares inverse."""
    rng = np.random.default_rng(4)
    bins = rng.normal(size=(11, 257)) + 1j * rng.normal(size=(11, 257))
    bins[:, [0, -1]] = bins[:, [0, -1]].real
    _, expected = scipy.signal.istft(
        bins.T, window="hann", nperseg=512, noverlap=256, scaling="psd"
    )
    # SciPy's spectra are scaled by the window, and its signal begins at sample 0, too.
    scale = np.sqrt((scipy.signal.get_window("hann", 512) ** 2).sum())
    actual = stft.invert(jnp.asarray(bins, jnp.complex64), 2560)
    assert expected.shape == (2560,)
    np.testing.assert_allclose(actual, expected / scale, atol=1e-5)
