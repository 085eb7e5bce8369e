"""Tables of a room and its nodes without recordings, for sound that arrives live."""

import pathlib
import re

import numpy as np

from uld_jax.audio import places, session_tables, spreadsheets
from uld_jax.audio.session_problems import SessionError, raise_any


def read(
    nodes: str | pathlib.Path, room: str | None = None
) -> tuple[np.ndarray | None, dict[str, session_tables.Node]]:
    """Read and check the table of the nodes, and the room.

    Args:
        nodes: The table, as in a session.
        room: Sides in meters, such as "6.2x4.8x2.7", or the path of a table of them; None
            for room.csv beside the nodes, if there is one.

    Returns:
        The sides in meters, [3], or [2] without the height, None if unknown; and the nodes
        by name, in order.

    Raises:
        SessionError: With the problems found in them.
    """
    problems: list[str] = []
    path = pathlib.Path(nodes).expanduser()
    _check(path, f"the table, such as {session_tables.NODES}")
    if room is None:
        sides = session_tables.read_room(path.parent, problems)
    elif (sides := _parse_sides(room)) is None:
        table = pathlib.Path(room).expanduser()
        _check(table, "sides in meters such as 6.2x4.8x2.7, or a table of them")
        sides = session_tables.read_room(table.parent, problems, table.name)
    found = session_tables.read_nodes(path.parent, sides, problems, path.name)
    raise_any(path.parent, problems)
    return sides, found


def order_channels(nodes: dict[str, session_tables.Node]) -> list[int]:
    """List the channel of each node, from 0: of the table, or in its order.

    Raises:
        SessionError: If the table has channels, but not each number from 1 once.
    """
    given = [node.channel for node in nodes.values()]
    count = len(given)
    if given == [None] * count:
        return list(range(count))
    if None in given or sorted(given) != list(range(1, count + 1)):
        raise SessionError(
            f"the column channel holds {', '.join(map(str, given))}; for live sound give "
            f"each number from 1 to {count} once, or leave the column out for the order "
            "of the rows"
        )
    return [number - 1 for number in given]


def _parse_sides(text: str) -> np.ndarray | None:
    """Parse sides such as "6.2x4.8"; None if it is something else."""
    parts = re.split(r"[x\N{MULTIPLICATION SIGN}]", text.lower())
    sides = np.array([spreadsheets.to_number(part) for part in parts])
    if len(sides) not in (2, 3) or not np.isfinite(sides).all():
        return None
    places.check_sides(sides)
    return sides


def _check(path: pathlib.Path, what: str) -> None:
    """Raise a SessionError if a path is no file that can be a table."""
    if not path.is_file():
        wrong = "is a folder" if path.is_dir() else "does not exist"
        raise SessionError(f"{str(path)!r} {wrong}; give {what}")
    if path.suffix.lower() not in spreadsheets.ENDINGS:
        raise SessionError(
            f"{str(path)!r} is no table; give one of {', '.join(spreadsheets.ENDINGS)}"
        )
