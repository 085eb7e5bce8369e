"""One JSON record per run: what was run, where, and what came out.

A record's `status` is "running", "done", or "diverged"; `test` is there once
the run is done. Tables and figures are made from records alone.
"""

import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
from collections.abc import Container, Iterable

from uld_jax.runtime import errors

FILE_NAME = "record.json"
PREDICTIONS_FILE = "predictions.npz"
CONDITIONS_FILE = "conditions.json"
CARD_FILE = "card.json"  # In place of a record, in a folder of `weights`.
HELD_OUT = "_held_out"  # Ends the name of a data set without a training split,
COMPACT = "_compact"  # and this one's, of which dry speech is stored.
# Data sets of one room that differ in where they train, and share their test split.
DEV = "_dev"  # At the dev positions.
ANYWHERE = "_anywhere"  # At any places.
TEST_ONLY = "_test"  # Nowhere.

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def write_json(path: pathlib.Path, content: dict) -> None:
    """Write a JSON file in one piece: a reader sees the old one or the new one."""
    partial = path.with_name(path.name + ".part")
    with partial.open("w") as file:
        file.write(as_text(content))
        file.flush()
        os.fsync(file.fileno())  # After a power cut, too.
    partial.replace(path)


def as_text(content: dict) -> str:
    """Return what a JSON file of some content holds."""
    return json.dumps(_jsonable(content), indent=1, allow_nan=False) + "\n"


def _jsonable(value):
    """Return a value with None where a number is not finite."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# Where data lie and how they are read makes no other run.
_FREE_TO_CHANGE = frozenset(
    {
        "init.folder",
        "data.dir",
        "data.recordings",
        "data.speech",
        "data.speech_splits",
        "data.noise",
        "data.on_device",
        "data.prefetch_batches",
        "data.read_threads",
        "train.checkpoint_steps",
        "train.evaluation_batch_size",
    }
)


_FLAGS = {
    "init.data": "--init_from, trained on",
    "init.partial": "--init_partial",
}
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
_FOLDERS = ("dir", "recordings", "speech", "noise")  # Settings of the data.


class RecordError(errors.InputError):
    """Records that cannot be used, with the reason."""


def identity(settings: dict, prefix: str = "") -> dict:
    """Return the settings that make a run what it is, by dotted key."""
    flat = {}
    for key, value in settings.items():
        name = prefix + key
        if isinstance(value, dict):
            flat |= identity(value, f"{name}.")
        elif name not in _FREE_TO_CHANGE:
            flat[name] = value
    return flat


def without_places(settings: dict) -> dict:
    """Return settings as a record holds them: of folders on one machine, the name."""

    def named(value):
        absolute = pathlib.Path(value).expanduser().is_absolute()
        return pathlib.PurePath(value).name if absolute else value

    data = {
        key: named(value) if key in _FOLDERS else value
        for key, value in settings["data"].items()
    }
    told = settings | {"data": data}
    if folder := settings.get("init", {}).get("folder"):  # A baseline has no init.
        told["init"] = settings["init"] | {"folder": named(folder)}
    return told


def check_complete(record: dict, what: str) -> None:
    """Check that a record has the keys that are read.

    Args:
        record: A record of a network or, with a `method`, of a baseline.
        what: What it is called in the message.

    Raises:
        RecordError: With the missing keys.
    """

    def has(dotted: str) -> bool:
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
                f"{what} is not a record of this version of uld_jax: it lacks "
                f"{', '.join(missing)}"
            )


def differences(old: dict, new: dict) -> list[str]:
    """Return the settings that make another run, as "key: old -> new" lines."""

    def named(settings):
        return {_FLAGS.get(key, key): v for key, v in identity(settings).items()}

    return errors.describe_changes(named(old), named(new))


def read(paths: Iterable[str | pathlib.Path]) -> list[dict]:
    """Return all records at or below some paths, ordered by path.

    Each has its folder added as `folder`.

    Raises:
        FileNotFoundError: If a path does not exist or holds no record.
        RecordError: If a file is not JSON, or lacks a key.
    """
    records = {}
    for path in map(pathlib.Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist")
        files = [path] if path.is_file() else sorted(path.rglob(FILE_NAME))
        if not files:
            raise FileNotFoundError(f"{str(path)!r} holds no {FILE_NAME}")
        for file in files:
            try:
                content = json.loads(file.read_text())
            except json.JSONDecodeError as error:
                raise RecordError(f"{str(file)!r} is not a record: {error}") from None
            if not isinstance(content, dict):
                raise RecordError(f"{str(file)!r} is not a record: {content!r:.40}")
            check_complete(content, repr(str(file)))
            records[file] = content | {"folder": str(file.parent)}
    return list(records.values())


def read_finished(
    paths: Iterable[str | pathlib.Path], statuses: Container[str] = ("done",)
) -> tuple[list[dict], list[str]]:
    """Return the finished runs at or below some paths, and the folders of others.

    Args:
        paths: Records, or folders.
        statuses: What is called finished.

    Raises:
        FileNotFoundError, RecordError: As `read`, or if no run is finished.
    """
    runs = read(paths)
    finished = [run for run in runs if run["status"] in statuses]
    others = [run["folder"] for run in runs if run["status"] not in statuses]
    if not finished:
        raise RecordError(f"no finished run; unfinished ones: {', '.join(others)}")
    return finished, others


def read_network(folder: str | pathlib.Path, flag: str) -> dict:
    """Return the record of the finished run of a network in a folder.

    Args:
        folder: Folder of the run.
        flag: What named it, for messages.

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
    (run,) = read([path])
    if "method" in run:
        raise RecordError(
            f"{flag}: {str(folder)!r} is a run of the baseline {run['method']}; name a "
            "run of a network"
        )
    if run["status"] != "done":
        more = ""
        if run["status"] == "running":
            more = ", or end it by the command it was begun with"
        raise RecordError(
            f"{flag}: the run in {str(folder)!r} is {run['status']}; name a finished one"
            + more
        )
    return run


def read_conditions(run: dict) -> dict | None:
    """Return what lies beside a record on worse conditions; None without such.

    Raises:
        RecordError: If it is not JSON.
    """
    path = pathlib.Path(run["folder"]) / CONDITIONS_FILE
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise RecordError(f"{str(path)!r} cannot be read: {error}") from None


def environment() -> dict:
    """Return versions, commit and machine, as a record's last part."""
    versions = {"python": platform.python_version()}
    for package in ("uld-jax", *_PACKAGES):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "commit": _commit(),
        "hardware": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(
                os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1
            ),
        },
    }


def _commit() -> str | None:
    """Return the checkout's commit, with "+" if files differ from it.

    Without a checkout, the environment variable ULD_JAX_COMMIT says it.
    """
    here = pathlib.Path(__file__).resolve()  # Git does not look through links.

    def git(*words):
        return subprocess.run(
            ["git", "-C", str(here.parent), *words],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        # A copy inside somebody else's repository is not in it.
        git("ls-files", "--error-unmatch", str(here))
        changed = git("status", "--porcelain", "--untracked-files=no", ":/")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("ULD_JAX_COMMIT")


def _processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
