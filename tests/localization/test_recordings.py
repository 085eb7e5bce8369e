"""Recordings before they are localized: moved clocks, clipped nodes."""

import numpy as np
import pytest

from uld_jax.localization import recordings


def test_signals_are_moved_by_parts_of_a_sample():
    rng = np.random.default_rng(7)
    smooth = np.fft.irfft(np.fft.rfft(rng.normal(size=4096))[:900], 4096)
    time = np.arange(1000) + 1500
    late = np.array([0.0, 3.25, -7.5]) / 16_000
    signals = np.array(
        [np.interp(time - 16_000 * one, np.arange(4096), smooth) for one in late]
    )
    moved = recordings.advance(signals, late, 16_000)
    inner = slice(100, -100)
    scale = np.abs(signals[0]).max()
    for one in (1, 2):
        assert np.abs(moved[one] - moved[0])[inner].max() < 0.1 * scale


@pytest.mark.parametrize("kind", [np.float64, np.int16])
def test_clipping_is_a_plateau_whatever_the_numbers(kind):
    noise = np.random.default_rng(0).normal(size=16_000)
    high = 32_767 * noise / np.quantile(noise, 0.95)
    clipped = np.clip(high, -32_768, 32_767).astype(kind)
    assert recordings._share_clipped(clipped) > 0.001
    whole = (0.9 * 32_767 * noise / np.abs(noise).max()).astype(kind)
    assert recordings._share_clipped(whole) < 0.001
    clipped = np.repeat(clipped[::2], 2)  # Longer plateaus.
    assert recordings._share_clipped(clipped) > 0.05
