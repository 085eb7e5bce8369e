"""Recipes of simulated data."""

import dataclasses

import numpy as np
import pytest
from conftest import decibels

from uld_jax.audio import corpora
from uld_jax.simulation import recipes, rendering, scenes
from uld_jax.simulation import rooms as rooms_lib

SMALL = dataclasses.replace(recipes.AD2, num_nodes=3, num_samples=4000)


def draw(recipe, index=0, split="train"):
    speech, noise = corpora.open_speech("builtin"), corpora.open_noise("builtin")
    rng = np.random.default_rng([1, index])
    return recipe.draw_from(speech, noise, split, rng)


def signals_of(drawn):
    dry = np.stack([[e.samples for e in example.speech] for example in drawn])
    return dry, np.stack([example.noise.samples for example in drawn])


def test_the_papers_laws_have_its_numbers():
    assert (recipes.L1.num_nodes, recipes.L1.num_sources) == (8, 1)
    assert recipes.L1.num_samples == 0.16 * 16_000
    assert (recipes.AD1.num_nodes, recipes.AD1.num_sources) == (30, 1)
    assert recipes.AD1.num_samples == 2 * 16_000
    assert dataclasses.replace(recipes.AD1, num_sources=2) == recipes.AD2


def test_talkers_of_one_scene_differ_and_so_do_levels():
    levels = []
    for index in range(40):
        example = draw(SMALL, index)
        first, second = (e.utterance.talker for e in example.speech)
        assert first != second
        assert len(example.speech[0].samples) == SMALL.num_dry
        levels.append(example.levels_db)
    levels = np.array(levels)
    assert (levels[:, 0] == 0).all()
    assert np.abs(levels[:, 1]).max() <= scenes.LEVEL_RANGE_DB
    assert np.ptp(levels[:, 1]) > scenes.LEVEL_RANGE_DB


def test_training_has_a_wider_range_of_snr():
    trained = [draw(SMALL, i).scene.snr_db for i in range(60)]
    tested = [draw(SMALL, i, split="test").scene.snr_db for i in range(60)]
    for values, (least, largest) in (
        (trained, scenes.TRAIN_SNR_DB),
        (tested, scenes.TEST_SNR_DB),
    ):
        assert least <= min(values) < least + 0.1 * (largest - least)
        assert largest >= max(values) > largest - 0.1 * (largest - least)


def test_sources_have_the_levels_drawn_in_the_segment():
    example = draw(SMALL)
    dry, _ = signals_of([example])
    loud = np.asarray(SMALL.at_levels(dry * [[[3.0], [0.1]]], example.levels_db[None]))
    before, _ = SMALL.margins
    power = (loud[0, :, before:] ** 2).mean(axis=-1)
    np.testing.assert_allclose(10 * np.log10(power), example.levels_db, atol=1e-3)


def test_an_ad_hoc_example_is_the_rendered_room():
    """Without noise, the sum of its sources at their levels."""
    example = draw(SMALL)
    quiet = dataclasses.replace(
        example, scene=dataclasses.replace(example.scene, t60=0.2, snr_db=200.0)
    )
    dry, noise = signals_of([quiet])
    received = np.asarray(SMALL.render([quiet], dry, noise, late="full"))
    before = SMALL.margins[0]
    settings = SMALL.settings("full", deterministic=False)
    rooms = rooms_lib.Rooms.of([quiet.scene])
    gain = 10 ** (example.levels_db / 20) / np.sqrt((dry[0, :, before:] ** 2).mean(-1))
    scaled = (dry * gain[None, :, None]).astype(np.float32)
    keys = recipes.keys([example.seed])
    expected = np.asarray(rendering.render(rooms, scaled, keys, settings).signals)
    np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())


