import dataclasses
import math

import numpy as np
import pytest
import scipy.stats

from uld_jax.acoustics import absorption as absorption_lib
from uld_jax.simulation import recipes, rooms, scenes


@pytest.fixture(scope="module")
def adhoc():
    """Return many small scenes: five nodes, two sources."""
    rng = np.random.default_rng(7)
    return [
        scenes.draw_adhoc(rng, 2, scenes.TRAIN_SNR_DB, num_nodes=5)
        for _ in range(12_000)
    ]


def cells(positions, room_size):
    """Return the numbers of the 16 x 16 cells that positions are in."""
    column, row = np.floor(positions[..., :2] / room_size[..., :2] * 16).T.astype(int)
    return 16 * column + row


def uniform_p_value(values, least, largest):
    """Return how likely so uneven a sample of a uniform distribution is (Kolmogorov-Smirnov)."""
    assert least <= np.min(values) <= np.max(values) <= largest
    return scipy.stats.kstest(values, "uniform", (least, largest - least)).pvalue


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


def test_the_random_stream_of_l1_stays():
    """Data sets are made of it: another stream needs another version of theirs."""
    scene = scenes.draw_l1(np.random.default_rng(5))
    np.testing.assert_array_equal(
        scene.source_positions,
        np.float32([[4.830017566680908, 4.847644805908203, 0.95]]),
    )
    assert (scene.t60, scene.noise_position, scene.snr_db) == (0.0, None, math.inf)


def test_an_adhoc_scene_is_sec_3_1():
    rng = np.random.default_rng(3)
    for num_sources in (1, 2):
        scene = scenes.draw_adhoc(rng, num_sources, scenes.TEST_SNR_DB)
        assert scene.node_positions.shape == (30, 3)
        assert scene.source_positions.shape == (num_sources, 3)
        assert scene.noise_position.shape == (3,)
        assert scene.room_size[2] == np.float32(4.2)
        assert (scene.node_positions[:, 2] == np.float32(0.9)).all()
        assert (scene.source_positions[:, 2] == np.float32(0.95)).all()
        assert scene.noise_position[2] == np.float32(0.95)
        for field in dataclasses.fields(scene):
            value = getattr(scene, field.name)
            assert isinstance(value, float) or value.dtype == np.float32


def test_everything_in_a_scene_has_its_own_cell():
    rng = np.random.default_rng(4)
    for _ in range(500):
        scene = scenes.draw_adhoc(rng, 2, scenes.TEST_SNR_DB)
        points = np.concatenate(
            [scene.node_positions, scene.source_positions, scene.noise_position[None]]
        )
        assert (points >= 0).all()
        assert (points <= scene.room_size).all()
        assert len(set(cells(points, scene.room_size))) == 33


def test_all_cells_can_be_full():
    rng = np.random.default_rng(5)
    scene = scenes.draw_adhoc(rng, 3, scenes.TEST_SNR_DB, num_nodes=252)
    assert len(scene.node_positions) == 252
    with pytest.raises(scenes.SceneError, match="253 nodes, 3 sources and the noise"):
        scenes.draw_adhoc(rng, 3, scenes.TEST_SNR_DB, num_nodes=253)


def test_what_cannot_be_drawn_is_refused():
    rng = np.random.default_rng(6)
    with pytest.raises(scenes.SceneError, match="30 nodes, 0 sources"):
        scenes.draw_adhoc(rng, 0, scenes.TEST_SNR_DB)
    with pytest.raises(scenes.SceneError, match="0 nodes, 1 sources"):
        scenes.draw_adhoc(rng, 1, scenes.TEST_SNR_DB, num_nodes=0)
    for snr_range in ((20.0, 10.0), (0.0, math.inf), (math.nan, 10.0)):
        with pytest.raises(scenes.SceneError, match="snr_range is"):
            scenes.draw_adhoc(rng, 1, snr_range)
    assert scenes.draw_adhoc(rng, 1, (15.0, 15.0)).snr_db == 15.0


def test_rooms_times_and_levels_are_uniform(adhoc):
    rooms = np.stack([scene.room_size for scene in adhoc])
    assert uniform_p_value(rooms[:, 0], 4.0, 10.0) > 1e-3
    assert uniform_p_value(rooms[:, 1], 4.0, 10.0) > 1e-3
    assert uniform_p_value([scene.t60 for scene in adhoc], 0.2, 1.2) > 1e-3
    assert uniform_p_value([scene.snr_db for scene in adhoc], 0.0, 50.0) > 1e-3
    drawn = np.stack([[*s.room_size[:2], s.t60, s.snr_db] for s in adhoc])
    correlations = np.corrcoef(drawn.T) - np.eye(4)
    assert np.abs(correlations).max() < 4 / np.sqrt(len(adhoc))


def test_the_snr_of_the_test_is_from_10_to_20_db():
    rng = np.random.default_rng(8)
    drawn = [scenes.draw_adhoc(rng, 1, scenes.TEST_SNR_DB).snr_db for _ in range(999)]
    assert uniform_p_value(drawn, 10.0, 20.0) > 1e-3


def test_nodes_sources_and_noise_are_uniform_over_the_floor(adhoc):
    rooms = np.stack([scene.room_size for scene in adhoc])
    for points in (
        np.stack([scene.node_positions[0] for scene in adhoc]),
        np.stack([scene.node_positions[-1] for scene in adhoc]),
        np.stack([scene.source_positions[0] for scene in adhoc]),
        np.stack([scene.source_positions[-1] for scene in adhoc]),
        np.stack([scene.noise_position for scene in adhoc]),
    ):
        counts = np.bincount(cells(points, rooms), minlength=256)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
        for axis in (0, 1):
            inside = points[:, axis] / rooms[:, axis] * 16 % 1
            assert uniform_p_value(inside, 0.0, 1.0) > 1e-3


