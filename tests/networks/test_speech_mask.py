"""The network of speech masks: what it is fed, what it is taught, what it may depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax import config as config_lib
from uld_jax.acoustics import stft
from uld_jax.networks import build, speech_mask

SETTINGS = {"name": "speech_mask", "width": 8, "num_blocks": 3, "dtype": "float32"}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model():
    return speech_mask.build(SETTINGS, 0)


def powers(shape=(2, 20, 256)):
    return jnp.asarray(RNG.exponential(size=shape), jnp.float32)


def test_the_true_mask_is_the_share_of_the_power():
    speech, noise = RNG.normal(size=(2, 3, 1024)).astype(np.float32)
    bins = [np.asarray(stft.stft(part)) for part in (speech, noise)]
    squares = [np.abs(one.astype(np.complex128)) ** 2 for one in bins]
    expected = squares[0] / (squares[0] + squares[1])
    actual = speech_mask.ratio_mask(*(jnp.asarray(one, jnp.float32) for one in squares))
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert speech_mask.ratio_mask(jnp.zeros(2), jnp.array([0.0, 1.0])).tolist() == [
        0,
        0,
    ]


def test_every_clip_is_by_itself_and_its_level_does_not_matter(model):
    x = powers((3, 20, 256))
    mask, talker = model(x)
    order = np.array([2, 0, 1])
    turned = model(1e6 * x[order])
    np.testing.assert_allclose(turned[0], mask[order], atol=1e-4)
    np.testing.assert_allclose(turned[1], talker[order], atol=1e-4)
    assert mask.shape == x.shape and talker.shape == (3,)


def test_features_are_log_powers_relative_to_the_clip_and_to_the_bin():
    x = powers((1, 30, 256))
    of_clip, of_bin, over_time = speech_mask.features(x)
    logs = np.log(np.asarray(x[0], np.float64) / np.mean(x[0]) + 1e-8) / 4
    expected = logs - logs.mean()
    np.testing.assert_allclose(of_clip[0], expected, atol=1e-5)
    np.testing.assert_allclose(of_bin[0], logs - logs.mean(axis=0), atol=1e-5)
    statistics = np.concatenate([expected.mean(axis=0), logs.std(axis=0)])
    np.testing.assert_allclose(over_time[0], statistics, atol=1e-5)


def test_a_hum_is_removed_from_one_feature():
    """What is constant in a bin shows in the first feature alone."""
    hum = powers((1, 30, 256)).at[:, :, 40].set(1e4)
    _, of_bin, _ = speech_mask.features(hum)
    assert np.abs(of_bin[0, :, 40]).max() < 1e-5


@pytest.mark.parametrize("dilation", [1, 4])
def test_blocks_convolve_over_time(dilation):
    x = RNG.normal(size=(1, 40, 2)).astype(np.float32)
    taps = RNG.normal(size=(5, 2)).astype(np.float32)
    actual = speech_mask._over_time(jnp.asarray(x), jnp.asarray(taps), dilation)
    for channel in range(2):
        kernel = np.zeros(4 * dilation + 1)
        kernel[::dilation] = taps[::-1, channel]
        expected = np.convolve(x[0, :, channel], kernel, mode="same")
        np.testing.assert_allclose(actual[0, :, channel], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["mixture", "silence", "no noise", "no talker"])
def test_gradients_are_finite(model, kind):
    speech, noise = powers(), powers()
    speech = 0 * speech if kind in ("silence", "no talker") else speech
    noise = 0 * noise if kind in ("silence", "no noise") else noise
    graph, params = nnx.split(model)

    def loss(params):
        outputs = nnx.merge(graph, params)(speech + noise)
        mask, talker = speech_mask.losses(outputs, speech, noise)
        return mask.mean() + talker.mean()

    value, grads = jax.value_and_grad(loss)(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_losses_are_cross_entropies():
    speech, noise = powers((3, 4, 256)), powers((3, 4, 256))
    speech = speech.at[1].set(0.0)  # Nobody.
    speech = speech.at[2].multiply(1e-3)  # So faint that nothing is asked.
    mask = jnp.asarray(RNG.normal(size=speech.shape), jnp.float32)
    talker = jnp.array([0.3, -0.2, 5.0])
    of_mask, of_talker = speech_mask.losses((mask, talker), speech, noise)
    target = np.asarray(speech_mask.ratio_mask(speech, noise), np.float64)
    share = 1 / (1 + np.exp(-np.asarray(mask, np.float64)))
    expected = -target * np.log(share) - (1 - target) * np.log(1 - share)
    np.testing.assert_allclose(of_mask, expected.mean(axis=(1, 2)), rtol=1e-4)
    expected = [np.log1p(np.exp(-0.3)), np.log1p(np.exp(-0.2)), 0.0]
    np.testing.assert_allclose(of_talker, expected, rtol=1e-4)
    snr_db = speech_mask.snr_db(speech, noise)
    np.testing.assert_allclose(snr_db[2], -30.0, atol=1.0)


def test_no_size_is_above_half_a_million_parameters():
    for size in ("full", "reduced"):
        config = config_lib.load_config(f"speech_mask:{size}")
        shapes = nnx.eval_shape(
            lambda config=config: speech_mask.build(config_lib.to_dict(config.model), 0)
        )
        leaves = jax.tree.leaves(nnx.split(shapes)[1])
        assert sum(leaf.size for leaf in leaves) <= 500_000


def test_it_is_found_by_name_and_is_none_of_those_that_localize():
    assert build.get_spec("speech_mask") is speech_mask.SPEC
    assert "speech_mask" not in build.NETWORKS
    with pytest.raises(ValueError, match=r"there are encoder_decoder.*speech_mask"):
        build.get_spec("no")
    with pytest.raises(ValueError, match=r"model.num_blocks is 0"):
        speech_mask.build(SETTINGS | {"num_blocks": 0}, 0)
