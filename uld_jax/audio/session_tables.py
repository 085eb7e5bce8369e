"""The tables of a session: its room, its nodes, and what was recorded.

All of them are read before anything is refused, so that the first few problems are
told at once, each with file, line and remedy.
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
_SAME_PLACE = 1e-3
_TOLD_AT_ONCE = 5


class SessionError(errors.InputError):
    """A session that cannot be used, with the reasons."""


class Label(NamedTuple):
    """What the table says of a recording.

    Attributes:
        where: The row, for messages.
        name: Path of the recording below the session's folder.
        split: One of `SPLITS`.
        source_positions: [S, 3] in meters; None where they are not known.
    """

    where: str
    name: str
    split: str
    source_positions: np.ndarray | None


class Tables(NamedTuple):
    """What the three tables say.

    Attributes:
        room_size: [3], sides in meters.
        nodes: Position [3] of each node in meters, by its name, in order.
        labels: One of each recording, in order.
    """

    room_size: np.ndarray
    nodes: dict[str, np.ndarray]
    labels: list[Label]


def read(folder: pathlib.Path) -> Tables:
    """Return what the tables in a folder say.

    Raises:
        SessionError: With what is wrong in them.
    """
    problems: list[str] = []
    room_size = _read_room(folder / ROOM, problems)
    nodes = _read_nodes(folder / NODES, room_size, problems)
    labels = _read_recordings(folder / RECORDINGS, room_size, problems)
    raise_any(folder, problems)
    return Tables(room_size, nodes, labels)


@contextlib.contextmanager
def noting(problems: list[str], where: str) -> Iterator[None]:
    """Note what is wrong, and go on to find the next."""
    try:
        yield
    except errors.InputError as error:
        problems.append(f"{where}: {error}")


def raise_any(folder: pathlib.Path, problems: list[str]) -> None:
    """Raise a SessionError that tells the first few problems, if there are any."""
    if len(problems) == 1:
        raise SessionError(problems[0])
    if problems:
        told = problems[:_TOLD_AT_ONCE]
        if len(problems) > _TOLD_AT_ONCE:
            told.append(f"and {len(problems) - _TOLD_AT_ONCE} more")
        lines = "\n  ".join(told)
        raise SessionError(f"{len(problems)} problems in {str(folder)!r}:\n  {lines}")


# Each row is where it is, for messages, and its cells by column.
_Rows = list[tuple[str, dict[str, str]]]
_Columns = Callable[[Sequence[str]], list[str]]  # Of those there are, those wanted.


def _read_rows(path: pathlib.Path, columns_of: _Columns, problems: list[str]) -> _Rows:
    """Return the rows of a table; rows and tables of wrong shape are noted."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [c.strip() for c in cells]) for cells in reader]
    except FileNotFoundError:
        header = ",".join(columns_of([]))
        problems.append(f"{str(path)!r} is missing; its first line is {header}")
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
        remedy = f"write {','.join(columns)}"
        if len(header) == 1 and {";", "\t"} & set(header[0]):
            remedy += ", with commas"
        problems.append(
            f"{str(path)!r} {wrong} in its first line, {','.join(header)!r}; {remedy}"
        )
    elif len(lines) == 1:
        problems.append(f"{str(path)!r} has no rows below its first line; add them")
    else:
        return list(_split_rows(path, header, columns[0], lines[1:], problems))
    return []


def _wrong_columns(header: Sequence[str], columns: Sequence[str]) -> str:
    """Return what is wrong with the columns of a table; empty where nothing is."""
    found = {
        "lacks the column": [name for name in columns if name not in header],
        "has the unknown column": [name for name in header if name not in columns],
        "has twice the column": [n for n in columns if header.count(n) > 1],
    }
    for wrong, names in found.items():
        if names:
            return f"{wrong} {', '.join(map(repr, names))}"
    return ""


def _split_rows(path, header, key, lines, problems) -> Iterator[tuple[str, dict]]:
    """Yield each row of the right length: where it is, and its cells by column."""
    for number, cells in lines:
        where = f"{str(path)!r}, line {number}"
        if len(cells) < len(header) or any(cells[len(header) :]):
            problems.append(
                f"{where}: {len(cells)} cells where the first line has {len(header)}; "
                "write 1.5, not 1,5, and a comma for each empty cell"
            )
            continue
        row = dict(zip(header, cells, strict=False))
        yield where if key == "x" else f"{where}, {key} {row[key]!r}", row


