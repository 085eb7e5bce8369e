"""Verify that runs, shared weights and prepared data sets are intact, to the last bit.

All checkpoints, weights and data files are compared with their checksums and read. Nothing
is changed.
"""

import pathlib
from collections.abc import Iterable, Iterator

from uld_jax.datasets import compact, files
from uld_jax.pretrained import loading, weights
from uld_jax.runtime import errors, progress
from uld_jax.storage import checkpoints, checksums, records
from uld_jax.storage.run_folder import RunFolder

_OF_DATA = ("dataset_info.json", "features.json")
_OF_WEIGHTS = (records.CARD_FILE,)
_OF_RUN = ("settings.json", records.FILE_NAME, "last", "best")
_DEPTH = 5  # Folders below a path: finite, even where links form a circle.
_READ_AT_ONCE = 100

# What was checked, in words, and a line for each damage.
Findings = tuple[str, list[str]]


class VerifyError(errors.InputError):
    """A path that holds nothing to verify."""


def find(path: pathlib.Path, depth: int = _DEPTH) -> Iterator[pathlib.Path]:
    """Yield the folders of runs, weights and data sets at or below a path."""
    if any(_holds(path, names) for names in (_OF_DATA, _OF_WEIGHTS, _OF_RUN)):
        yield path
    elif depth and path.is_dir():
        for below in sorted(path.iterdir()):
            # A data set in preparation is not finished yet.
            if below.is_dir() and below.suffix != ".incomplete":
                yield from find(below, depth - 1)


def _holds(path: pathlib.Path, names: Iterable[str]) -> bool:
    return any((path / name).exists() for name in names)


def verify_folder(path: pathlib.Path) -> Findings:
    """Verify the folder of a run, of weights or of a data set."""
    verify = _verify_data if _holds(path, _OF_DATA) else _verify_run
    if _holds(path, _OF_WEIGHTS):
        verify = _verify_weights
    try:
        return verify(path)
    except (errors.InputError, OSError) as error:
        return "", [str(error)]


def _verify_run(path: pathlib.Path) -> Findings:
    folder = RunFolder(path)
    folder.read_settings()  # Raises if they are damaged.
    record = folder.read_record() or {"status": "", "epochs": [], "best_epoch": 0}
    # A run in progress deletes steps meanwhile, so that only the second look counts.
    lines = checkpoints.find_damage(path) and checkpoints.find_damage(path)
    count = sum(len(list(path.glob(f"{kind}/[0-9]*"))) for kind in ("last", "best"))
    if not count:
        return "no checkpoints: only its record was kept", lines
    if record["status"] == "running" and len(record["epochs"]) > 1:
        lines += [] if any(path.glob("last/[0-9]*")) else ["last: no state is there"]
    if record["best_epoch"] and not lines:
        best = checkpoints.read_arrays(path, record["best_epoch"], ("params",))
        if best is None:
            lines = [f"best: the state of epoch {record['best_epoch']} is not there"]
    return f"{count} checkpoints", lines


def _verify_weights(path: pathlib.Path) -> Findings:
    arrays = loading.arrays_of(weights.read_run(path, "verify"))
    return f"{len(arrays or {})} arrays of shared weights", []


def _verify_data(path: pathlib.Path) -> Findings:
    lines, how = [], "no checksums: prepared by an early uld_jax"
    if (path / checksums.FILE_NAME).exists():
        lines, how = _compare_sums(path), "checksums of all files match"
    try:
        splits = files.describe(path)["sizes"]
    except files.DatasetError as error:
        return "", lines or [str(error)]
    for split, size in splits.items():
        if size:
            lines += _read_examples(path, split, known_damage=bool(lines))
    for file in sorted(path.glob(compact.noise_file("*"))):
        try:
            compact.Noises(file)
        except files.DatasetError as error:
            lines += [] if lines else [str(error)]
    return f"{sum(splits.values()):,} examples; {how}", lines


def _compare_sums(path: pathlib.Path) -> list[str]:
    """List the files of a data set that differ from what was written."""
    lines = []
    total = sum(file.stat().st_size for file in path.iterdir()) // 10**6
    with progress.Progress(f"Reading {path}", total, "MB") as bar:
        for size, found in files.damages(path):
            lines += found
            bar.update(size // 10**6)
    return lines


def _read_examples(path: pathlib.Path, split: str, known_damage: bool) -> list[str]:
    """Count the examples of a split that cannot be read, and quote the first error.

    Args:
        path: Folder of the data set.
        split: Name of the split.
        known_damage: Whether damaged files were found already.
    """
    try:
        examples = files.Records(path, split)
    except files.DatasetError as error:
        return [] if known_damage else [str(error)]
    bad = []
    with progress.Progress(f"Reading {split}", len(examples), "examples") as bar:
        for first in range(0, len(examples), _READ_AT_ONCE):
            block = range(first, min(first + _READ_AT_ONCE, len(examples)))
            bad += _errors_in(examples, block)
            bar.update(len(block))
    return [f"{len(bad)} of {len(examples)} {split} examples: {bad[0]}"] if bad else []


def _errors_in(examples: files.Records, block: range) -> list[str]:
    """List the errors of the examples of a block that cannot be read."""
    try:
        examples.__getitems__(block)
        return []
    except files.DatasetError:  # One by one, to count them.
        found = []
    for index in block:
        try:
            examples[index]
        except files.DatasetError as error:
            found.append(str(error))
    return found


def verify_all(paths: Iterable[str]) -> list[str]:
    """Verify all runs, weights and data sets at or below paths, and log the findings.

    Returns:
        The damaged folders.

    Raises:
        VerifyError: If a path holds none.
    """
    found = {}
    for path in map(pathlib.Path, paths):
        below = list(find(path.expanduser()))
        if not below:
            raise VerifyError(
                f"{str(path)!r} holds no run, no shared weights and no prepared data "
                "set; name one, or a folder of several"
            )
        found |= dict.fromkeys(below)
    damaged = []
    for path in found:
        checked, lines = verify_folder(path)
        progress.log(
            "\n".join(f"{path}: damaged: {line}" for line in lines)
            if lines
            else f"{path}: good ({checked})"
        )
        damaged += [str(path)] if lines else []
    return damaged
