import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.labels import schemes
from uld_jax.networks import build, directions, objective

LABEL = schemes.Label("azimuth", 12, ((0.1, 3.0), (3.0, 0.1)))
SETTINGS = {
    **{"name": "directions", "dtype": "float32", "width": 4, "num_blocks": 1},
    "arrays": (0.1, 3.0, 3.0, 0.1),
}


def make(**changes):
    return build.for_label(SETTINGS | changes, LABEL, 8, 1, seed=0)


def test_each_array_has_a_network_of_its_own():
    """Nodes, and parameters, change the logits of their own array alone."""
    model = make()
    model.train()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    spectra = jax.random.normal(jax.random.key(0), (4, 8, 3, 512))

    def outputs(params, spectra):
        logits = nnx.merge(graph, params, rest, copy=True)(spectra)
        assert logits.shape == (4, 1, 24)
        weights = jax.random.normal(jax.random.key(1), (4, 2, 12))
        return (logits.reshape(4, 2, 12) * weights).sum((0, 2))

    of_params, of_spectra = jax.jacobian(outputs, argnums=(0, 1))(params, spectra)
    moved = np.asarray(jnp.abs(of_spectra).sum((1, 3, 4)) > 0)
    np.testing.assert_array_equal(moved, np.repeat(np.eye(2, dtype=bool), 4, axis=1))
    for path, slope in jax.tree_util.tree_leaves_with_path(of_params):
        name = jax.tree_util.keystr(path)
        sizes = np.abs(np.asarray(slope)).reshape(2, -1).sum(axis=1)
        own = 0 if "'encoders'][0]" in name or "'heads'][0]" in name else 1
        assert sizes[1 - own] == 0, name
        # Before a batch norm, a bias cannot matter.
        assert sizes[own] > 0 or "bias" in name, name


def test_any_number_of_frames_can_be_given():
    model = make()
    model.eval()
    spectra = jax.random.normal(jax.random.key(0), (2, 8, 11, 512))
    for frames in (1, 7, 11):
        assert model(spectra[:, :, :frames]).shape == (2, 1, 24)


def test_it_gets_spectra_and_learns_the_label():
    batch = {
        "audio": jnp.ones((3, 8, 1024)),
        "node_positions": jnp.ones((3, 8, 3)),
        "room_size": jnp.full((3, 3), 6.0),
        "source_positions": jnp.array([[[4.0, 5.0, 1.0]]] * 3),
    }
    model = make()
    spectra, mask = objective.inputs_of(model, LABEL, batch)
    assert spectra.shape == (3, 8, 5, 512) and mask is None
    loss, kl = objective.losses(LABEL, model(spectra), batch)
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
