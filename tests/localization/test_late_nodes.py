"""A clock's offset is the same in all windows; what else makes nodes late is not."""

import dataclasses

import numpy as np
import pytest

from uld_jax.localization import late_nodes, localize, reflections

NODES = np.array([[0.0, 0.0, 1.0], [5.0, 0.0, 1.0], [0.0, 4.0, 1.0], [5.0, 4.0, 1.0]])
ERRORS = np.full(4, 1e-4)  # Seconds.
SPEED = 343.0
SILENT = localize.localize(np.zeros((4, 8000)), 16_000, NODES)


def windows(places, offsets):
    return [
        dataclasses.replace(
            SILENT,
            position=np.array(place),
            node_offsets=np.array(own),
            determined=True,
            radius_90=0.1,
        )
        for place, own in zip(places, offsets, strict=True)
    ]


def offsets_of(node, values):
    rng = np.random.default_rng(0)
    offsets = 1e-4 * rng.normal(size=(len(values), 4))
    offsets[:, node] = values
    return offsets


PLACES = [[1.0, 1.0], [1.0, 1.0], [4.0, 2.0], [4.0, 2.0], [2.0, 3.0]]


def test_an_offset_that_stays_is_the_clocks():
    """Whatever single windows say."""
    values = [0.01, 0.0101, -0.002, 0.0099, np.nan]
    late = late_nodes.find(windows(PLACES, offsets_of(2, values)))
    np.testing.assert_allclose(late, [0, 0, 0.01, 0], atol=1e-9)


def test_an_offset_at_one_place_alone_may_be_a_wrong_position():
    values = [0.01, 0.0101, 0.0099, -0.004, 0.002]
    places = [[1.0, 1.0], [1.0, 1.2], [1.1, 1.0], [4.0, 2.0], [2.0, 3.0]]
    np.testing.assert_array_equal(
        late_nodes.find(windows(places, offsets_of(2, values))), 0
    )


def test_offsets_that_differ_are_of_no_clock():
    values = [0.01, 0.0107, 0.0093, 0.005, -0.01]
    np.testing.assert_array_equal(
        late_nodes.find(windows(PLACES, offsets_of(1, values))), 0
    )
    few = windows(PLACES[:2], offsets_of(1, [0.01, 0.01]))
    np.testing.assert_array_equal(late_nodes.find(few), 0)


def test_small_offsets_are_those_of_positions():
    values = [0.0008] * 5
    np.testing.assert_array_equal(
        late_nodes.find(windows(PLACES, offsets_of(0, values))), 0
    )


def test_few_of_many_windows_do_not_count():
    rng = np.random.default_rng(1)
    values = np.concatenate([[0.01] * 3, rng.uniform(-0.02, 0.02, 12)])
    places = np.tile(PLACES, (3, 1)).tolist()
    np.testing.assert_array_equal(
        late_nodes.find(windows(places, offsets_of(3, values))), 0
    )


def test_positions_that_are_not_sure_tell_nothing():
    found = windows(PLACES, offsets_of(2, [0.01] * 5))
    assert late_nodes.find(found)[2] > 0
    for doubt in ({"determined": False}, {"radius_90": 0.8}):
        unsure = [dataclasses.replace(one, **doubt) for one in found[:3]]
        np.testing.assert_array_equal(late_nodes.find(unsure + found[3:]), 0)


def test_a_node_that_fits_nowhere_is_one_at_a_wrong_place():
    """By a time that differs from place to place."""
    values = [0.002, -0.001, 0.0031, np.nan, 0.0009]
    found = windows(PLACES, offsets_of(1, values))
    found = [dataclasses.replace(one, node_offset_errors=ERRORS) for one in found]
    np.testing.assert_allclose(
        late_nodes.find_misfits(found), [0, 0.0031, 0, 0], atol=1e-9
    )
    # Nothing is known where errors are as large, or positions unsure, or windows few.
    unsure = [dataclasses.replace(one, node_offset_errors=9 * ERRORS) for one in found]
    np.testing.assert_array_equal(late_nodes.find_misfits(unsure), 0)
    far = [dataclasses.replace(one, radius_90=0.6) for one in found]
    np.testing.assert_array_equal(late_nodes.find_misfits(far), 0)
    np.testing.assert_array_equal(late_nodes.find_misfits(found[:2]), 0)


