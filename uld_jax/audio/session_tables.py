"""The tables of a session: its room, its nodes, its recordings.

All three are read before anything is refused. One error lists the first few problems,
each with file, line and fix.
"""

import contextlib
import csv
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.runtime import errors

ROOM, NODES, RECORDINGS = "room.csv", "nodes.csv", "recordings.csv"
SPLITS = ("train", "validation", "test")

_LONGEST_SIDE = 1000.0
_SAME_POSITION = 1e-3
_MOST_PROBLEMS = 5


class SessionError(errors.InputError):
    """A session that cannot be used, with the reasons."""


class Row(NamedTuple):
    """A row of the table of recordings.

    Attributes:
        where: File and line, for messages.
        name: Path of the recording below the session's folder.
        split: One of `SPLITS`.
        source_positions: [S, 3] in meters; None if unknown.
    """

    where: str
    name: str
    split: str
    source_positions: np.ndarray | None


class Tables(NamedTuple):
    """The content of the three tables.

    Attributes:
        room_size: [3], sides in meters.
        node_positions: Position [3] of each node in meters, by its name, in order.
        recordings: The rows of the recordings, in order.
    """

    room_size: np.ndarray
    node_positions: dict[str, np.ndarray]
    recordings: list[Row]


def read_tables(folder: pathlib.Path) -> Tables:
    """Read and check the three tables in a folder.

    Raises:
        SessionError: With the problems found in them.
    """
    problems: list[str] = []
    room_size = _read_room(folder / ROOM, problems)
    nodes = _read_nodes(folder / NODES, room_size, problems)
    recordings = _read_recordings(folder / RECORDINGS, room_size, problems)
    raise_any(folder, problems)
    return Tables(room_size, nodes, recordings)


@contextlib.contextmanager
def noting(problems: list[str], where: str) -> Iterator[None]:
    """Turn an error into a noted problem, so that the next one is found, too."""
    try:
        yield
    except errors.InputError as error:
        problems.append(f"{where}: {error}")


def raise_any(folder: pathlib.Path, problems: list[str]) -> None:
    """Raise a SessionError that lists the first few problems, if there are any."""
    if len(problems) == 1:
        raise SessionError(problems[0])
    if problems:
        listed = problems[:_MOST_PROBLEMS]
        if len(problems) > _MOST_PROBLEMS:
            listed.append(f"and {len(problems) - _MOST_PROBLEMS} more")
        lines = "\n  ".join(listed)
        raise SessionError(f"{len(problems)} problems in {str(folder)!r}:\n  {lines}")


# For each row: file and line, for messages, and its cells by column.
_Rows = list[tuple[str, dict[str, str]]]
_Columns = Callable[[Sequence[str]], list[str]]  # From a header to the columns needed.


def _read_rows(path: pathlib.Path, columns_of: _Columns, problems: list[str]) -> _Rows:
    """Read the rows of a table; note tables and rows of the wrong shape."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [c.strip() for c in cells]) for cells in reader]
    except FileNotFoundError:
        header = ",".join(columns_of([]))
        problems.append(
            f"{str(path)!r} is missing; add it, with the first line {header}"
        )
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{str(path)!r}: {error}; save it as CSV in UTF-8")
        return []
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = lines[0][1] if lines else []
    while header and not header[-1]:
        header.pop()
    columns = columns_of(header)
    if wrong := _wrong_columns(header, columns):
        fix = f"write {','.join(columns)}"
        if len(header) == 1 and {";", "\t"} & set(header[0]):
            fix += ", with commas"
        problems.append(
            f"{str(path)!r} {wrong} in its first line, {','.join(header)!r}; {fix}"
        )
    elif len(lines) == 1:
        problems.append(f"{str(path)!r} has no rows below its first line; add them")
    else:
        return list(_split_rows(path, header, columns[0], lines[1:], problems))
    return []


def _wrong_columns(header: Sequence[str], columns: Sequence[str]) -> str:
    """Describe what is wrong with a table's columns; empty if nothing is."""
    found = {
        "lacks the column": [name for name in columns if name not in header],
        "has the unknown column": [name for name in header if name not in columns],
        "repeats the column": [n for n in columns if header.count(n) > 1],
    }
    for wrong, names in found.items():
        if names:
            return f"{wrong} {', '.join(map(repr, names))}"
    return ""


def _split_rows(path, header, key, lines, problems) -> Iterator[tuple[str, dict]]:
    """Yield file and line, and cells by column, of each row of the right length."""
    for number, cells in lines:
        where = f"{str(path)!r}, line {number}"
        if len(cells) < len(header) or any(cells[len(header) :]):
            problems.append(
                f"{where}: {len(cells)} cells, and the first line has {len(header)}; "
                "write 1.5, not 1,5, and a comma for each empty cell"
            )
            continue
        row = dict(zip(header, cells, strict=False))
        yield where if key == "x" else f"{where}, {key} {row[key]!r}", row


