"""Training dynamics: the optimizer is the product's, and branches can begin with zeros."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks import training_dynamics
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.training import optimizer


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_the_optimizer_is_the_products(clip_norm):
    rules = types.SimpleNamespace(
        learning_rate=0.1, warmup_steps=3, clip_norm=clip_norm, weight_decay=0.01
    )
    params = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[0.5]])}
    results = []
    for adamw in (
        training_dynamics._adamw(rules, 0.999),
        optimizer.adamw(0.1, 0.01, clip_norm, 3),
    ):
        now, state = params, adamw.init(params)
        for number in range(6):
            grads = jax.tree.map(lambda x, k=number: jnp.sin(3 * x + k), now)
            updates, state = adamw.update(grads, state, now)
            now = optax.apply_updates(now, updates)
        results.append(now)
    for key in params:
        np.testing.assert_allclose(results[0][key], results[1][key], rtol=1e-5)


def test_branches_that_begin_with_zeros_add_nothing():
    label = schemes.Label("uld", 2)
    settings = {"name": "adhoc", "dtype": "float32", "width": 8}
    settings |= {"num_blocks": 1, "num_temporal_blocks": 1, "frames_per_step": 1}
    config = build.get_spec("adhoc").settings | settings
    model = build.for_label(config, label, 3, 1, 0)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params = training_dynamics._with_zero_outputs(nnx.to_pure_dict(params))
    model = nnx.merge(graph, params, nnx.to_pure_dict(rest))
    model.eval()
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 8))
    np.testing.assert_array_equal(model.blocks[0](x, None, None), x)
    # Nothing else became zero.
    zeros = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if leaf.ndim > 1 and not leaf.any()
    ]
    assert len(zeros) == 6
    assert all("output" in name or "contract" in name for name in zeros)
