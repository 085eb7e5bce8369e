"""The builder of the simulated data sets, and the pool that runs it."""

import functools
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import ROOT, prepare_tiny
from lock_holder import child

from uld_jax.acoustics import constants
from uld_jax.audio import corpora, signals
from uld_jax.simulation import scenes
from uld_jax.storage import locking
from uld_jax_data import pool, shards
from uld_jax_data.simulated import simulated_dataset_builder as simulated


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if "array_record" in path.name
    }


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def examples(tiny_path):
    return list(tfds.builder_from_directory(tiny_path).as_data_source("train"))


def test_an_example_is_the_rendered_scene(examples):
    """Rebuild example 17 from its random stream and its stored facts."""
    example = examples[17]
    rng = np.random.default_rng([2024, 0, 17])
    scene = scenes.draw_l1(rng)
    np.testing.assert_array_equal(example["source_positions"], scene.source_positions)
    np.testing.assert_array_equal(example["node_positions"], scene.node_positions)
    np.testing.assert_array_equal(example["room_size"], np.float32([6, 6, 4.2]))
    name = example["utterances"].decode()
    signal = signals.load(signals.Utterance(name, name.split("-")[0])).astype(float)
    # What arrives at a node, by shifting a spectrum of the whole utterance.
    distance = np.linalg.norm(scene.node_positions - scene.source_positions, axis=1)
    padded = np.pad(signal, 8192)
    frequencies = np.fft.rfftfreq(len(padded), 1 / constants.SAMPLE_RATE)
    delays = np.exp(-2j * np.pi * frequencies * distance[:, None] / 343.0)
    heard = np.fft.irfft(np.fft.rfft(padded) * delays) / distance[:, None]
    first = 8192 + example["starts"][0]
    expected = heard[:, first : first + 2560] * example["gain"]
    # The built-in signals reach up to 8 kHz, where a delay depends on what is cut
    # out, so compare below; the rest is the rounding to integers.
    difference = np.fft.rfft((example["audio"] - expected) * np.hanning(2560))
    below = np.fft.rfftfreq(2560, 1 / constants.SAMPLE_RATE) < 7500
    assert np.sqrt((np.abs(difference[:, below]) ** 2).mean()) < 0.5 * np.sqrt(2560)
    assert np.abs(example["audio"] - expected).max() < 300


def test_audio_uses_the_range_of_its_integers(examples):
    for example in examples:
        assert example["audio"].dtype == np.int16
        assert abs(np.abs(example["audio"].astype(int)).max() - 30_000) <= 1


def test_indices_count_up_and_scenes_differ(examples):
    assert [int(example["index"]) for example in examples] == list(range(48))
    positions = np.stack([example["source_positions"][0] for example in examples])
    assert len(np.unique(positions, axis=0)) == 48


def test_splits_use_their_own_talkers(tiny_path):
    builder = tfds.builder_from_directory(tiny_path)
    for split, prefix in (
        ("train", b"train"),
        ("validation", b"dev"),
        ("test", b"test"),
    ):
        for example in builder.as_data_source(split):
            assert example["utterances"].startswith(prefix)


def test_the_bytes_do_not_depend_on_the_number_of_processes(tiny_path, tmp_path):
    """The shared data set was built by two processes."""
    assert everything(prepare_tiny(tmp_path, processes=1)) == everything(tiny_path)


def test_tfds_own_way_gives_the_same_examples(tiny_path, tmp_path):
    builder = simulated.Builder(
        config="l1_tiny", data_dir=str(tmp_path), file_format="array_record"
    )
    builder.download_and_prepare()
    assert builder.info.metadata["corpus"]["name"] == "builtin"
    ours = tfds.builder_from_directory(tiny_path)
    for split in ("train", "validation", "test"):
        pairs = zip(
            builder.as_data_source(split), ours.as_data_source(split), strict=True
        )
        for theirs, mine in pairs:
            for key, value in mine.items():
                np.testing.assert_array_equal(value, theirs[key])


