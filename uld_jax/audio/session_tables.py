"""The tables of a session: its room, its nodes, its recordings.

All three are read before anything is refused. One error lists the problems, each with
file, line, column and fix.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.audio import places, spreadsheets, table_lines
from uld_jax.audio.session_problems import SessionError, noting, raise_any
from uld_jax.runtime import progress

ROOM, NODES, RECORDINGS = "room.csv", "nodes.csv", "recordings.csv"
SPLITS = ("train", "validation", "test")

_TALKER = re.compile(r"[xyz]([1-9]\d?)?")


class Node(NamedTuple):
    """A node.

    Attributes:
        position: (x, y, z) in meters, or (x, y) where heights are not known.
        file: Path of its recording below the session's folder; None for those of the
            table of recordings.
        channel: Of its files, from 1; None for the only one.
        where: File and line, for messages.
    """

    position: np.ndarray
    file: str | None = None
    channel: int | None = None
    where: str = ""


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
    room_size = read_room(folder, problems)
    nodes = read_nodes(folder, room_size, problems)
    recordings = []
    if any(node.file for node in nodes.values()):
        _check_files(folder, nodes, problems)
    else:
        # A table of nodes that cannot be read may have named the files.
        optional = not nodes and _is_there(folder, NODES)
        recordings = _read_recordings(folder, room_size, problems, optional)
    if not problems:
        wheres = {node.where: node.position for node in nodes.values()}
        if room_size is None:
            problems += places.describe_lost_nodes(wheres)
        problems += places.describe_far_talkers(
            wheres, {row.where: row.source_positions for row in recordings}
        )
    if not nodes and (inner := _session_within(folder)):
        problems.append(f"did you mean the session {str(inner)!r}?")
    raise_any(folder, problems)
    return Tables(room_size, nodes, recordings)


def _axes(cells: Mapping[str, str]) -> list[str]:
    """List the coordinates that a table has: heights may be missing."""
    return ["x", "y", "z"] if "z" in cells else ["x", "y"]


def read_room(
    folder: pathlib.Path, problems: list[str], name: str = ROOM
) -> np.ndarray | None:
    """Read the sides of the room; None if there is no table, or they are wrong."""
    form = table_lines.Form(name, None, lambda _: (["x", "y"], ["z"]), optional=True)
    lines = table_lines.read_lines(folder, form, problems)
    if len(lines) > 1:
        problems.append(f"{lines[1].where}: a second room; keep one row")
    for line in lines[:1]:
        with noting(problems, line.where):
            sides = line.position(_axes(line.cells))
            places.check_sides(sides)
            return sides
    return None


def read_nodes(
    folder: pathlib.Path,
    room_size: np.ndarray | None,
    problems: list[str],
    name: str = NODES,
) -> dict[str, Node]:
    """Read the nodes by name, in order."""
    nodes: dict[str, Node] = {}

    def columns_of(_):
        return ["node", "x", "y"], ["z", "file", "channel"]

    form = table_lines.Form(name, "node", columns_of)
    lines = table_lines.read_lines(folder, form, problems)
    if lines and "z" not in lines[0].cells:
        progress.log(f"{name} has no column z: nodes are taken to be 1.2 m high")
    for line in lines:
        with noting(problems, line.where):
            node = line.cells["node"]
            if not node or {"/", "\\"} & set(node):
                raise SessionError("give a name that can be a file's name")
            if not node.isprintable():
                raise SessionError("give a name in one line")
            if node in nodes:
                raise SessionError("appears twice; give each node a name of its own")
            position = line.position(_axes(line.cells))
            places.check_inside(position, room_size, "a node")
            places.check_height(position, line.cells.get("z", ""))
            places.check_apart(
                position, {other: node.position for other, node in nodes.items()}
            )
            file = line.cells.get("file")
            path = _path_below(file) if file else None
            channel = _channel(line.cells.get("channel"))
            _check_own(path, channel, nodes)
            nodes[node] = Node(position, path, channel, line.where)
    return nodes


def _check_own(
    file: str | None, channel: int | None, nodes: Mapping[str, Node]
) -> None:
    """Raise if another node has the same channel of the same file."""
    for other, node in nodes.items():
        if file and (file, channel or 1) == (node.file, node.channel or 1):
            which = f"channel {channel} of file" if channel else "file"
            raise SessionError(
                f"{which} {file!r} is that of node {other!r}; name its own"
            )


def _path_below(text: str) -> str:
    """Check a path below the session's folder."""
    path = pathlib.PurePosixPath(text.replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise SessionError(f"{text!r}: give a path below the session's folder")
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


def _is_there(folder: pathlib.Path, name: str) -> bool:
    """Check if a folder has a table, readable or not, with any ending."""
    stem = pathlib.PurePath(name).stem
    return any(path.stem.lower() in (stem, name) for path in folder.iterdir())


def _session_within(folder: pathlib.Path) -> pathlib.Path | None:
    """Find the only folder below one that has a table of nodes; None if there is none."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and (path / NODES).is_file()
    ]
    return found[0] if len(found) == 1 else None


def _read_recordings(
    folder: pathlib.Path,
    room_size: np.ndarray | None,
    problems: list[str],
    optional: bool,
) -> list[Row]:
    """Read the rows of the recordings."""
    rows: dict[str, Row] = {}
    form = table_lines.Form(RECORDINGS, "recording", _recording_columns, optional)
    for line in table_lines.read_lines(folder, form, problems):
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


def _row(line: table_lines.Line, room_size: np.ndarray | None) -> Row:
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


def _sources(line: table_lines.Line, room_size: np.ndarray | None) -> np.ndarray | None:
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
        places.check_inside(position, room_size, f"talker {number}")
    return np.stack(positions) if positions else None
