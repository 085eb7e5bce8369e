import numpy as np

from uld_jax import scenes


def test_l1_has_two_arrays_of_four_at_the_walls():
    nodes = scenes.l1_nodes()
    assert nodes.shape == (8, 3)
    np.testing.assert_allclose(nodes[:4, 0], 0.1)
    np.testing.assert_allclose(nodes[:4, 1], [2.88, 2.96, 3.04, 3.12])
    np.testing.assert_allclose(nodes[4:, :2], nodes[:4, 1::-1])
    np.testing.assert_allclose(nodes[:, 2], 0.9)
    scene = scenes.draw_l1(np.random.default_rng(0))
    np.testing.assert_array_equal(scene.node_positions, nodes.astype(np.float32))


def test_l1_sources_are_uniform_over_the_floor():
    rng = np.random.default_rng(0)
    points = np.stack([scenes.draw_l1(rng).source_positions[0] for _ in range(20_000)])
    counts, *_ = np.histogram2d(*points.T[:2], bins=6, range=[[0, 6], [0, 6]])
    expected = 20_000 / 36
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 66.6  # 99.9 % point for 35 degrees of freedom.
    np.testing.assert_allclose(points[:, 2], 0.95, rtol=1e-6)


def test_a_scene_follows_from_its_stream():
    one, same, other = (scenes.draw_l1(np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.source_positions, same.source_positions)
    assert (one.source_positions != other.source_positions).any()
