"""The folder of outputs of many sessions: what is done, and what may be replaced.

    DIR/positions.csv             all positions, with a column for the session
    DIR/index.html, index.json    all sessions, each with its outcome
    DIR/NAME/positions.csv        of one session; its page and its record beside it
    DIR/NAME/outcome.json         written last: only then a session is done

Files count as this command's if the folder has its index, or the session's folder an
outcome. Others are not replaced without leave.
"""

import csv
import dataclasses
import hashlib
import itertools
import json
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import uld_jax
from uld_jax.runtime import errors
from uld_jax.storage import atomic

TABLE, PAGE, RECORD = "positions.csv", "positions.html", "positions.json"
INDEX_PAGE, INDEX = "index.html", "index.json"
LOCK = ".lock"
LOCATED, FAILED, RUNNING = "located", "failed", "running"
COLUMN = "session"

_OUTPUTS = (TABLE, PAGE, RECORD)
_OUTCOME = "outcome.json"
_ATTEMPT = ".attempt"
_KIND, _FORMAT = "located sessions", 1
_FIX = "name another folder, or pass --overwrite"


class OutputError(errors.InputError):
    """A folder that cannot be written to without loss, with the reason."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a session.

    Attributes:
        status: `LOCATED`, `FAILED`, or `RUNNING` for one that was interrupted.
        attempt: Which run of the command wrote it.
        settings: By which it was located.
        version: Of uld_jax.
        stamps: Sizes and times of its files, before they were read.
        outputs: SHA-256 of each file that was written.
        summary: What was found, in numbers.
        left_out: Recordings that could not be used, in sentences.
        reason: Why it failed.
        trace: Where it failed, if nobody foresaw it.
    """

    status: str
    attempt: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: str = uld_jax.__version__
    stamps: Mapping[str, list[int]] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    reason: str = ""
    trace: str = ""


def read_outcome(folder: pathlib.Path) -> Outcome | None:
    """Read the outcome of a session; None if its folder has none.

    Args:
        folder: That of its outputs.
    """
    content = _read(folder / _OUTCOME)
    if content is None:
        return None
    known = {field.name for field in dataclasses.fields(Outcome)}
    facts = {key: value for key, value in content.items() if key in known}
    return Outcome(**facts | {"left_out": tuple(facts.get("left_out", ()))})


def write_outcome(folder: pathlib.Path, outcome: Outcome) -> None:
    """Write the outcome of a session in one piece.

    Args:
        folder: That of its outputs; made if it is missing.
        outcome: What to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"kind": _KIND, "format": _FORMAT} | dataclasses.asdict(outcome)
    with atomic.replace(folder / _OUTCOME, unique=True) as partial:
        partial.write_text(atomic.to_json(content), encoding="utf-8")


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    """Read a JSON file of this command; None if there is none, or it is another's."""
    try:
        content = json.loads(path.read_bytes())
        ours = (content["kind"], content["format"]) == (_KIND, _FORMAT)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return content if ours else None


def check(
    out: pathlib.Path,
    sessions: Mapping[str, pathlib.Path],
    settings: Mapping[str, Any],
    overwrite: bool,
) -> None:
    """Check, before any work, that no file is replaced which should stay.

    Args:
        out: The folder to write to.
        sessions: Folders of the sessions by name.
        settings: Of the command.
        overwrite: Whether files of others, or with other settings, may be replaced.

    Raises:
        OutputError: With all that is in the way.
    """
    _check_places(out, sessions)
    if overwrite or not out.exists():
        return
    problems = _find_strangers(out, sessions)
    for name in sessions:
        folder = out / name
        outcome = read_outcome(folder)
        if outcome is None:
            there = [file for file in _OUTPUTS if (folder / file).exists()]
            problems += [f"{str(folder / there[0])!r} exists"] if there else []
        elif outcome.status == LOCATED:
            if lines := errors.describe_changes(outcome.settings, settings):
                problems.append(
                    f"{str(folder)!r} was located with other settings: "
                    f"{', '.join(lines)}"
                )
            elif changed := _find_changed(folder, outcome):
                problems.append(f"{str(folder / changed)!r} was changed by others")
    if problems:
        more = f"\n  and {len(problems) - 1} more" if problems[1:] else ""
        raise OutputError(f"--out: {problems[0]}; {_FIX}{more}")


def _check_places(out, sessions) -> None:
    """Raise where writing is not possible, or never right."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out: {str(out)!r} is a file; name a folder")
    for name, folder in sessions.items():
        if name in (TABLE, INDEX_PAGE, INDEX) or name.startswith("."):
            raise OutputError(
                f"session {str(folder)!r} has the name of a file in --out; rename it"
            )
        for path in (out, out / name):
            if path.resolve().is_relative_to(folder.resolve()):
                raise OutputError(
                    f"--out: {str(path)!r} is in the session {str(folder)!r}, where "
                    "nothing is written; name another folder"
                )
        if (out / name).exists() and not (out / name).is_dir():
            raise OutputError(
                f"--out: {str(out / name)!r} is a file, and session {name!r} needs a "
                "folder there; name another --out"
            )


def _find_strangers(out, sessions) -> list[str]:
    """List what is at the top of the folder and would be lost."""
    index = _read(out / INDEX)
    if index is None:
        return [
            f"{str(out / file)!r} exists"
            for file in (TABLE, INDEX_PAGE, INDEX)
            if (out / file).exists()
        ]
    problems, before = [], {one["name"]: one["folder"] for one in index["sessions"]}
    for name, folder in before.items():
        if name not in sessions:
            problems.append(f"{str(out)!r} has session {name!r}, which is not given")
        elif (there := relative(sessions[name], out)) != folder:
            problems.append(
                f"{str(out)!r} has the session {name!r} of {folder!r}, not of {there!r}"
            )
    return problems


def relative(folder: pathlib.Path, out: pathlib.Path) -> str:
    """Write the path of a session's folder as seen from that of the outputs."""
    there, here = folder.resolve(), out.resolve()
    shared = next(one for one in (here, *here.parents) if there.is_relative_to(one))
    ups = [".."] * len(here.relative_to(shared).parts)
    return pathlib.PurePosixPath(*ups, there.relative_to(shared).as_posix()).as_posix()


