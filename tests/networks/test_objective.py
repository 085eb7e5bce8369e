"""Batches to inputs, targets, losses; and a split to metrics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import tiny_networks
from flax import nnx

from uld_jax.acoustics import stft
from uld_jax.evaluation import evaluate, predict
from uld_jax.labels import codes as codes_lib
from uld_jax.labels import schemes
from uld_jax.localization import methods
from uld_jax.networks import objective

ROOMS = np.float32([[6, 6, 4.2], [4, 9, 4.2], [7, 5, 4.2]])


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    positions = rng.uniform(0.1, 0.9, (3, 1, 3)) * ROOMS[:, None]
    nodes = rng.uniform(0.1, 0.9, (3, 8, 3)) * ROOMS[:, None]
    return {
        "audio": jnp.asarray(rng.integers(-999, 999, (3, 8, 1024)), jnp.int16),
        "node_positions": jnp.asarray(nodes, jnp.float32),
        "source_positions": jnp.asarray(positions, jnp.float32),
        "room_size": jnp.asarray(ROOMS),
    }


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
    logits = jax.random.normal(jax.random.key(3), (3, 2, label.num_outputs))
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


class Oracle(nnx.Module):
    """Knows the right answers: its logits are the log of the target, in order.

    Rows beyond those repeat the last, as what fills up a group of examples does.
    """

    def __init__(self, logits):
        self.logits = nnx.Param(logits)

    def __call__(self, features, codes, mask=None, rngs=None):
        logits = self.logits[...]
        return logits[jnp.minimum(jnp.arange(len(features)), len(logits) - 1)]


@pytest.mark.parametrize("name", list(schemes.SCHEMES))
def test_a_network_that_is_always_right_has_the_schemes_own_error(batch, name):
    label = schemes.Label(name, 4)
    target = objective.targets(label, batch)
    soft = jnp.clip(target, 1e-6, 1 - 1e-6)
    sigmoid = schemes.SCHEMES[name].activation is jax.nn.sigmoid
    logits = jax.scipy.special.logit(soft) if sigmoid else jnp.log(soft)
    logits = logits.reshape(3, 1, -1)
    graph, params, rest = nnx.split(Oracle(logits), nnx.Param, ...)
    step = evaluate.make_eval_step(graph, label)
    step = functools.partial(step, nnx.to_pure_dict(params), nnx.to_pure_dict(rest))
    result = evaluate.evaluate(step, [batch], 3, "test")
    metrics = result.metrics
    assert metrics["accuracy"] == metrics["cell_accuracy"] == 1.0
    positions = np.asarray(batch["source_positions"][:, 0, :2])
    sides = ROOMS[:, :2] / 4
    centers = (positions // sides + 0.5) * sides
    limit = np.linalg.norm(centers - positions, axis=1).mean()
    np.testing.assert_allclose(metrics["quantization_error"], limit, rtol=1e-4)
    expected = limit if name in ("one_hot", "heat_map") else 0.0
    np.testing.assert_allclose(metrics["mae"], expected, atol=2e-4)
    np.testing.assert_allclose(result.kl, 0.0, atol=1e-3)


def turned_batch(batch, turned):
    """Return a batch of two sources, and a function that turns some examples'."""
    rng = np.random.default_rng(4)
    positions = rng.uniform(0.05, 0.95, (3, 2, 3)) * ROOMS[:, None]
    batch = batch | {"source_positions": jnp.asarray(positions, jnp.float32)}
    turned = np.array(turned)[:, None, None]

    def turn(outputs):
        return jnp.where(turned, outputs[:, ::-1], outputs)

    return batch, turn


def test_two_sources_are_judged_in_the_order_that_fits_them_best(batch):
    """Whichever output says which of them, example by example."""
    batch, turn = turned_batch(batch, [True, False, True])
    label = schemes.Label("uld", 4)
    target = objective.targets(label, batch).reshape(3, 2, -1)
    logits = turn(jnp.log(jnp.clip(target, 1e-6)))
    graph, params, rest = nnx.split(Oracle(logits), nnx.Param, ...)
    step = evaluate.make_eval_step(graph, label)
    found = step(nnx.to_pure_dict(params), nnx.to_pure_dict(rest), batch)
    positions = batch["source_positions"][..., :2]
    np.testing.assert_allclose(found["predicted"], positions, atol=1e-3)
    assert found["correct"].all()
    assert found["cell_correct"].all()
    np.testing.assert_allclose(found["kl"], 0.0, atol=1e-3)


def test_a_baselines_two_sources_are_judged_alike(batch, monkeypatch):
    batch, turn = turned_batch(batch, [False, True, True])
    positions = batch["source_positions"][..., :2]
    oracle = methods.Method(lambda *_: turn(positions + 0.01))
    monkeypatch.setitem(methods.METHODS, "oracle", oracle)
    found = evaluate.method_step("oracle", 2, 4)(batch)
    np.testing.assert_allclose(found["predicted"], positions + 0.01, atol=1e-5)


def test_padding_at_the_end_does_not_count(batch):
    label = schemes.Label("uld", 4)
    logits = jax.random.normal(jax.random.key(1), (3, 1, 25))
    graph, params, rest = nnx.split(Oracle(logits), nnx.Param, ...)
    step = evaluate.make_eval_step(graph, label)
    step = functools.partial(step, nnx.to_pure_dict(params), nnx.to_pure_dict(rest))
    whole = evaluate.evaluate(step, [batch, batch], 6, "test")
    padded = evaluate.evaluate(step, [batch, batch], 4, "test")
    assert padded.predicted.shape == (4, 1, 2)
    np.testing.assert_array_equal(padded.predicted, whole.predicted[:4])
    losses, _ = objective.losses(label, logits, batch)
    expected = (losses.sum() + losses[0]) / 4
    np.testing.assert_allclose(padded.loss, expected, rtol=1e-5)


def test_prediction_alone_computes_single_examples_and_no_loss():
    graph, state = tiny_networks.network("one_talker")
    label, batch = tiny_networks.LABEL, tiny_networks.batch("one_talker", 1)
    signals = {key: value for key, value in batch.items() if "source" not in key}

    @jax.jit
    def alone(params, statistics, batch):
        outputs = predict.network_outputs(graph, label, params, statistics, batch)
        return predict.decode(label, outputs, batch)

    scored = evaluate.make_eval_step(graph, label)
    fewer, more = (
        program.lower(state.params, state.statistics, given).cost_analysis()["flops"]
        for program, given in ((alone, signals), (scored, batch))
    )
    assert fewer < more / 6