def test_what_it_was_made_from_is_stored(tiny_path):
    info = tfds.builder_from_directory(tiny_path).info
    assert {k: info.splits[k].num_examples for k in info.splits} == {
        "train": 48,
        "validation": 12,
        "test": 20,
    }
    assert info.metadata["seed"] == 2024
    assert info.metadata["simulator"].startswith("uld_jax ")
    assert info.metadata["corpus"]["train_talkers"] == 40
    assert simulated.Builder.RELEASE_NOTES[str(info.version)]
    for name, feature in info.features.items():
        assert feature.doc.desc, name


def test_nothing_here_imports_tensorflow():
    assert "tensorflow" not in sys.modules


def test_every_configuration_holds_whole_splits():
    names = {config.name: config for config in simulated.Builder.BUILDER_CONFIGS}
    assert names["l1"].sizes == (100_000, 5_000, 5_000)
    assert names["ad1"].sizes == names["ad1_compact"].sizes == (18_000, 1_800, 1_800)
    assert names["ad1"].expected_bytes > 41e9
    assert names["ad1_compact"].expected_bytes < 2e9
    assert set(names["ad2_reduced"].late_fields.values()) == {"thinned"}
    assert names["ad2"].late_fields["test"] == "full"
    for config in names.values():
        for split, size in config.size_of_split.items():
            builder = types.SimpleNamespace(
                builder_config=config, size_of_split=config.size_of_split
            )
            ranges = [
                shards.shard_range(builder, split, shard)
                for shard in range(shards.num_shards(builder)[split])
            ]
            assert all(ranges)
            assert [k for part in ranges for k in part] == list(range(size))


class Breaks(simulated.Builder, skip_registration=True):
    """A builder whose second shard of training data cannot be made."""

    name = "simulated"

    def shard(self, split, shard):
        if (split, shard) == ("train", 1):
            raise RuntimeError("the disk fell over")
        yield from super().shard(split, shard)


def factory(cls, data_dir, **changes):
    return functools.partial(
        cls,
        config="l1_tiny",
        data_dir=str(data_dir),
        file_format="array_record",
        corpus=corpora.open_speech("builtin"),
        **changes,
    )


def copy_from(tiny_path, at_most=9):
    """Make an executor that copies shards of an existing data set, or fails."""

    def write(make_builder, missing, bar):
        for shard in missing[:at_most]:
            shutil.copy(tiny_path / shard.path.name, shard.path)
        if len(missing) > at_most:
            raise RuntimeError("the disk fell over")
        return {}

    return write


def test_an_interrupted_build_goes_on(tiny_path, tmp_path):
    with pytest.raises(RuntimeError, match="fell over"):
        shards.prepare(factory(Breaks, tmp_path), pool.executor(1))
    final = tmp_path / "simulated" / "l1_tiny" / "1.0.0"
    assert not final.exists()
    work = final.with_name("1.0.0.incomplete")
    finished = {
        path: path.stat().st_mtime_ns
        for path in work.glob("*array_record*-of-*")
        if path.suffix != ".part"
    }
    assert finished
    # A shard that was being written when the power went out.
    (work / "simulated-train.array_record-00001-of-00003.1.part").write_bytes(b"half")
    assert prepare_tiny(tmp_path) == final
    assert hashes(final) == hashes(tiny_path)
    for path, written in finished.items():
        kept = final / path.name
        assert kept.stat().st_mtime_ns == written
    assert {path.name for path in final.parent.iterdir()} == {"1.0.0", "1.0.0.lock"}
    assert not list(final.glob("*.part"))


def test_a_folder_that_is_no_whole_data_set_is_refused(tmp_path):
    (tmp_path / "simulated" / "l1_tiny" / "1.0.0").mkdir(parents=True)
    with pytest.raises(shards.PrepareError, match="holds no whole data set"):
        prepare_tiny(tmp_path)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(shards.PrepareError, match="Not a directory; choose another"):
        prepare_tiny(tmp_path / "file")


