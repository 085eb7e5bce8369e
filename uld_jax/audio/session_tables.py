"""The tables of a session: its room, its nodes, its recordings.

All three are read before anything is refused. One error lists the problems, each with
file, line, column and fix.
"""

import contextlib
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.audio import spreadsheets
from uld_jax.runtime import errors, progress

ROOM, NODES, RECORDINGS = "room.csv", "nodes.csv", "recordings.csv"
SPLITS = ("train", "validation", "test")

_LONGEST_SIDE = 1000.0
_SAME_POSITION = 1e-3
_FARTHEST, _HIGHEST = 50.0, 10.0  # Meters from talker to node, and above the floor.
_MOST_PROBLEMS = 50
_METERS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254}
_LONG_UNITS = {
    "m": ("meter", "meters", "metre", "metres"),
    "cm": ("centimeter", "centimeters", "centimetre", "centimetres"),
    "mm": ("millimeter", "millimeters", "millimetre", "millimetres"),
    "ft": ("foot", "feet"),
    "in": ("inch", "inches"),
}
_UNITS = {name: unit for unit, names in _LONG_UNITS.items() for name in (unit, *names)}
# x, y2, x_cm, "X (cm)", "z [m]", "y / m" and "y in feet": axis, number and unit.
_COORDINATE = re.compile(
    r"([xyz])([1-9]\d?)?(?:(?:[ _]in[ _]|[ _]*[/,]?[ _]*)[\[(]? *([a-z]+) *[\])]?)?"
)
_TALKER = re.compile(r"[xyz]([1-9]\d?)?")


class SessionError(errors.InputError):
    """A session that cannot be used, with the reasons."""


