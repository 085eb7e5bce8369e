"""Tables of sessions that cannot be right."""

import re

import made_sessions
import pytest
from made_sessions import NUM_SAMPLES, replace

from uld_jax.audio import session_tables, sessions
from uld_jax.runtime import errors


def open_session(folder):
    return sessions.open_session(folder, NUM_SAMPLES)


@pytest.fixture
def folder(tmp_path):
    """Return a session of one file a recording, to be spoiled."""
    return made_sessions.write_session(tmp_path / "my_lab")


REFUSED_TABLES = {
    "missing column": ("room.csv", "x,y,z", "x,width,z", "lacks the column 'y'.*x,y$"),
    "column twice": (
        "nodes.csv",
        "node,x,y,z",
        "node,x,y,z,z",
        "repeats the column 'z'",
    ),
    "half a talker": (
        "recordings.csv",
        "x,y,z",
        "x,y,z,x2",
        r"lacks the column 'y2', 'z2'.*recording,x,y,z,x2,y2,z2$",
    ),
    "a talker left out": (
        "recordings.csv",
        "x,y,z",
        "x,y,z,x3,y3,z3",
        "'x2', 'y2', 'z2'",
    ),
    "empty table": (
        "room.csv",
        "x,y,z\n6.2,4.8,2.7\n",
        "",
        "room.csv' is empty; write x,y and rows below",
    ),
    "no rows": ("room.csv", "6.2,4.8,2.7\n", "", "no rows below its first line"),
    "a second room": ("room.csv", "2.7\n", "2.7\n3,3,3\n", "line 3: a second room"),
    "decimal comma": (
        "nodes.csv",
        "2.25",
        "2,25",
        "nodes.csv', line 3: 5 cells, and the first line has 4; write 1.5, not 1,5",
    ),
    "a cell too few": ("nodes.csv", ",0.75", "", "z is '', not a number; give meters"),
    "quote left open": ("nodes.csv", "desk", '"desk', "line 3: a quote is not closed"),
    "no number": (
        "nodes.csv",
        "2.25",
        "2.25m",
        "nodes.csv', line 3, node 'desk': y is '2.25m', not a number; give meters",
    ),
    "empty number": (
        "nodes.csv",
        "2.25",
        "",
        "node 'desk': y is '', not a number",
    ),
    "NaN": ("nodes.csv", "2.25", "nan", "node 'desk': y is 'nan', not a number"),
    "infinity": ("room.csv", "2.7", "inf", "line 2: z is 'inf', not a number"),
    "flat room": (
        "room.csv",
        "2.7",
        "0",
        r"line 2: the room has sides of \[6.2, 4.8, 0.0\] m; give meters, above 0",
    ),
    "millimeters": ("room.csv", "6.2", "6200", r"sides of \[6200.0, .* up to 100, or"),
    "node twice": (
        "nodes.csv",
        "desk",
        "door",
        "line 3, node 'door': appears twice; give each node a name",
    ),
    "nodes at one place": (
        "nodes.csv",
        "3.0,2.25,0.75",
        "0.1,2.0,1.5005",
        r"node 'desk': has the position of node 'door', \[0.1, 2.0, 1.5005\] m; correct",
    ),
    "node without a name": ("nodes.csv", "desk", "", "node '': give a name"),
    "node named as a path": ("nodes.csv", "desk", "a/b", "node 'a/b': give a name"),
    "node out of the room": (
        "nodes.csv",
        "2.25",
        "-0.01",
        r"line 3, node 'desk': a node at \[3.0, -0.01, 0.75\] m is outside the room of "
        r"\[6.2, 4.8, 2.7\] m in y; measure from a corner",
    ),
    "talker out of the room": (
        "recordings.csv",
        "1.25",
        "2.71",
        r"line 5, recording 'four.wav': talker 1 at \[5.0, 4.0, 2.71\] m is out",
    ),
    "unknown split": (
        "recordings.csv",
        "validation",
        "dev",
        "recording 'three.wav': split is 'dev'; use one of train, validation, test",
    ),
    "recording twice": (
        "recordings.csv",
        "five.wav",
        "./one.wav",
        "line 6, recording './one.wav': appears twice; remove",
    ),
    "recording elsewhere": (
        "recordings.csv",
        "one.wav",
        "../one.wav",
        "'../one.wav': give a path below the session's folder",
    ),
    "recording at a root": (
        "recordings.csv",
        "one.wav",
        "/one.wav",
        "give a path below",
    ),
    "recording without name": (
        "recordings.csv",
        "one.wav",
        "",
        "'': give a path below",
    ),
    "part of a place": (
        "recordings.csv",
        "5.0,4.0,1.25",
        "5.0,,1.25",
        "'four.wav': no value for y; give x, y, z of each talker, or none",
    ),
    "no place to train": (
        "recordings.csv",
        "five.wav,",
        "five.wav,train",
        "'five.wav': x, y, z are empty, and split 'train' needs them; .* only localize",
    ),
    "no place to validate": (
        "recordings.csv",
        "five.wav,",
        "five.wav,validation",
        "split 'validation' needs them",
    ),
    "no such recording": (
        "recordings.csv",
        "two.wav",
        "second.wav",
        "recording 'second.wav': there is no file .*second.wav'; correct the name",
    ),
    "no such folder": (
        "recordings.csv",
        "two.wav",
        "second",
        "neither a folder .*second' with NODE.wav for each node nor second-NODE.wav; "
        "add one of them, with files ending in .wav, .flac, .ogg",
    ),
    "ending that is not read": (
        "recordings.csv",
        "two.wav",
        "two.m4a",
        r"no recording '.*two.m4a', but two.wav; write the whole name of a file that ends",
    ),
}


