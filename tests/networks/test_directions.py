import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.labels import schemes
from uld_jax.networks import build, directions, objective

LABEL = schemes.Label("azimuth", 12, ((0.1, 3.0), (3.0, 0.1)))
SETTINGS = {
    **{"name": "directions", "dtype": "float32", "width": 4, "num_blocks": 0},
    "arrays": (0.1, 3.0, 3.0, 0.1),
}


@functools.cache
def make():
    return build.for_label(SETTINGS, LABEL, 8, 1, seed=0)


def shapes_of(model, *shapes):
    """Return the shape of the logits, without computing them."""
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.eval_shape(lambda *inputs: model(*inputs), *inputs).shape


def test_each_array_has_a_network_of_its_own():
    """Nodes, and parameters, change the logits of their own array alone."""
    graph, params, rest = nnx.split(make(), nnx.Param, ...)
    spectra = jax.random.normal(jax.random.key(0), (4, 8, 3, 512))
    weights = jax.random.normal(jax.random.key(1), (4, 2, 12))

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def slopes(params, spectra, chosen):
        model = nnx.merge(graph, params, rest, copy=True)
        model.train()
        logits = model(spectra).reshape(4, 2, 12)
        return (logits * weights * chosen[:, None]).sum()

    for own in range(2):
        chosen = jnp.arange(2) == own
        of_params, of_spectra = slopes(params, spectra, chosen.astype(jnp.float32))
        moved = np.asarray(jnp.abs(of_spectra).sum((0, 2, 3)) > 0)
        np.testing.assert_array_equal(moved, np.repeat(chosen, 4))
        for path, slope in jax.tree_util.tree_leaves_with_path(of_params):
            name = jax.tree_util.keystr(path)
            is_own = f"'encoders'][{own}]" in name or f"'heads'][{own}]" in name
            # Before a batch norm, a bias cannot matter.
            assert (np.abs(slope).sum() > 0) == is_own or "bias" in name, name


def test_any_number_of_frames_can_be_given():
    model = make()
    model.eval()
    for frames in (1, 7, 11):
        assert shapes_of(model, (2, 8, frames, 512)) == (2, 1, 24)


def test_it_gets_spectra_and_learns_the_label():
    batch = {
        "audio": jnp.ones((3, 8, 1024)),
        "node_positions": jnp.ones((3, 8, 3)),
        "room_size": jnp.full((3, 3), 6.0),
        "source_positions": jnp.array([[[4.0, 5.0, 1.0]]] * 3),
    }
    model = make()
    model.eval()

    @jax.jit
    def compute(batch):
        spectra, mask = objective.inputs_of(model, LABEL, batch)
        assert spectra.shape == (3, 8, 5, 512) and mask is None
        return objective.losses(LABEL, model(spectra), batch)

    loss, kl = compute(batch)
    assert loss.shape == kl.shape == (3,)
    # Twice the entropy of twelve alike, nearly: nothing is learned.
    np.testing.assert_allclose(loss, 2 * np.log(12), atol=1.0)
    assert (kl < loss).all()


@pytest.mark.parametrize(
    ("arrays", "num_nodes", "message"),
    [
        ((0.1, 3.0, 3.0), 8, r"model.arrays is \(0.1, 3.0, 3.0\); give x, y"),
        ((0.1, 3.0), 8, "at least two arrays"),
        ((0.1, 3.0, float("nan"), 1.0), 8, "at least two arrays"),
        ((0.1, 3.0, 3.0, 0.1), 7, "2 arrays; 7 nodes cannot be divided"),
    ],
)
def test_arrays_that_cannot_be_are_refused(arrays, num_nodes, message):
    with pytest.raises(ValueError, match=message):
        directions.SPEC.check(SETTINGS | {"arrays": arrays}, num_nodes)


def test_labels_of_places_are_refused():
    with pytest.raises(ValueError, match="'uld', which labels no directions"):
        build.make_label({"scheme": "uld", "resolution": 5}, SETTINGS)
    with pytest.raises(ValueError, match="2 arrays and the label 1: choose the scheme"):
        build.for_label(SETTINGS, schemes.Label("uld", 5), 8, 1, seed=0)
    with pytest.raises(ValueError, match="'azimuth', with 0 arrays"):
        build.make_label({"scheme": "azimuth", "resolution": 5}, {"name": "adhoc"})


def test_other_numbers_of_nodes_are_refused():
    with pytest.raises(ValueError, match="5 nodes given; this network has 8"):
        make()(jnp.ones((2, 5, 3, 512)))
    with pytest.raises(ValueError, match="needs all its nodes"):
        make()(jnp.ones((2, 8, 3, 512)), jnp.ones((2, 8), bool))
