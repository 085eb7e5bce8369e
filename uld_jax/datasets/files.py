"""The files of a prepared data set, checked when they are opened and read.

ArrayRecord keeps a sum of every record, and notices any changed bit when it reads
one. What it cannot notice is a whole file in place of another, or a file that does not
hold records. So opening a data set compares as much of the sums written with it
(`sha256.json`) as costs nothing: sizes, and the first bytes of each file. Only
`uld_jax verify` compares whole sums: they would add a seventh to the time of reading,
and show nothing that the records do not.
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

# Describes the feature `index` of our builders. What others call `index` may be anything.
INDEX_DOC = "Number of the example in its split."
REMEDY = "copy the data set again, or remove its folder and prepare it again"

_HEAD = 2**16  # Bytes: the first block of a file of records, and all of JSON.
_DESCRIPTIONS = ("dataset_info.json", "features.json", "metadata.json")


class DatasetError(errors.InputError):
    """A data set that is missing or cannot be used; the message names the remedy."""


def is_prepared(path: pathlib.Path) -> bool:
    """Check whether a folder holds a whole data set."""
    return (path / "dataset_info.json").exists()


def describe(path: pathlib.Path) -> dict[str, Any]:
    """Collect the name, sizes and origin of a data set, for a run's record.

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
    """Write the sums of a data set's files beside them, as the last of its files."""
    files = [file for file in path.iterdir() if file.name != checksums.FILE_NAME]
    heads = {file.name: _head(file) for file in files}
    checksums.write_sums(path, {"first_64_kib": heads})


def open_builder(path: pathlib.Path) -> Any:
    """Open a data set for TFDS, after a check of the files that describe it.

    Raises:
        DatasetError: If it is not there or damaged.
    """
    if not is_prepared(path):
        raise DatasetError(f"no prepared data set in {str(path)!r}")
    sums = _sums(path)
    written = [name for name in _DESCRIPTIONS if sums and name in sums["files"]]
    _check_files(path, written, sums)
    try:
        builder = tfds.builder_from_directory(path)
        dict(builder.info.metadata or {})  # TFDS reads it on first use.
        return builder
    except Exception as error:  # Damage makes TFDS raise many kinds.
        raise DatasetError(
            f"{str(path)!r} cannot be read ({_first_line(error)}); {REMEDY}"
        ) from None


def check_files(path: pathlib.Path, names: Iterable[str]) -> None:
    """Raise unless files of a data set are there and look like those written.

    Sizes and first bytes are compared, if the data set has sums.

    Raises:
        DatasetError: With the first file that differs.
    """
    _check_files(path, names, _sums(path))


def _check_files(
    path: pathlib.Path, names: Iterable[str], sums: dict[str, Any] | None
) -> None:
    for name in names:
        if damage := _visible_damage(path / name, sums):
            raise DatasetError(f"{str(path / name)!r}: {damage}; {REMEDY}")


def check_sample_rate(path: pathlib.Path, metadata: dict[str, Any]) -> None:
    """Raise if a data set's metadata has another sample rate than ours.

    Raises:
        DatasetError: With both.
    """
    have = metadata.get("sample_rate", constants.SAMPLE_RATE)
    if have != constants.SAMPLE_RATE:
        raise DatasetError(
            f"{str(path)!r} has a sample rate of {have!r} Hz; expected "
            f"{constants.SAMPLE_RATE} Hz. Remove that folder, or choose another "
            "--config.data.dir, to prepare it again"
        )


class Records:
    """The examples of one split, read as they were stored or found damaged.

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
            remedy = "add examples of it and prepare it again, in place of that folder"
            if name != "test":
                remedy += (
                    "; or test a network with --config.train.epochs=0 and --init_from"
                )
            raise DatasetError(
                f"{str(path)!r} has no split {name!r}; it has {', '.join(filled)}: "
                f"{remedy}"
            )
        self.features: Any = builder.info.features
        self.metadata: dict[str, Any] = dict(builder.info.metadata or {})
        self._path, self._name = path, name
        self._numbered = (
            "index" in self.features and self.features["index"].doc.desc == INDEX_DOC
        )
        try:
            paths, lengths = splits[name].filepaths, splits[name].shard_lengths
            self._files = [pathlib.Path(file).name for file in paths]
            self._ends = list(itertools.accumulate(lengths))
            self._source = builder.as_data_source(name)
        except Exception as error:  # Damage makes TFDS raise many kinds.
            raise DatasetError(
                f"split {name!r} of {str(path)!r} cannot be read ({_first_line(error)}); "
                f"{REMEDY}"
            ) from None
        check_files(path, self._files)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one example by its number.

        Raises:
            DatasetError: If it is damaged, with its file and record.
        """
        try:
            return self._checked(index, self._source[index])
        except Exception as error:  # ArrayRecord and TFDS raise many kinds.
            number = bisect.bisect_right(self._ends, index)
            record = index - (self._ends[number - 1] if number else 0)
            raise DatasetError(
                f"example {index} of split {self._name!r} cannot be read: record "
                f"{record} of {str(self._path / self._files[number])!r} is damaged "
                f"({_first_line(error)}); {REMEDY}"
            ) from None

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Read several examples together.

        Raises:
            DatasetError: If one is damaged, with its file and record.
        """
        try:
            examples = self._source.__getitems__(indices)
            return list(map(self._checked, indices, examples))
        except Exception:  # Without the number of the example.
            return [self[index] for index in indices]

    def _checked(self, index: int, example: dict[str, Any]) -> dict[str, Any]:
        """Return an example unless it was stored under another number."""
        if self._numbered and example["index"] != index:
            raise ValueError(f"it is example {example['index']} of a split")
        return example


def damages(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Compare all files of a data set with their whole sums.

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
        lines = checksums.find_damage(path, sums, below=name)
        yield size, [line for line in lines if line.startswith(f"{name}: ")]


def _sums(path: pathlib.Path) -> dict[str, Any] | None:
    if not (path / checksums.FILE_NAME).exists():
        return None
    try:
        return checksums.read_sums(path)
    except checksums.NewerFormatError as error:
        raise DatasetError(f"{str(path)!r} was {error}") from None
    except checksums.ChecksumError as error:
        raise DatasetError(f"{str(path)!r}: {error}; {REMEDY}") from None


def _visible_damage(file: pathlib.Path, sums: dict[str, Any] | None) -> str | None:
    """Describe the damage of a file, as far as it shows without reading all of it."""
    if not file.is_file():
        return "a file of the data set is missing"
    if sums is None:
        return None
    if file.name not in sums["files"]:
        return "not a file of this data set, by its sums"
    size, written = file.stat().st_size, sums["files"][file.name]["size"]
    if size != written:
        return f"{size:,} bytes, not {written:,}"
    if _head(file) != sums["first_64_kib"].get(file.name):
        return "not the file that was written: its first bytes differ"
    return None


def _head(file: pathlib.Path) -> str:
    with file.open("rb") as stream:
        return hashlib.sha256(stream.read(_HEAD)).hexdigest()


def _first_line(error: Exception) -> str:
    """Format another library's error as its type and the start of its first line."""
    text = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {text[:200]}"