class Node(NamedTuple):
    """A node.

    Attributes:
        position: (x, y, z) in meters, or (x, y) where heights are not known.
        file: Path of its recording below the session's folder; None for those of the
            table of recordings.
        channel: Of its files, from 1; None for the only one.
    """

    position: np.ndarray
    file: str | None = None
    channel: int | None = None


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
        room_size: Sides in meters, [3], or [2] without the height; None if unknown.
        nodes: The nodes by name, in order.
        recordings: The rows of the recordings, in order; empty if the nodes name the
            files of the only one.
    """

    room_size: np.ndarray | None
    nodes: dict[str, Node]
    recordings: list[Row]


def read_tables(folder: pathlib.Path) -> Tables:
    """Read and check the three tables in a folder.

    Raises:
        SessionError: With the problems found in them.
    """
    problems: list[str] = []
    room_size = _read_room(folder, problems)
    nodes = _read_nodes(folder, room_size, problems)
    recordings = []
    if any(node.file for node in nodes.values()):
        _check_files(folder, nodes, problems)
    else:
        # A table of nodes that cannot be read may have named the files.
        optional = not nodes and (folder / NODES).exists()
        recordings = _read_recordings(folder, room_size, problems, optional)
        _check_near(nodes, recordings, problems)
    if not nodes and (inner := _session_within(folder)):
        problems.append(f"did you mean the session {str(inner)!r}?")
    raise_any(folder, problems)
    return Tables(room_size, nodes, recordings)


def read_nodes(
    path: pathlib.Path, room_size: np.ndarray | None = None
) -> dict[str, Node]:
    """Read and check a table of nodes that may have any name.

    Args:
        path: Of the table.
        room_size: Sides in meters, that nodes have to be within; None for unknown.

    Returns:
        The nodes by name, in order.

    Raises:
        SessionError: With the problems found in it.
    """
    problems: list[str] = []
    if not path.is_file():
        raise SessionError(f"there is no table {str(path)!r}")
    nodes = _read_nodes(path, room_size, problems)
    raise_any(path, problems)
    return nodes


@contextlib.contextmanager
def noting(problems: list[str], where: str) -> Iterator[None]:
    """Turn an error into a noted problem, so that the next one is found, too."""
    try:
        yield
    except errors.InputError as error:
        problems.append(f"{where}: {error}")


def raise_any(folder: pathlib.Path, problems: list[str]) -> None:
    """Raise a SessionError that lists the problems, if there are any."""
    if len(problems) == 1:
        raise SessionError(problems[0])
    if problems:
        listed = problems[:_MOST_PROBLEMS]
        if len(problems) > _MOST_PROBLEMS:
            listed.append(f"and {len(problems) - _MOST_PROBLEMS} more")
        lines = "\n  ".join(listed)
        raise SessionError(f"{len(problems)} problems in {str(folder)!r}:\n  {lines}")


class _Line(NamedTuple):
    """A line of a table: where it is, for messages, its cells, and units, by column."""

    where: str
    cells: dict[str, str]
    units: dict[str, str]

    def position(self, columns: Sequence[str]) -> np.ndarray:
        """Convert the cells of some columns to meters."""
        numbers = np.array([self._number(column) for column in columns])
        wrong = [c for c, n in zip(columns, numbers, strict=True) if not np.isfinite(n)]
        if wrong:
            said = ", ".join(f"{column} is {self.cells[column]!r}" for column in wrong)
            unit = self.units[wrong[0]]
            examples = {"m": "meters, such as 1.25", "cm": "cm, such as 125"}
            examples |= {"mm": "mm, such as 1250"}
            fix = examples.get(unit, f"{unit} without the unit")
            raise SessionError(f"{said}, not a number; give {fix}")
        return numbers

    def _number(self, column: str) -> float:
        unit = self.units[column]
        if unit in ("mm", "cm") and re.search(r"\d[.,]\d{3}$", self.cells[column]):
            return math.nan  # 1,250 and 1.250 may be 1250 or 1.25.
        return spreadsheets.to_number(self.cells[column]) * _METERS[unit]


_Columns = Callable[[Sequence[str]], tuple[list[str], list[str]]]


def _read_lines(
    folder: pathlib.Path,
    name: str,
    key: str | None,
    columns_of: _Columns,
    problems: list[str],
    optional: bool = False,
) -> list[_Line]:
    """Read the lines of a table; note problems of its form.

    Args:
        folder: Folder of the table, or the table itself.
        name: Of its CSV file.
        key: The column that names a line in messages; None for none.
        columns_of: From a header to the columns that are needed, and others that are used.
        problems: Receives what is wrong.
        optional: Whether the table may be missing.
    """
    try:
        path = folder if folder.is_file() else spreadsheets.find(folder, name)
        table = path and spreadsheets.read(path)
    except spreadsheets.TableError as error:
        problems.append(str(error))
        return []
    if table is None:
        if not optional:
            header = ",".join(columns_of([])[0])
            problems.append(
                f"{str(folder / name)!r} is missing; add it, with the first line {header}"
            )
        return []
    named = [_name_column(cell) for cell in table.header]
    header, units = [column for column, _, _ in named], {c: u for c, u, _ in named}
    needed, used = columns_of(header)
    if wrong := _wrong_units(table.header, named):
        problems.append(f"{str(path)!r}: {wrong}")
        return []
    if not header:
        problems.append(
            f"{str(path)!r} is empty; write {','.join(needed)} and rows below"
        )
        return []
    if wrong := _wrong_columns(header, needed, used):
        problems.append(
            f"{str(path)!r} {wrong} in its first line, {','.join(table.header)!r}; write "
            f"{','.join(needed)}"
        )
        return []
    if not table.lines:
        problems.append(f"{str(path)!r} has no rows below its first line; add them")
    others = dict(zip(header, table.header, strict=True))
    if others := [others[c] for c in others if c and c not in (*needed, *used)]:
        progress.log(f"{path.name}: not used: {', '.join(map(repr, others))}")
    lines = []
    for number, cells in table.lines:
        where = f"{str(path)!r}, line {number}"
        if any(cells[len(header) :]):
            problems.append(
                f"{where}: {len(cells)} cells, and the first line has {len(header)}; "
                "write 1.5, not 1,5, where commas separate cells"
            )
            continue
        missing = [""] * (len(header) - len(cells))  # Empty ones at the end.
        row = dict(zip(header, cells + missing, strict=False))
        where = f"{where}, {key} {row[key]!r}" if key else where
        lines.append(_Line(where, row, units))
    return lines


def _wrong_columns(header: list[str], needed: list[str], used: list[str]) -> str:
    """Describe what is wrong with a table's columns; empty if nothing is."""
    found = {
        "lacks the column": [column for column in needed if column not in header],
        "repeats the column": [c for c in (*needed, *used) if header.count(c) > 1],
    }
    for wrong, names in found.items():
        if names:
            return f"{wrong} {', '.join(map(repr, names))}"
    return ""


