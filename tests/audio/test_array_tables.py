"""Tables of a room and its nodes, as `uld_jax locate --live` is given them."""

import numpy as np
import pytest

from uld_jax.audio import array_tables, session_tables

NODES = "node,x,y,z\ndoor,0.1,2.0,1.5\ndesk,3.0,2.25,0.75\nlamp,6.1,4.7,2.0\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "Mics.csv").write_text(NODES)
    return tmp_path / "Mics.csv"


def test_the_table_may_have_any_name(path):
    room, nodes = array_tables.read(path)
    assert room is None
    assert list(nodes) == ["door", "desk", "lamp"]
    np.testing.assert_array_equal(nodes["desk"].position, [3.0, 2.25, 0.75])


@pytest.mark.parametrize(
    ("text", "sides"),
    [("6.2x4.8x2.7", [6.2, 4.8, 2.7]), ("6.2x4,8", [6.2, 4.8]), (None, [7.0, 5.0])],
)
def test_a_room_is_given_by_its_sides_or_lies_beside_the_nodes(path, text, sides):
    path.with_name("room.csv").write_text("x,y\n7.0,5.0\n")
    assert array_tables.read(path, text)[0].tolist() == sides


def test_a_room_may_be_a_table_of_any_name(path):
    path.with_name("hall.csv").write_text("x_cm,y_cm,z_cm\n800,600,250\n")
    room, _ = array_tables.read(path, str(path.with_name("hall.csv")))
    assert room.tolist() == [8.0, 6.0, 2.5]


@pytest.mark.parametrize(
    ("room", "message"),
    [
        ("5x4", r"line 4, node 'lamp': a node at .* outside the room of \[5.0, 4.0\]"),
        ("6", "'6' does not exist; give sides in meters such as 6.2x4.8x2.7"),
        ("6x0x2", r"sides of \[6.0, 0.0, 2.0\] m; give meters, above 0"),
        ("6x-4", r"sides of \[6.0, -4.0\]"),
        (".", "'.' is a folder; give sides"),
    ],
)
def test_a_wrong_room_is_named(path, room, message):
    with pytest.raises(session_tables.SessionError, match=message):
        array_tables.read(path, room)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "none.csv' does not exist; give the table, such as nodes.csv"),
        (".", "is a folder; give the table"),
        ("sound.wav", r"is no table; give one of .csv, .tsv"),
        ("empty.csv", "is empty; write node,x,y"),
    ],
)
def test_a_wrong_table_is_named(path, name, message):
    for other in ("sound.wav", "empty.csv"):
        path.with_name(other).write_text("")
    with pytest.raises(session_tables.SessionError, match=message):
        array_tables.read(path.parent / name)


def nodes_with(channels):
    return {
        str(number): session_tables.Node(np.zeros(3), None, channel)
        for number, channel in enumerate(channels)
    }


def test_channels_are_those_of_the_table_or_its_order():
    assert array_tables.order_channels(nodes_with([None] * 3)) == [0, 1, 2]
    assert array_tables.order_channels(nodes_with([3, 1, 2])) == [2, 0, 1]


@pytest.mark.parametrize("channels", [[1, 1, 2], [1, 2, None], [2, 3, 4]])
def test_channels_that_are_not_each_once_are_refused(channels):
    with pytest.raises(
        session_tables.SessionError, match="each number from 1 to 3 once"
    ):
        array_tables.order_channels(nodes_with(channels))