def test_shards_of_another_build_are_kept_and_refused(tiny_path, tmp_path):
    make_builder = factory(simulated.Builder, tmp_path)
    with pytest.raises(RuntimeError, match="fell over"):
        shards.prepare(make_builder, copy_from(tiny_path, 1))
    work = tmp_path / "simulated" / "l1_tiny" / "1.0.0.incomplete"
    build = json.loads((work / "build.json").read_text())
    build["origin"]["seed"] = 1
    (work / "build.json").write_text(json.dumps(build))
    with pytest.raises(shards.PrepareError, match="unfinished build from other speech"):
        shards.prepare(make_builder, copy_from(tiny_path))
    assert list(work.glob("*-of-*"))
    for path in work.glob("*-of-*"):
        path.unlink()
    # A shard that was never whole is nothing to keep.
    (work / "simulated-train.array_record-00000-of-00003.0a1b.part").write_text("")
    assert hashes(shards.prepare(make_builder, copy_from(tiny_path))) == hashes(
        tiny_path
    )


def test_a_shard_with_too_few_examples_is_noticed(tiny_path, tmp_path):
    make_builder = factory(simulated.Builder, tmp_path)
    with pytest.raises(RuntimeError, match="fell over"):
        shards.prepare(make_builder, copy_from(tiny_path, 1))
    work = tmp_path / "simulated" / "l1_tiny" / "1.0.0.incomplete"
    short = tiny_path / "simulated-validation.array_record-00000-of-00001"
    (work / "simulated-train.array_record-00001-of-00003").write_bytes(
        short.read_bytes()
    )
    with pytest.raises(
        shards.PrepareError, match=r"1 shards of split 'train'.*run again"
    ):
        shards.prepare(make_builder, copy_from(tiny_path))
    assert hashes(shards.prepare(make_builder, copy_from(tiny_path))) == hashes(
        tiny_path
    )


def test_a_worker_writes_only_into_a_build_of_its_content(tmp_path):
    """It may see another folder, have other versions, or outlive its build."""
    builder = factory(simulated.Builder, tmp_path)()
    shard = shards.list_shards(builder, tmp_path)[0]
    with pytest.raises(shards.PrepareError, match="same storage, speech and versions"):
        shards.write_shard(builder, shard)
    (tmp_path / "build.json").write_text("{}")
    with pytest.raises(shards.PrepareError, match="same storage, speech and versions"):
        shards.write_shard(builder, shard)
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]


def test_a_shard_is_not_renamed_into_another_build(tmp_path):
    class Overtaken(simulated.Builder, skip_registration=True):
        name = "simulated"

        def shard(self, split, shard):
            yield from super().shard(split, shard)
            (work / "build.json").write_text("{}")

    def write_first(make_builder, missing, _):
        with pytest.raises(shards.PrepareError, match="not the folder of a build"):
            shards.write_shard(make_builder(), missing[0])
        assert not missing[0].path.exists()
        raise RuntimeError("that is all")

    work = tmp_path / "simulated" / "l1_tiny" / "1.0.0.incomplete"
    with pytest.raises(RuntimeError, match="that is all"):
        shards.prepare(factory(Overtaken, tmp_path), write_first)


def test_a_full_disk_is_reported_before_the_work(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shards.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        shards.PrepareError, match=r"0\.00 GB free; choose another folder"
    ):
        prepare_tiny(tmp_path)


def test_a_second_build_waits_and_finds_the_work_done(tiny_path, tmp_path, monkeypatch):
    """Many workers may start on the same data set at once."""
    final = tmp_path / "simulated" / "l1_tiny" / "1.0.0"
    final.parent.mkdir(parents=True)

    def first_is_done(message):
        said.append(message)
        shutil.copytree(tiny_path, final)
        first.stdin.close()

    said = []
    monkeypatch.setattr(locking.progress, "log", first_is_done)
    with child(final.with_name("1.0.0.lock")) as first:
        assert first.stdout.readline() == "held\n"
        assert shards.prepare(factory(Breaks, tmp_path), pool.executor(1)) == final
    assert len(said) == 1
    assert (
        f"Waiting for a process that works in {str(final.parent)!r} (process" in said[0]
    )
    assert everything(final) == everything(tiny_path)
    assert {path.name for path in final.parent.iterdir()} == {"1.0.0", "1.0.0.lock"}


