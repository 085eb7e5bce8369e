"""What recordings are refused, and that groups are no matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uld_jax.localization import batches

GOOD = {
    "signals": np.ones((2, 4, 100), np.float32),
    "node_positions": np.ones((2, 4, 3), np.float32),
    "room_size": np.full((2, 3), 5.0, np.float32),
    "mask": None,
}


def filled(name, index, value):
    array = GOOD[name].copy()
    array[index] = value
    return {name: array}


def check(changes):
    batches.prepare(**{**GOOD, **changes}, least_nodes=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signals": np.ones((4, 100))}, r"shape \(4, 100\); it must be \[B, M, N\]"),
        ({"signals": np.ones((2, 4, 0))}, "at least one of each"),
        ({"room_size": np.ones((2, 2))}, r"room_size has .* must be \(2, 3\)"),
        ({"node_positions": np.ones((2, 3, 3))}, r"must be \(2, 4, 3\)"),
        ({"mask": np.ones((2, 3), bool)}, r"mask has .* must be \(2, 4\)"),
        ({"mask": np.arange(8).reshape(2, 4) < 6}, "recording 1 has 2 nodes; .* 3"),
        (filled("room_size", (1, 0), 0.0), "room_size is .* above 0"),
        (filled("node_positions", (1, 2, 0), np.nan), "node 2 of recording 1"),
        (filled("signals", (0, 3, 7), np.inf), "signals of node 3 of recording 0"),
    ],
)
def test_the_first_thing_wrong_is_named(changes, message):
    check({})
    with pytest.raises(batches.RecordingError, match=message):
        check(changes)


def test_what_absent_nodes_hold_is_no_matter():
    mask = np.array([[True] * 4, [True, True, False, True]])
    check({**filled("node_positions", (1, 2, 0), np.nan), "mask": mask})
    check({**filled("signals", (1, 2), np.nan), "mask": mask})


def test_inside_a_program_shapes_alone_are_known():
    def program(signals, node_positions, room_size, mask):
        batches.prepare(signals, node_positions, room_size, mask, least_nodes=3)
        with pytest.raises(batches.RecordingError, match="mask has shape"):
            batches.prepare(signals, node_positions, room_size, mask[1:], least_nodes=3)
        return batches.finish(signals)

    wrong = {**GOOD, **filled("room_size", 0, -1.0), "mask": np.zeros((2, 4), bool)}
    assert jax.jit(program)(**wrong).shape == (2, 4, 100)


@pytest.mark.parametrize("at_once", [None, 1, 2, 3, 8])
def test_every_recording_is_handled_in_a_group_of_any_size(at_once):
    arrays = np.arange(5.0, dtype="f4"), np.arange(10.0, dtype="f4").reshape(5, 2)

    def both(one, two):
        return jnp.array([one, two.sum()])

    found = batches.in_groups(both, arrays, at_once)
    np.testing.assert_array_equal(found, [[i, 4 * i + 1] for i in range(5)])
