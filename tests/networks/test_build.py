import numpy as np
import pytest
from flax import nnx

from uld_jax import config
from uld_jax.labels import schemes
from uld_jax.networks import build

LABEL = schemes.Label("uld", 2)


def test_what_cannot_be_built_is_refused():
    def refused(network, message, num_nodes=8, num_sources=1, **changes):
        settings = config.to_dict(config.default(network).model) | changes
        with pytest.raises(ValueError, match=message):
            build.for_label(settings, LABEL, num_nodes, num_sources, seed=0)

    message = "model.name is 'gong'; there are encoder_decoder, adhoc"
    refused("adhoc", message, name="gong")
    refused("adhoc", "whose settings differ in layers;", layers=3)
    refused("adhoc", "width is 18; it must be a multiple of twice the 4", width=18)
    refused("adhoc", "dropout is 1.0; it must be from 0.0 to 0.99", dropout=1.0)
    refused("adhoc", "grid_init is 'flat'; there are smooth", grid_init="flat")
    refused("adhoc", "front_end is 'mel'; there are real_imag", front_end="mel")
    refused("adhoc", "cannot find 0 sources", num_sources=0)
    one_source = "'encoder_decoder', which cannot find 2 sources"
    refused("encoder_decoder", one_source, num_sources=2)
    message = "model.num_encoders is 3; 8 nodes cannot be divided among 3"
    refused("encoder_decoder", message, num_encoders=3)


@pytest.mark.parametrize("name", list(build.NETWORKS))
def test_every_network_has_default_settings(name):
    known = config.default(name)
    settings = config.to_dict(known.model) | {"width": 16}
    label = build.make_label({"scheme": known.label.scheme, "resolution": 4}, settings)
    model = build.for_label(settings, label, 8, 1, seed=0)
    found = build.describe(model, label, 8, 4096)
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
        build.describe(
            build.for_label(settings, LABEL, 4, 1, seed=0), LABEL, M, 9 * 256
        )["flops"]
        for M in (10, 20)
    )
    expected = 10 * 10 * 2 * 512 * 32
    np.testing.assert_allclose(many - few, expected, rtol=0.15)
