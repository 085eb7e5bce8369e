"""Maps of where a position can be determined: expected radii, shares and words."""

import dataclasses
import pathlib

import numpy as np
import pytest

import uld_jax
from uld_jax.audio import sessions
from uld_jax.evaluation import radius_maps

ROOM = np.array([6.0, 4.0, 2.6])
AROUND = np.array(
    [[0.1, 0.1], [3, 0.1], [5.9, 0.1], [0.1, 3.9], [3, 3.9], [5.9, 3.9], [3.0, 2.0]]
)


def session(plan, room=ROOM, height=1.2):
    nodes = plan if height is None else np.column_stack([plan, 0 * plan[:, 0] + height])
    names = tuple(f"n{k}" for k in range(len(plan)))
    folder = pathlib.Path("my_lab")
    return sessions.Session(folder, room, names, np.array(nodes, float), ())


def made(plan, room=ROOM, height=1.2, faults=None):
    found = radius_maps.make(session(plan, room, height), faults or [""] * len(plan))
    assert found is not None
    return found


def test_radii_are_those_that_are_expected():
    found = made(AROUND)
    nodes = np.column_stack([AROUND, np.full(len(AROUND), 1.2)])
    some = found.places[3, [2, 7, 20]]
    expected = uld_jax.expected_radii(nodes, some, ROOM)
    np.testing.assert_allclose(found.radii[3, [2, 7, 20]], expected, rtol=1e-3)
    assert found.share_lost == 0 and radius_maps.check(found) == []
    assert "in the whole room" in found.describe()


def test_nodes_in_a_corner_get_a_remark():
    found = made(0.15 * AROUND)
    (remark,) = radius_maps.check(found)
    assert remark.kind == "geometry" and found.share_lost > 0.5
    assert f"in {100 * found.share_lost:.0f} % of the room" in remark.what


@pytest.mark.parametrize(
    ("far", "words"),
    [
        ((9.0, 7.0), "in the corner"),
        ((9.0, 4.0), "at the wall"),
    ],
)
def test_the_part_that_is_lost_is_named(far, words):
    """By a map in which it is put somewhere."""
    found = made(AROUND, np.array([10.0, 8.0, 2.6]))
    apart = np.linalg.norm(found.places - far, axis=-1)
    radii = np.where(apart < 1.2, 1.5, 0.1)
    radii[found.radii.shape[0] // 2, 0] = 1.5  # Smaller, and at a wall: no talker.
    found = dataclasses.replace(found, radii=radii)
    said = found.describe()
    assert f"{words} around (" in said and said.endswith("by node n5")
    share = (apart[found.counts] < 1.2).mean()
    assert found.share_lost == pytest.approx(share)


def test_without_a_room_what_is_searched_is_mapped():
    moved = AROUND + np.array([20.0, -5.0])
    found = made(moved, None)
    np.testing.assert_allclose(found.area, [[18.1, -6.9], [27.9, 0.9]])
    np.testing.assert_allclose(found.radii, made(AROUND, None).radii, rtol=2e-2)
    np.testing.assert_allclose(found.places.mean(axis=(0, 1)), found.area.mean(axis=0))


def test_broken_nodes_are_left_out_and_heights_may_be_missing():
    fault = "holds NaN or infinity"
    found = made(AROUND, height=None, faults=["", "", "is silent", *4 * [""]])
    assert "n2" not in found.nodes and len(found.nodes) == 6
    without = made(np.delete(AROUND, 2, axis=0))
    np.testing.assert_allclose(found.radii, without.radii)
    few = session(AROUND)
    assert radius_maps.make(few, [fault] * 5 + ["", ""]) is None
