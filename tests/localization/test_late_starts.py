"""Clocks of recorders that started late, by signals in the free field."""

import dataclasses

import numpy as np
import pytest
from free_field import delay
from numpy.testing import assert_allclose

from uld_jax.localization import (
    exchanged_nodes,
    late_starts,
    localize,
    steered_windows,
)

RATE, SPEED = 16_000, 343.0
ROOM = [5.0, 4.0, 2.6]
NODES = np.array(
    [
        *([0.3, 0.4, 1.3], [4.7, 0.5, 0.9], [4.6, 3.6, 1.2], [0.4, 3.5, 1.0]),
        *([2.6, 3.8, 1.4], [2.4, 1.7, 0.7]),
    ]
)
PLACES = ([1.2, 2.9, 1.2], [3.6, 1.1, 1.6], [1.5, 1.0, 1.3], [3.7, 2.9, 1.2])
LATE = np.array([0.0, -0.0103, 0.0, 0.0, 0.0071, 0.0])
TOGETHER = LATE == 0
TIMES = np.array([1.0, 5.0, 9.0, 13.0])
UNKNOWN = localize.localize(np.zeros((6, 8000)), RATE, NODES, ROOM)


def windows(nodes=NODES, late=LATE, snr=30.0):
    """Make a window at each place, with an echo that is louder than the sound."""
    rng = np.random.default_rng(0)
    made = []
    for place in PLACES:
        apart = np.linalg.norm(nodes - place, axis=1)
        noise = rng.normal(size=32_000)
        sound = delay(noise, apart / SPEED + late) / apart[:, None]
        behind = np.linalg.norm(nodes - [10.0 - place[0], *place[1:]], axis=1)
        sound += 1.2 * delay(noise, behind / SPEED + late) / behind[:, None]
        sound += sound.std() * rng.normal(size=sound.shape) / snr
        made.append(np.float32(sound))
    return made


def answers(usable=None):
    weights = np.ones(6) if usable is None else usable
    return [dataclasses.replace(UNKNOWN, node_weights=weights)] * len(PLACES)


def test_late_nodes_are_found_without_a_determined_position():
    found = late_starts.find(windows(), TIMES, answers(), TOGETHER)
    assert_allclose(found.late, LATE, atol=6e-5)  # 2 cm of path.
    assert_allclose(found.late_at(100.0), found.late)
    later = late_starts.Clocks(LATE, np.full(6, 1e-5), 60.0)
    assert_allclose(later.late_at(100.0), LATE + 4e-4)


def test_nodes_that_cannot_be_used_take_no_part():
    usable = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    some = windows()
    for one in some:
        one[4] = 0.0
    found = late_starts.find(some, TIMES, answers(usable), TOGETHER)
    assert_allclose(found.late, [0, LATE[1], 0, 0, 0, 0], atol=6e-5)


def test_drifts_are_removed_before_windows_are_compared():
    """The drift is known from twelve windows of two places."""
    times = 2.0 * np.arange(12)
    rates = 3e-5 * np.array([0, 0, 1, 0, 0, 0])
    some = [
        windows(late=LATE + rates * time)[number // 6]
        for number, time in enumerate(times)
    ]
    found = late_starts.find(some, times, [answers()[0]] * 12, TOGETHER)
    assert_allclose(found.drifts, rates, atol=2e-6)
    assert_allclose(found.late, LATE, atol=6e-5)


def sure(*positions):
    return [
        dataclasses.replace(UNKNOWN, determined=True, position=np.array(one))
        for one in positions
    ]


ELSEWHERE = sure([1.0, 1.0], [1.1, 1.0], [4.0, 3.0])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [*ELSEWHERE, UNKNOWN, UNKNOWN], True),
        ([], [*ELSEWHERE, *7 * [UNKNOWN]], False),  # Fewer than a third.
        ([], [*sure(*3 * [[1.0, 1.0]]), UNKNOWN], False),  # One place.
        (ELSEWHERE[:2], [*ELSEWHERE, *4 * [UNKNOWN]], False),  # One more.
        ([], ELSEWHERE[1:], False),  # Two windows.
    ],
)
def test_positions_confirm_clocks(before, after, expected):
    found = [*before, *[UNKNOWN] * (len(after) - len(before))]
    assert late_starts.are_confirmed(found, after) is expected


def test_it_is_tried_where_few_windows_are_determined_and_some_started_late():
    few = [UNKNOWN, UNKNOWN, *ELSEWHERE[:1]]
    all_of = np.ones(6, bool)
    assert late_starts.is_worth_trying(few, TOGETHER, all_of)
    assert not late_starts.is_worth_trying(few[:2], TOGETHER, all_of)
    assert not late_starts.is_worth_trying(ELSEWHERE, TOGETHER, all_of)
    assert not late_starts.is_worth_trying(few, all_of, all_of)
    assert not late_starts.is_worth_trying(few, TOGETHER, TOGETHER)
    two = np.arange(6) < 2
    assert not late_starts.is_worth_trying(few, two, all_of)


def test_no_recorder_with_a_known_start_is_together_with_none():
    nobody = np.zeros(3, bool)
    assert not late_starts.started_together(np.zeros(3, int), nobody).any()


def test_two_exchanged_nodes_are_found():
    order = np.array([0, 3, 2, 1, 4, 5])
    some = windows(NODES[order], late=np.zeros(6))
    assert exchanged_nodes.find(some, answers()) == (1, 3)


def test_nodes_at_their_places_are_not_exchanged():
    some = windows(late=np.zeros(6))
    assert exchanged_nodes.find(some, answers()) is None
    rng = np.random.default_rng(0)
    noise = [np.float32(rng.normal(size=one.shape)) for one in some]
    assert exchanged_nodes.find(noise, answers()) is None
    few = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    assert exchanged_nodes.find(some, answers(few)) is None


def test_responses_are_highest_where_the_sound_comes_from():
    made = steered_windows.SteeredWindows(windows(late=np.zeros(6)), answers())
    delays = steered_windows.find_delays(made.points, made.nodes)
    for envelopes, place in zip(made.wide, PLACES, strict=True):
        response = steered_windows.respond(envelopes, delays, range(6))
        best = made.points[response.argmax()]
        assert np.linalg.norm(best[:2] - place[:2]) < 0.12
