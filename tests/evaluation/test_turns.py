"""Windows at one place become a turn; those of another begin the next."""

import dataclasses

import numpy as np

from uld_jax.evaluation import turns
from uld_jax.localization import localize, posterior, tracks

SILENT = localize.localize(
    np.zeros((3, 8000)), 16_000, [[0, 0, 1], [5, 0, 1], [0, 5, 1]], [5.0, 5.0]
)


def window(x, y, radius=0.1, determined=True):
    position, covariance = np.array([x, y], float), np.eye(2) * (radius / 2.146) ** 2
    return dataclasses.replace(
        SILENT,
        position=position,
        covariance=covariance,
        modes=(posterior.Mode(position, covariance, 0.98),),
        radius_90=radius,
        determined=determined,
    )


def find(starts, found, speech=None):
    starts = np.array(starts, float)
    return turns.find_turns(starts, found, 2.0, None, speech)


def test_turns_end_where_somebody_is_elsewhere():
    found = [window(1, 1), window(1.05, 1), window(2, 2), window(1, 1)]
    first, second, third = find([0.0, 2.0, 6.0, 8.0], found)
    assert (first.start, first.end, first.windows) == (0.0, 4.0, (0, 1))
    np.testing.assert_allclose(first.position, [1.025, 1.0], atol=0.01)
    assert (second.start, second.end) == (6.0, 8.0)
    assert third.windows == (3,)
    assert str(first) == (
        "0.0-4.0 s: talker 1 at (1.02, 1.00) m, 90 % within 0.10 m, 98 % sure (2 windows)"
    )


def test_talkers_are_numbered_by_their_places():
    """Two in turn; a third place is a new one."""
    places = [(3, 3), (1, 1), (3.1, 3.2), (1.1, 0.9), (4.5, 1)]
    found = [window(*place) for place in places]
    talkers = [turn.talker for turn in find(4.0 * np.arange(5), found)]
    assert talkers == [1, 2, 1, 2, 3]


def test_places_in_a_row_are_not_one_talker():
    found = [window(0.5 + 0.45 * k, 1) for k in range(8)]
    talkers = [turn.talker for turn in find(8.0 * np.arange(8), found)]
    assert talkers == sorted(talkers) and talkers[-1] >= 3


def test_what_is_not_determined_breaks_no_turn():
    lost = window(2.5, 2.5, 2.5, determined=False)
    found = [lost, window(1, 1), lost, window(1, 1), lost]
    (turn,) = find(np.arange(5) * 2.0, found)
    assert {1, 3} <= set(turn.windows)
    assert turn.start <= 2.0 and turn.end >= 8.0
    np.testing.assert_allclose(turn.position, [1, 1], atol=0.1)
    assert find([0.0], [lost]) == []


def test_sure_windows_weigh_more():
    found = [window(1.0, 1.0, 0.1), window(1.2, 1.0, 0.6), window(1.2, 1.0, 0.6)]
    (turn,) = find([0.0, 2.0, 4.0], found)
    assert turn.position[0] < 1.05
    assert 0.1 < turn.radius_90 < 0.5


def test_the_covariance_of_a_turn_is_that_of_a_window():
    """Of the mean information: errors at one place are alike."""
    found = [window(1.0, 1.0, 0.1) for _ in range(6)]
    starts = 2.0 * np.arange(6)
    track = tracks.smooth(starts, found)
    (turn,) = turns.find_turns(starts, found, 2.0, track)
    expected = np.linalg.inv(np.mean(np.linalg.inv(track.covariances), axis=0))
    np.testing.assert_allclose(turn.covariance, expected, rtol=1e-3)
    assert turn.radius_90 > 0.8 * 0.1


def test_uncertain_windows_may_be_farther_apart_but_not_by_meters():
    (turn,) = find([0.0, 2.0], [window(1, 1, 0.5), window(1.45, 1, 0.5)])
    assert turn.windows == (0, 1)
    assert len(find([0.0, 2.0], [window(0.5, 1, 0.6), window(3.7, 1, 0.6)])) == 2


def test_a_pause_ends_a_turn():
    found = [window(1, 1), window(1, 1), window(1, 1)]
    first, second = find([0.0, 6.0, 14.0], found)
    assert (first.windows, second.windows) == ((0, 1), (2,))
    assert first.talker == second.talker == 1


def test_a_turn_is_as_long_as_speech():
    """Loud sound without speech makes no turn."""
    found = [window(1, 1), window(1, 1), window(3, 3)]
    speech = np.array([[0.6, 1.2], [2.1, 2.9], [5.0, 5.05]])
    (turn,) = find([0.0, 2.0, 4.0], found, speech)
    assert (turn.start, turn.end, turn.windows) == (0.6, 2.9, (0, 1))


def test_few_windows_are_few_turns():
    assert find([], []) == []
    assert len(find([0.0], [window(1, 1)])) == 1
