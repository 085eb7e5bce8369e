"""Batches to inputs, targets and losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from three_rooms import ROOMS, three_rooms

from uld_jax.acoustics import stft
from uld_jax.labels import codes as codes_lib
from uld_jax.labels import schemes
from uld_jax.networks import objective


@pytest.fixture
def batch():
    return three_rooms()


def test_inputs_are_spectra_and_codes_in_the_scheme_of_the_label(batch):
    label = schemes.Label("refined_grid", 4)
    spectra, codes, mask = objective.network_inputs(label, batch)
    assert mask is None
    assert spectra.shape == (3, 8, 5, 512)
    np.testing.assert_allclose(
        spectra[1],
        stft.spectral_features(batch["audio"][1].astype(jnp.float32)),
        rtol=1e-3,
        atol=1e-3,
    )
    assert codes.shape == (3, 8, 48)
    expected = codes_lib.encode_refined_grid(
        batch["node_positions"][2, 5, :2], batch["room_size"][2, :2], 4
    )
    np.testing.assert_allclose(codes[2, 5], expected.ravel(), atol=1e-6)


def test_kl_is_the_loss_above_the_entropy_of_the_label(batch):
    label = schemes.Label("uld", 5)
    logits = jax.random.normal(jax.random.key(0), (3, 1, 36))
    loss, kl = objective.losses(label, logits, batch)
    for k in range(3):
        target = codes_lib.encode_uld(
            batch["source_positions"][k, 0, :2], batch["room_size"][k, :2], 5
        )
        target = np.asarray(target, float).ravel()
        log_p = scipy.special.log_softmax(np.asarray(logits[k, 0], float))
        entropy = -scipy.special.xlogy(target, target).sum()
        np.testing.assert_allclose(loss[k], -(target * log_p).sum(), rtol=1e-4)
        np.testing.assert_allclose(kl[k], loss[k] - entropy, atol=1e-4)


def test_a_mask_comes_with_the_inputs_and_decides_the_level(batch):
    label = schemes.Label("uld", 2)
    mask = jnp.asarray(np.arange(8) < [[8], [3], [1]])
    nowhere = jnp.where(mask[..., None], batch["node_positions"], jnp.nan)
    masked = batch | {"node_mask": mask, "node_positions": nowhere}
    spectra, codes, passed_on = objective.network_inputs(label, masked)
    assert np.isfinite(codes).all()
    np.testing.assert_array_equal(passed_on, mask)
    audio = batch["audio"][1, :3].astype(jnp.float32)
    expected = stft.spectral_features(audio)
    np.testing.assert_allclose(spectra[1, :3], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", list(schemes.SCHEMES))
def test_pit_takes_each_examples_best_assignment(batch, name):
    label = schemes.Label(name, 3)
    rng = np.random.default_rng(1)
    positions = rng.uniform(0.1, 0.9, (3, 2, 3)) * ROOMS[:, None]
    batch = batch | {"source_positions": jnp.asarray(positions, jnp.float32)}
    logits = jax.random.normal(jax.random.key(4), (3, 2, label.num_outputs))
    target = objective.targets(label, batch)
    expected, given = np.zeros(3), np.zeros(3)
    for k in range(3):
        one = [
            [float(label.loss(logits[k, i], target[k, j])) for j in (0, 1)]
            for i in (0, 1)
        ]
        given[k] = (one[0][0] + one[1][1]) / 2
        expected[k] = min(given[k], (one[0][1] + one[1][0]) / 2)
    assert (expected < given).any()  # Each example for itself.
    assert (expected == given).any()
    with_pit, _ = objective.losses(label, logits, batch)
    np.testing.assert_allclose(with_pit, expected, rtol=1e-5)
    turned, _ = objective.losses(label, logits[:, ::-1], batch)
    np.testing.assert_allclose(turned, expected, rtol=1e-5)
    without, _ = objective.losses(label, logits, batch, permutation_invariant=False)
    np.testing.assert_allclose(without, given, rtol=1e-5)
