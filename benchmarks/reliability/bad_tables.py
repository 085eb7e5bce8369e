"""Tables that cannot be right, or look so: one change of a small session each."""

import pathlib

from benchmarks.reliability import small_session
from benchmarks.reliability.bad_changes import (
    each_line,
    edit,
    encode,
    forbid,
    in_units,
    listed,
    then,
    workbook,
    write,
)
from benchmarks.reliability.bad_kind import Kind

_NODES, _ROOM, _RECORDINGS = "nodes.csv", "room.csv", "recordings.csv"
_LINE = "nodes.csv', line 3, node 'window': "


def _make_folder(folder):
    (folder / _NODES).unlink()
    (folder / _NODES).mkdir()


def _umlauts(folder):
    (folder / "door.wav").rename(folder / "tür.wav")
    edit("door", "tür", count=2)(folder)
    encode("cp1252")(folder)


def _semicolons(folder):
    text = (folder / _NODES).read_text()
    (folder / _NODES).write_text(
        text.replace(",", ";").replace(".", ",").replace(",wav", ".wav")
    )


def _cells() -> list[list]:
    rows = [["node", "x", "y", "z", "file"]]
    return rows + [
        [name, *place, f"{name}.wav"] for name, place in small_session.NODES.items()
    ]


def _formulas() -> list[list]:
    rows = _cells()
    return [rows[0], *([row[0], f"={row[1]}+0", *row[2:]] for row in rows[1:])]


def _merged() -> list[list]:
    rows = _cells()
    rows[2][0] = None
    return rows


