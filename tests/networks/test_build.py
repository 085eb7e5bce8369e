import numpy as np
import pytest
from flax import nnx

from uld_jax import config
from uld_jax.labels import schemes
from uld_jax.networks import build

LABEL = schemes.Label("uld", 2)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(
        ValueError, match="no network 'gong'; there are encoder_decoder, adhoc"
    ):
        build.build("gong", rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", list(build.MODELS))
def test_every_network_has_default_settings(name):
    settings = config.to_dict(config.default(name).model) | {"width": 16}
    model = build.for_label(settings, LABEL, 8, 1, seed=0)
    found = build.overview(model, 8, 9, LABEL.num_outputs)
    state = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    assert found["parts"].keys() == state.keys()
    assert found["parameters"] == sum(found["parts"].values())


def test_the_operations_of_a_layer_are_those_of_its_matrices():
    """The projection of 4 M T frames costs 2 x 512 x D, and little else grows."""
    settings = config.to_dict(config.default("adhoc").model) | {
        "width": 32,
        "num_blocks": 0,
        "num_temporal_blocks": 0,
        "front_end": "real_imaginary",
    }
    few, many = (
        build.overview(
            build.for_label(settings, LABEL, 4, 1, seed=0), M, 10, LABEL.num_outputs
        )["flops"]
        for M in (10, 20)
    )
    expected = 10 * 10 * 2 * 512 * 32
    np.testing.assert_allclose(many - few, expected, rtol=0.15)
