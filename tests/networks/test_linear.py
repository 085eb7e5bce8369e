import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.networks import linear


def layers(K, N):
    made = [
        kind(K, N, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(0))
        for kind in (linear.Linear, nnx.Linear)
    ]
    x = np.random.default_rng(0).normal(size=(2, 5, K))
    return *made, jnp.asarray(x, jnp.float32)


@pytest.mark.parametrize(("K", "N"), [(3, 7), (7, 3)])
def test_values_and_gradients_are_those_of_the_library(K, N):
    ours, theirs, x = layers(K, N)

    def energy(layer, x):
        return (layer(x) ** 2).sum()

    with jax.default_matmul_precision("highest"):
        found, expected = (
            nnx.value_and_grad(energy, argnums=(0, 1))(layer, x)
            for layer in (ours, theirs)
        )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5),
        jax.tree.leaves(found),
        jax.tree.leaves(expected),
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parts_of_an_input_are_the_whole(dtype):
    layer, _, x = layers(7, 3)
    parts = x[..., :2], x[..., 2:6], x[..., 6:]
    layer.dtype = jnp.dtype(dtype)
    found, expected = linear.concatenated(layer, parts), layer(x)
    assert found.dtype == expected.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_accelerators_are_given_the_plain_gradient(monkeypatch):
    x, kernel = jnp.ones((5, 7)), jnp.ones((7, 3))

    def program():
        jax.clear_caches()
        energy = jax.grad(lambda kernel: linear.product(x, kernel).sum())
        return str(jax.make_jaxpr(energy)(kernel))

    assert "optimization_barrier" in program()
    monkeypatch.setattr(linear, "on_cpu", lambda: False)
    assert "optimization_barrier" not in program()