def test_every_room_can_have_its_t60(adhoc):
    rooms = np.stack([scene.room_size for scene in adhoc])
    t60 = np.array([scene.t60 for scene in adhoc])
    absorption = absorption_lib.sabine_absorption(rooms, t60)
    assert 0.05 < absorption.min() < 0.15
    assert 0.8 < absorption.max() < 1.0
    # The worst that the recipe draws: the largest room and the shortest time.
    room = np.array([scenes.ADHOC_SIDES[1], scenes.ADHOC_SIDES[1], scenes.HEIGHT])
    assert absorption_lib.smallest_t60(room) < scenes.ADHOC_T60[0]


def test_an_adhoc_scene_follows_from_its_stream():
    one, same, other = (
        scenes.draw_adhoc(np.random.default_rng(seed), 1, scenes.TEST_SNR_DB)
        for seed in (1, 1, 2)
    )
    for field in dataclasses.fields(one):
        value = getattr(one, field.name)
        np.testing.assert_array_equal(value, getattr(same, field.name))
    assert (one.node_positions != other.node_positions).any()
    assert one.t60 != other.t60
    # Pinned, as data sets are made of it.
    assert one.t60 == np.float32(0.34415961271963375)
    np.testing.assert_allclose(one.source_positions[0, 0], 3.1403418, rtol=1e-7)


def test_any_session_has_rooms_heights_and_noise_of_every_kind():
    drawn = [scenes.draw_any(np.random.default_rng(seed), 2) for seed in range(200)]
    sizes = np.stack([scene.room_size for scene in drawn])
    for axis, (least, most) in enumerate(
        [scenes.ANY_SIDES, scenes.ANY_SIDES, scenes.ANY_HEIGHTS]
    ):
        assert (sizes[:, axis] >= least).all()
        assert (sizes[:, axis] <= most).all()
        assert np.ptp(sizes[:, axis]) > 0.9 * (most - least)
    assert (sizes.prod(axis=1) <= scenes.ANY_VOLUME * 1.001).all()
    snr_db = np.array([scene.snr_db for scene in drawn])
    assert snr_db.min() < -8
    assert snr_db.max() > 28
    for scene in drawn:
        points = np.concatenate(
            [
                *(scene.node_positions, scene.source_positions),
                scene.noise_position[None],
            ]
        )
        assert (points >= 0).all()
        assert (points <= scene.room_size).all()
        apart = scene.source_positions[:, None] - scene.node_positions
        assert np.linalg.norm(apart, axis=-1).min() >= 0.1
    nodes = np.concatenate([scene.node_positions[:, 2] for scene in drawn])
    assert nodes.min() < 0.5
    assert nodes.max() > 2.1
    heights = np.concatenate([scene.source_positions[:, 2] for scene in drawn])
    np.testing.assert_allclose(heights.mean(), np.mean(scenes.ANY_SOURCE_HEIGHTS), 0.05)


def test_any_session_is_rendered_by_a_thinned_late_field():
    drawn = [scenes.draw_any(np.random.default_rng(seed), 1) for seed in range(100)]
    settings = recipes.ANY.settings("thinned", deterministic=True)
    walls = rooms.compute_walls(rooms.Rooms.of(drawn), settings)
    assert np.isfinite(walls.exact_radius).all()


def test_rooms_of_a_pool_keep_their_nodes_and_reverberation():
    """Only sources, noise and SNR differ; each has a cell of its own."""
    rng = np.random.default_rng(3)
    drawn = [
        scenes.draw_pooled(rng, part, 3, 2, scenes.TEST_SNR_DB, num_nodes=5)
        for part in ("train", "test")
        for _ in range(60)
    ]
    rooms_of = {
        part: {
            (tuple(one.room_size), one.t60, one.node_positions.tobytes())
            for one in drawn[first : first + 60]
        }
        for part, first in (("train", 0), ("test", 60))
    }
    assert len(rooms_of["train"]) == len(rooms_of["test"]) == 3
    assert not rooms_of["train"] & rooms_of["test"]
    assert len({one.source_positions.tobytes() for one in drawn}) == 120
    for one in drawn:
        placed = np.concatenate(
            [one.node_positions, one.source_positions, one.noise_position[None]]
        )
        assert len(set(cells(placed, one.room_size))) == 8
        assert (placed[:, :2] <= one.room_size[:2]).all() and (placed >= 0).all()
        assert scenes.TEST_SNR_DB[0] <= one.snr_db <= scenes.TEST_SNR_DB[1]
    with pytest.raises(scenes.SceneError, match="0 rooms"):
        scenes.draw_pooled(rng, "train", 0, 1, scenes.TEST_SNR_DB)


def test_sources_of_a_pool_are_anywhere_but_at_nodes():
    """Uniform over the free cells, and in each."""
    rng = np.random.default_rng(4)
    drawn = [
        scenes.draw_pooled(rng, "dev", 1, 1, scenes.TEST_SNR_DB, num_nodes=5)
        for _ in range(4000)
    ]
    places = np.stack(
        [one.source_positions[0, :2] / one.room_size[:2] for one in drawn]
    )
    used = np.bincount(cells(places, np.ones(2)), minlength=256)
    assert (used == 0).sum() == 5
    assert scipy.stats.chisquare(used[used > 0]).pvalue > 1e-3
    inside = (places * 16) % 1
    assert scipy.stats.kstest(inside.ravel(), "uniform").pvalue > 1e-3
