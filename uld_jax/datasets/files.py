"""Prepared data sets as they lie in their folders: whole, or said not to be.

ArrayRecord keeps a sum of every record, and sees any changed bit of one when it is
read. What it cannot see is a whole file in another's place, or another file than
records. So the sums that are written with a data set (`sha256.json`) are compared
when it is opened as far as that costs nothing: sizes, and the first bytes of each
file. The whole sums are for `uld_jax.cli.verify`: they would add a seventh to the time of
reading, and tell nothing that the records do not.
"""

import bisect
import hashlib
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from uld_jax.acoustics import constants
from uld_jax.runtime import errors
from uld_jax.storage import checksums

INDEX_DOC = "Number of the example in its split."  # Of the feature `index`.
REMEDY = "copy the data set again, or remove its folder and prepare it anew"

_HEAD = 2**16  # Bytes: the first block of a file of records, and all of JSON.
_FACTS_FILES = ("dataset_info.json", "features.json", "metadata.json")


class DatasetError(errors.InputError):
    """A data set that is not there or cannot be used, with the remedy."""


def is_prepared(path: pathlib.Path) -> bool:
    """Return whether a whole data set is in a folder."""
    return (path / "dataset_info.json").exists()


def describe(path: pathlib.Path) -> dict:
    """Return a data set's name, sizes and origin, for a run's record.

    Raises:
        DatasetError: If it is not there or damaged.
    """
    info = open_builder(path).info
    return {
        "name": f"{info.name}/{info.config_name}:{info.version}",
        "sizes": {split: info.splits[split].num_examples for split in info.splits},
        **{key: value for key, value in (info.metadata or {}).items()},
    }


def write_sums(path: pathlib.Path) -> None:
    """Write the sums of a data set's files beside them, when all is on the disk."""
    files = [file for file in path.iterdir() if file.name != checksums.FILE_NAME]
    heads = {file.name: _head(file) for file in files}
    checksums.write(path, {"first_64_kib": heads})


def open_builder(path: pathlib.Path) -> Any:
    """Return what TFDS reads a data set with, if what describes it is intact.

    Raises:
        DatasetError: If it is not there or damaged.
    """
    if not is_prepared(path):
        raise DatasetError(f"no prepared data set in {str(path)!r}")
    sums = _sums(path)
    written = [name for name in _FACTS_FILES if sums and name in sums["files"]]
    _check_files(path, written, sums)
    try:
        builder = tfds.builder_from_directory(path)
        dict(builder.info.metadata or {})  # Read when it is first asked for.
        return builder
    except Exception as error:  # Whatever a damaged description leads to.
        raise DatasetError(
            f"{str(path)!r} cannot be read ({_told(error)}); {REMEDY}"
        ) from None


def check_files(path: pathlib.Path, names: Iterable[str]) -> None:
    """Raise unless files of a data set are there, by the sums those that were written.

    Their sizes and first bytes are compared, where the data set has sums.

    Raises:
        DatasetError: With the first file that is not.
    """
    _check_files(path, names, _sums(path))


def _check_files(
    path: pathlib.Path, names: Iterable[str], sums: dict[str, Any] | None
) -> None:
    for name in names:
        if wrong := _wrong_at_first_sight(path / name, sums):
            raise DatasetError(f"{str(path / name)!r}: {wrong}; {REMEDY}")


def check_sample_rate(path: pathlib.Path, metadata: dict) -> None:
    """Raise if a data set says that it has another sample rate than is read.

    Raises:
        DatasetError: With both.
    """
    have = metadata.get("sample_rate", constants.SAMPLE_RATE)
    if have != constants.SAMPLE_RATE:
        raise DatasetError(
            f"{str(path)!r} was prepared with sample_rate {have!r}, and networks hear "
            f"{constants.SAMPLE_RATE} Hz; remove that folder, or choose another "
            "--config.data.dir, to prepare it anew"
        )


