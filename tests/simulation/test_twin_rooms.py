"""Simulated twins of the room of Libri-adhoc40."""

import dataclasses
import json

import numpy as np
import pytest

from uld_jax.datasets import compact
from uld_jax.simulation import recipes, scenes
from uld_jax_data.simulated import configs
from uld_jax_data.simulated import simulated_dataset_builder as simulated

# As the corpus's README has them: loudspeakers (x, y) and columns of nodes.
TEST_PLACES = [(2.7, 1.2), (4.3, 1.2), (5.9, 1.2), (7.5, 1.2)]
DEV_PLACES = [(2.7, 5.2), (4.3, 5.2), (5.9, 5.2), (7.5, 5.2)]
TRAIN_PLACES = [(2.7, 4.4), (2.7, 2.8), (2.7, 1.2), (4.3, 1.2), (5.9, 1.2)]
TRAIN_PLACES += [(8.3, 2.0), (8.3, 3.6), (8.3, 5.2), (5.1, 3.6)]
TEST_COLUMNS = {8.3, 6.7, 5.1, 3.5, 1.9}


def drawn(rooms, split, num_sources=1, n=60):
    return [
        scenes.draw_twin(np.random.default_rng([5, k]), rooms, split, num_sources)
        for k in range(n)
    ]


def places_of(many):
    found = np.concatenate([scene.source_positions[:, :2] for scene in many])
    return {(round(float(x), 4), round(float(y), 4)) for x, y in found}


@pytest.mark.parametrize(
    ("rooms", "split", "places"),
    [
        ("twin", "train", TRAIN_PLACES),
        ("twin", "dev", DEV_PLACES),
        ("twin", "test", TEST_PLACES),
        ("twin_dev", "train", DEV_PLACES),
        ("twin_dev", "dev", DEV_PLACES),
        ("twin_dev", "test", TEST_PLACES),
        ("twin_anywhere", "dev", DEV_PLACES),
        ("twin_anywhere", "test", TEST_PLACES),
    ],
)
def test_sources_stand_at_the_loudspeakers_of_their_split(rooms, split, places):
    many = drawn(rooms, split)
    assert places_of(many) == set(places)
    assert {float(scene.source_positions[0, 2]) for scene in many} == {
        float(np.float32(0.95))
    }


def test_the_room_is_the_real_one():
    for scene in drawn("twin", "train", n=20):
        np.testing.assert_array_equal(scene.room_size, np.float32([9.8, 10.3, 4.2]))
        assert scene.t60 == float(np.float32(0.9))
        assert 30 <= scene.snr_db <= 50
        assert (scene.noise_position[:2] <= scene.room_size[:2]).all()
        assert scene.noise_position[2] == np.float32(0.95)


def test_nodes_are_30_different_ones_of_their_own_layout():
    """The layouts differ: half of the training nodes stand between the others."""
    layouts = {
        (rooms, split): {
            tuple(np.round(node, 3).tolist())
            for scene in drawn(rooms, split)
            for node in scene.node_positions
        }
        for rooms, split in (("twin", "train"), ("twin", "test"), ("twin_dev", "train"))
    }
    assert all(len(nodes) == 40 for nodes in layouts.values())
    assert {np.float32(0.9)} == {
        scene.node_positions[0, 2] for scene in drawn("twin", "test", n=5)
    }
    columns = {round(x, 1) for x, _, _ in layouts["twin", "test"]}
    assert columns == TEST_COLUMNS
    assert layouts["twin_dev", "train"] == layouts["twin", "test"]
    assert not layouts["twin", "train"] <= layouts["twin", "test"]
    for scene in drawn("twin", "test", n=10):
        assert len(np.unique(scene.node_positions, axis=0)) == 30


def test_two_sources_stand_at_different_places():
    many = drawn("twin", "test", num_sources=2, n=200)
    pairs = {frozenset(places_of([scene])) for scene in many}
    assert {len(pair) for pair in pairs} == {2}
    assert len(pairs) == 6


def test_anywhere_is_the_whole_floor():
    found = np.concatenate(
        [s.source_positions[:, :2] for s in drawn("twin_anywhere", "train", 2, 500)]
    )
    assert len(np.unique(found, axis=0)) == len(found)
    share = np.sort(found / [9.8, 10.3], axis=0)
    expected = (np.arange(len(found)) + 0.5)[:, None] / len(found)
    assert np.abs(share - expected).max() < 0.06  # Kolmogorov-Smirnov, 0.1 %.


def test_positions_that_are_trained_at_are_listed():
    for rooms, places in (
        ("twin", TRAIN_PLACES),
        ("twin_dev", DEV_PLACES),
        ("twin_anywhere", []),
    ):
        recipe = dataclasses.replace(recipes.TWIN1, rooms=rooms)
        assert [tuple(at) for at in recipe.training_positions] == places
    assert recipes.AD1.training_positions is None


def test_too_many_nodes_or_sources_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(scenes.SceneError, match="num_nodes is 41; give 1 to 40"):
        scenes.draw_twin(rng, "twin", "test", 1, num_nodes=41)
    with pytest.raises(scenes.SceneError, match="num_sources is 5; give 1 to 4"):
        scenes.draw_twin(rng, "twin", "test", 5)


def test_twins_of_one_size_share_their_test_split():
    by_name = {config.name: config for config in configs.CONFIGS}
    assert by_name["twin_r1"].sizes == (18_000, 1_800, 2_468)
    assert by_name["twin_r2_reduced_dev"].recipe.num_sources == 2
    assert by_name["twin_r1"].late_fields["test"] == "full"
    for size in ("", "_reduced", "_tiny"):
        first, *others = (
            by_name[f"twin_r2{size}{ending}"] for ending in ("", "_dev", "_anywhere")
        )
        for split, same in (("test", True), ("train", False)):
            scene, *of_others = (
                config.recipe.draw_scene(
                    simulated.example_rng(config.seed, split, 7), name
                )
                for config in (first, *others)
                for name in [configs.PART_OF_SPLIT[split]]
            )
            for other in of_others:
                equal = (scene.source_positions == other.source_positions).all()
                assert equal == same
        assert {config.sizes for config in others} == {first.sizes}


def test_a_data_set_says_where_it_trains(tmp_path):
    for name, count in (("twin_r1_tiny", 9), ("twin_r1_tiny_anywhere", 0)):
        builder = simulated.Builder(config=name, data_dir=str(tmp_path))
        places = builder.info.metadata["training_places"]
        assert len(places) == count
        assert json.loads(json.dumps(places)) == places
    builder = simulated.Builder(config="ad1_tiny", data_dir=str(tmp_path))
    assert "training_places" not in builder.info.metadata


@pytest.mark.parametrize("name", ["twin_r1_tiny", "twin_r2_tiny_dev"])
def test_its_compact_form_is_rendered_by_the_same_recipe(tmp_path, name):
    builder = simulated.Builder(config=f"{name}_compact", data_dir=str(tmp_path))
    stored = json.loads(json.dumps(dict(builder.info.metadata)))
    recipe = next(config.recipe for config in configs.CONFIGS if config.name == name)
    assert compact._recipe(stored) == recipe
