import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.networks import layers


def our_layer_and_flax(K, N):
    made = [
        kind(K, N, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(0))
        for kind in (layers.Linear, nnx.Linear)
    ]
    x = np.random.default_rng(0).normal(size=(2, 5, K))
    return *made, jnp.asarray(x, jnp.float32)


@pytest.mark.parametrize(("K", "N"), [(3, 7), (7, 3)])
def test_values_and_gradients_are_those_of_the_library(K, N):
    ours, theirs, x = our_layer_and_flax(K, N)

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
    layer, _, x = our_layer_and_flax(7, 3)
    parts = x[..., :2], x[..., 2:6], x[..., 6:]
    layer.dtype = jnp.dtype(dtype)
    found, expected = layers.apply_to_parts(layer, parts), layer(x)
    assert found.dtype == expected.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_accelerators_are_given_the_plain_gradient(monkeypatch):
    x, kernel = jnp.ones((5, 7)), jnp.ones((7, 3))

    def program():
        jax.clear_caches()
        energy = jax.grad(lambda kernel: layers.product(x, kernel).sum())
        return str(jax.make_jaxpr(energy)(kernel))

    assert "optimization_barrier" in program()
    monkeypatch.setattr(layers, "on_cpu", lambda: False)
    assert "optimization_barrier" not in program()


LAYER = {"bias_init": nnx.initializers.normal(), "dtype": jnp.float32}


def assert_same(ours, theirs, size):
    x = np.random.default_rng(0).normal(size=(2, *size, 5))
    x = jnp.asarray(x, jnp.float32)

    def energy(layer, x):
        return (jnp.sin(jnp.arange(4)) * layer(x) ** 2).sum()

    with jax.default_matmul_precision("highest"):
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-6)
        found, expected = (
            nnx.grad(energy, argnums=(0, 1))(layer, x) for layer in (ours, theirs)
        )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
        jax.tree.leaves(found),
        jax.tree.leaves(expected),
    )


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1)])
def test_convolutions_are_the_librarys(kernel):
    ours, theirs = (
        kind(5, 4, kernel, rngs=nnx.Rngs(0), **LAYER)
        for kind in (layers.Conv, nnx.Conv)
    )
    assert_same(ours, theirs, (4, 3))


def test_doubling_is_the_librarys_transposed_convolution():
    ours = layers.Doubling(5, 4, rngs=nnx.Rngs(0), **LAYER)
    theirs = nnx.ConvTranspose(
        5, 4, (4, 4), strides=(2, 2), padding="SAME", rngs=nnx.Rngs(0), **LAYER
    )
    assert_same(ours, theirs, (3, 2))


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
        return layers.run_lstms(nnx.merge(graph, params), inputs, jnp.float32)

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


def rngs(seed=0):
    return nnx.Rngs(dropout=jax.random.key(seed))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_met_and_the_mean_kept(rate):
    layer, ones = layers.Dropout(rate), jnp.ones((300, 333))
    found = np.asarray(layer(ones, rngs()))
    kept = found != 0
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    np.testing.assert_allclose(found[kept], 1 / (1 - rate), rtol=2e-3)
    # Neighbors share a word; whether they are kept has nothing in common.
    pairs = kept[:, :332].reshape(-1, 2)
    both = pairs.all(axis=1).mean()
    expected = (1 - rate) ** 2
    assert abs(both - expected) < 5 * np.sqrt(expected / len(pairs))
    assert (np.asarray(layer(ones, rngs(1))) != found).any()
    assert (np.asarray(layer(ones, rngs())) == found).all()


def test_nothing_is_dropped_at_rate_zero_or_in_evaluation():
    x = jnp.arange(6.0).reshape(2, 3)
    assert (layers.Dropout(0.0)(x, rngs()) == x).all()
    network = nnx.Sequential(layers.Dropout(0.5))
    network.eval()
    assert (network(x) == x).all()
    network.train()
    assert (network.layers[0](jnp.ones((9, 9)), rngs()) == 0).any()


def test_gradients_pass_where_something_is_kept():
    layer, x = layers.Dropout(0.25), jnp.ones((50, 7), jnp.bfloat16)
    gradient = jax.grad(lambda x: layer(x, rngs()).sum())(x)
    assert gradient.dtype == jnp.bfloat16
    assert (gradient == layer(x, rngs())).all()