def _name_column(cell: str) -> tuple[str, str, bool | None]:
    """Find a column's name and unit: of "X (cm)" x and centimeters.

    Returns:
        Also whether the unit is written; None for what is no coordinate.
    """
    text = " ".join(cell.lower().split())
    match = _COORDINATE.fullmatch(text)
    if match and (match[3] is None or match[3] in _UNITS):
        axis, number, unit = match.groups()
        number = "" if number in (None, "1") else number
        return axis + number, _UNITS[unit or "m"], unit is not None
    return text, "m", None


def _wrong_units(header: list[str], named: list[tuple[str, str, bool | None]]) -> str:
    """Describe what is wrong with the units of coordinates; empty if nothing is."""
    for cell, (_, _, written) in zip(header, named, strict=True):
        if written is None and re.match(r"(?i)[xyz][\W_]", cell):
            return (
                f"the unit of the column {cell!r} is not known; write one of "
                f"{', '.join(_METERS)}, as in x_cm"
            )
    written = {unit: cell for cell, (_, _, unit) in zip(header, named, strict=True)}
    units = {unit for _, unit, given in named if given}
    if True in written and False in written and units != {"m"}:
        return (
            f"the column {written[False]!r} has no unit, and {written[True]!r} has; write "
            "one for each, as in x_cm"
        )
    return ""


def _check_inside(
    position: np.ndarray, room_size: np.ndarray | None, what: str
) -> None:
    if room_size is None:
        return
    known = min(len(position), len(room_size))
    within = (position[:known] >= 0) & (position[:known] <= room_size[:known])
    if not within.all():
        raise SessionError(
            f"{what} at {position.tolist()} m is outside the room of "
            f"{room_size.tolist()} m; measure from a corner of the floor, and name columns "
            "x_cm or x_ft if these are no meters"
        )


def _axes(cells: Mapping[str, str]) -> list[str]:
    """List the coordinates that a table has: heights may be missing."""
    return ["x", "y", "z"] if "z" in cells else ["x", "y"]


def _read_room(folder: pathlib.Path, problems: list[str]) -> np.ndarray | None:
    """Read the sides of the room; None if there is no table, or they are wrong."""
    lines = _read_lines(
        folder, ROOM, None, lambda _: (["x", "y"], ["z"]), problems, optional=True
    )
    if len(lines) > 1:
        problems.append(f"{lines[1].where}: a second room; keep one row")
    for line in lines[:1]:
        with noting(problems, line.where):
            sides = line.position(_axes(line.cells))
            if not ((sides > 0) & (sides <= _LONGEST_SIDE)).all():
                raise SessionError(
                    f"the room has sides of {sides.tolist()} m; give meters, above 0 "
                    f"and up to {_LONGEST_SIDE:g}"
                )
            return sides
    return None


def _read_nodes(
    folder: pathlib.Path, room_size: np.ndarray | None, problems: list[str]
) -> dict[str, Node]:
    """Read the nodes by name, in order."""
    nodes: dict[str, Node] = {}

    def columns_of(_):
        return ["node", "x", "y"], ["z", "file", "channel"]

    lines = _read_lines(folder, NODES, "node", columns_of, problems)
    if lines and "z" not in lines[0].cells:
        progress.log(f"{NODES} has no column z: nodes are taken to be 1.2 m high")
    for line in lines:
        with noting(problems, line.where):
            name = line.cells["node"]
            if not name or {"/", "\\"} & set(name):
                raise SessionError("give a name that can be a file's name")
            if name in nodes:
                raise SessionError("appears twice; give each node a name of its own")
            position = line.position(_axes(line.cells))
            _check_inside(position, room_size, "a node")
            if len(position) > 2 and abs(position[2]) > _HIGHEST:
                raise SessionError(
                    f"z is {line.cells['z']!r}, {position[2]:g} m above the floor; give "
                    "meters, or name the column z_cm"
                )
            for other, at in nodes.items():
                if math.dist(position, at.position) < _SAME_POSITION:
                    raise SessionError(
                        f"has the position of node {other!r}, {position.tolist()} m; "
                        "correct one of them"
                    )
            file = line.cells.get("file")
            path = _path_below(file) if file else None
            nodes[name] = Node(position, path, _channel(line.cells.get("channel")))
    return nodes