class Records:
    """The examples of one split, each as it was stored or said to be damaged.

    Args:
        path: Folder of the data set.
        name: Which split.

    Raises:
        DatasetError: If the data set or the split is not there, or is damaged.
    """

    def __init__(self, path: pathlib.Path, name: str):
        builder = open_builder(path)
        splits = builder.info.splits
        filled = [split for split in splits if splits[split].num_examples]
        if name not in filled:
            remedy = "add examples of it and prepare it anew, in place of that folder"
            if name != "test":
                remedy += (
                    "; or test a network by --config.train.epochs=0 and --init_from"
                )
            raise DatasetError(
                f"{str(path)!r} has no split {name!r}; it has {', '.join(filled)}: "
                f"{remedy}"
            )
        self.features = builder.info.features
        self.metadata = dict(builder.info.metadata or {})
        self._path, self._name = path, name
        # So our builders call it; with others it may be anything.
        self._numbered = (
            "index" in self.features and self.features["index"].doc.desc == INDEX_DOC
        )
        try:
            paths, lengths = splits[name].filepaths, splits[name].shard_lengths
            self._files = [pathlib.Path(file).name for file in paths]
            self._ends = list(itertools.accumulate(lengths))
            self._source = builder.as_data_source(name)
        except Exception as error:  # Whatever a damaged description leads to.
            raise DatasetError(
                f"split {name!r} of {str(path)!r} cannot be read ({_told(error)}); "
                f"{REMEDY}"
            ) from None
        check_files(path, self._files)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one example by its number.

        Raises:
            DatasetError: If it is damaged, with its place.
        """
        try:
            return self._checked(index, self._source[index])
        except Exception as error:  # Neither ArrayRecord nor TFDS has one of its own.
            number = bisect.bisect_right(self._ends, index)
            record = index - (self._ends[number - 1] if number else 0)
            raise DatasetError(
                f"example {index} of split {self._name!r} cannot be read: record "
                f"{record} of {str(self._path / self._files[number])!r} is damaged "
                f"({_told(error)}); {REMEDY}"
            ) from None

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return several examples, read together.

        Raises:
            DatasetError: If one is damaged, with its place.
        """
        try:
            examples = self._source.__getitems__(indices)
            return list(map(self._checked, indices, examples))
        except Exception:  # Of which it does not say.
            return [self[index] for index in indices]

    def _checked(self, index: int, example: dict[str, Any]) -> dict[str, Any]:
        """Return an example, if it is that of its number where it says it."""
        if self._numbered and example["index"] != index:
            raise ValueError(f"it is example {example['index']} of a split")
        return example


def damages(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Compare a data set's files with their sums, whole.

    Yields:
        The size of each file in bytes, and a line for each damage of it.

    Raises:
        DatasetError: If the sums cannot be used.
    """
    sums = _sums(path) or {"files": {}}
    there = {file.name for file in path.iterdir()} - {checksums.FILE_NAME}
    for name in sorted(there | sums["files"].keys()) if sums["files"] else ():
        file = path / name
        size = file.stat().st_size if file.exists() else 0
        lines = checksums.damages(path, sums, below=name)
        yield size, [line for line in lines if line.startswith(f"{name}: ")]


def _sums(path: pathlib.Path) -> dict[str, Any] | None:
    if not (path / checksums.FILE_NAME).exists():
        return None
    try:
        return checksums.read(path)
    except checksums.NewerFormatError as error:
        raise DatasetError(f"{str(path)!r} was {error}") from None
    except checksums.ChecksumError as error:
        raise DatasetError(f"{str(path)!r}: {error}; {REMEDY}") from None


def _wrong_at_first_sight(
    file: pathlib.Path, sums: dict[str, Any] | None
) -> str | None:
    """Return what is wrong with a file, as far as can be told without reading it."""
    if not file.is_file():
        return "a file of the data set is missing"
    if sums is None:
        return None
    if file.name not in sums["files"]:
        return "not a file of this data set, by its sums"
    size, written = file.stat().st_size, sums["files"][file.name]["size"]
    if size != written:
        return f"{size:,} bytes, not {written:,} as was written"
    if _head(file) != sums["first_64_kib"].get(file.name):
        return "not the file that was written: it begins otherwise"
    return None


def _head(file: pathlib.Path) -> str:
    with file.open("rb") as stream:
        return hashlib.sha256(stream.read(_HEAD)).hexdigest()


def _told(error: Exception) -> str:
    """Return the first line of an error of another's, cut short."""
    text = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {text[:200]}"
