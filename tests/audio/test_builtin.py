"""Built-in speech and noise."""

import numpy as np
from audio_files import RATE

from uld_jax.acoustics import constants
from uld_jax.audio import builtin, corpora


def band_powers(signal):
    """Return the power in the octaves from 62.5 Hz to 8 kHz."""
    power = np.abs(np.fft.rfft(signal.astype(float))) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / RATE)
    edges = 62.5 * 2.0 ** np.arange(8)
    return np.histogram(frequency, edges, weights=power)[0]


def test_builtin_noise_follows_from_its_name():
    for kind in ("pink", "hum", "babble", "clatter"):
        one = builtin.synthesize(f"{kind}-train00")
        np.testing.assert_array_equal(one, builtin.synthesize(f"{kind}-train00"))
        other = builtin.synthesize(f"{kind}-dev00")
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.3


def test_builtin_noises_sound_as_they_are_called():
    # Power in octaves: pink alike, brown half as much in the next higher.
    pink = band_powers(builtin.synthesize("pink-train00"))
    np.testing.assert_allclose(pink / pink[0], 1.0, rtol=0.2)
    brown = band_powers(builtin.synthesize("brown-train00"))
    np.testing.assert_allclose(brown[1:] / brown[:-1], 0.5, rtol=0.2)
    # The hum's power is at multiples of the mains' frequency.
    hum = builtin.synthesize("hum-train00").astype(float)
    power = np.abs(np.fft.rfft(hum * np.hanning(len(hum)))) ** 2
    frequency = np.fft.rfftfreq(len(hum), 1 / RATE)
    shares = []
    for mains in (50.0, 60.0):
        order = np.round(frequency / mains)
        near = np.abs(frequency - order * mains) < 0.5 + 0.002 * frequency
        shares.append(power[near & (order > 0)].sum() / power.sum())
    assert max(shares) > 0.9
    # Levels of 100 ms: knocks have gaps, babble wavers, pink noise is steady.
    spread = {}
    for kind in ("pink", "babble", "clatter"):
        frames = builtin.synthesize(f"{kind}-train01").reshape(-1, 1600)
        levels = 10 * np.log10((frames.astype(float) ** 2).mean(axis=1))
        spread[kind] = levels.std()
    assert spread["pink"] < 0.8 < spread["babble"] < 4 < spread["clatter"]


def test_builtin_talkers_are_disjoint_and_voiced():
    corpus = corpora.open_speech("builtin")
    summary = corpus.summary()
    assert summary["train_talkers"] == 40
    one = builtin.synthesize("train00-0")
    assert one.shape == (4 * RATE,)
    assert one.dtype == np.float32
    np.testing.assert_allclose(np.sqrt((one**2).mean()), 0.1, rtol=1e-3)
    np.testing.assert_array_equal(one, builtin.synthesize("train00-0"))
    assert (one != builtin.synthesize("train00-1")).any()
    # A voice is periodic: the autocorrelation has a peak within pitch range.
    peaks = []
    for name in ("train00-0", "train07-1", "dev03-2"):
        signal = builtin.synthesize(name)
        correlation = np.fft.irfft(np.abs(np.fft.rfft(signal, 2**17)) ** 2)
        peaks.append(correlation[60:250].max() / correlation[0])
    assert min(peaks) > 0.2


def test_audio_and_acoustics_have_one_sample_rate():
    """Neither may import the other."""
    assert builtin.SAMPLE_RATE == constants.SAMPLE_RATE
