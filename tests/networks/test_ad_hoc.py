import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax import config
from uld_jax.labels import schemes
from uld_jax.networks import ad_hoc
from uld_jax.networks import build as build_lib

LABEL = schemes.Label("uld", 2)
SMALL = config.to_dict(config.default("adhoc").model) | {
    "width": 16,
    "num_heads": 2,
    "num_blocks": 1,
    "num_temporal_blocks": 1,
}


def build(num_sources=1, **changes):
    model = build_lib.for_label(SMALL | changes, LABEL, 5, num_sources, seed=0)
    model.eval()
    return model


def compiled(model):
    """Return the network's call as one program: operation by operation takes longer."""
    graph, state = nnx.split(model)
    call = jax.jit(lambda state, *inputs: nnx.merge(graph, state)(*inputs))
    return lambda *inputs: call(state, *inputs)


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    spectra = jnp.asarray(rng.normal(size=(2, 5, 7, 512)), jnp.float32)
    codes = jnp.asarray(rng.dirichlet(np.ones(9), size=(2, 5)), jnp.float32)
    return spectra, codes


@pytest.mark.parametrize("num_sources", [1, 2])
def test_the_order_of_nodes_does_not_matter(inputs, num_sources):
    model = compiled(build(num_sources))
    spectra, codes = inputs
    logits = model(spectra, codes)
    assert logits.shape == (2, num_sources, 9)
    order = jnp.array([4, 2, 0, 1, 3])
    turned = model(spectra[:, order], codes[:, order])
    np.testing.assert_allclose(turned, logits, atol=1e-5)
    swapped = model(spectra, codes[:, order])  # But which code is whose does.
    assert jnp.abs(swapped - logits).max() > 1e-3


def test_padded_and_masked_equals_unpadded(inputs):
    model = compiled(build())
    spectra, codes = inputs
    padding = ((0, 0), (0, 3), (0, 0))
    more_codes = jnp.pad(codes, padding, constant_values=7.0)
    more_spectra = jnp.pad(spectra, (*padding, (0, 0)), constant_values=99.0)
    mask = jnp.asarray([[True] * 5 + [False] * 3] * 2)
    expected = model(spectra, codes)
    np.testing.assert_allclose(
        model(more_spectra, more_codes, mask), expected, atol=1e-5
    )
    assert jnp.abs(model(more_spectra, more_codes) - expected).max() > 1e-3
    two = mask & (jnp.arange(8) < 2)
    np.testing.assert_allclose(
        model(more_spectra, more_codes, two),
        model(spectra[:, :2], codes[:, :2]),
        atol=1e-5,
    )


def test_one_node_is_enough(inputs):
    spectra, codes = inputs
    logits = compiled(build())(spectra[:, :1], codes[:, :1])
    assert jnp.isfinite(logits).all()


