"""Coherence: the share of a node's power that is common, whatever the clocks."""

import numpy as np
import pytest

from uld_jax.localization import coherence

RATE = 16_000


def window(snrs_db, late, seed=0):
    """Delay one noise by parts of a second for each node, with noise of its own."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(size=3 * RATE)
    rows = []
    for snr, begin in zip(snrs_db, late, strict=True):
        start = RATE // 2 - round(begin * RATE)
        own = sound[start : start + 2 * RATE]
        rows.append(own + 10 ** (-snr / 20) * rng.normal(size=len(own)))
    return np.float32(rows)


def test_it_is_the_root_of_the_common_share():
    """Of white sounds: S / (S + N), by definition, with any gains and clocks."""
    snrs = np.array([20.0, 10.0, 0.0, -6.0, 3.0])
    made = window(snrs, [0.0, 0.013, -0.02, 0.004, 0.031])
    made *= np.float32([[1.0], [0.1], [30.0], [1e-3], [1.0]])
    (found,) = coherence.measure(made[None])
    expected = np.sqrt(1 / (1 + 10 ** (-snrs / 10)))
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_nothing_in_common_is_a_few_hundredths():
    made = window([20.0, 10.0, 5.0, 10.0], [0.0, 0.01, 0.02, 0.03])
    made[1] = np.random.default_rng(1).normal(size=2 * RATE)
    (found,) = coherence.measure(made[None])
    assert found[1] < 0.05 and (np.delete(found, 1) > 0.8).all()


def test_silent_nodes_are_unknown_and_disturb_none():
    made = window([20.0, 10.0, 5.0, 10.0], [0.0, 0.01, 0.02, 0.03])
    (whole,) = coherence.measure(made[None])
    silent = np.concatenate([made, np.zeros((1, 2 * RATE), np.float32)])
    (found,) = coherence.measure(silent[None])
    assert np.isnan(found[-1])
    np.testing.assert_allclose(found[:-1], whole, atol=0.01)
    alone = np.zeros_like(made)
    alone[0] = made[0]
    assert np.isnan(coherence.measure(alone[None])).all()


@pytest.mark.parametrize("count", [1, 3])
def test_each_window_is_by_itself(count):
    made = window([20.0, 0.0, 5.0], [0.0, 0.01, 0.02])
    found = coherence.measure(np.stack([made] * count))
    assert found.shape == (count, 3)
    np.testing.assert_allclose(found, np.tile(found[:1], (count, 1)), atol=1e-6)
