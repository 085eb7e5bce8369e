"""Damaged data sets are reported with the file and the remedy, never read as whole.

ArrayRecord keeps sums of its records; what those cannot see, `sha256.json` does.
"""

import hashlib
import json
import random
import shutil

import numpy as np
import pytest
from array_record.python import array_record_module
from conftest import tiny_config

from uld_jax.datasets import files, pipeline, splits
from uld_jax.storage import checksums
from uld_jax.training import train

TRAIN = "simulated-train.array_record-00001-of-00003"
SPLITS = ("train", "validation", "test")
DESCRIPTIONS = ("dataset_info.json", "features.json", "metadata.json", "sha256.json")


@pytest.fixture
def path(tiny_path, tmp_path):
    """Return a copy of the tiny data set, to be damaged."""
    path = tmp_path / "simulated" / "l1_tiny" / "1.0.0"
    shutil.copytree(tiny_path, path)
    return path


@pytest.fixture(scope="module")
def whole(tiny_path):
    return {name: splits.Split(tiny_path, name).load() for name in SPLITS}


def assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for field, values in arrays.items():
        np.testing.assert_array_equal(values, expected[field])


def load(path, name):
    """Return a split read at once, and example by example."""
    split = splits.Split(path, name)
    singly = splits.stack([split[i] for i in range(len(split))], split.fields)
    arrays = split.load()
    assert_same(arrays, singly)
    return arrays


def flipped(content, place, bit=0):
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def unreadable(file):
    """Return the records of a file that ArrayRecord itself does not read."""
    reader = array_record_module.ArrayRecordReader(str(file))
    bad = []
    for record in range(reader.num_records()):
        try:
            reader.read([record])
        except RuntimeError:
            bad.append(record)
    return bad


@pytest.mark.parametrize("place", [300, 200_000, 500_000])
@pytest.mark.parametrize("sums", [True, False], ids=["sums", "no sums"])
def test_a_flipped_bit_is_reported_with_example_file_and_record(
    path, whole, place, sums
):
    """In the first block, which is compared at once, where there are sums."""
    file = path / TRAIN
    if not sums:
        (path / checksums.FILE_NAME).unlink()
    file.write_bytes(flipped(file.read_bytes(), place))
    (bad,) = unreadable(file)
    with pytest.raises(files.DatasetError) as raised:
        load(path, "train")
    assert "copy the data set again, or remove its folder and prepare" in str(
        raised.value
    )
    if sums and place < 2**16:
        assert f"{str(file)!r}: not the file that was written" in str(raised.value)
    else:
        assert f"example {16 + bad} of split 'train'" in str(raised.value)
        assert f"record {bad} of {str(file)!r} is damaged" in str(raised.value)
        split = splits.Split(path, "train")
        with pytest.raises(files.DatasetError) as same:
            split.load()
        assert str(same.value) == str(raised.value)
        np.testing.assert_array_equal(split[15]["audio"], whole["train"]["audio"][15])
    for other in SPLITS[1:]:
        assert_same(load(path, other), whole[other])


def replace_by(name):
    return lambda file: shutil.copy(file.with_name(name), file)


def exchange_with(name):
    def exchange(file):
        aside = file.read_bytes()
        shutil.copy(file.with_name(name), file)
        file.with_name(name).write_bytes(aside)

    return exchange


SHARD_DAMAGES = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:400_000]),
    "cut to a block": lambda file: file.write_bytes(file.read_bytes()[: 2**16]),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "no records": lambda file: shutil.copy(file.with_name("features.json"), file),
    "exchanged": exchange_with("simulated-train.array_record-00002-of-00003"),
    "its neighbor": replace_by("simulated-train.array_record-00000-of-00003"),
    "of another split": replace_by("simulated-test.array_record-00000-of-00002"),
    "of too few": replace_by("simulated-test.array_record-00001-of-00002"),
}


@pytest.mark.parametrize("sums", [True, False], ids=["sums", "no sums"])
@pytest.mark.parametrize("damage", SHARD_DAMAGES)
def test_a_file_that_is_not_the_one_written_is_reported(path, damage, sums):
    """Some of them are whole files of records, in another's place."""
    if not sums:
        (path / checksums.FILE_NAME).unlink()
    SHARD_DAMAGES[damage](path / TRAIN)
    with pytest.raises(files.DatasetError, match="prepare it again") as raised:
        load(path, "train")
    assert TRAIN in str(raised.value)
    if sums:  # Before anything is read.
        with pytest.raises(files.DatasetError):
            splits.Split(path, "train")


