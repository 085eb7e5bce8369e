import hashlib
import json
import os

import pytest

import uld_jax
from uld_jax.storage import checksums


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "a").write_bytes(b"abc")
    (folder / "deep" / "deeper" / "b").write_bytes(b"")
    (folder / "deep" / checksums.FILE_NAME).write_bytes(b"not the folder's own")
    return folder


# Of FIPS 180-4's examples and of the empty message.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_sums_are_those_of_the_standard(folder):
    sums = checksums.of_folder(folder)
    assert sums.pop(f"deep/{checksums.FILE_NAME}")["size"] == 20
    assert sums == {
        "a": {"size": 3, "sha256": ABC},
        "deep/deeper/b": {"size": 0, "sha256": EMPTY},
    }


def test_what_was_written_comes_back_and_is_the_same_file_each_time(folder):
    checksums.write_sums(folder, {"of": "last/3"})
    first = (folder / checksums.FILE_NAME).read_bytes()
    checksums.write_sums(folder, {"of": "last/3"})
    assert (folder / checksums.FILE_NAME).read_bytes() == first
    content = checksums.read_sums(folder)
    assert content == {
        "of": "last/3",
        "format": 1,
        "uld_jax": uld_jax.__version__,
        "files": checksums.of_folder(folder),
    }
    assert checksums.find_damage(folder, content) == []


def test_each_damage_is_a_line(folder):
    for name in ("cut", "flipped", "gone"):
        (folder / name).write_bytes(b"x" * 5001)
    checksums.write_sums(folder, {})
    content = checksums.read_sums(folder)
    (folder / "cut").write_bytes(b"x" * 4096)
    (folder / "flipped").write_bytes(b"x" * 5000 + b"y")
    (folder / "gone").unlink()
    (folder / "deep" / "new").write_bytes(b"")
    (folder / "a").unlink()
    (folder / "a").symlink_to(folder / "flipped")
    assert checksums.find_damage(folder, content) == [
        "a: cannot be read: a link, not a file",
        "cut: 4,096 bytes, not 5,001",
        "deep/new: not a file that was written here",
        "flipped: not the bytes that were written",
        "gone: not there",
    ]
    assert checksums.find_damage(folder, content, "deep/deeper/") == []


def test_every_flipped_bit_of_the_sums_is_seen(folder):
    checksums.write_sums(folder, {"of": "last/3"})
    path = folder / checksums.FILE_NAME
    whole = path.read_bytes()
    for place in range(len(whole)):
        bit = 1 << place % 8
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
        )
        with pytest.raises(checksums.ChecksumError, match="not as it was written"):
            checksums.read_sums(folder)


def test_sums_that_are_no_file_are_refused(folder):
    with pytest.raises(checksums.ChecksumError, match="not there"):
        checksums.read_sums(folder)
    path = folder / checksums.FILE_NAME
    os.mkfifo(path)  # Which would be waited for, if it were opened.
    with pytest.raises(checksums.ChecksumError, match="not a file"):
        checksums.read_sums(folder)
    path.unlink()
    for text in ("", "[]", "null", "{}", '{"sha256": 3}', "[" * 100_000, "\x00"):
        path.write_text(text)
        with pytest.raises(checksums.ChecksumError, match="not as it was written"):
            checksums.read_sums(folder)


def test_a_newer_format_is_told_with_the_version_that_wrote_it(folder):
    content = {"format": 2, "uld_jax": "7.0", "something": "else"}
    text = json.dumps(content, indent=1, sort_keys=True)
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    (folder / checksums.FILE_NAME).write_text(text)
    with pytest.raises(checksums.NewerFormatError, match=r"uld_jax 7\.0.*update"):
        checksums.read_sums(folder)


def test_a_link_is_not_summed(folder):
    (folder / "link").symlink_to(folder / "a")
    with pytest.raises(OSError, match="a link"):
        checksums.write_sums(folder, {})
    assert not (folder / checksums.FILE_NAME).exists()
