"""Built-in noise."""

import numpy as np
from audio_files import RATE

from uld_jax.audio import builtin_noise


def band_powers(signal):
    """Return the power in the octaves from 62.5 Hz to 8 kHz."""
    power = np.abs(np.fft.rfft(signal.astype(float))) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / RATE)
    edges = 62.5 * 2.0 ** np.arange(8)
    return np.histogram(frequency, edges, weights=power)[0]


def test_builtin_noise_follows_from_its_name():
    for kind in ("pink", "hum", "babble", "clatter"):
        one = builtin_noise.synthesize(f"{kind}-train00")
        np.testing.assert_array_equal(one, builtin_noise.synthesize(f"{kind}-train00"))
        other = builtin_noise.synthesize(f"{kind}-dev00")
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.3


def test_builtin_noises_sound_as_they_are_called():
    # Power in octaves: pink alike, brown half as much in the next higher.
    pink = band_powers(builtin_noise.synthesize("pink-train00"))
    np.testing.assert_allclose(pink / pink[0], 1.0, rtol=0.2)
    brown = band_powers(builtin_noise.synthesize("brown-train00"))
    np.testing.assert_allclose(brown[1:] / brown[:-1], 0.5, rtol=0.2)
    # The hum's power is at multiples of the mains' frequency.
    hum = builtin_noise.synthesize("hum-train00").astype(float)
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
        frames = builtin_noise.synthesize(f"{kind}-train01").reshape(-1, 1600)
        levels = 10 * np.log10((frames.astype(float) ** 2).mean(axis=1))
        spread[kind] = levels.std()
    assert spread["pink"] < 0.8 < spread["babble"] < 4 < spread["clatter"]
