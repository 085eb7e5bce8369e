"""Spoil a small session in a hundred ways, and record what commands say of each.

    python -m benchmarks.reliability.bad_sessions

The session (`small_session`) is healthy: six recorders, eight seconds, a talker at two
places. Each kind is one change of its tables, its files or its places (`bad_tables`,
`bad_audio`, `bad_geometry`). `uld_jax doctor` and `uld_jax locate` run in this process;
an error that they do not turn into a message counts as a traceback.

A user who may read all files skips two kinds; root does not after
`setpriv --bounding-set=-dac_override,-dac_read_search`.
"""

import argparse
import contextlib
import hashlib
import importlib
import io
import pathlib
import re
import sys
import tempfile
import traceback
import types
from collections import Counter
from typing import NamedTuple

from benchmarks import report
from benchmarks.reliability import bad_audio, bad_geometry, bad_tables, small_session
from benchmarks.reliability.bad_kind import Kind, Skipped
from uld_jax.runtime import errors

GROUPS: dict[str, dict[str, Kind]] = {
    "tables": bad_tables.KINDS,
    "audio": bad_audio.KINDS,
    "geometry": bad_geometry.KINDS,
}
TRACEBACK, SKIPPED = "traceback", "skipped"

_SAID = "first problem, or first remark"
_OUTCOMES = ("doctor", "locate", "as meant", "changed", "names", _SAID)
_COUNTS = (
    "Kinds of sessions by the exit status of `uld_jax doctor`: 0 where nothing is wrong, "
    "or the change is one that tables and files may have; 1 with a remark; 2 where the "
    "session, or a node of it, cannot be used, or no window is determined. "
    "The last columns are those of `uld_jax locate`, too."
)
_NOTE = (
    "One change each of a healthy session of six recorders. Exit statuses of both "
    "commands; whether the first, and the words, are those that the script expects; "
    "which files of the session they changed; and what `uld_jax doctor` says first, "
    "without the folder's path. `locate` writes positions of all sessions that are not "
    "refused."
)

_SHOWN = 160  # Characters of a message.
_NODE = re.compile(rf"[Nn]ode '?({'|'.join(small_session.NODES)})\b")
_FILE = re.compile(r"[\w/]+\.(?:csv|xlsx|wav|flac|m4a|ods)\b")


class Answer(NamedTuple):
    """A command's answer to a session.

    Attributes:
        status: Its exit status; `TRACEBACK` for an error that is no message.
        message: All that it printed, without the folder's path.
        changed: Files of the session that it changed, made or removed.
    """

    status: int | str
    message: str
    changed: list[str]

    @property
    def first_line(self) -> str:
        """The first remark, or the first line of an error or of what is printed."""
        lines = self.message.splitlines()
        remarks = [line[4:] for line in lines if line.startswith("  - ")]
        problems = [line for line in lines if line.startswith("error: ")]
        if problems and problems[0].endswith(":"):  # The first of a list.
            problems[0] += f" {lines[lines.index(problems[0]) + 1].strip()}"
        unused = [line for line in lines if "not used" in line or "no column" in line]
        return (problems + remarks + unused + [""])[0]


def ask(name: str, folder: pathlib.Path, **values) -> Answer:
    """Run a command on a session in this process.

    Args:
        name: Of the command.
        folder: Of the session; what the command writes is to be beside it.
        values: Of its flags.
    """
    before = _fingerprints(folder)
    status, printed = _run(name, folder, values)
    after = _fingerprints(folder)
    changed = sorted(
        path
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    )
    message = printed.replace(str(folder), "session")
    return Answer(status, message, changed)


def _run(name: str, folder: pathlib.Path, values: dict) -> tuple[int | str, str]:
    """Return the exit status of a command, as `cli.app` finds it, and what it printed."""
    command = importlib.import_module(f"uld_jax.cli.{name}")
    flags = {flag.name: flag.default for flag in command.FLAGS} | values
    status, printed = 0, io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            command.main(types.SimpleNamespace(**flags), [str(folder)])
        except errors.Failed as failure:
            status = failure.code
            print(failure)
        except (errors.InputError, OSError) as error:
            status = errors.EXIT_BAD_INPUT
            print(f"error: {error}")
        except Exception:
            status = TRACEBACK
            traceback.print_exc(file=printed)
    return status, printed.getvalue()


def _fingerprints(folder: pathlib.Path) -> dict[str, str]:
    """Hash the files below a folder, and list what is no file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.stat().st_mode & 0o400:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = str(path.lstat().st_mode)
    return found


def examine(group: str, name: str, folder: pathlib.Path) -> dict[str, str | int]:
    """Make a kind of session below a folder, and ask both commands.

    Returns:
        A row of the page.
    """
    kind = GROUPS[group][name]
    session = small_session.write(folder / "session")
    row = {"kind": name, "group": group}
    try:
        kind.change(session)
    except Skipped as reason:
        return (
            row | dict.fromkeys(_OUTCOMES, "") | {"doctor": SKIPPED, _SAID: str(reason)}
        )
    doctor = ask("doctor", session, json=str(folder / "health.json"))
    locate = ask("locate", session, out=str(folder / "positions.csv"))
    if TRACEBACK in (doctor.status, locate.status):
        print(doctor.message, locate.message)
    lacking = [words for words in kind.says if words not in doctor.message]
    return row | {
        "doctor": doctor.status,
        "locate": locate.status,
        "as meant": "no" if lacking or doctor.status != kind.status else "yes",
        "changed": ", ".join(doctor.changed + locate.changed) or "nothing",
        "names": ", ".join(_find_names(doctor.first_line)),
        _SAID: _shorten(doctor.first_line.removeprefix("error: ")),
    }


def _find_names(line: str) -> list[str]:
    """Find which file, line and node a message names, each once."""
    found = [match.rpartition("/")[2] for match in _FILE.findall(line)]
    found += re.findall(r"line \d+", line)[:1]
    found += [f"node {name}" for name in _NODE.findall(line)[:1]]
    found = [one for one in found if one != "NODE.wav"]
    return list(dict.fromkeys(found))


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def count(rows: list[dict]) -> list[dict]:
    """Count the outcomes in each group of kinds."""
    counted = []
    for group in (*GROUPS, "all"):
        own = [row for row in rows if group in ("all", row["group"])]
        statuses = Counter(str(row["doctor"]) for row in own)
        counted.append(
            {
                "group": group,
                "kinds": len(own),
                "exit 0": statuses["0"],
                "exit 1": statuses["1"],
                "exit 2": statuses["2"],
                "skipped": statuses[SKIPPED],
                "tracebacks": sum(
                    TRACEBACK in (row["doctor"], row["locate"]) for row in own
                ),
                "files changed": sum(
                    row["changed"] not in ("", "nothing") for row in own
                ),
                "not as meant": sum(row["as meant"] == "no" for row in own),
            }
        )
    return counted


def main() -> None:
    """Make each kind, ask the commands, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pattern of 'group: kind'")
    report.add_flag(parser)
    options = parser.parse_args()
    rows = []
    for group, kinds in GROUPS.items():
        for name in kinds:
            if not re.search(options.only, f"{group}: {name}"):
                continue
            with tempfile.TemporaryDirectory() as made:
                rows.append(examine(group, name, pathlib.Path(made)))
            print(rows[-1], file=sys.stderr, flush=True)
    tables = [("Outcomes.", _COUNTS, count(rows)), ("Kinds.", _NOTE, rows)]
    report.write("reliability.bad_sessions", tables, options.out)


if __name__ == "__main__":
    main()
