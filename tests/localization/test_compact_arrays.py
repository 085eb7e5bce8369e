import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from uld_jax.localization import batches, compact_arrays
from uld_jax.simulation import scenes

ROOM = [6.0, 6.0, 4.2]


def test_the_arrays_of_l1_are_found():
    left, bottom = compact_arrays.find(scenes.l1_nodes(), ROOM)
    assert (left.nodes, bottom.nodes) == ((0, 1, 2, 3), (4, 5, 6, 7))
    np.testing.assert_allclose(left.center, [0.1, 3.0])
    np.testing.assert_allclose(bottom.center, [3.0, 0.1])
    np.testing.assert_allclose(
        left.offsets, [[0, y] for y in (-0.12, -0.04, 0.04, 0.12)], atol=1e-9
    )
    np.testing.assert_allclose(left.facing, [1, 0], atol=1e-9)
    np.testing.assert_allclose(bottom.facing, [0, 1], atol=1e-9)


def test_nodes_in_any_order_are_divided_alike():
    order = np.random.default_rng(0).permutation(8)
    found = compact_arrays.find(scenes.l1_nodes()[order], ROOM)
    sets = {frozenset(order[list(one.nodes)]) for one in found}
    assert sets == {frozenset(range(4)), frozenset(range(4, 8))}


def test_an_array_that_is_no_line_listens_everywhere():
    square = np.array([[x, y, 1.0] for x in (2.0, 2.1) for y in (2.0, 2.1)])
    far = square + np.array([2.0, 0.0, 0.0])
    found = compact_arrays.find(np.concatenate([square, far]), ROOM)
    assert [one.facing for one in found] == [None, None]


def test_absent_nodes_are_left_out():
    nodes = np.concatenate([[[5.0, 5.0, 1.0]], scenes.l1_nodes()])
    mask = np.arange(9) > 0
    batch = np.stack([nodes] * 3), np.stack([ROOM] * 3), np.stack([mask] * 3)
    found = compact_arrays.find_in_batch(*batch)
    assert [one.nodes for one in found] == [(1, 2, 3, 4), (5, 6, 7, 8)]


@pytest.mark.parametrize("axes", [(0.3, 0.3), (0.5, 0.01), (0.2, 0.1)])
def test_the_radius_holds_nine_in_ten(axes):
    turn = scipy.stats.special_ortho_group.rvs(2, random_state=0)
    covariance = turn @ np.diag(np.square(axes)) @ turn.T
    drawn = np.random.default_rng(0).multivariate_normal([0, 0], covariance, 100_000)
    radius = compact_arrays.radius(jnp.asarray(covariance, jnp.float32))
    assert (np.linalg.norm(drawn, axis=1) < radius).mean() == pytest.approx(
        0.9, abs=0.005
    )


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (scenes.l1_nodes()[:5], "node 4 is 3.9 m from the nearest other"),
        (scenes.l1_nodes()[:4], "1 compact array; this method needs at least 2"),
        (
            np.array([[1, 1, 1], [1, 1, 1.2], [4, 4, 1], [4, 4.1, 1]], float),
            r"nodes \[0, 1\] are at one place of the plan",
        ),
    ],
)
def test_nodes_that_are_no_arrays_are_refused(nodes, message):
    with pytest.raises(batches.RecordingError, match=message):
        compact_arrays.find(nodes, ROOM)