def test_wherever_a_file_of_records_is_damaged_it_is_reported_or_does_not_matter(
    path, whole
):
    """Bits, runs of bytes and ends, at random, without sums."""
    (path / checksums.FILE_NAME).unlink()
    file = path / "simulated-validation.array_record-00000-of-00001"
    content, draw = file.read_bytes(), random.Random(0)
    reported = 0
    for kind in ("bit", "run", "cut", "lost") * 20:
        place = draw.randrange(len(content))
        damaged = {
            "bit": flipped(content, place, draw.randrange(8)),
            "run": content[:place] + draw.randbytes(512) + content[place + 512 :],
            "cut": content[:place],
            "lost": content[:place] + content[place + 1 :],
        }[kind]
        file.write_bytes(damaged)
        try:
            assert_same(load(path, "validation"), whole["validation"])
        except files.DatasetError as error:
            assert file.name in str(error)
            reported += 1
    assert reported > 60


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_changed_description_is_reported_whatever_bit_it_is(path, name):
    file, draw = path / name, random.Random(0)
    content = file.read_bytes()
    places = [0, len(content) - 1, *draw.choices(range(len(content)), k=30)]
    for damaged in (
        *(flipped(content, place, draw.randrange(7)) for place in places),
        content[: len(content) // 2],
        content + b" ",
        b"",
    ):
        file.write_bytes(damaged)
        with pytest.raises(files.DatasetError, match="prepare it again"):
            splits.Split(path, "test")
        with pytest.raises(files.DatasetError, match=name):
            files.describe(path)


@pytest.mark.parametrize("name", DESCRIPTIONS[:3])
def test_a_description_that_cannot_be_read_is_reported_without_sums(path, name):
    (path / checksums.FILE_NAME).unlink()
    content = (path / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"\xff" + content, b"[1]", b""):
        (path / name).write_bytes(damaged)
        with pytest.raises(files.DatasetError, match="cannot be read"):
            splits.Split(path, "test")


def test_a_data_set_without_sums_is_read(path, whole):
    """As those are that an early version has prepared."""
    (path / checksums.FILE_NAME).unlink()
    for name in SPLITS:
        assert_same(load(path, name), whole[name])


def test_sums_of_a_newer_version_ask_for_it(path):
    file = path / checksums.FILE_NAME
    newer = {"format": checksums.FORMAT + 1, "uld_jax": "9.1", "files": {}}
    file.write_bytes(checksums._sealed(newer))
    with pytest.raises(
        files.DatasetError,
        match=r"was written by uld_jax 9\.1.*update uld_jax$",
    ):
        splits.Split(path, "train")


def test_the_sums_are_those_of_the_files(tiny_path):
    sums = json.loads((tiny_path / checksums.FILE_NAME).read_text())
    contents = {
        file.name: file.read_bytes()
        for file in tiny_path.iterdir()
        if file.name != checksums.FILE_NAME
    }
    assert len(contents) == 9
    assert sums["files"] == {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    assert sums["first_64_kib"] == {
        name: hashlib.sha256(content[:65_536]).hexdigest()
        for name, content in contents.items()
    }


def test_a_failure_that_does_not_last_is_none(tiny_path, whole, monkeypatch):
    split = splits.Split(tiny_path, "test")

    def fails(_):
        raise RuntimeError("read() failed: Input/output error")

    monkeypatch.setattr(split._source._source, "__getitems__", fails)
    assert_same(split.load(), whole["test"])


def test_threads_that_read_tell_of_damage(path):
    file = path / TRAIN
    file.write_bytes(flipped(file.read_bytes(), 500_000))
    data = pipeline.DiskData(
        splits.Split(path, "train"), prefetch_batches=2, read_threads=2
    )
    order = pipeline.in_order(48, 8)
    with pytest.raises(files.DatasetError, match="is damaged") as raised:
        list(data.batches(order))
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("place", ["device", "disk"])
def test_a_run_on_damaged_data_leaves_no_folder(path, tmp_path, place):
    """Whichever split it is, and however it is read."""
    file = path / "simulated-test.array_record-00001-of-00002"
    file.write_bytes(file.read_bytes()[:-1])
    config = tiny_config(tmp_path, **{"data.held_on": place})
    with pytest.raises(files.DatasetError, match="262,143 bytes, not 262,144"):
        train.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert files.is_prepared(path)