@pytest.mark.parametrize("case", REFUSED_TABLES)
def test_a_table_that_cannot_be_right_is_refused(folder, case):
    table, old, new, message = REFUSED_TABLES[case]
    replace(folder / table, old, new)
    with pytest.raises(session_tables.SessionError) as raised:
        open_session(folder)
    assert re.search(message, str(raised.value)), raised.value
    assert str(folder / table) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, errors.InputError)


def test_thousands_of_millimeters_are_refused(folder):
    """A comma in 1,250 may be decimal or not."""
    text = 'node,x_mm,y_mm,z_mm\ndoor,100,"2,250",1500\n'
    (folder / "nodes.csv").write_text(text)
    with pytest.raises(
        sessions.SessionError, match="y is '2,250', not a number; give mm, such as 1250"
    ):
        open_session(folder)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            "node,x_mm,y_mm,z_mm",
            "door,1.250,900,900",
            "x is '1.250', not a number; give mm",
        ),
        (
            "node,x_cm,y_cm,z_cm",
            'door,90,90,"1,250"',
            "z is '1,250', not a number; give",
        ),
        (
            "node,x_cm,y_cm,z",
            "door,90,90,1.1",
            "column 'z' has no unit, and 'y_cm' has",
        ),
        (
            "node,x,y,z (yards)",
            "door,1,1,1",
            r"unit of the column 'z \(yards\)' is not",
        ),
        ("node,x,y,x1", "door,1,1,1", "repeats the column 'x'"),
        ("node,x,y,z", "door,1_0,1,1", "x is '1_0', not a number"),
    ],
)
def test_units_that_may_be_meant_otherwise_are_refused(folder, header, row, message):
    (folder / "nodes.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(sessions.SessionError, match=message):
        open_session(folder)


@pytest.mark.parametrize("name", ["x0", "x100", "zone"])
def test_columns_that_are_no_coordinates_are_not_used(folder, name):
    text = (folder / "recordings.csv").read_text().splitlines()
    text = [f"{text[0]},{name}", *(f"{line},1" for line in text[1:])]
    (folder / "recordings.csv").write_text("\n".join(text))
    assert open_session(folder).num_sources == 1


def test_two_tables_of_one_kind_are_refused(folder):
    (folder / "Nodes.TXT").write_text("node,x,y,z\ndoor,1,1,1\n")
    with pytest.raises(
        sessions.SessionError, match=r"has Nodes.TXT and nodes.csv; keep one"
    ):
        open_session(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "five.wav,test,1,1,1,,,",
            "line 3, .*: 1 talkers, and recording 'one.wav' has 2",
        ),
        ("five.wav,test,,,,1,1,1", "no value for x, y, z; give x, y, z of each talker"),
        ("five.wav,test,1,1,1,1,,1", "no value for y2"),
        ("five.wav,test,1,1,1,1,9,1", r"talker 2 at \[1.0, 9.0, 1.0\] m is out"),
    ],
)
def test_talkers_that_cannot_be_right_are_refused(folder, row, message):
    (folder / "recordings.csv").write_text(
        f"recording,split,x,y,z,x2,y2,z2\none.wav,train,1,2,1.5,3,4,1.25\n{row}\n"
    )
    with pytest.raises(sessions.SessionError, match=message):
        open_session(folder)


def test_all_tables_are_read_before_any_is_refused(folder):
    replace(folder / "room.csv", "2.7", "two")
    replace(folder / "nodes.csv", "2.25", "-3")  # Of a room that is not known.
    replace(folder / "nodes.csv", "lamp", "door")
    replace(folder / "recordings.csv", "validation", "dev")
    with pytest.raises(sessions.SessionError) as raised:
        open_session(folder)
    first, *lines = str(raised.value).splitlines()
    assert first == f"3 problems in {str(folder)!r}:"
    for line, words in zip(lines, ("'two'", "'door': appears", "'dev'"), strict=True):
        assert words in line


def test_fifty_problems_are_listed(folder):
    rows = "".join(f"{k},9,9,9\n" for k in range(52))
    (folder / "nodes.csv").write_text("node,x,y,z\n" + rows)
    with pytest.raises(sessions.SessionError, match="52 problems in") as raised:
        open_session(folder)
    lines = str(raised.value).splitlines()
    assert len(lines) == 52
    assert "node '49'" in lines[50]
    assert lines[51].strip() == "and 2 more"


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(sessions.SessionError, match="does not exist; give the folder"):
        open_session(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(sessions.SessionError, match=r"'.*file' is a file; give"):
        open_session(tmp_path / "file")
    with pytest.raises(sessions.SessionError) as raised:
        open_session(tmp_path)
    for line in (
        "nodes.csv' is missing; add it, with the first line node,x,y",
        "recordings.csv' is missing; add it, with the first line recording",
    ):
        assert line in str(raised.value)
