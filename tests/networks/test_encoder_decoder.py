import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.networks import encoder_decoder

SETTINGS = {
    "num_nodes": 8,
    "num_sources": 1,
    "outputs_per_axis": 6,
    "num_channels": 1,
    "width": 4,
    "num_blocks": 1,
    "num_encoders": 2,
    "dtype": "float32",
}


def build(**changes):
    return encoder_decoder.EncoderDecoder(rngs=nnx.Rngs(0), **SETTINGS | changes)


def num_parameters(model):
    return sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))


def test_frequency_conv_is_a_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 3, 40, 5))
    conv = encoder_decoder.FrequencyConv(5, 7, kernel=4, stride=3, rngs=nnx.Rngs(1))
    expected = jax.lax.conv_general_dilated(
        x.reshape(6, 1, 40, 5),
        conv.linear.kernel[...].reshape(1, 4, 5, 7),
        window_strides=(1, 3),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    actual = conv(x)
    assert actual.shape == (2, 3, conv.num_outputs(40), 7)
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize(("outputs", "channels"), [(1, 1), (2, 3), (6, 3), (9, 1)])
def test_there_is_an_output_for_every_class(outputs, channels):
    model = build(outputs_per_axis=outputs, num_channels=channels)
    spectra = jnp.ones((2, 8, 3, 512))
    codes = jnp.zeros((2, 8, 4))
    assert model(spectra, codes).shape == (2, 1, channels * outputs**2)


def test_all_schemes_with_6_x_6_outputs_share_one_graph():
    refined = build(num_channels=3)
    assert num_parameters(refined) - num_parameters(build()) == 2 * (2 + 1)


@pytest.mark.parametrize("num_encoders", [1, 2])
def test_every_node_and_every_parameter_matters(num_encoders):
    model = build(num_encoders=num_encoders)
    model.train()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    spectra = jax.random.normal(jax.random.key(0), (4, 8, 3, 512))
    codes = jnp.zeros((4, 8, 36))

    def output(params, spectra):
        logits = nnx.merge(graph, params, rest, copy=True)(spectra, codes)
        weights = jax.random.normal(jax.random.key(1), logits.shape)
        return (weights * logits).sum()

    of_params, of_spectra = jax.grad(output, argnums=(0, 1))(params, spectra)
    assert (jnp.abs(of_spectra).sum((0, 2, 3)) > 0).all()
    for path, gradient in jax.tree_util.tree_leaves_with_path(of_params):
        # Before a batch norm, a bias cannot matter.
        if "bias" not in jax.tree_util.keystr(path):
            assert jnp.abs(gradient).sum() > 0, path


def test_evaluation_uses_running_means_and_does_not_depend_on_the_batch():
    model = build()
    spectra = jax.random.normal(jax.random.key(0), (4, 8, 3, 512))
    codes = jnp.zeros((4, 8, 36))
    model.train()
    model(spectra, codes)
    model.eval()
    together, alone = model(spectra, codes), model(spectra[:1], codes[:1])
    np.testing.assert_allclose(together[:1], alone, atol=1e-4)


def test_other_numbers_of_nodes_are_refused():
    with pytest.raises(ValueError, match="5 nodes given; this network has 8"):
        build()(jnp.ones((2, 5, 3, 512)), jnp.zeros((2, 5, 4)))
    with pytest.raises(ValueError, match="needs all its nodes"):
        mask = jnp.ones((2, 8), bool)
        build()(jnp.ones((2, 8, 3, 512)), jnp.zeros((2, 8, 4)), mask)


def test_bfloat16_computes_nearly_the_same_with_parameters_in_float32():
    spectra = jax.random.normal(jax.random.key(0), (2, 8, 3, 512))
    codes = jnp.zeros((2, 8, 36))
    half = build(dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(half, nnx.Param))} == {
        jnp.dtype("float32")
    }
    exact, rounded = build()(spectra, codes), half(spectra, codes)
    assert rounded.dtype == jnp.float32
    assert 0 < jnp.abs(exact - rounded).max() < 0.1 * jnp.abs(exact).max()
