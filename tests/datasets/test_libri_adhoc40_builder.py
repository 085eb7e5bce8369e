"""The builder of the data sets from Libri-adhoc40, on fake recordings."""

import functools
import hashlib

import made_adhoc40
import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

from uld_jax.audio import libri_adhoc40_files
from uld_jax.datasets import files, splits
from uld_jax_data import pool, shards
from uld_jax_data.libri_adhoc40 import libri_adhoc40_dataset_builder as real

CONFIGS = {config.name: config for config in real.Builder.BUILDER_CONFIGS}
# From the README of Libri-adhoc40, in meters.
TRAIN_NODES = {1: (9.1, 5.2), 2: (8.3, 6.0), 19: (5.9, 3.6), 40: (1.9, 1.2)}
OTHER_NODES = {1: (8.3, 6.0), 2: (8.3, 5.2), 19: (5.1, 4.4), 40: (1.9, 0.4)}
TRAIN_PLACES = {1: (2.7, 4.4), 5: (5.9, 1.2), 9: (5.1, 3.6)}
OTHER_PLACES = {
    1: (2.7, 1.2),
    2: (4.3, 1.2),
    3: (5.9, 1.2),
    4: (7.5, 1.2),
    5: (2.7, 5.2),
    6: (4.3, 5.2),
    7: (5.9, 5.2),
    8: (7.5, 5.2),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a folder of each layout; the flat one with the training part."""
    root = tmp_path_factory.mktemp("adhoc40")
    return {
        "flat": made_adhoc40.write(root / "flat" / "corpus", "flat"),
        "nested": made_adhoc40.write(
            root / "nested" / "corpus", "nested", ("dev", "test")
        ),
    }


def factory(folder, name, data_dir="unused"):
    """Make a factory of the builder."""
    return functools.partial(
        real.Builder,
        config=name,
        data_dir=str(data_dir),
        file_format="array_record",
        material=libri_adhoc40_files.open_material(folder, CONFIGS[name].needed_parts),
    )


@functools.cache
def examples(folder, name):
    """Return all examples of a data set by split."""
    builder = factory(folder, name)()
    return {
        split: [example for _, example in builder.shard(split, 0)]
        for split in builder.size_of_split
    }


def write_in_this_process(make_builder, missing, _):
    builder = make_builder()
    for shard in missing:
        shards.write_shard(builder, shard)
    return {}


@pytest.fixture(scope="module")
def prepared(folders, tmp_path_factory):
    """Return the data set ad_r2_dev, written by one process."""
    return shards.prepare(
        factory(folders["flat"], "ad_r2_dev", tmp_path_factory.mktemp("datasets")),
        write_in_this_process,
    )


def names(example):
    return example["utterances"].split("\n")


def recorded(folder, layout, part, example, source):
    """Return what the files of a source hold at the nodes, [M, N'], without means."""
    name = names(example)[source]
    position = f"{example['positions'][source]}"
    where = made_adhoc40.place(folder, layout, part, position, name)
    signals = [
        soundfile.read(where / f"{name}-ch-{node}.wav")[0] for node in example["nodes"]
    ]
    usable = np.stack(signals)[:, 4000:-8000]
    return usable - usable.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("layout", made_adhoc40.LAYOUTS)
@pytest.mark.parametrize("name", ["ad_r1_test", "ad_r2_test"])
def test_an_example_is_the_sum_of_what_its_nodes_recorded(folders, layout, name):
    """Rebuild every test example from its facts and the files."""
    made = examples(folders[layout], name)["test"]
    assert len(made) == 5
    for example in made:
        expected, powers = 0.0, []
        for source, start in enumerate(example["starts"]):
            signals = recorded(folders[layout], layout, "test", example, source)
            window = signals[:, start - 4000 : start - 4000 + 32_000]
            assert window.shape == (30, 32_000)
            power = (window**2).mean()
            level = 10 ** (float(example["levels_db"][source]) / 10)
            powers.append(power)
            expected = expected + window * np.sqrt(level * powers[0] / power)
        assert example["audio"].dtype == np.int16
        assert np.abs(example["audio"].astype(int)).max() == 30_000
        difference = example["audio"] - expected * example["gain"]
        assert np.abs(difference).max() < 0.6


@pytest.mark.parametrize("name", ["ad_r1_test", "ad_r2_test"])
def test_draws_are_those_of_the_examples_own_stream(folders, name):
    two = name == "ad_r2_test"
    made = examples(folders["flat"], name)["test"]
    ordered = sorted(n for u in made_adhoc40.UTTERANCES["test"].values() for n in u)
    ordered.remove("121-121726-0001")  # Too short.
    order = np.random.default_rng([2024, 2, 0, 1]).permutation(5)
    ordered = [ordered[k] for k in order]
    position_of = {
        n: int(position)
        for position, named in made_adhoc40.UTTERANCES["test"].items()
        for n in named
    }

    def draw_start(source):
        signals = recorded(folders["flat"], "flat", "test", example, source)
        starts = range(0, signals.shape[1] - 32_000 + 1, 160)
        energy = np.array([(signals[:, s : s + 32_000] ** 2).sum() for s in starts])
        active = np.flatnonzero(energy >= 1e-3 * energy.max())
        return 4000 + 160 * active[rng.integers(len(active))]

    for index, example in enumerate(made):
        rng = np.random.default_rng([2024, 2, index])
        nodes = rng.choice(40, 30, replace=False) + 1
        assert list(example["nodes"]) == sorted(nodes)
        assert names(example)[0] == ordered[index]
        assert example["starts"][0] == draw_start(0)
        if two:
            first = position_of[ordered[index]]
            others = [n for n in ordered if position_of[n] != first]
            assert names(example)[1] == others[rng.integers(len(others))]
            level = rng.uniform(-2.5, 2.5)
            np.testing.assert_array_equal(example["levels_db"], np.float32([0, level]))
            assert example["starts"][1] == draw_start(1)
        assert list(example["positions"]) == [position_of[n] for n in names(example)]
        assert example["index"] == index


def test_pauses_are_not_drawn(folders):
    """The talker of 61-70968-0000 is silent for three seconds of six."""
    for example in examples(folders["flat"], "ad_r1_test")["test"]:
        if names(example) == ["61-70968-0000"]:
            assert example["starts"][0] + 32_000 > 48_000
            return
    raise AssertionError("it is not there")


def test_two_sources_begin_with_the_one(folders):
    for one, two in zip(
        examples(folders["flat"], "ad_r1_test")["test"],
        examples(folders["flat"], "ad_r2_test")["test"],
        strict=True,
    ):
        np.testing.assert_array_equal(one["nodes"], two["nodes"])
        assert names(one)[0] == names(two)[0]
        assert one["starts"][0] == two["starts"][0]
        assert two["positions"][0] != two["positions"][1]
        assert 0 < abs(two["levels_db"][1]) <= 2.5


@pytest.mark.parametrize(
    ("name", "nodes", "places"),
    [
        ("ad_r2", TRAIN_NODES, TRAIN_PLACES),
        ("ad_r2_dev", OTHER_NODES, OTHER_PLACES),
    ],
)
def test_splits_have_the_geometry_of_their_part(folders, name, nodes, places):
    geometry = {"train": (nodes, places)}
    for split, made in examples(folders["flat"], name).items():
        known_nodes, known_places = geometry.get(split, (OTHER_NODES, OTHER_PLACES))
        checked = set()
        for example in made:
            np.testing.assert_array_equal(
                example["room_size"], np.float32([9.8, 10.3, 4.2])
            )
            at = dict(zip(example["nodes"], example["node_positions"], strict=True))
            for number in known_nodes.keys() & at.keys():
                expected = np.float32([*known_nodes[number], 0.9])
                np.testing.assert_array_equal(at[number], expected)
                checked.add(("node", number))
            stands = zip(example["positions"], example["source_positions"], strict=True)
            for number, place in stands:
                if number in known_places:
                    expected = np.float32([*known_places[number], 0.95])
                    np.testing.assert_array_equal(place, expected)
                    checked.add(("place", number))
        assert len(checked) >= 6


@pytest.mark.parametrize("sources", [1, 2])
def test_all_forms_have_the_same_test_split(folders, sources):
    whole, dev, alone = (
        examples(folders["flat"], f"ad_r{sources}{ending}")
        for ending in ("", "_dev", "_test")
    )
    assert list(whole) == list(dev) == ["train", "validation", "test"]
    assert list(alone) == ["test"]
    for one, *others in zip(whole["test"], dev["test"], alone["test"], strict=True):
        for other in others:
            for key, value in one.items():
                np.testing.assert_array_equal(value, other[key])


def test_each_utterance_is_a_first_source_once(folders):
    for name in ("ad_r1", "ad_r2"):
        made = examples(folders["flat"], name)
        firsts = {s: [names(e)[0] for e in made[s]] for s in made}
        assert {s: len(n) for s, n in firsts.items()} == {
            "train": 10,
            "validation": 8,
            "test": 5,
        }
        for first in firsts.values():
            assert len(set(first)) == len(first)
            assert first != sorted(first)


@pytest.mark.parametrize("name", ["ad_r1_dev", "ad_r2_dev"])
def test_who_validates_does_not_train(folders, name):
    made = examples(folders["flat"], name)
    talkers = {
        split: {n.split("-")[0] for example in made[split] for n in names(example)}
        for split in made
    }
    assert talkers["train"] == {"84", "422", "251", "174"}
    assert talkers["validation"] == {"6319", "5338", "2803", "1919"}


def test_every_fifth_talker_of_each_position_validates():
    for name in ("ad_r1_dev", "ad_r2_dev"):
        config = CONFIGS[name]
        held_out, rest = config.talkers("validation"), config.talkers("train")
        assert not held_out & rest
        assert (len(held_out), len(rest)) == (8, 32)
        assert {"6319", "8842", "5338", "6295"} <= held_out
    assert len(CONFIGS["ad_r1"].talkers("validation")) == 40
    assert len(CONFIGS["ad_r1"].talkers("train")) == 251


def test_sizes_are_the_papers_where_there_is_so_much():
    assert list(CONFIGS) == [
        f"ad_r{n}{ending}" for n in (1, 2) for ending in ("", "_dev", "_test")
    ]
    for config in CONFIGS.values():
        assert config.sizes[2] == 2_468
        assert (config.num_nodes, config.num_samples) == (30, 32_000)
        builder = real.Builder(
            config=config.name, data_dir="unused", file_format="array_record"
        )
        assert builder.size_of_split == config.size_of_split
    assert CONFIGS["ad_r2"].sizes == (18_000, 1_800, 2_468)
    builder = real.Builder(
        config="ad_r1", data_dir="unused", file_format="array_record"
    )
    assert builder.expected_bytes == (18_000 + 1_800 + 2_468) * 30 * 32_000 * 2


def test_what_is_short_is_reported(folders):
    builder = factory(folders["nested"], "ad_r1_test")()
    assert builder.expected_bytes == 5 * 30 * 32_000 * 2
    assert builder.shortfall() == [
        "adhoc40-test has 5 of its 40 talkers; missing: 260, 1089, 1188, 1221, 1284 and "
        "others",
        "split 'test' of ad_r1_test has 5 examples, not 2,468: adhoc40-test has no more "
        "utterances for it",
    ]


def without(material, part, names):
    kept = tuple(u for u in material.utterances[part] if u.talker not in names)
    return libri_adhoc40_files.Material(
        material.folder, material.utterances | {part: kept}, material.num_short
    )


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        (
            "ad_r1_dev",
            {"6319", "5338", "2803", "1919"},
            "split 'validation' of ad_r1_dev has utterances at 0 positions and needs 1; "
            r"add more talkers of adhoc40-dev to '.*corpus', such as 1919, 2086, 2803",
        ),
        (
            "ad_r2_dev",
            {"5338", "2803", "1919"},
            "split 'validation' of ad_r2_dev has utterances at 1 positions and needs 2",
        ),
        ("ad_r2_dev", {"84", "422", "251"}, "split 'train' of ad_r2_dev has .* at 1"),
    ],
)
def test_a_split_of_too_little_is_refused(folders, name, missing, message):
    material = libri_adhoc40_files.open_material(folders["nested"], ("dev", "test"))
    with pytest.raises(libri_adhoc40_files.ArchiveError, match=message):
        real.Builder(
            config=name, data_dir="unused", material=without(material, "dev", missing)
        )


