import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.labels import schemes

ROOM = jnp.array([4.0, 7.0])
NAMES = list(schemes.SCHEMES)


def confident_logits(label, code):
    """Return logits whose scores are the code, up to rounding."""
    code = jnp.clip(code, 1e-6, 1 - 1e-6)
    if schemes.SCHEMES[label.scheme].activation is jax.nn.sigmoid:
        return (jnp.log(code) - jnp.log1p(-code)).ravel()
    return jnp.log(code).ravel()


def test_the_papers_four_are_there():
    assert list(schemes.PAPER) == NAMES[:4]
    assert NAMES[:4] == ["one_hot", "heat_map", "refined_grid", "uld"]


@pytest.mark.parametrize(
    ("name", "outputs", "shape"),
    [
        ("one_hot", 25, (5, 5)),
        ("heat_map", 25, (5, 5)),
        ("refined_grid", 75, (3, 5, 5)),
        ("uld", 36, (6, 6)),
    ],
)
def test_sizes_are_the_papers(name, outputs, shape):
    label = schemes.Label(name, 5)
    assert (label.num_outputs, label.shape) == (outputs, shape)
    assert label.encode(jnp.array([1.0, 2.0]), ROOM).shape == shape
    assert label.encode_node(jnp.array([1.0, 2.0]), ROOM).shape == (outputs,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("resolution", [1, 4, 8])
def test_a_right_output_decodes_as_the_scheme_promises(name, resolution):
    label = schemes.Label(name, resolution)
    positions = jax.random.uniform(jax.random.key(0), (64, 2)) * ROOM

    @jax.jit
    @jax.vmap
    def decode(position):
        code = label.encode(position, ROOM)
        logits = confident_logits(label, code)
        same = label.classify(label.scores(logits)) == label.classify(code)
        return label.decode(logits, ROOM), same

    decoded, same = decode(positions)
    assert same.mean() > 0.95  # Ties may be broken by rounding.
    errors = np.linalg.norm(decoded - positions, axis=-1)
    if name in ("uld", "refined_grid"):
        assert errors.max() < 1e-3
    else:
        half_diagonal = np.linalg.norm(ROOM) / resolution / 2
        assert errors.max() <= half_diagonal * 1.001
        if name in ("one_hot", "heat_map"):  # And not for nothing.
            assert errors.mean() > 0.3 * half_diagonal


@pytest.mark.parametrize("name", NAMES)
def test_the_floor_is_the_least_loss(name):
    label = schemes.Label(name, 4)
    code = label.encode(jnp.array([1.3, 5.1]), ROOM)
    floor = label.loss_floor(code)
    at_best = label.loss(confident_logits(label, code), code)
    np.testing.assert_allclose(at_best, floor, atol=2e-4)
    noise = jax.random.normal(jax.random.key(1), (100, label.num_outputs))
    assert (jax.vmap(label.loss, (0, None))(noise, code) > floor).all()


def test_uld_is_classified_by_its_nearest_grid_point():
    label = schemes.Label("uld", 4)
    positions = np.random.default_rng(0).uniform(0, ROOM, (200, 2)).astype(np.float32)
    classes = jax.vmap(lambda p: label.classify(label.encode(p, ROOM)))(
        jnp.asarray(positions)
    )
    nearest = np.rint(positions / np.asarray(ROOM) * 4).astype(int)
    np.testing.assert_array_equal(classes, nearest[:, 1] * 5 + nearest[:, 0])


def test_resolution_follows_from_the_outputs():
    assert schemes.resolution_for("uld", 6) == 5
    assert schemes.resolution_for("one_hot", 6) == 6
    with pytest.raises(ValueError, match="resolution is 0"):
        schemes.Label("uld", schemes.resolution_for("uld", 1))


def test_an_unknown_scheme_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'onehot'.*one_hot, heat_map"):
        schemes.Label("onehot", 4)