def test_the_noise_is_as_loud_as_the_scene_says():
    example = draw(SMALL)
    dry, noise = signals_of([example])
    quiet = dataclasses.replace(
        example, scene=dataclasses.replace(example.scene, snr_db=200.0)
    )
    noisy, clean = (
        np.asarray(SMALL.render([one], dry, noise), float) for one in (example, quiet)
    )
    left = ((noisy - clean) ** 2).mean()
    snr_db = 10 * np.log10((clean**2).mean() / left)
    assert snr_db == pytest.approx(example.scene.snr_db, abs=0.02)


@pytest.mark.exact
def test_an_example_does_not_depend_on_its_batch():
    drawn = [draw(SMALL, index) for index in range(3)]
    together = SMALL.render(drawn, *signals_of(drawn), deterministic=True)
    alone = SMALL.render(drawn[1:2], *signals_of(drawn[1:2]), deterministic=True)
    np.testing.assert_array_equal(alone[0], together[1])


def test_chosen_nodes_hear_what_they_hear_among_all():
    """To the bit without noise; with it, up to the gain that gives the SNR."""
    example = draw(SMALL)
    quiet = dataclasses.replace(
        example, scene=dataclasses.replace(example.scene, snr_db=np.inf)
    )
    dry, noise = (np.concatenate([part] * 2) for part in signals_of([example]))
    nodes = np.array([[2, 0], [2, 0]])
    every, some = (
        SMALL.batch([quiet, example], dry, noise, nodes=n, deterministic=True)
        for n in (None, nodes)
    )
    every, received = np.asarray(every["audio"])[:, [2, 0]], np.asarray(some["audio"])
    np.testing.assert_array_equal(received[0], every[0])
    noise_of_all, noise_of_some = (pair[1] - pair[0] for pair in (every, received))
    gain = (noise_of_some * noise_of_all).sum() / (noise_of_all**2).sum()
    assert abs(gain - 1) > 1e-3
    assert decibels(noise_of_some, gain * noise_of_all) < -40
    snr_db = 10 * np.log10((received[0] ** 2).mean() / (noise_of_some**2).mean())
    assert snr_db == pytest.approx(example.scene.snr_db, abs=0.02)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([[0, 3]], "nodes are 0 to 3; give numbers from 0 to 2"),
        ([[-1]], "nodes are -1 to -1; give numbers from 0 to 2"),
        ([[0], [1]], r"shape \(2, 1\); it must be \[1, k\]"),
    ],
)
def test_nodes_that_are_not_there_are_refused(nodes, message):
    with pytest.raises(rooms_lib.RenderingError, match=message):
        SMALL.batch([draw(SMALL)], *signals_of([draw(SMALL)]), nodes=np.array(nodes))


def test_a_key_is_that_of_its_seed():
    import jax

    seeds = [0, 7, 2**32 - 1]
    for key, seed in zip(recipes.keys(seeds), seeds, strict=True):
        assert (jax.random.key_data(key) == np.array([0, seed], np.uint32)).all()


def test_tests_of_a_pool_are_in_seen_and_new_rooms_by_seen_and_new_talkers():
    """By turns; seen talkers say what was held out from the training."""
    recipe = dataclasses.replace(SMALL, num_sources=1, rooms="pool:2")
    assert recipe.pooled_rooms == 2 and not SMALL.pooled
    trained = [draw(recipe, index) for index in range(40)]
    rooms_of = {example.scene.node_positions.tobytes() for example in trained}
    said = {example.speech[0].utterance.name for example in trained}
    talkers = {
        utterance.talker
        for utterance in corpora.open_speech("builtin").utterances["train"]
    }
    assert len(rooms_of) == 2
    for index in range(16):
        group = recipe.group("test", index)
        assert group == list(scenes.POOL_GROUPS)[index % 4]
        example = draw(recipe, 100 + index, group)
        (excerpt,) = example.speech
        in_seen_room = example.scene.node_positions.tobytes() in rooms_of
        assert in_seen_room == group.startswith("seen_rooms")
        assert (excerpt.utterance.talker in talkers) == group.endswith("seen_talkers")
        assert excerpt.utterance.name not in said
        assert "test" in example.noise.utterance.name
    assert recipe.group("train", 3) == "train" and SMALL.group("test", 3) == "test"