def _find_changed(folder: pathlib.Path, outcome: Outcome) -> str | None:
    """Find a file that is there and not as it was written."""
    for name, expected in outcome.outputs.items():
        if (folder / name).exists() and _hash(folder / name) != expected:
            return name
    return None


def is_done(
    folder: pathlib.Path,
    settings: Mapping[str, Any],
    is_unchanged: Callable[[Mapping[str, list[int]]], bool],
) -> bool:
    """Check if a session need not be located again.

    Args:
        folder: Of its outputs.
        settings: Of the command.
        is_unchanged: Takes the stamps of the session's files, and compares them.
    """
    outcome = read_outcome(folder)
    return (
        outcome is not None
        and outcome.status == LOCATED
        and outcome.settings == settings
        and outcome.version == uld_jax.__version__
        and is_unchanged(outcome.stamps)
        and all((folder / name).exists() for name in _OUTPUTS)
        and _find_changed(folder, outcome) is None
    )


def begin(out: pathlib.Path) -> str:
    """Begin an attempt, whose outcomes alone are accepted until the next.

    Args:
        out: The folder, made if it is missing.

    Returns:
        What identifies the attempt.
    """
    attempt = uuid.uuid4().hex
    atomic.write_bytes(out / _ATTEMPT, attempt.encode())
    return attempt


def end(out: pathlib.Path) -> None:
    """End the attempt."""
    (out / _ATTEMPT).unlink(missing_ok=True)


def check_attempt(out: pathlib.Path, attempt: str) -> None:
    """Check, in a worker, that the folder is that of an attempt that is going on.

    Raises:
        OutputError: If the worker sees another folder than the launching process, or has
            outlived it.
    """
    try:
        same = (out / _ATTEMPT).read_text() == attempt
    except OSError:
        same = False
    if not same:
        raise OutputError(
            f"{str(out)!r} is not the folder of this run of the command; give all workers "
            "the same storage"
        )


def fill(
    folder: pathlib.Path,
    outcome: Outcome,
    write: Callable[[pathlib.Path], tuple[Mapping[str, Any], Iterable[str]]],
) -> Outcome:
    """Let a session's outputs be written elsewhere, put them in place, and say so.

    Args:
        folder: Of the outputs.
        outcome: What is known before.
        write: Writes the files into a folder, and returns what was found, in numbers, and
            what was left out.

    Returns:
        The outcome, as it is written.
    """
    write_outcome(folder, dataclasses.replace(outcome, status=RUNNING))
    clear(folder)  # What is there is not what this outcome is about.
    partial = folder / f".{uuid.uuid4().hex}.part"
    partial.mkdir()
    try:
        summary, left_out = write(partial)
        outputs = {name: _hash(partial / name) for name in _OUTPUTS}
        for name in _OUTPUTS:
            (partial / name).replace(folder / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    atomic.sync_folder(folder)
    done = dataclasses.replace(
        outcome,
        status=LOCATED,
        outputs=outputs,
        summary=dict(summary),
        left_out=tuple(left_out),
    )
    write_outcome(folder, done)
    return done


def clear(folder: pathlib.Path) -> None:
    """Remove a session's outputs, if there are any."""
    for name in _OUTPUTS:
        (folder / name).unlink(missing_ok=True)


def sweep_up(folder: pathlib.Path) -> None:
    """Remove what a killed attempt left in a session's folder of outputs."""
    for path in folder.glob(".*.part"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{_OUTCOME}.*.part"):
        path.unlink(missing_ok=True)


def write_table(out: pathlib.Path, names: Iterable[str], columns: Sequence[str]) -> int:
    """Write the positions of sessions that are done as one table.

    Args:
        out: The folder.
        names: Of the sessions, in the order of the table.
        columns: Of each session's table.

    Returns:
        The number of rows.
    """
    count = 0
    with (
        atomic.replace(out / TABLE) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([COLUMN, *columns])
        for name in names:
            for row in itertools.islice(_rows(out / name / TABLE), 1, None):
                writer.writerow([name, *row])
                count += 1
    return count


def _rows(path: pathlib.Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.reader(file)


def write_index(out: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Write the list of the sessions as JSON; the folder is this command's from then on."""
    record = {"kind": _KIND, "format": _FORMAT, **content}
    atomic.write_json(out / INDEX, record)


def _hash(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