class Killed(BaseException):
    """An exception that no code catches, like SIGKILL."""


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("_write_metadata", False),
        ("num_records", True),
        ("files.write_sums", False),
        ("files.write_sums", True),
        ("atomic.sync_folder", False),
    ],
)
def test_a_build_killed_at_its_end_is_resumed(
    tiny_path, tmp_path, monkeypatch, name, after
):
    """Whatever was done last: counting, describing, summing, renaming."""
    final = tmp_path / "simulated" / "l1_tiny" / "1.0.0"
    *module, function = name.split(".")
    holder = getattr(shards, module[0]) if module else shards
    whole = getattr(holder, function)

    def killed(*arguments):
        inside = function == "sync_folder" and arguments != (final.parent,)
        if after or inside:
            whole(*arguments)
        if not inside:
            raise Killed

    make_builder = factory(simulated.Builder, tmp_path)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(holder, function, killed)
        shards.prepare(make_builder, copy_from(tiny_path))
    assert final.exists() == (function == "sync_folder")

    def write_no_more(*_):
        raise AssertionError("a shard was written again")

    assert shards.prepare(make_builder, write_no_more) == final
    assert everything(final) == everything(tiny_path)


KILL_MIDWAY = """
import os, pathlib, shutil, signal, sys
sys.path[:0] = ["tests", "tests/helpers", "tests/datasets"]
import test_simulated
from uld_jax_data import shards
from uld_jax_data.simulated import simulated_dataset_builder as simulated

tiny_path, data_dir = map(pathlib.Path, sys.argv[1:])

def write(make_builder, missing, bar):
    for shard in missing[:2]:
        shutil.copy(tiny_path / shard.path.name, shard.path)
    builder = make_builder()
    whole = builder.shard
    def shard(*place):
        examples = iter(whole(*place))
        yield next(examples)
        os.kill(os.getpid(), signal.SIGKILL)
    builder.shard = shard
    shards.write_shard(builder, missing[2])

shards.prepare(test_simulated.factory(simulated.Builder, data_dir), write)
"""


def test_after_sigkill_the_same_command_makes_the_same_bytes(tiny_path, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", KILL_MIDWAY, tiny_path, tmp_path], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    final = tmp_path / "simulated" / "l1_tiny" / "1.0.0"
    work = final.with_name("1.0.0.incomplete")
    assert len(list(work.glob("*.part"))) == 1
    finished = {p.name: p.stat().st_mtime_ns for p in work.glob("*-of-0000?")}
    assert len(finished) == 2
    (work / min(finished)).write_bytes(b"")  # And one was never on the disk.
    executor = copy_from(tiny_path)
    with pytest.raises(shards.PrepareError, match=r"1 shards of .* removed; run again"):
        shards.prepare(factory(simulated.Builder, tmp_path), executor)
    shards.prepare(factory(simulated.Builder, tmp_path), executor)
    assert everything(final) == everything(tiny_path)
    kept = max(finished)
    assert (final / kept).stat().st_mtime_ns == finished[kept]


def test_shared_speech_makes_a_data_set(shared_audio):
    builder = simulated.Builder(
        config="l1_tiny",
        data_dir="unused",
        file_format="array_record",
        corpus=corpora.open_speech(shared_audio / "speech", min_samples=2560),
    )
    index, example = next(builder.shard("test", 1))
    assert index == 16
    assert example["utterances"].startswith("test/")
    assert np.abs(example["audio"]).max() == 30_000


def test_held_out_splits_are_those_of_the_whole(tiny_path, tmp_path):
    path = shards.prepare(
        functools.partial(
            factory(simulated.Builder, tmp_path), config="l1_tiny_held_out"
        ),
        pool.executor(1),
    )
    info = tfds.builder_from_directory(path).info
    assert {name: info.splits[name].num_examples for name in info.splits} == {
        "validation": 12,
        "test": 20,
    }
    mine, whole = hashes(path), hashes(tiny_path)
    assert mine and mine.items() <= whole.items()
