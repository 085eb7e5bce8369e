"""Predictions on a split to metrics: oracles, the order of sources, padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks
from flax import nnx
from three_rooms import ROOMS, three_rooms

from uld_jax.evaluation import evaluate
from uld_jax.labels import schemes
from uld_jax.localization import methods
from uld_jax.networks import objective
from uld_jax.pretrained import loading


@pytest.fixture
def batch():
    return three_rooms()


class Oracle(nnx.Module):
    """A network with given outputs. Rows beyond those repeat the last."""

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
    expected = limit if name in ("one_hot", "heat_map", "soft") else 0.0
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


def test_two_sources_are_scored_in_the_order_that_fits_them_best(batch):
    """Whichever output is which of them, example by example."""
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


def test_two_sources_of_a_method_are_ordered_alike(batch, monkeypatch):
    batch, turn = turned_batch(batch, [False, True, True])
    positions = batch["source_positions"][..., :2]
    oracle = methods.Method(lambda *_: turn(positions + 0.01))
    monkeypatch.setitem(methods.METHODS, "oracle", oracle)
    found = evaluate.method_step("oracle", 2)(batch)
    np.testing.assert_allclose(found["predicted"], positions + 0.01, atol=1e-5)


def test_radii_of_a_method_are_counted_around_its_positions(batch, monkeypatch):
    batch, turn = turned_batch(batch, [False, True, True])
    positions = batch["source_positions"][..., :2]
    radii = jnp.asarray([[0.2, 0.1], [0.2, 0.1], [0.1, 0.1]], jnp.float32)
    away = jnp.asarray([0.15, 0.0])
    # The first of each pair, as the method gives them, is 0.15 m off.
    oracle = methods.Method(
        lambda *_: (turn(positions) + away[:, None] * jnp.array([1.0, 0.0]), radii),
        gives_radii=True,
    )
    monkeypatch.setitem(methods.METHODS, "oracle", oracle)
    step = evaluate.method_step("oracle", 2)
    found = step(batch)
    expected = np.array([[1, 1], [1, 1], [0, 1]])
    expected = turn(expected[..., None])[..., 0]
    np.testing.assert_array_equal(found["coverage"], expected)
    result = evaluate.evaluate(step, [batch], 3, "test").metrics
    assert result["coverage_90"] == pytest.approx(5 / 6)
    assert result["area_90"] == pytest.approx(np.pi * float((radii**2).mean()))


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
        outputs = loading.compute_outputs(graph, label, params, statistics, batch)
        return loading.decode(label, outputs, batch)

    scored = evaluate.make_eval_step(graph, label)
    fewer, more = (
        program.lower(state.params, state.statistics, given).cost_analysis()["flops"]
        for program, given in ((alone, signals), (scored, batch))
    )
    assert fewer < more / 6
