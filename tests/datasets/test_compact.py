"""Compact data sets: what is rendered from them is what the other form stores."""

import dataclasses
import functools
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import decibels

from uld_jax.audio import corpora, signals
from uld_jax.datasets import compact, files, pipeline, splits
from uld_jax_data import shards
from uld_jax_data.simulated import simulated_dataset_builder as simulated

SPEECH = corpora.open_speech("builtin")
NOISE = corpora.open_noise("builtin")


def builder(config, data_dir="unused", **changes):
    return simulated.Builder(
        config=config,
        data_dir=str(data_dir),
        file_format="array_record",
        corpus=SPEECH,
        noise=NOISE,
        **changes,
    )


def write_here(make_builder, missing, bar):
    """Write shards in this process."""
    for shard in missing:
        shards.write_shard(make_builder(), shard)
    return {}


@pytest.fixture(scope="module")
def rooms_path(tmp_path_factory):
    """Return the folder of the tiny Ad-2 in compact form."""
    data_dir = tmp_path_factory.mktemp("rooms")
    make_builder = functools.partial(builder, "ad2_tiny_compact", data_dir)
    return shards.prepare(make_builder, write_here)


@pytest.fixture(scope="module")
def rendered():
    """Return the first two examples of each split as the other form stores them."""
    other = builder("ad2_tiny")
    return {
        split: [dict(example) for _, example in other.shard(split, 0)]
        for split in ("train", "test")
    }


def open_data(path, split="train", noise_field="point", furnishing="bare"):
    settings = types.SimpleNamespace(
        noise_field=noise_field,
        furnishing=furnishing,
        prefetch_batches=2,
        read_threads=2,
    )
    (data,) = compact.open_data(compact.open_split(path, split), settings, [None])
    return data


@pytest.fixture(scope="module")
def train_data(rooms_path):
    return open_data(rooms_path)


def first_rows(rows):
    """Return an order of a single batch."""
    order = pipeline.in_order(max(rows) + 1, 1)
    return order.map(lambda _: np.array(rows))[:1]


def assert_same(batch, examples):
    for field in splits.FIELDS:
        expected = np.stack([example[field] for example in examples])
        assert batch[field].dtype == expected.dtype
        np.testing.assert_array_equal(batch[field], expected)


@pytest.mark.exact
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_batch_is_what_the_rendered_form_stores(rooms_path, rendered, split):
    """Two talkers and noise, thinned and full, to the last bit."""
    data = open_data(rooms_path, split)
    (batch,) = data.batches(first_rows([0, 1]))
    assert_same(batch, rendered[split])


@pytest.mark.exact
def test_an_example_depends_on_neither_batch_nor_order(train_data, rendered):
    (batch,) = train_data.batches(first_rows([3, 1, 0]))
    assert_same({k: v[1:] for k, v in batch.items()}, rendered["train"][::-1])


def test_anechoic_examples_are_those_of_the_rendered_form(tmp_path):
    """Which is rendered from signals that were not rounded to 16 bits."""
    make_builder = functools.partial(builder, "l1_tiny_compact", tmp_path)
    data = open_data(shards.prepare(make_builder, write_here), "test")
    order = pipeline.in_order(16, 16)
    (batch,) = data.batches(order)
    for row, stored in builder("l1_tiny").shard("test", 0):
        assert decibels(batch["audio"][row], stored["audio"]) < -60
        for field in splits.FIELDS[1:]:
            np.testing.assert_array_equal(batch[field][row], stored[field])
    with pytest.raises(files.DatasetError, match=r"snr_db is 3\.0; .* no noi"):
        data.batches(order, changes=pipeline.Changes(snr_db=3.0))


def test_what_is_stored_is_reported(rooms_path):
    info = tfds.builder_from_directory(rooms_path).info
    assert info.metadata["law"] == {
        "kind": "reverberant",
        "num_sources": 2,
        "num_nodes": 4,
        "num_samples": 8000,
        "rooms": "random",
    }
    assert info.metadata["late_fields"]["validation"] == "full"
    assert "audio" not in info.features
    for name, feature in info.features.items():
        assert feature.doc.desc, name
    facts = compact.describe(rooms_path, "diffuse")
    assert facts["sizes"] == {"train": 4, "validation": 2, "test": 2}
    assert facts["rendering"]["law"]["noise"] == "diffuse"


def test_nodes_are_chosen_by_step(train_data):
    """In the order given; their signals have one gain."""
    order = pipeline.in_order(4, 2)
    chosen = np.array([[3, 1], [0, 2]])
    asked = []

    def choose(step):
        asked.append(step)
        return chosen

    clean = pipeline.Changes(snr_db=200.0)
    (some,) = train_data.batches(order, 1, nodes=choose, changes=clean)
    (every,) = train_data.batches(order, 1, changes=clean)
    assert asked == [1]
    for row, nodes in enumerate(chosen):
        np.testing.assert_array_equal(
            some["node_positions"][row], every["node_positions"][row][nodes]
        )
        picked = np.asarray(every["audio"][row], float)[nodes]
        gain = 30_000 / np.abs(picked).max()
        assert decibels(some["audio"][row], gain * picked) < -60


def audio_at(data, snr_db):
    changes = pipeline.Changes(snr_db=snr_db)
    (batch,) = data.batches(first_rows([0, 1]), changes=changes)
    return np.asarray(batch["audio"], float)


def test_another_snr_takes_the_place_of_the_stored_one(train_data):
    pairs = zip(audio_at(train_data, 3.0), audio_at(train_data, 200.0), strict=True)
    for noisy, clean in pairs:
        # Each has a gain of its own.
        speech = (noisy * clean).sum() / (clean**2).sum() * clean
        power = (speech**2).mean() / ((noisy - speech) ** 2).mean()
        assert 10 * np.log10(power) == pytest.approx(3.0, abs=0.5)