def _append(path: pathlib.Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


def _move_down(folder: pathlib.Path) -> None:
    files = list(folder.iterdir())
    (folder / "inner").mkdir()
    for path in files:
        path.rename(folder / "inner" / path.name)


KINDS: dict[str, Kind] = {
    "empty table of nodes": Kind(write(""), 2, "nodes.csv' is empty"),
    "empty table of the room": Kind(write("", _ROOM), 2, "room.csv' is empty"),
    "first line alone": Kind(
        write("node,x,y,z,file\n"), 2, "nodes.csv' has no rows below its first line"
    ),
    "no first line": Kind(
        edit("node,x,y,z,file\n", ""), 2, "nodes.csv' lacks the column 'node', 'x', 'y'"
    ),
    "column x missing": Kind(edit(",x,", ",width,"), 2, "lacks the column 'x'"),
    "column y missing": Kind(edit(",y,", ",depth,"), 2, "lacks the column 'y'"),
    "column twice": Kind(edit(",y,", ",x,y,"), 2, "repeats the column 'x'"),
    "first line twice": Kind(
        edit("node,x,y,z,file\n", "node,x,y,z,file\n" * 2),
        *(2, "nodes.csv', line 2", "repeats the first line; remove it"),
    ),
    "node twice": Kind(edit("window", "shelf"), 2, "line 3, node 'shelf': appears twice"),
    "file twice": Kind(
        edit("window.wav", "shelf.wav"), 2, _LINE, "'shelf.wav'", "node 'shelf'"
    ),
    "a cell too many": Kind(edit("1.00,", "1.00,,,"), 2, "nodes.csv', line 3: 7 cells"),
    "cells too few": Kind(edit("3.90,1.00,window.wav", "3.90"), 2, _LINE, "z is ''"),
    "a line in another table's form": Kind(
        edit("window,2.60,3.90,1.00,window.wav", "window;2.60;3.90;1.00;window.wav"),
        *(2, "nodes.csv', line 3", "separated by ';'"),
    ),
    "lines separated otherwise than the first": Kind(
        edit("node,x,y,z,file", "node;x;y;z;file"),
        *(2, "nodes.csv', line 2", "separated by ','"),
    ),
    "text for a number": Kind(edit("3.90", "far"), 2, _LINE, "y is 'far'"),
    "number with a unit": Kind(edit("3.90", "3.90 m"), 2, _LINE, "y is '3.90 m'"),
    "date for a number": Kind(edit("3.90", "03. Sep"), 2, _LINE, "y is '03. Sep'"),
    "NaN": Kind(edit("3.90", "nan"), 2, _LINE, "y is 'nan'"),
    "infinity": Kind(edit("3.90", "inf"), 2, _LINE, "y is 'inf'"),
    "1e9": Kind(edit("3.90", "1e9"), 2, _LINE, "outside the room"),
    "1e9 without a room": Kind(
        then(edit("3.90", "1e9"), lambda f: (f / _ROOM).unlink()),
        *(2, _LINE, "1e+09 m", "give meters"),
    ),
    "1e400": Kind(edit("3.90", "1e400"), 2, _LINE, "y is '1e400'"),
    "decimal commas between commas": Kind(
        edit("2.60", "2,60"), 2, "nodes.csv', line 3: 6 cells", "write 1.5, not 1,5"
    ),
    "decimal commas between semicolons": Kind(_semicolons, 0),
    "tabs": Kind(edit(",", "\t", count=999), 0),
    "one coordinate with a unit": Kind(
        edit("x,y,z", "x_cm,y,z"), 2, "nodes.csv'", "the column 'z' has no unit"
    ),
    "unknown unit": Kind(
        edit("x,y,z", "x_yd,y_yd,z_yd"), 2, "unit of the column 'x_yd' is not known"
    ),
    "feet, and heights in millimeters": Kind(
        in_units({"x": ("x_ft", 0.3048), "y": ("y_ft", 0.3048), "z": ("z_mm", 0.001)}),
        0,
    ),
    "thousands of millimeters": Kind(
        then(edit("x,y,z", "x_mm,y_mm,z_mm"), edit("2.60,3.90", "2.600,3.900")),
        *(2, _LINE, "x is '2.600', y is '3.900'"),
    ),
    "quote left open": Kind(
        edit("window,", '"window,'), 2, "nodes.csv', line 3: a quote is not closed"
    ),
    "text after a quote": Kind(
        edit("window,", '"win"dow,'), 2, "nodes.csv', line 3", "quote"
    ),
    "cell of a megabyte": Kind(
        edit("window,", "w" * 10**6 + ","), 2, "nodes.csv', line 3", "long"
    ),
    "random bytes": Kind(
        write(bytes((k * 197 + k * k) % 256 for k in range(999))), 2, "nodes.csv' is no text"
    ),
    "workbook named .csv": Kind(
        write(b"PK\3\4" + bytes(200)), 2, "nodes.csv' is no text", "nodes.xlsx"
    ),
    "old workbook named .csv": Kind(
        write(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(200)), 2, "nodes.csv' is no text"
    ),
    "UTF-8 with a byte order mark": Kind(encode("utf-8-sig"), 0),
    "UTF-16": Kind(encode("utf-16"), 0),
    "UTF-16 without a byte order mark": Kind(encode("utf-16-le"), 0),
    "UTF-16 of odd length": Kind(
        then(encode("utf-16"), lambda f: _append(f / _NODES, b"\n")),
        *(2, "nodes.csv'", "save it as CSV in UTF-8"),
    ),
    "Windows-1252": Kind(_umlauts, 0),
    "table that is a folder": Kind(_make_folder, 2, "nodes.csv' is a folder"),
    "table without permission": Kind(forbid(_NODES), 2, "nodes.csv'", "permission"),
    "file outside the folder": Kind(
        edit("window.wav", "../window.wav"), 2, _LINE, "'../window.wav'", "below"
    ),
    "absolute file": Kind(
        edit("window.wav", "/etc/passwd"), 2, _LINE, "'/etc/passwd'", "below"
    ),
    "file missing": Kind(
        lambda f: (f / "window.wav").unlink(), 2, _LINE, "no file", "window.wav'"
    ),
    "two files missing": Kind(
        lambda f: [(f / f"{name}.wav").unlink() for name in ("window", "desk")] and None,
        *(2, "2 problems", "line 3", "line 5", "desk.wav'"),
    ),
    "file in other case": Kind(
        edit("window.wav", "Window.WAV"), 2, _LINE, "'window.wav'"
    ),
    "file of one node not named": Kind(
        edit("1.00,window.wav", "1.00,"), 2, "nodes.csv has no file of node 'window'"
    ),
    "blank lines": Kind(edit("\n", "\n\n", count=99), 0),
    "lines of separators": Kind(edit("\nwindow", "\n,,,,\nwindow"), 0),
    "comment": Kind(
        edit("\nwindow", "\n# measured on Monday\nwindow"),
        *(2, "nodes.csv', line 3", "'# measured on Monday'", "comment"),
    ),
    "comment before the first line": Kind(
        edit("node,", "# measured on Monday\nnode,"),
        *(2, "nodes.csv', line 1", "'# measured on Monday'", "comment"),
    ),
    "separators at the ends of lines": Kind(edit("\n", ",\n", count=99), 0),
    "two tables of nodes": Kind(
        write("node,x,y\n", "Nodes.txt"), 2, "nodes.csv", "Nodes.txt", "keep one"
    ),
    "wrong extension": Kind(
        lambda f: (f / _NODES).rename(f / "nodes.ods") and None,
        *(2, "nodes.csv' is missing", "nodes.ods"),
    ),
    "table missing": Kind(
        lambda f: (f / _NODES).unlink(), 2, "nodes.csv' is missing", "node,x,y"
    ),
    "workbook that is none": Kind(
        then(write("node,x,y\n", "nodes.xlsx"), lambda f: (f / _NODES).unlink()),
        *(2, "nodes.xlsx' is no readable XLSX"),
    ),
    "workbook": Kind(workbook(_cells()), 0),
    "workbook of formulas without values": Kind(
        workbook(_formulas()), 2, "nodes.xlsx'", "line 2", "formula", "x"
    ),
    "workbook with an empty sheet": Kind(workbook([]), 2, "nodes.xlsx' is empty"),
    "workbook with an empty sheet before": Kind(workbook([], _cells()), 0),
    "workbook with merged cells": Kind(
        workbook(_merged(), merged="A2:A3"), 2, "nodes.xlsx', line 3", "node ''"
    ),
    "node without a name": Kind(edit("window,", ","), 2, "line 3, node ''"),
    "node named as a path": Kind(edit("window,", "a/b,"), 2, "line 3, node 'a/b'"),
    "node named in two lines": Kind(
        edit("window,", '"win\ndow",'), 2, "nodes.csv', line", "one line"
    ),
    "channel that is none": Kind(
        then(
            each_line(lambda cells: [*cells, "1"]),
            *(edit("file,1", "file,channel"), edit("window.wav,1", "window.wav,left")),
        ),
        *(2, _LINE, "channel is 'left'"),
    ),
    "files, and a list of recordings": Kind(
        write("recording\nmeeting\n", _RECORDINGS), 2, "nodes.csv", "recordings.csv"
    ),
    "no recordings listed": Kind(
        listed(write("recording\n", _RECORDINGS)), 2, "recordings.csv' has no rows"
    ),
    "recording missing": Kind(
        listed(edit("meeting", "meating", _RECORDINGS)),
        *(2, "recordings.csv', line 2", "'meating'"),
    ),
    "recording twice": Kind(
        listed(edit("meeting,,,,\n", "meeting,,,,\n" * 2, _RECORDINGS)),
        *(2, "recordings.csv', line 3, recording 'meeting': appears twice"),
    ),
    "recording outside the folder": Kind(
        listed(edit("meeting", "../meeting", _RECORDINGS)),
        *(2, "recordings.csv', line 2", "'../meeting'", "below"),
    ),
    "recording of an unknown node": Kind(
        listed(lambda f: (f / "meeting/desk.wav").rename(f / "meeting/roof.wav") and None),
        *(2, "roof.wav' belongs to node 'roof'"),
    ),
    "recording without one node": Kind(
        listed(lambda f: (f / "meeting/desk.wav").unlink()),
        *(2, "recordings.csv', line 2", "no file of node 'desk'"),
    ),
    "unknown split": Kind(
        listed(edit("meeting,", "meeting,dev", _RECORDINGS)), 2, "line 2", "split is 'dev'"
    ),
    "talker outside the room": Kind(
        listed(edit(",,,,", ",,1.3,29,1.4", _RECORDINGS)),
        *(2, "recordings.csv', line 2", "29.0", "outside the room"),
    ),
    "talker without y": Kind(
        listed(edit(",,,,", ",,1.3,,1.4", _RECORDINGS)), 2, "line 2", "no value for y"
    ),
    "start times, which no table has": Kind(
        listed(
            edit("z\n", "z,start\n", _RECORDINGS), edit(",,,,\n", ",,,,,-5\n", _RECORDINGS)
        ),
        *(0, "recordings.csv: not used: 'start'"),
    ),
    "folder above the session": Kind(
        _move_down, 2, "nodes.csv' is missing", "did you mean", "inner"
    ),
}  # fmt: skip