def test_material_without_a_part_is_refused(folders):
    material = libri_adhoc40_files.open_material(folders["nested"], ("test",))
    with pytest.raises(
        libri_adhoc40_files.ArchiveError,
        match="ad_r1_dev needs the part 'dev' of Libri-adhoc40, and 'corpus' was "
        "opened with test; open dev, test",
    ):
        real.Builder(config="ad_r1_dev", data_dir="unused", material=material)


def test_an_utterance_of_silence_is_reported(folders, tmp_path):
    """No channel is dead, but nobody speaks."""
    folder = tmp_path / "corpus"
    made_adhoc40.copy(folders["flat"] / "adhoc40-test", folder / "adhoc40-test")
    name = "121-121726-0000"
    where = made_adhoc40.place(folder, "flat", "test", "1", name)
    silence = np.zeros(48_000)
    silence[5000] = 2**-15
    for node in made_adhoc40.NODES:
        made_adhoc40.replace(where / f"{name}-ch-{node}.wav", silence)
    builder = factory(folder, "ad_r1_test")()
    with pytest.raises(
        libri_adhoc40_files.ArchiveError,
        match=r"0000-ch-\*.wav' is silent between its head and its tail; remove",
    ):
        list(builder.shard("test", 0))


def test_the_bytes_do_not_depend_on_the_number_of_processes(
    prepared, folders, tmp_path
):
    """Nor on the layout."""
    nested = shards.prepare(
        factory(folders["nested"], "ad_r2_dev", tmp_path), pool.executor(2)
    )
    one, two = (
        {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.iterdir()
        }
        for folder in (prepared, nested)
    )
    assert one == two
    assert len([name for name in one if "array_record" in name]) == 3


