import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.networks import front_ends


@pytest.fixture(scope="module")
def spectra():
    """Return spectra of 2 scenes, 4 nodes, 7 frames; the loudest is node 2, then node 1."""
    rng = np.random.default_rng(0)
    levels = np.array([1.0, 3.0, 9.0, 0.5])[:, None, None]
    return jnp.asarray(rng.normal(size=(2, 4, 7, 512)) * levels, jnp.float32)


def fed(name, spectra, mask):
    return jnp.concatenate(front_ends.pieces(name, spectra, mask), axis=-1)


def relative_level(spectra, mask):
    return front_ends.pieces("level_compressed", spectra, mask)[0]


def as_complex(spectra):
    real, imaginary = np.split(np.asarray(spectra, np.float64), 2, axis=-1)
    return real + 1j * imaginary


def test_relative_levels_cancel_the_spectrum_of_the_source(spectra):
    found = relative_level(spectra, None)
    np.testing.assert_allclose(found.mean(axis=1), 0.0, atol=1e-5)
    said = np.exp(np.random.default_rng(2).normal(size=(2, 1, 7, 256)))
    said = jnp.asarray(np.concatenate([said, said], axis=-1), jnp.float32)
    louder = relative_level(30 * spectra * said, None)
    plain = relative_level(30 * spectra, None)
    assert jnp.abs(louder - plain).mean() < 1e-3
    truth = np.log(np.abs(as_complex(spectra)))[:, [0, 1, 3]]
    mask = jnp.asarray([[True, True, False, True]] * 2)
    found = relative_level(spectra, mask)[:, jnp.array([0, 1, 3])]
    error = np.abs(found - (truth - truth.mean(axis=1, keepdims=True)))
    assert np.median(error) < 1e-3


def test_compression_keeps_the_phase(spectra):
    truth = as_complex(spectra)
    found = as_complex(fed("level_compressed", spectra, None)[..., 256:])
    large = np.abs(truth) > 0.3
    expected = np.abs(truth) ** 0.3 * np.exp(1j * np.angle(truth))
    np.testing.assert_allclose(found[large], expected[large], rtol=2e-3)


@pytest.mark.parametrize(
    ("mask", "loudest"), [(None, 2), ([True, True, False, True], 1)]
)
def test_phases_are_those_against_the_loudest_node(spectra, mask, loudest):
    if mask is not None:
        mask = jnp.asarray([mask, mask])
    truth = as_complex(spectra)
    expected = np.exp(
        1j * (np.angle(truth) - np.angle(truth[:, loudest : loudest + 1]))
    )
    found = fed("cross_spectrum", spectra, mask)[..., 256:]
    certain = np.abs(truth * truth[:, loudest : loudest + 1]) > 0.1
    np.testing.assert_allclose(as_complex(found)[certain], expected[certain], atol=2e-3)


def test_a_delay_is_linear_in_the_phases():
    """One column of weights makes the correlation at one lag, for any signal."""
    rng = np.random.default_rng(1)
    said = rng.normal(size=(1, 1, 50, 256)) + 1j * rng.normal(size=(1, 1, 50, 256))
    omega = 2 * np.pi * np.arange(1, 257) / 512
    heard = np.concatenate([2 * said, said * np.exp(-5j * omega)], axis=1)
    stacked = np.concatenate([heard.real, heard.imag], axis=-1).astype(np.float32)
    found = fed("cross_spectrum", jnp.asarray(stacked), None)[0, 1, :, 256:]
    lags = np.arange(-8, 9)
    weights = np.concatenate(
        [np.cos(omega[:, None] * lags), -np.sin(omega[:, None] * lags)]
    )
    correlation = np.asarray(found) @ weights / 256
    assert (lags[correlation.argmax(axis=1)] == 5).all()
    np.testing.assert_allclose(correlation.max(axis=1), 1.0, atol=0.01)


@pytest.mark.parametrize("name", front_ends.NAMES)
def test_order_and_absent_nodes_do_not_matter(spectra, name):
    model = front_ends.FrontEnd(name, 8, 3, dtype=jnp.float32, rngs=nnx.Rngs(0))
    expected = model(spectra, None)
    assert expected.shape == (2, 4, 2, 8)
    order = jnp.array([3, 1, 0, 2])
    np.testing.assert_allclose(
        model(spectra[:, order], None), expected[:, order], atol=1e-5
    )
    loud = jnp.concatenate([spectra, 100 * spectra[:, :1]], axis=1)
    mask = jnp.asarray([[True] * 4 + [False]] * 2)
    np.testing.assert_allclose(model(loud, mask)[:, :4], expected, atol=1e-5)


def test_a_step_averages_its_frames_alone(spectra):
    model = front_ends.FrontEnd(
        "real_imaginary", 8, 3, dtype=jnp.float32, rngs=nnx.Rngs(0)
    )
    changed = spectra.at[:, :, 3:6].multiply(2.0)
    before, after = model(spectra, None), model(changed, None)
    np.testing.assert_array_equal(before[:, :, 0], after[:, :, 0])
    assert jnp.abs(before[:, :, 1] - after[:, :, 1]).min() > 0
    np.testing.assert_array_equal(model(spectra.at[:, :, 6].set(0), None), before)


def test_the_papers_front_end_is_one_linear_layer(spectra):
    model = front_ends.FrontEnd(
        "real_imaginary", 8, 1, dtype=jnp.float32, rngs=nnx.Rngs(0)
    )
    expected = spectra @ model.project.kernel[...] + model.project.bias[...]
    np.testing.assert_allclose(model(spectra, None), expected, atol=1e-5)


def test_too_few_frames_are_refused(spectra):
    model = front_ends.FrontEnd(
        "real_imaginary", 8, 9, dtype=jnp.float32, rngs=nnx.Rngs(0)
    )
    with pytest.raises(ValueError, match="7 frames given; frames_per_step is 9"):
        model(spectra, None)


@pytest.mark.parametrize("name", front_ends.NAMES)
def test_gradients_are_finite_for_silence(name):
    model = front_ends.FrontEnd(name, 8, 1, dtype=jnp.float32, rngs=nnx.Rngs(0))
    gradient = jax.grad(lambda s: model(s, None).sum())(jnp.zeros((1, 2, 3, 512)))
    assert jnp.isfinite(gradient).all()
