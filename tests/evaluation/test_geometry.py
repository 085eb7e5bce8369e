"""Places of nodes that cannot determine positions, or are in another unit."""

import pathlib

import numpy as np
import pytest

from uld_jax.audio import sessions
from uld_jax.audio import signals as signals_lib
from uld_jax.evaluation import geometry

# Of five nodes in a room that is not square.
PLACES = np.array(
    [
        [0.3, 2.2, 1.3],
        [2.6, 3.9, 1.0],
        [5.0, 1.6, 1.2],
        [4.1, 3.3, 0.7],
        [1.7, 0.2, 1.4],
    ]
)
ROOM = np.array([5.2, 4.1, 2.6])


def remarks_of(places, room=ROOM, faults=("",) * 5):
    names = tuple("abcde")[: len(places)]
    whole = sessions.Session(pathlib.Path("own"), room, names, places, ())
    found = geometry.check(whole, faults[: len(places)])
    return [(one.node, one.kind, one.level) for one in found]


@pytest.mark.parametrize("room", [ROOM, ROOM[:2], None])
@pytest.mark.parametrize("axes", [2, 3])
def test_places_that_are_right_get_no_remark(room, axes):
    assert remarks_of(PLACES[:, :axes], room) == []
    on_the_floor = PLACES * np.array([1, 1, 0]) + np.arange(5)[:, None] * [0, 0, 0.2]
    assert remarks_of(on_the_floor, room) == []


def test_nodes_have_to_be_enough():
    assert remarks_of(PLACES[:2]) == [(None, "few", 2)]
    assert remarks_of(PLACES[:3]) == [(None, "three", 1)]
    assert remarks_of(PLACES * [0, 0, 1]) == [(None, "few", 2)]
    silent = (signals_lib.SILENT, "", signals_lib.BROKEN, "", signals_lib.CLIPPED)
    assert remarks_of(PLACES, faults=silent) == [(None, "three", 1)]


@pytest.mark.parametrize(
    ("places", "room", "expected"),
    [
        (PLACES * [1, 0, 1], ROOM, (None, "line", 1)),
        (PLACES * [1, 1, 0], ROOM, (None, "height", 1)),
        (PLACES * [1, 1, 1 / 0.3048], None, (None, "height", 1)),
        (PLACES * [1, 1, 1 / 0.3048], ROOM[:2], (None, "height", 1)),
        (PLACES * [0.05, 0.05, 1], ROOM, (None, "extent", 1)),
        (PLACES, [80.0, 80.0, 3.0], (None, "extent", 1)),
    ],
)
def test_places_that_are_doubtful_get_one(places, room, expected):
    assert remarks_of(places, None if room is None else np.array(room)) == [expected]


def test_a_node_that_is_far_or_low_is_named():
    low = PLACES.copy()
    low[1, 2] = 0.001
    assert remarks_of(low) == [("b", "height", 1)]
    far = PLACES.copy()
    far[1, :2] = [60.0, 60.0]
    assert remarks_of(far, np.array([70.0, 70.0, 5.0])) == [("b", "far", 1)]