def _path_below(text: str) -> str:
    """Check a path below the session's folder."""
    path = pathlib.PurePosixPath(text.replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise SessionError("give a path below the session's folder")
    return str(path)


def _channel(text: str | None) -> int | None:
    if not text:
        return None
    number = spreadsheets.to_number(text)
    if number not in range(1, 1000):
        raise SessionError(f"channel is {text!r}; give its number in the file, from 1")
    return int(number)


def _check_files(folder, nodes: dict[str, Node], problems: list[str]) -> None:
    """Note nodes without a file where others have one, and a second list of files."""
    if lacking := [name for name, node in nodes.items() if node.file is None]:
        problems.append(
            f"{NODES} has no file of node {', '.join(map(repr, lacking))}; name a file "
            "for each node, or for none"
        )
    with noting(problems, str(folder)):
        if table := spreadsheets.find(folder, RECORDINGS):
            problems.append(
                f"{NODES} names the files of a recording, and {table.name} lists "
                "recordings; remove the column file, or the table"
            )


def _recording_columns(header: Sequence[str]) -> tuple[list[str], list[str]]:
    """List the columns for as many talkers as a table's header has."""
    numbers = [int(c[1:] or 1) for c in header if _TALKER.fullmatch(c)]
    if not numbers:
        return ["recording"], ["split"]
    talkers = ["", *map(str, range(2, max(numbers) + 1))]
    positions = [axis + n for n in talkers for axis in "xyz"]
    return ["recording", *positions], ["split"]


def _session_within(folder: pathlib.Path) -> pathlib.Path | None:
    """Find the only folder below one that has a table of nodes; None if there is none."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and (path / NODES).is_file()
    ]
    return found[0] if len(found) == 1 else None


def _check_near(
    nodes: dict[str, Node], recordings: list[Row], problems: list[str]
) -> None:
    """Note talkers that are too far from all nodes to have been recorded."""
    if not nodes:
        return
    plan = np.array([node.position[:2] for node in nodes.values()])
    for row in recordings:
        for place in () if row.source_positions is None else row.source_positions:
            apart = np.linalg.norm(plan - place[:2], axis=1).min()
            if apart > _FARTHEST:
                problems.append(
                    f"{row.where}: a talker at {place.tolist()} m is {apart:.0f} m from the "
                    "nearest node; give meters, or name the columns x_cm, y_cm, z_cm"
                )


def _read_recordings(
    folder: pathlib.Path,
    room_size: np.ndarray | None,
    problems: list[str],
    optional: bool,
) -> list[Row]:
    """Read the rows of the recordings."""
    rows: dict[str, Row] = {}
    for line in _read_lines(
        folder, RECORDINGS, "recording", _recording_columns, problems, optional
    ):
        with noting(problems, line.where):
            row = _row(line, room_size)
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


def _row(line: _Line, room_size: np.ndarray | None) -> Row:
    """Parse and check a row of the recordings."""
    name = _path_below(line.cells["recording"])
    split = line.cells.get("split", "").lower() or "test"
    if split not in SPLITS:
        raise SessionError(f"split is {split!r}; use one of {', '.join(SPLITS)}")
    sources = _sources(line, room_size)
    if sources is None and split != "test":
        raise SessionError(
            f"x, y, z are empty, and split {split!r} needs them; give them, or leave "
            "split empty to only localize the recording"
        )
    return Row(line.where, name, split, sources)


def _sources(line: _Line, room_size: np.ndarray | None) -> np.ndarray | None:
    """Parse the positions [S, 3] of a row's talkers; None if all are empty."""
    numbers = {c[1:] for c in line.cells if _TALKER.fullmatch(c)}
    talkers = [
        [axis + n for axis in "xyz"] for n in sorted(numbers, key=lambda n: int(n or 1))
    ]
    while talkers and not any(line.cells[column] for column in talkers[-1]):
        talkers.pop()
    if empty := [c for columns in talkers for c in columns if not line.cells[c]]:
        raise SessionError(
            f"no value for {', '.join(empty)}; give x, y, z of each talker, or none at all"
        )
    positions = [line.position(columns) for columns in talkers]
    for number, position in enumerate(positions, 1):
        _check_inside(position, room_size, f"talker {number}")
    return np.stack(positions) if positions else None
