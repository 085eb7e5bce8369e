"""Places that cannot be right, or look so: one change of a small session each."""

from collections.abc import Callable

import numpy as np

from benchmarks.reliability import small_session
from benchmarks.reliability.bad_changes import Change, edit, then, write
from benchmarks.reliability.bad_kind import Kind

_LINE = "nodes.csv', line 3, node 'window': "
_ROOM = "room.csv"
_ALL = tuple(small_session.NODES)
_FOOT = 0.3048


def places(change_places: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Make a change of the places [M, 3] of all nodes in their table."""

    def change(folder):
        found = change_places(np.array(list(small_session.NODES.values())))
        rows = [
            ",".join([name, *(f"{side:.5g}" for side in place), f"{name}.wav"])
            for name, place in zip(_ALL, found.tolist(), strict=True)
        ]
        text = "\n".join(["node,x,y,z,file", *rows]) + "\n"
        (folder / "nodes.csv").write_text(text)

    return change


def room(text: str) -> Change:
    """Make a change of the table of the room, below its first line."""
    return write(f"x,y,z\n{text}\n", _ROOM)


def keep(count: int) -> Change:
    """Make a change that leaves some nodes in their table."""

    def change(folder):
        lines = (folder / "nodes.csv").read_text().splitlines()
        (folder / "nodes.csv").write_text("\n".join(lines[: count + 1]) + "\n")

    return change


def _scale(*factors: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda found: found * np.array(factors)


def _move(node: int, axis: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change_places(found):
        found[node, axis] = value
        return found

    return change_places


def _onto(first: int, second: int) -> Callable[[np.ndarray], np.ndarray]:
    def change_places(found):
        found[second] = found[first]
        return found

    return change_places


def _on_a_line(found):
    return np.stack([found[:, 0], 0 * found[:, 1] + 2.0, found[:, 2]], axis=1)


def _no_room(folder):
    (folder / _ROOM).unlink()


KINDS: dict[str, Kind] = {
    "two nodes": Kind(keep(2), 2, "2 nodes can be used, and 3 are needed"),
    "one node": Kind(keep(1), 2, "1 node can be used, and 3 are needed"),
    "three nodes": Kind(keep(3), 1, "3 nodes can be used, so that no position has a check"),
    "all at one point": Kind(
        places(_scale(0, 0, 0)), 2, "line 3", "has the position of node 'shelf'"
    ),
    "two at one point": Kind(
        places(_onto(0, 1)), 2, _LINE, "has the position of node 'shelf'"
    ),
    "all above one point": Kind(
        places(lambda found: found * [0, 0, 1] + [2, 2, 0]), 2, "at 1 place in the plan"
    ),
    "all on a line": Kind(places(_on_a_line), 2, "Nodes are on a line"),
    "all in a corner": Kind(
        places(_scale(0.05, 0.05, 1)), 2, "cannot determine a position in 90 % of the room"
    ),
    "a node outside the room": Kind(
        places(_move(1, 0, 5.3)), 2, _LINE, "5.3", "outside the room"
    ),
    "a node at a negative place": Kind(
        places(_move(1, 0, -0.1)), 2, _LINE, "-0.1", "outside the room"
    ),
    "a node 1 m elsewhere": Kind(places(_move(1, 1, 2.9)), 1, "Node window does not fit the others"),
    "x and y exchanged": Kind(
        then(places(lambda found: found[:, [1, 0, 2]]), room("4.1,5.2,2.6")), 0
    ),
    "room of zero": Kind(room("0,4.1,2.6"), 2, "room.csv', line 2", "above 0"),
    "room of negative sides": Kind(room("5.2,-4.1,2.6"), 2, "line 2", "-4.1", "above 0"),
    "room of 1 km": Kind(room("1000,1000,2.6"), 2, "room.csv', line 2", "1000"),
    "room of 80 m": Kind(room("80,80,2.6"), 1, "The room", "nodes"),
    "room in text": Kind(room("large,4.1,2.6"), 2, "room.csv', line 2", "x is 'large'"),
    "room in two rows": Kind(
        room("5.2,4.1,2.6\n5,4,2.6"), 2, "room.csv', line 3", "a second room"
    ),
    "room without a row": Kind(write("x,y,z\n", _ROOM), 2, "room.csv' has no rows"),
    "no room": Kind(_no_room, 0),
    "room in centimeters": Kind(
        room("520,410,260"), 2, "room.csv', line 2", "520", "x_cm"
    ),
    "room in millimeters": Kind(
        room("5200,4100,2600"), 2, "room.csv', line 2", "5200", "x_cm"
    ),
    "nodes in centimeters": Kind(
        places(_scale(100, 100, 100)), 2, _LINE, "outside the room", "x_cm"
    ),
    "nodes in centimeters, no room": Kind(
        then(places(_scale(100, 100, 1)), _no_room), 2, _LINE, "x_cm"
    ),
    "nodes in feet": Kind(
        places(_scale(1 / _FOOT, 1 / _FOOT, 1)), 2, "outside the room", "x_ft"
    ),
    "nodes and room in feet": Kind(
        then(
            places(_scale(1 / _FOOT, 1 / _FOOT, 1 / _FOOT)), room("17.06,13.45,8.53")
        ),
        *(2, "Positions are determined in 0 of"),
    ),
    "a node above the ceiling": Kind(
        places(_move(1, 2, 2.7)), 2, _LINE, "2.7", "outside the room"
    ),
    "a node below the floor": Kind(
        places(_move(1, 2, -1.0)), 2, _LINE, "-1.0", "outside the room"
    ),
    "a node below the floor, no room": Kind(
        then(places(_move(1, 2, -1.0)), _no_room), 2, _LINE, "-1"
    ),
    "a height of 100 m, no room": Kind(
        then(places(_move(1, 2, 100.0)), _no_room), 2, _LINE, "100 m above the floor"
    ),
    "heights in feet": Kind(
        places(_scale(1, 1, 1 / _FOOT)), 2, "z", "outside the room", "z_ft"
    ),
    "heights in feet, no room": Kind(
        then(places(_scale(1, 1, 1 / _FOOT)), _no_room), 1, "Nodes are", "z_ft"
    ),
    "heights of 1 mm": Kind(places(_scale(1, 1, 0.001)), 1, "Node shelf is 1.3 mm high"),
    "a height of 1 mm": Kind(places(_move(1, 2, 0.001)), 1, "Node window is 1 mm high"),
    "heights of zero": Kind(places(_scale(1, 1, 0)), 1, "All nodes are on the floor"),
    "a height of zero": Kind(
        places(_move(1, 2, 0.0)), 1, "Node window does not fit the others"
    ),
    "no heights": Kind(edit(",z,", ",height,"), 0, "no column z"),
    "nodes 100 m apart, no room": Kind(
        then(places(_move(1, 0, 100.0)), _no_room), 2, _LINE, "95.0278 m from"
    ),
    "a node 90 m away in a hall": Kind(
        then(places(_move(1, 0, 90.0)), room("95,10,5")), 1, "Node window is 8"
    ),
}  # fmt: skip