def test_a_node_that_fits_in_some_windows_is_none():
    values = [0.002, -0.001, 0.0001, 0.0, 0.0002]
    found = windows(PLACES, offsets_of(1, values))
    found = [dataclasses.replace(one, node_offset_errors=ERRORS) for one in found]
    np.testing.assert_array_equal(late_nodes.find_misfits(found), 0)


def test_a_wall_behind_a_node_is_no_misfit():
    """It makes a node late, in all windows at two places; a wrong place, early, too."""
    two = [[1.0, 1.0], [1.0, 1.1], [4.0, 2.0], [4.0, 2.1], [1.1, 1.0]]
    late = [0.004, 0.0041, 0.002, 0.0021, 0.004]

    def of(places, values):
        found = windows(places, offsets_of(2, values))
        return [dataclasses.replace(one, node_offset_errors=ERRORS) for one in found]

    np.testing.assert_array_equal(late_nodes.find_misfits(of(two, late)), 0)
    assert late_nodes.find_misfits(of(two, [*late[:4], -0.004]))[2] > 0
    assert late_nodes.find_misfits(of(PLACES, late))[2] > 0


ROOM = np.array([6.0, 5.0, 2.5])
TWO = [[1.0, 1.0], [1.0, 1.0], [4.0, 2.0], [4.0, 2.0], [1.0, 1.0]]


def of_paths(node, at_one, at_other):
    """Make windows at two places with so many meters of detour at each."""
    values = np.array([at_one, at_one, at_other, at_other, at_one]) / SPEED
    return [
        dataclasses.replace(one, node_offset_errors=ERRORS / 10, height=1.4)
        for one in windows(TWO, offsets_of(node, values))
    ]


def detours(place, node):
    at = np.array([*place, 1.4])
    return np.sort(reflections.find_detours(at, NODES[node : node + 1], ROOM)[0])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (0.0, 0.0, False),  # Added to reflections of the first wall.
        (0.0, 0.1, True),
        (0.1, 0.1, True),
    ],
)
def test_walls_that_are_known_explain_two_places_or_not(one, other, expected):
    """Of a node that is late: where no reflection is so late, its place is wrong."""
    first, second = detours(TWO[0], 3), detours(TWO[2], 3)
    # The widest gaps after them.
    first = first[np.diff(first)[:8].argmax()] + one
    second = second[np.diff(second)[:8].argmax()] + other
    found = of_paths(3, first, second)
    assert (late_nodes.find_misfits(found, ROOM)[3] > 0) == expected
    assert (late_nodes.find_misfits(found[:4], ROOM)[3] > 0) == expected


def test_a_reflection_at_two_places_is_no_clock():
    """By chance, the detours of both places agree: to 0.1 ms here."""
    both = detours(TWO[0], 3), detours(TWO[2], 3)
    apart = np.abs(both[0][:, None] - both[1])
    apart[both[0] < 0.4] = np.inf
    one, other = np.unravel_index(apart.argmin(), apart.shape)
    assert apart.min() < 0.03
    found = of_paths(3, both[0][one], both[1][other])
    assert late_nodes.find(found)[3] > 0.001
    assert late_nodes.find(found, ROOM)[3] == 0
    later = of_paths(3, both[0][one] + 0.1, both[0][one] + 0.1)
    assert late_nodes.find(later, ROOM)[3] > 0.001


def test_a_node_that_is_in_time_elsewhere_has_no_clock_that_is_off():
    values = [0.01, 0.0101, 0.0099, 0.0, 0.0001]
    found = windows(
        [[1.0, 1.0], [4.0, 2.0], [4.0, 2.0], *PLACES[:2]], offsets_of(2, values)
    )
    assert late_nodes.find(found)[2] == 0