def _position(cells: Mapping[str, str], columns: Sequence[str]) -> np.ndarray:
    """Return the numbers [3] of three columns."""
    numbers = []
    for column in columns:
        try:
            number = float(cells[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise SessionError(
                f"{column} is {cells[column]!r}, which is no number; give meters, such "
                "as 1.25"
            )
        numbers.append(number)
    return np.array(numbers)


def _check_inside(
    position: np.ndarray, room_size: np.ndarray | None, what: str
) -> None:
    if room_size is not None and not ((position >= 0) & (position <= room_size)).all():
        raise SessionError(
            f"{what} at {position.tolist()} m is out of the room of "
            f"{room_size.tolist()} m; count from a corner of the floor, 0 to the far wall"
        )


def _read_room(path: pathlib.Path, problems: list[str]) -> np.ndarray | None:
    """Return the sides of the room [3], None where they are wrong."""
    rows = _read_rows(path, lambda _: ["x", "y", "z"], problems)
    if len(rows) > 1:
        problems.append(f"{rows[1][0]}: a second room; a session has one")
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
    """Return the positions [3] of the nodes, by name, in order."""
    nodes: dict[str, np.ndarray] = {}
    for where, cells in _read_rows(path, lambda _: ["node", "x", "y", "z"], problems):
        with noting(problems, where):
            name = cells["node"]
            if not name or {"/", "\\"} & set(name):
                raise SessionError("give a name that can be that of a file")
            if name in nodes:
                raise SessionError("is there twice; give each node a name of its own")
            position = _position(cells, "xyz")
            _check_inside(position, room_size, "a node")
            for other, place in nodes.items():
                if math.dist(position, place) < _SAME_PLACE:
                    raise SessionError(
                        f"is where node {other!r} is, at {position.tolist()} m; "
                        "correct one of them"
                    )
            nodes[name] = position
    return nodes


def _recording_columns(header: Sequence[str]) -> list[str]:
    """Return the columns for as many talkers as a table names."""
    numbers = [int(c[1:]) for c in header if re.fullmatch(r"[xyz][1-9]\d?", c)]
    talkers = ["", *map(str, range(2, max(numbers, default=1) + 1))]
    return ["recording", "split", *(axis + n for n in talkers for axis in "xyz")]


def _read_recordings(
    path: pathlib.Path, room_size: np.ndarray | None, problems: list[str]
) -> list[Label]:
    """Return what the table says of each recording."""
    labels: dict[str, Label] = {}
    for where, cells in _read_rows(path, _recording_columns, problems):
        with noting(problems, where):
            label = _label(where, cells, room_size)
            if label.name in labels:
                raise SessionError("is there twice; remove one of the rows")
            labels[label.name] = label
    known = [label for label in labels.values() if label.source_positions is not None]
    for label in known:
        if len(label.source_positions) != len(known[0].source_positions):
            problems.append(
                f"{label.where}: {len(label.source_positions)} talkers where recording "
                f"{known[0].name!r} has {len(known[0].source_positions)}; make a session "
                "of each number"
            )
    return list(labels.values())


def _label(where: str, cells: Mapping[str, str], room_size: np.ndarray | None) -> Label:
    """Return what a row says, once it can be right."""
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
            "split empty for a recording to be localized only"
        )
    return Label(where, str(name), split, sources)


def _sources(
    cells: Mapping[str, str], room_size: np.ndarray | None
) -> np.ndarray | None:
    """Return the positions [S, 3] of a row's talkers; None where all are empty."""
    numbers = {column[1:] for column in cells if column not in ("recording", "split")}
    talkers = [
        [axis + n for axis in "xyz"] for n in sorted(numbers, key=lambda n: int(n or 1))
    ]
    while talkers and not any(cells[column] for column in talkers[-1]):
        talkers.pop()
    if empty := [c for columns in talkers for c in columns if not cells[c]]:
        raise SessionError(
            f"empty: {', '.join(empty)}; give x, y, z of each talker, or none at all"
        )
    positions = [_position(cells, columns) for columns in talkers]
    for number, position in enumerate(positions, 1):
        _check_inside(position, room_size, f"talker {number}")
    return np.stack(positions) if positions else None
