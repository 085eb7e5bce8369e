"""The JSON record of a run: what was run, where, and with what result.

A record's `status` is "running", "done", "diverged" or "collapsed"; `test` holds results
once the run is done. Tables and figures are made from records alone.
"""

import json
import pathlib
from collections.abc import Container, Iterable
from typing import Any

from uld_jax.runtime import errors

FILE_NAME = "record.json"
PREDICTIONS_FILE = "predictions.npz"
CONDITIONS_FILE = "conditions.json"
CONDITION_ERRORS_FILE = "condition_errors.npz"
CARD_FILE = "card.json"  # In place of a record, in a folder of shared weights.

# Keys that a record must have, dots between levels.
_NEEDED = ("status", "settings", "data")
_NEEDED_OF_TESTED_DATA = tuple(
    f"settings.data.{key}" for key in ("name", "engine", "noise_field")
)
_NEEDED_OF_NETWORK = (
    *("settings.init", "settings.label.scheme", "settings.label.resolution"),
    *("settings.model.name", "settings.train.epochs"),
    "settings.train.permutation_invariant",
    *("seed", "init", "trained_places", "best_epoch", "epochs", "test", "converged"),
)


class RecordError(errors.InputError):
    """Records that cannot be used, with the reason."""


def check_complete(record: dict[str, Any], name: str) -> None:
    """Check that a record has all keys that this version reads.

    Args:
        record: Content of the file.
        name: What to call it in the error.

    Raises:
        RecordError: With the missing keys.
    """

    def has(dotted):
        inner = record
        for key in dotted.split("."):
            if not isinstance(inner, dict) or key not in inner:
                return False
            inner = inner[key]
        return True

    for needed in (
        _NEEDED,
        _NEEDED_OF_TESTED_DATA,
        () if "method" in record else _NEEDED_OF_NETWORK,
    ):
        if missing := [key for key in needed if not has(key)]:
            raise RecordError(
                f"{name} is not a record of this version of uld_jax: it lacks "
                f"{', '.join(missing)}"
            )


def read_records(
    paths: str | pathlib.Path | Iterable[str | pathlib.Path],
) -> list[dict[str, Any]]:
    """Read all records at or below some paths, ordered by path.

    Args:
        paths: Records or folders, one or several.

    Returns:
        The content of each record, with its folder added as `folder`.

    Raises:
        FileNotFoundError: If a path does not exist or holds no record.
        RecordError: If a file is not JSON, or lacks a key.

    >>> import json, pathlib, tempfile
    >>> import uld_jax
    >>> data = {"name": "simulated/ad1:1.0.0", "engine": "jax", "noise_field": "point"}
    >>> record = {"status": "done", "method": "srp_phat", "settings": {"data": data}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "record.json")
    ...     _ = file.write_text(json.dumps(record | {"data": {}}))
    ...     [record["method"] for record in uld_jax.read_records(folder)]
    ['srp_phat']
    """
    if isinstance(paths, str | pathlib.Path):
        paths = [paths]
    records = {}
    for path in map(pathlib.Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist")
        files = [path] if path.is_file() else sorted(path.rglob(FILE_NAME))
        if not files:
            raise FileNotFoundError(f"{str(path)!r} holds no {FILE_NAME}")
        for file in files:
            content = _read_object(file, "is not a record")
            check_complete(content, repr(str(file)))
            records[file] = content | {"folder": str(file.parent)}
    return list(records.values())


def read_finished(
    paths: Iterable[str | pathlib.Path], statuses: Container[str] = ("done",)
) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the records of finished runs; list the folders of unfinished ones.

    Args:
        paths: Records or folders.
        statuses: What counts as finished.

    Raises:
        FileNotFoundError, RecordError: As `read_records`, or if no run is finished.
    """
    runs = read_records(paths)
    finished = [run for run in runs if run["status"] in statuses]
    others = [run["folder"] for run in runs if run["status"] not in statuses]
    if not finished:
        raise RecordError(f"no finished run; unfinished ones: {', '.join(others)}")
    return finished, others


def read_trained(folder: str | pathlib.Path, flag: str) -> dict[str, Any]:
    """Read the record of the finished run of a network.

    Args:
        folder: Folder of the run.
        flag: The flag that named it, for errors.

    Raises:
        RecordError: If there is no such run.
    """
    folder = pathlib.Path(folder).expanduser()
    path = folder / FILE_NAME
    if not path.exists():
        files = (FILE_NAME, CARD_FILE)
        below = sorted(
            file.parent.name for name in files for file in folder.glob(f"*/{name}")
        )
        remedy = "it does not exist"
        if folder.exists():
            remedy = f"it holds no {FILE_NAME}, nor the {CARD_FILE} of shared weights"
        if below:
            remedy = f"name one of its runs: {', '.join(below)}"
        raise RecordError(
            f"{flag}: {str(folder)!r} is not the folder of a run; {remedy}"
        )
    (run,) = read_records(path)
    if "method" in run:
        raise RecordError(
            f"{flag}: {str(folder)!r} is a run of the baseline {run['method']}; name a "
            "run of a network"
        )
    if run["status"] != "done":
        more = ""
        if run["status"] == "running":
            more = ", or finish it with the command that started it"
        raise RecordError(
            f"{flag}: the run in {str(folder)!r} is {run['status']}; name a finished one"
            + more
        )
    return run


def read_conditions(run: dict[str, Any]) -> dict[str, Any] | None:
    """Read the results of a run under worse conditions; None if there are none.

    Raises:
        RecordError: If the file is not JSON.
    """
    path = pathlib.Path(run["folder"]) / CONDITIONS_FILE
    return _read_object(path, "cannot be read") if path.exists() else None


def _read_object(path: pathlib.Path, problem: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise RecordError(f"{str(path)!r} {problem}: {error}") from None
    if not isinstance(content, dict):
        raise RecordError(f"{str(path)!r} {problem}: {content!r:.40}")
    return content
