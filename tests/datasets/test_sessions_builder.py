"""The builder of data sets from one's own recordings."""

import functools
import hashlib

import made_sessions
import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import logging
from made_sessions import ACTIVE, NUM_SAMPLES

from uld_jax.audio import sessions
from uld_jax.datasets import splits
from uld_jax_data import pool, shards
from uld_jax_data.sessions import sessions_dataset_builder as own

SIZES = {"train": 6, "validation": 3, "test": 3}


def config(**changes):
    return own.SessionConfig(
        **{
            "name": "my_lab",
            "num_samples": NUM_SAMPLES,
            "examples_per_shard": 4,
            **changes,
        }
    )


def factory(session, data_dir, **changes):
    return functools.partial(
        own.Builder,
        config=config(**changes),
        data_dir=str(data_dir),
        file_format="array_record",
        session=session,
    )


def list_session(folder):
    return sessions.open_session(folder, NUM_SAMPLES).listed()


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if "array_record" in path.name
    }


def in_this_process(make_builder, missing, _):
    builder = make_builder()
    for shard in missing:
        shards.write_shard(builder, shard)
    return {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_sessions.write_session(
        tmp_path_factory.mktemp("lab") / "lab", "folders"
    )


@pytest.fixture(scope="module")
def path(folder, tmp_path_factory):
    """Return the data set of a session, written by a process of its own."""
    data_dir = tmp_path_factory.mktemp("datasets")
    return shards.prepare(factory(list_session(folder), data_dir), pool.executor(1))


def test_it_is_read_like_any_data_set(path):
    assert path.parts[-3:] == ("sessions", "my_lab", "1.0.0")
    for name, size in SIZES.items():
        split = splits.Split(path, name)
        assert len(split) == size
        assert split.shape == (3, NUM_SAMPLES)
        assert (split.num_nodes, split.num_sources) == (3, 1)
        arrays = split.load()  # Which checks the geometry.
        np.testing.assert_array_equal(
            arrays["node_positions"],
            np.float32([made_sessions.NODE_POSITIONS] * size),
        )
        assert (arrays["room_size"] == np.float32(made_sessions.ROOM)).all()


def test_an_example_is_a_window_of_the_recording(path):
    """Rebuilt from what was recorded, in the order of recordings and windows."""
    examples = list(tfds.builder_from_directory(path).as_data_source("train"))
    wanted = [(name, window) for name in ("one", "two") for window in ACTIVE]
    for index, (example, (name, window)) in enumerate(
        zip(examples, wanted, strict=True)
    ):
        heard = made_sessions.samples(name).astype(float)
        heard -= heard.mean(axis=1, keepdims=True)
        start = window * NUM_SAMPLES
        heard = heard[:, start : start + NUM_SAMPLES] / 32_768
        gain = 30_000 / np.abs(heard).max()
        assert example["audio"].dtype == np.int16
        np.testing.assert_allclose(example["gain"], gain, rtol=1e-5)
        np.testing.assert_allclose(example["audio"], heard * gain, atol=0.6)
        place = made_sessions.RECORDINGS[name][1]
        np.testing.assert_array_equal(example["source_positions"], np.float32([place]))
        assert example["recording"].decode() == name
        assert (example["start"], example["index"]) == (start, index)


def test_what_it_was_made_from_is_stored(path, folder):
    info = tfds.builder_from_directory(path).info
    corpus = info.metadata["corpus"]
    assert corpus["name"] == "lab"
    assert corpus["fingerprint"] == list_session(folder).fingerprint()
    assert corpus["unlabeled_recordings"] == 1
    assert info.metadata["law"] == {
        "num_sources": 1,
        "num_nodes": 3,
        "num_samples": NUM_SAMPLES,
    }
    assert info.metadata["seed"] == 2024
    assert info.metadata["sample_rate"] == 16_000
    assert info.metadata["training_places"] == [[1.0, 2.0], [4.13, 0.5]]
    assert own.Builder.RELEASE_NOTES[str(info.version)]
    for name, feature in info.features.items():
        assert feature.doc.desc, name


@pytest.mark.parametrize("layout", made_sessions.LAYOUTS)
def test_every_layout_gives_the_same_examples(folder, tmp_path, layout):
    recordings = {"one": ("train", [1.0, 2.0, 1.6])}
    session = list_session(made_sessions.write_session(tmp_path, layout, recordings))
    found = dict(factory(session, tmp_path / "data")().shard("train", 0))
    wanted = dict(factory(list_session(folder), tmp_path / "data")().shard("train", 0))
    assert list(found) == [0, 1, 2]
    for index, example in found.items():
        for key in set(example) - {"recording"}:
            np.testing.assert_array_equal(example[key], wanted[index][key])


def test_the_bytes_do_not_depend_on_who_writes_in_which_order(path, folder, tmp_path):
    def backwards(make_builder, missing, bar):
        return in_this_process(make_builder, missing[::-1], bar)

    again = shards.prepare(factory(list_session(folder), tmp_path), backwards)
    assert len(hashes(path)) == 4
    assert hashes(again) == hashes(path)


def test_tfds_own_way_gives_the_same_examples(path, folder, tmp_path, capsys):
    builder = own.Builder(
        config=config(num_nodes=3, num_sources=1),
        data_dir=str(tmp_path),
        file_format="array_record",
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=str(folder))
    )
    assert "1 recordings of lab have no positions" in capsys.readouterr().out
    prepared = tfds.builder_from_directory(path)
    assert builder.info.metadata == prepared.info.metadata
    for split in SIZES:
        for theirs, mine in zip(
            builder.as_data_source(split), prepared.as_data_source(split), strict=True
        ):
            assert theirs.keys() == mine.keys()
            for key, value in mine.items():
                np.testing.assert_array_equal(value, theirs[key])