def test_attention_is_that_of_the_equation():
    """Vaswani et al. 2017, Eq. 1, written out for one head of two."""
    layer = ad_hoc.Attention(4, 2, 0.0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = np.random.default_rng(1).normal(size=(1, 3, 4)).astype(np.float32)
    mask = np.array([[True, False, True]])
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    parts = np.asarray(layer.queries_keys_values(jnp.asarray(normal)))[0]
    q, k, v = parts.reshape(3, 3, 2, 2).transpose(1, 2, 0, 3)  # Part, head, place.
    heads = []
    for head in range(2):
        scores = q[head] @ k[head].T / np.sqrt(2)
        scores[:, ~mask[0]] = -np.inf
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        heads.append(weights @ v[head])
    h = x[0] + np.asarray(layer.output(jnp.asarray(np.concatenate(heads, axis=1))))
    normal = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)
    inner = nnx.gelu(layer.expand(jnp.asarray(normal, jnp.float32)))
    expected = h + np.asarray(layer.contract(inner))
    found = layer(jnp.asarray(x), jnp.asarray(mask))[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("grid_init", ad_hoc.SPEC.choices["grid_init"])
def test_neighbors_on_the_grid_start_alike_if_wanted(grid_init):
    """Their correlation is the closed form of their distance, channel by channel."""
    label = schemes.Label("refined_grid", 8)
    settings = SMALL | {"width": 1024, "num_blocks": 0, "num_temporal_blocks": 0}
    settings |= {"front_end": "real_imaginary", "grid_init": grid_init}
    model = build_lib.for_label(settings, label, 5, 1, seed=3)
    codes = np.asarray(model.embed_position.kernel[...]).reshape(3, 8, 8, 1024)
    logits = np.asarray(model.third.kernel[...]).T.reshape(3, 8, 8, 1024) * 1024**0.5
    assert np.abs(codes - logits).max() > 1  # Waves of their own.
    for kernel in (codes, logits):
        np.testing.assert_allclose((kernel**2).mean(), 1.0, atol=0.03)
        for row, column in ((0, 1), (2, 0), (1, 1), (7, 7)):
            squared = (row / 7) ** 2 + (column / 7) ** 2
            expected = np.exp(-2 * np.pi**2 * 0.7**2 * squared)
            found = (kernel[1, 0, 0] * kernel[1, row, column]).mean()
            expected *= grid_init == "smooth"
            np.testing.assert_allclose(found, expected, atol=0.12)
        other_channel = (kernel[0, 3, 3] * kernel[2, 3, 3]).mean()
        np.testing.assert_allclose(other_channel, 0.0, atol=0.12)


def test_masks_average_over_time():
    """The masks, from each direction's states one step after the other."""
    splitter = ad_hoc.Splitter(6, 2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    h = np.random.default_rng(2).normal(size=(1, 5, 6)).astype(np.float32)

    def one_way(cell, frames):
        kernel, recurrent = cell.dense_i.kernel[...], cell.dense_h.kernel[...]
        bias, states = cell.dense_h.bias[...], []
        c = s = np.zeros(3)
        for frame in frames:
            i, f, g, o = np.split(frame @ kernel + s @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            s = sigmoid(o) * np.tanh(c)
            states.append(s)
        return np.stack(states)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    odds = []
    for network in splitter.networks:
        there = one_way(network.forward_rnn.cell, h[0])
        back = one_way(network.backward_rnn.cell, h[0, ::-1])[::-1]
        odds.append(np.concatenate([there, back], axis=-1))
    expected = [2 * (sigmoid(o) * h[0]).mean(0) for o in odds]
    np.testing.assert_allclose(splitter(jnp.asarray(h))[0], expected, atol=1e-4)


def test_masks_split_what_does_not_vary_over_time():
    h = jnp.tile(jax.random.normal(jax.random.key(0), (1, 1, 6)), (1, 5, 1))
    first, second = ad_hoc.Splitter(6, 2, dtype=jnp.float32, rngs=nnx.Rngs(0))(h)[0]
    assert jnp.abs(first - second).max() > 0.01


def gradient(model, inputs, mask=None):
    model.train()
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def total(params, spectra, codes):
        network = nnx.merge(graph, params, rest)
        logits = network(spectra, codes, mask, rngs=nnx.Rngs(dropout=3))
        return (logits * jax.random.normal(jax.random.key(1), logits.shape)).sum()

    return jax.jit(jax.grad(total, argnums=(0, 1)))(params, *inputs)


def test_every_parameter_matters_and_remat_changes_nothing(inputs):
    settings = {"frames_per_step": 2}
    expected = gradient(build(2, **settings), inputs)
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected[0]):
        assert jnp.abs(leaf).sum() > 0, jax.tree_util.keystr(path)
    found = gradient(build(2, remat=True, **settings), inputs)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected
    )


def test_absent_nodes_get_no_gradient(inputs):
    mask = jnp.asarray([[True, True, False, True, True]] * 2)
    _, of_spectra = gradient(build(), inputs, mask)
    sums = jnp.abs(of_spectra).sum((0, 2, 3))
    assert sums[2] == 0
    assert (sums[jnp.array([0, 1, 3, 4])] > 0).all()


def test_dropout_is_random_in_training_alone(inputs):
    model = build(dropout=0.5)
    call = compiled(model)
    np.testing.assert_array_equal(call(*inputs), call(*inputs))
    model.train()
    graph, state = nnx.split(model)

    @jax.jit
    def train(key):
        return nnx.merge(graph, state)(*inputs, rngs=nnx.Rngs(dropout=key))

    one, other = (train(jax.random.key(seed)) for seed in (0, 1))
    assert jnp.abs(one - other).max() > 1e-3


def test_bfloat16_computes_nearly_the_same_with_parameters_in_float32(inputs):
    half = build(2, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(half, nnx.Param))} == {
        jnp.dtype("float32")
    }
    exact, rounded = compiled(build(2))(*inputs), compiled(half)(*inputs)
    assert rounded.dtype == jnp.float32
    assert 0 < jnp.abs(exact - rounded).max() < 0.1 * jnp.abs(exact).max()
