import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.networks import dropout


def rngs(seed=0):
    return nnx.Rngs(dropout=jax.random.key(seed))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_met_and_the_mean_kept(rate):
    layer, ones = dropout.Dropout(rate), jnp.ones((300, 333))
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
    assert (dropout.Dropout(0.0)(x, rngs()) == x).all()
    network = nnx.Sequential(dropout.Dropout(0.5))
    network.eval()
    assert (network(x) == x).all()
    network.train()
    assert (network.layers[0](jnp.ones((9, 9)), rngs()) == 0).any()


def test_gradients_pass_where_something_is_kept():
    layer, x = dropout.Dropout(0.25), jnp.ones((50, 7), jnp.bfloat16)
    gradient = jax.grad(lambda x: layer(x, rngs()).sum())(x)
    assert gradient.dtype == jnp.bfloat16
    assert (gradient == layer(x, rngs())).all()
