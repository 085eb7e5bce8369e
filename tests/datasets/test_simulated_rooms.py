"""The builder of reverberant rooms, by either engine."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow_datasets as tfds

from uld_jax.audio import corpora, signals
from uld_jax.simulation import recipes, scenes
from uld_jax_data import pool, shards
from uld_jax_data.simulated import simulated_dataset_builder as simulated


def rooms_builder(**changes):
    return simulated.Builder(
        **{
            "config": "ad1_tiny",
            "data_dir": "unused",
            "file_format": "array_record",
            "corpus": corpora.open_speech("builtin"),
            "noise": corpora.open_noise("builtin"),
        }
        | changes
    )


@pytest.fixture(scope="module")
def rooms_path(tmp_path_factory):
    """Return the folder of the tiny Ad-1, built by two processes."""
    return shards.prepare(
        functools.partial(
            rooms_builder, data_dir=str(tmp_path_factory.mktemp("rooms"))
        ),
        pool.executor(2),
    )


@pytest.mark.exact
def test_rooms_are_stored_with_all_they_are_made_of(rooms_path):
    """Rebuild an example of either late field from its stored facts."""
    data = tfds.builder_from_directory(rooms_path)
    recipe = rooms_builder().builder_config.recipe
    before, _ = recipe.margins
    for split, late in (("train", "thinned"), ("test", "full")):
        example = data.as_data_source(split)[1]
        scene = scenes.Scene(
            example["room_size"],
            example["node_positions"],
            example["source_positions"],
            float(example["t60"]),
            example["noise_position"],
            float(example["snr_db"]),
        )
        drawn = recipes.Drawn(
            scene, (), None, example["levels_db"], int(example["seed"])
        )

        def excerpt(name, start):
            signal = signals.load(signals.Utterance(name.decode(), ""))
            padded = np.pad(signal, (before, 0))
            return padded[start : start + recipe.num_dry]

        dry = excerpt(example["utterances"], example["starts"][0])
        noise = signals.load(signals.Utterance(example["noise"].decode(), ""))
        # Rooms are rendered from 16 bits.
        dry, noise = (
            np.round(part / np.abs(part).max() * 32_767) / np.float32(32_768)
            for part in (dry, noise)
        )
        places = example["noise_start"] - before + np.arange(recipe.num_dry)
        heard = recipe.render(
            [drawn],
            dry[None, None],
            noise[places % len(noise)][None],
            late=late,
            deterministic=True,
        )[0]
        difference = example["audio"] - np.asarray(heard) * example["gain"]
        assert np.abs(difference).max() < 1
        assert np.abs(example["audio"]).max() == 30_000


def test_the_record_says_which_late_field_each_split_has(rooms_path):
    metadata = tfds.builder_from_directory(rooms_path).info.metadata
    assert metadata["late_fields"] == {
        "train": "thinned",
        "validation": "full",
        "test": "full",
    }
    assert metadata["simulator"].endswith(", jax")
    assert metadata["noise"]["name"] == "builtin"


def test_rooms_have_the_same_bytes_whoever_builds_them(rooms_path):
    """Another process, another order, alone."""
    data = tfds.builder_from_directory(rooms_path)
    for index, example in rooms_builder().shard("train", 1):
        stored = data.as_data_source("train")[index]
        np.testing.assert_array_equal(example["audio"], stored["audio"])
        np.testing.assert_array_equal(example["gain"], stored["gain"])


def test_pyroomacoustics_renders_the_same_scenes():
    """Every image on both sides, and hardly any noise."""
    pytest.importorskip("pyroomacoustics")
    ours, theirs = (rooms_builder(engine=engine) for engine in simulated.ENGINES)
    drawn = ours._draw("test", 0)
    quiet = dataclasses.replace(drawn.scene, t60=0.3, snr_db=90.0)
    drawn = dataclasses.replace(drawn, scene=quiet)
    mine, other = (b._signals("test", [drawn])[0] for b in (ours, theirs))
    error = ((mine - other) ** 2).sum() / (other**2).sum()
    assert 10 * np.log10(error) < -46
    loud = dataclasses.replace(drawn, scene=dataclasses.replace(quiet, snr_db=3.0))
    noisy = theirs._signals("test", [loud])[0]
    left = ((noisy - other) ** 2).mean()
    assert 10 * np.log10((other**2).mean() / left) == pytest.approx(3.0, abs=0.02)
    assert theirs._origin()["simulator"].endswith(", pyroomacoustics")
    assert set(theirs._origin()["late_fields"].values()) == {"full"}


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="'rays'; there are jax, pyroomacoustics"):
        rooms_builder(engine="rays")