def _position(cells: Mapping[str, str], columns: Sequence[str]) -> np.ndarray:
    """Parse the numbers [3] of three columns."""
    numbers = []
    for column in columns:
        try:
            number = float(cells[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise SessionError(
                f"{column} is {cells[column]!r}, not a number; give meters, such as 1.25"
            )
        numbers.append(number)
    return np.array(numbers)


def _check_inside(
    position: np.ndarray, room_size: np.ndarray | None, what: str
) -> None:
    if room_size is not None and not ((position >= 0) & (position <= room_size)).all():
        raise SessionError(
            f"{what} at {position.tolist()} m is outside the room of "
            f"{room_size.tolist()} m; measure from a corner of the floor"
        )


def _read_room(path: pathlib.Path, problems: list[str]) -> np.ndarray | None:
    """Read the sides [3] of the room; None if they are wrong."""
    rows = _read_rows(path, lambda _: ["x", "y", "z"], problems)
    if len(rows) > 1:
        problems.append(f"{rows[1][0]}: a second room; keep one row")
    for where, cells in rows[:1]:
        with noting(problems, where):
            sides = _position(cells, "xyz")
            if not ((sides > 0) & (sides <= _LONGEST_SIDE)).all():
                raise SessionError(
                    f"the room has sides of {sides.tolist()} m; give meters, above 0 "
                    f"and up to {_LONGEST_SIDE:g}"
                )
            return sides
    return None


def _read_nodes(
    path: pathlib.Path, room_size: np.ndarray | None, problems: list[str]
) -> dict[str, np.ndarray]:
    """Read the positions [3] of the nodes, by name, in order."""
    nodes: dict[str, np.ndarray] = {}
    for where, cells in _read_rows(path, lambda _: ["node", "x", "y", "z"], problems):
        with noting(problems, where):
            name = cells["node"]
            if not name or {"/", "\\"} & set(name):
                raise SessionError("give a name that can be a file's name")
            if name in nodes:
                raise SessionError("appears twice; give each node a name of its own")
            position = _position(cells, "xyz")
            _check_inside(position, room_size, "a node")
            for other, at in nodes.items():
                if math.dist(position, at) < _SAME_POSITION:
                    raise SessionError(
                        f"has the position of node {other!r}, {position.tolist()} m; "
                        "correct one of them"
                    )
            nodes[name] = position
    return nodes


def _recording_columns(header: Sequence[str]) -> list[str]:
    """List the columns for as many talkers as a table's header has."""
    numbers = [int(c[1:]) for c in header if re.fullmatch(r"[xyz][1-9]\d?", c)]
    talkers = ["", *map(str, range(2, max(numbers, default=1) + 1))]
    return ["recording", "split", *(axis + n for n in talkers for axis in "xyz")]


def _read_recordings(
    path: pathlib.Path, room_size: np.ndarray | None, problems: list[str]
) -> list[Row]:
    """Read the rows of the recordings."""
    rows: dict[str, Row] = {}
    for where, cells in _read_rows(path, _recording_columns, problems):
        with noting(problems, where):
            row = _row(where, cells, room_size)
            if row.name in rows:
                raise SessionError("appears twice; remove one of the rows")
            rows[row.name] = row
    known = [row for row in rows.values() if row.source_positions is not None]
    for row in known:
        if len(row.source_positions) != len(known[0].source_positions):
            problems.append(
                f"{row.where}: {len(row.source_positions)} talkers, and recording "
                f"{known[0].name!r} has {len(known[0].source_positions)}; make one "
                "session for each number of talkers"
            )
    return list(rows.values())


def _row(where: str, cells: Mapping[str, str], room_size: np.ndarray | None) -> Row:
    """Parse and check a row of the recordings."""
    name = pathlib.PurePosixPath(cells["recording"])
    if not name.name or name.is_absolute() or ".." in name.parts:
        raise SessionError("give a path below the session's folder")
    split = cells["split"] or "test"
    if split not in SPLITS:
        raise SessionError(f"split is {split!r}; use one of {', '.join(SPLITS)}")
    sources = _sources(cells, room_size)
    if sources is None and split != "test":
        raise SessionError(
            f"x, y, z are empty, and split {split!r} needs them; give them, or leave "
            "split empty to only localize the recording"
        )
    return Row(where, str(name), split, sources)


def _sources(
    cells: Mapping[str, str], room_size: np.ndarray | None
) -> np.ndarray | None:
    """Parse the positions [S, 3] of a row's talkers; None if all are empty."""
    numbers = {column[1:] for column in cells if column not in ("recording", "split")}
    talkers = [
        [axis + n for axis in "xyz"] for n in sorted(numbers, key=lambda n: int(n or 1))
    ]
    while talkers and not any(cells[column] for column in talkers[-1]):
        talkers.pop()
    if empty := [c for columns in talkers for c in columns if not cells[c]]:
        raise SessionError(
            f"no value for {', '.join(empty)}; give x, y, z of each talker, or none at all"
        )
    positions = [_position(cells, columns) for columns in talkers]
    for number, position in enumerate(positions, 1):
        _check_inside(position, room_size, f"talker {number}")
    return np.stack(positions) if positions else None