def test_each_example_may_have_another_snr(train_data):
    drawn = audio_at(train_data, lambda index: (3.0, 9.0)[index])
    low, high = audio_at(train_data, 3.0), audio_at(train_data, 9.0)
    np.testing.assert_array_equal(drawn[0], low[0])
    np.testing.assert_array_equal(drawn[1], high[1])
    assert not np.array_equal(drawn[0], high[0])


def test_rooms_that_are_trained_on_can_be_furnished(rooms_path, train_data):
    """By the settings the training split alone; by changes any, and alike."""
    (plain,) = train_data.batches(first_rows([1, 2]))
    (set_so,) = open_data(rooms_path, furnishing="furnished").batches(
        first_rows([1, 2])
    )
    changes = pipeline.Changes(furnishing="furnished")
    (changed,) = train_data.batches(first_rows([1, 2]), changes=changes)
    (alone,) = train_data.batches(first_rows([2]), changes=changes)
    assert decibels(set_so["audio"], plain["audio"]) > -30
    assert decibels(changed["audio"], set_so["audio"]) < -60
    assert decibels(alone["audio"][0], set_so["audio"][1]) < -60
    tests = [
        next(
            iter(
                open_data(rooms_path, "test", furnishing=kind).batches(first_rows([0]))
            )
        )
        for kind in ("bare", "any")
    ]
    np.testing.assert_array_equal(tests[0]["audio"], tests[1]["audio"])


def test_noise_is_cut_as_the_corpus_cuts_it(tmp_path):
    """Short recordings go round, and excerpts have the stored starts."""
    path = tmp_path / "noise.npz"
    compact.write_noises(path, NOISE.utterances["dev"])
    assert [file.name for file in tmp_path.iterdir()] == ["noise.npz"]
    noises = compact.Noises(path)
    rng = np.random.default_rng(0)
    for num_samples in (8000, 200_000):
        drawn = [NOISE.draw_noise("dev", rng, num_samples, 500) for _ in range(4)]
        cut = noises.cut(
            [excerpt.utterance.name.encode() for excerpt in drawn],
            [excerpt.start - 500 for excerpt in drawn],
            num_samples + 500,
        )
        for mine, excerpt in zip(cut, drawn, strict=True):
            scale = 32_767 / np.abs(signals.load(excerpt.utterance)).max()
            assert np.abs(mine - excerpt.samples * scale).max() < 0.51
    with pytest.raises(files.DatasetError, match="has no noise 'rain'"):
        noises.cut([b"rain"], [0], 100)


def test_useless_noise_is_left_out_and_the_bytes_are_the_same(tmp_path):
    broken = dataclasses.replace(
        NOISE.utterances["dev"][0], name="broken", path=tmp_path / "no.wav"
    )
    good = NOISE.utterances["dev"][:1]
    compact.write_noises(tmp_path / "one", good)
    compact.write_noises(tmp_path / "other", [broken, *good])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path, _: path.unlink(), "are missing; copy the data set again"),
        (lambda path, content: path.write_bytes(content[:-100]), "are damaged"),
        (lambda path, _: path.write_bytes(b""), "are damaged"),
        (lambda path, _: path.write_bytes(b"no file of NumPy"), "are damaged"),
        (
            lambda path, content: path.write_bytes(
                content[:3000] + bytes([content[3000] ^ 1]) + content[3001:]
            ),
            r"are damaged \(Bad CRC",
        ),
    ],
    ids=["missing", "cut off", "empty", "other", "one bit"],
)
def test_missing_or_damaged_noise_is_reported(tmp_path, damage, message):
    path = tmp_path / "noise.npz"
    compact.write_noises(path, NOISE.utterances["dev"][:1])
    damage(path, path.read_bytes())
    with pytest.raises(files.DatasetError, match=message):
        compact.Noises(path)


def test_the_noise_is_written_once_and_with_the_shards(rooms_path, tmp_path):
    """A build that stopped before the last step resumes with the shards it has."""

    class Stops(simulated.Builder, skip_registration=True):
        name = "simulated"

        def write_beside(self, folder):
            super().write_beside(folder)
            raise RuntimeError("the power went out")

    make_builder = functools.partial(builder, "ad2_tiny_compact", tmp_path)
    stopping = functools.partial(
        Stops,
        config="ad2_tiny_compact",
        data_dir=str(tmp_path),
        file_format="array_record",
        corpus=SPEECH,
        noise=NOISE,
    )
    with pytest.raises(RuntimeError, match="power"):
        shards.prepare(stopping, write_here)
    work = tmp_path / "simulated" / "ad2_tiny_compact" / "1.0.0.incomplete"
    written = {path.name: path.stat().st_mtime_ns for path in work.glob("*-*")}
    path = shards.prepare(make_builder, write_here)
    for name, when in written.items():
        assert (path / name).stat().st_mtime_ns == when
        assert (path / name).read_bytes() == (rooms_path / name).read_bytes()
    assert {p.name for p in path.iterdir()} == {p.name for p in rooms_path.iterdir()}
    assert {f"noise-{split}.npz" for split in simulated.PART_OF_SPLIT} <= written.keys()


def test_tfds_own_way_writes_the_noise_too(rooms_path, tmp_path):
    own = builder("ad2_tiny_compact", tmp_path)
    own.download_and_prepare()
    (path,) = tmp_path.glob("simulated/ad2_tiny_compact/1.0.0")
    for split in simulated.PART_OF_SPLIT:
        name = compact.noise_file(split)
        assert (path / name).read_bytes() == (rooms_path / name).read_bytes()
