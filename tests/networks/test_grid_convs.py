import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.networks import grid_convs

LAYER = {"bias_init": nnx.initializers.normal(), "dtype": jnp.float32}


def check(ours, theirs, size):
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
        for kind in (grid_convs.Conv, nnx.Conv)
    )
    check(ours, theirs, (4, 3))


def test_doubling_is_the_librarys_transposed_convolution():
    ours = grid_convs.Doubling(5, 4, rngs=nnx.Rngs(0), **LAYER)
    theirs = nnx.ConvTranspose(
        5, 4, (4, 4), strides=(2, 2), padding="SAME", rngs=nnx.Rngs(0), **LAYER
    )
    check(ours, theirs, (3, 2))
