"""Recorders whose signals have the sign of the others changed."""

import numpy as np
import pytest

from uld_jax.audio import polarity


def windows(num_nodes, noise, seed=0):
    """Make windows [3, M, N] of one talker, late by some samples at each node."""
    rng = np.random.default_rng(seed)
    talk = rng.normal(size=(3, 9000))
    late = rng.integers(0, 500, num_nodes)
    signals = np.stack([talk[:, 500 - k : 8500 - k] for k in late], axis=1)
    return signals + noise * rng.normal(size=signals.shape)


@pytest.mark.parametrize("inverted", [[], [0], [3], [1, 2]])
def test_the_fewer_are_named(inverted):
    signals = windows(6, noise=0.5)
    signals[:, inverted] *= -0.3
    assert polarity.find_inverted(signals, 16_000) == inverted


def test_of_two_or_of_halves_nothing_is_known():
    signals = windows(6, noise=0.5)
    signals[:, :3] *= -1
    assert polarity.find_inverted(signals, 16_000) == []
    assert polarity.find_inverted(signals[:, 2:4], 16_000) == []
    assert polarity.find_inverted(signals[:, :0], 16_000) == []


def test_of_noise_nothing_is_said():
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=(3, 6, 8000))
        assert polarity.find_inverted(noise, 16_000) == []
    assert polarity.find_inverted(0 * noise, 16_000) == []