def test_training_reads_what_was_prepared(prepared, folders):
    split = splits.Split(prepared, "validation")
    assert (split.num_nodes, split.num_sources, split.num_samples) == (30, 2, 32_000)
    arrays = split.load()
    assert arrays["audio"].shape == (4, 30, 32_000)
    for index, example in enumerate(
        examples(folders["flat"], "ad_r2_dev")["validation"]
    ):
        np.testing.assert_array_equal(arrays["audio"][index], example["audio"])
    described = files.describe(prepared)
    assert described["seed"] == 2024
    assert described["sample_rate"] == 16_000
    assert described["room"] == "libri_adhoc40"
    assert described["corpus"]["name"] == "corpus"
    assert described["corpus"]["dev_utterances"] == 8
    assert described["law"] == {
        "num_sources": 2,
        "num_nodes": 30,
        "num_samples": 32_000,
    }
    assert described["sizes"] == {"train": 4, "validation": 4, "test": 5}
    for name, feature in tfds.builder_from_directory(prepared).info.features.items():
        assert feature.doc.desc, name


def test_places_trained_at_are_those_of_the_training_split():
    origins = {
        name: real.Builder(config=name, data_dir="unused").info.metadata
        for name in ("ad_r1", "ad_r1_dev", "ad_r2_test")
    }
    assert origins["ad_r1"]["training_places"] == [
        [2.7, 4.4],
        [2.7, 2.8],
        [2.7, 1.2],
        [4.3, 1.2],
        [5.9, 1.2],
        [8.3, 2.0],
        [8.3, 3.6],
        [8.3, 5.2],
        [5.1, 3.6],
    ]
    assert origins["ad_r1_dev"]["training_places"] == [
        [2.7, 5.2],
        [4.3, 5.2],
        [5.9, 5.2],
        [7.5, 5.2],
    ]
    assert origins["ad_r2_test"]["training_places"] == []


def test_tfds_own_way_gives_the_same_examples(folders, tmp_path, capsys):
    builder = real.Builder(
        config="ad_r1_test", data_dir=str(tmp_path), file_format="array_record"
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=str(folders["flat"]))
    )
    assert "has 5 examples, not 2,468" in capsys.readouterr().out
    assert builder.info.metadata["corpus"]["name"] == "corpus"
    stored = list(builder.as_data_source("test"))
    for theirs, mine in zip(
        stored, examples(folders["flat"], "ad_r1_test")["test"], strict=True
    ):
        assert theirs["utterances"].decode() == mine["utterances"]
        np.testing.assert_array_equal(theirs["audio"], mine["audio"])


def test_what_to_get_is_reported():
    text = real.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    for part in ("train", "dev", "test"):
        assert f"adhoc40-{part}" in text
    assert "github.com/ISmallFish/Libri-adhoc40" in text