def test_a_session_may_have_the_test_split_alone(tmp_path):
    place = [5.0, 4.0, 1.25]
    folder = made_sessions.write_session(
        tmp_path / "lab", recordings={"four": ("", place), "five": ("test", place)}
    )
    builder = factory(list_session(folder), tmp_path)()
    assert builder.size_of_split == {"test": 6}
    assert builder.expected_bytes == 6 * 3 * NUM_SAMPLES * 2
    assert builder.info.metadata["training_places"] == []
    assert builder.shortfall() == []
    assert builder.skipped == {}


def test_many_training_places_are_not_listed(tmp_path):
    def builder_of(count):
        recordings = {
            f"r{k}": ("train", [0.5 + 0.05 * k, 1.0, 1.5]) for k in range(count)
        }
        made_sessions.write_tables(tmp_path, recordings=recordings)
        for name in recordings:
            made_sessions.write_recording(tmp_path, name, made_sessions.samples("one"))
        return factory(list_session(tmp_path), tmp_path / "data")()

    assert len(builder_of(64).info.metadata["training_places"]) == 64
    assert "training_places" not in builder_of(65).info.metadata


def test_two_talkers_are_two_sources(tmp_path):
    made_sessions.write_session(tmp_path, recordings={"one": ("", [1, 1, 1])})
    (tmp_path / "recordings.csv").write_text(
        "recording,split,x,y,z,x2,y2,z2\none.wav,train,1,2,1.5,3,4,1.25\n"
    )
    builder = factory(list_session(tmp_path), tmp_path / "data")()
    assert builder.info.features["source_positions"].shape == (2, 3)
    _, example = next(builder.shard("train", 0))
    np.testing.assert_array_equal(
        example["source_positions"], [[1, 2, 1.5], [3, 4, 1.25]]
    )
    assert builder.info.metadata["training_places"] == [[1.0, 2.0], [3.0, 4.0]]


def test_a_builder_without_shapes_is_refused(folder, tmp_path):
    with pytest.raises(
        ValueError, match=r"give session=.*, or num_nodes and num_sources"
    ):
        factory(None, tmp_path)()
    session = sessions.open_session(folder, NUM_SAMPLES)
    with pytest.raises(ValueError, match=r"not listed; give session.listed\(\)"):
        factory(session, tmp_path)()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_samples": 800},
            "num_samples of 'my_lab' is 800, and session .* has 1600",
        ),
        ({"num_nodes": 4}, "num_nodes of 'my_lab' is 4, and session .* has 3"),
        ({"num_sources": 2}, "num_sources of 'my_lab' is 2, and session .* has 1"),
    ],
)
def test_a_session_of_other_shapes_is_refused(folder, tmp_path, changes, message):
    with pytest.raises(sessions.SessionError, match=message):
        factory(list_session(folder), tmp_path, **changes)()


def test_a_configuration_of_ones_own_is_no_warning(folder, tmp_path, caplog):
    factory(list_session(folder), tmp_path)()
    assert not caplog.records
    logging.warning("as loud as before")
    assert caplog.messages == ["as loud as before"]
