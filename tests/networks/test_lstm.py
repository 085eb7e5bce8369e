import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.networks import lstm


def two_networks(rngs):
    def one_way():
        cell = nnx.OptimizedLSTMCell(
            5, 3, bias_init=nnx.initializers.normal(), rngs=rngs
        )
        return nnx.RNN(cell, rngs=False)

    return [nnx.Bidirectional(one_way(), one_way(), rngs=False) for _ in range(2)]


@pytest.mark.parametrize(
    "transform", [lambda f: f, jax.grad], ids=["value", "gradient"]
)
def test_networks_together_are_the_networks_one_by_one(transform):
    networks = two_networks(nnx.Rngs(0))
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(4, 7, 5)), jnp.float32)
    zeros = (jnp.zeros((4, 3)),) * 2
    graph, params = nnx.split(nnx.List(networks))

    def together(params):
        return lstm.run(nnx.merge(graph, params), inputs, jnp.float32)

    def one_by_one(params):
        return jnp.stack(
            [
                one(inputs, initial_carry=(zeros, zeros))
                for one in nnx.merge(graph, params)
            ],
            axis=1,
        )

    def energy(run):
        return transform(lambda params: (run(params) ** 2 * jnp.arange(1, 7)).sum())

    assert together(params).shape == (4, 2, 7, 6)
    found, expected = (energy(run)(params) for run in (together, one_by_one))
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-5),
        found,
        expected,
    )
