"""Tell whether runs and prepared data sets are intact, down to the last bit.

    uld_jax verify runs/l1 datasets/simulated/l1/1.0.0

Each path is the folder of a run, of shared weights or of a data set, or one above
several. Of a run all checkpoints are compared with their sums and read, and so are
weights; of a data set all files are compared with theirs, and all examples read. Nothing
is changed. Exit codes: 0 all is intact,
1 something is damaged, 2 a path is neither.
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
_DEEPEST = 5  # Folders below a path; who links folders in a circle gets out of it.
_READ_AT_ONCE = 100

# What is good about a thing, in words, and a line for each damage of it.
Findings = tuple[str, list[str]]


class VerifyError(errors.InputError):
    """A path that holds nothing to verify."""


def find(path: pathlib.Path, depth: int = _DEEPEST) -> Iterator[pathlib.Path]:
    """Yield the folders of runs, weights and data sets at or below a path."""
    if any(_is(path, names) for names in (_OF_DATA, _OF_WEIGHTS, _OF_RUN)):
        yield path
    elif depth and path.is_dir():
        for below in sorted(path.iterdir()):
            # What is being prepared is no data set yet.
            if below.is_dir() and below.suffix != ".incomplete":
                yield from find(below, depth - 1)


def _is(path: pathlib.Path, names: Iterable[str]) -> bool:
    return any((path / name).exists() for name in names)


def verify(path: pathlib.Path) -> Findings:
    """Return what there is to say of the folder of a run, weights or a data set."""
    look = _verify_data if _is(path, _OF_DATA) else _verify_run
    if _is(path, _OF_WEIGHTS):
        look = _verify_weights
    try:
        return look(path)
    except (errors.InputError, OSError) as error:
        return "", [str(error)]


def _verify_run(path: pathlib.Path) -> Findings:
    folder = RunFolder(path)
    folder.read_settings()  # Raises if they are damaged.
    record = folder.read_record() or {"status": "", "epochs": [], "best_epoch": 0}
    # A run under way deletes steps meanwhile: what is wrong is looked at twice.
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
    lines, by_sums = [], "no sums, as it was prepared by an early uld_jax"
    if (path / checksums.FILE_NAME).exists():
        lines, by_sums = _by_sums(path), "all files by their sums"
    try:
        splits = files.describe(path)["sizes"]
    except files.DatasetError as error:
        return "", lines or [str(error)]
    for split, size in splits.items():
        if size:
            lines += _by_reading(path, split, told=bool(lines))
    for file in sorted(path.glob(compact.noise_file("*"))):
        try:
            compact.Noises(file)
        except files.DatasetError as error:
            lines += [] if lines else [str(error)]
    return f"{sum(splits.values()):,} examples; {by_sums}", lines


def _by_sums(path: pathlib.Path) -> list[str]:
    """Return a line for each file of a data set that is not what was written."""
    lines = []
    total = sum(file.stat().st_size for file in path.iterdir()) // 10**6
    with progress.Progress(f"Summing {path}", total, "MB") as bar:
        for size, found in files.damages(path):
            lines += found
            bar.update(size // 10**6)
    return lines


def _by_reading(path: pathlib.Path, split: str, told: bool) -> list[str]:
    """Return how many examples of a split cannot be read, and the first of them.

    Args:
        path: Folder of the data set.
        split: Which split.
        told: Whether it was said already which files are damaged.
    """
    try:
        examples = files.Records(path, split)
    except files.DatasetError as error:
        return [] if told else [str(error)]
    bad = []
    with progress.Progress(f"Reading {split}", len(examples), "examples") as bar:
        for first in range(0, len(examples), _READ_AT_ONCE):
            block = range(first, min(first + _READ_AT_ONCE, len(examples)))
            bad += _unreadable(examples, block)
            bar.update(len(block))
    return [f"{len(bad)} of {len(examples)} {split} examples: {bad[0]}"] if bad else []


def _unreadable(examples: files.Records, block: range) -> list[str]:
    """Return what is said of each example of a block that cannot be read."""
    try:
        examples.__getitems__(block)
        return []
    except files.DatasetError:
        said = []
    for index in block:
        try:
            examples[index]
        except files.DatasetError as error:
            said.append(str(error))
    return said


def verify_all(paths: Iterable[str]) -> list[str]:
    """Tell of all runs and data sets at or below some paths; return the damaged ones.

    Raises:
        VerifyError: If there is none at one of the paths.
    """
    found = {}
    for path in map(pathlib.Path, paths):
        below = list(find(path.expanduser()))
        if not below:
            raise VerifyError(
                f"{str(path)!r} is the folder of no run and of no prepared data set, "
                "and has none in it; name one, or a folder of several"
            )
        found |= dict.fromkeys(below)
    damaged = []
    for path in found:
        good, lines = verify(path)
        progress.log(
            "\n".join(f"{path}: damaged: {line}" for line in lines)
            if lines
            else f"{path}: good ({good})"
        )
        damaged += [str(path)] if lines else []
    return damaged
