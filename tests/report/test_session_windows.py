import math

import pytest
from made_session_records import (
    COVARIANCE,
    guess,
    recording,
    silence,
    tracked_session,
    window,
)

from uld_jax.report import session_windows


def read(*windows, **more):
    return session_windows.read_recording(recording(list(windows), **more))


def states(found):
    return [one.state for one in found.windows]


def test_a_window_is_what_the_record_says_of_it():
    found = read(window(), guess((1, 2), (3, 4)), silence(4.0))
    assert states(found) == ["determined", "not determined", "no position"]
    first, second, _ = found.windows
    assert first.positions == ((1.3, 1.4),) and first.radius == 0.45
    assert [list(row) for row in first.covariance] == COVARIANCE
    assert first.offsets == (1e-4, 0.12, None, -2e-4)
    assert [mode.mass for mode in second.modes] == [0.6, 0.4]
    assert [one.answers for one in found.windows] == [True, False, False]


def test_methods_that_do_not_know_how_sure_they_are_have_answers():
    found = read({"start_s": 0.0, "length_s": 2.0, "positions_m": [[1, 2], [3, 4]]})
    assert states(found) == ["located"] and found.windows[0].answers


@pytest.mark.parametrize("broken", [None, math.nan, math.inf, "1.0", [1.0]])
def test_what_is_not_a_finite_number_is_unknown(broken):
    assert session_windows.number(broken) is None
    assert session_windows.point([1.0, broken]) is None
    assert session_windows.numbers_of([broken, 2]) == (None, 2.0)


def test_half_a_covariance_is_none():
    rows = [[0.1, None], [0.0, 0.2]]
    assert read(window(covariance_m2=rows)).windows[0].covariance is None
    assert read(window(covariance_m2=rows[1:])).windows[0].covariance is None


def test_windows_are_in_order_of_time():
    found = read(window((1, 1), start=4.0), window((2, 2), start=0.0))
    assert found.times == (1.0, 5.0)
    assert [one.positions[0][0] for one in found.windows] == [2.0, 1.0]


def test_windows_without_times_keep_their_order():
    found = read(*(window((x, 1), start=None, length_s=None) for x in (3, 1, 2)))
    assert found.times == (0.0, 1.0, 2.0)
    assert [one.positions[0][0] for one in found.windows] == [3.0, 1.0, 2.0]


def test_the_radius_holds_the_truth_up_to_its_edge():
    held = [
        read(window(errors_m=errors, radius_90_m=radius)).windows[0].holds_truth
        for errors, radius in (([0.2], 0.2), ([0.21], 0.2), ([0.1], None), (None, 0.2))
    ]
    assert held == [True, False, None, None]


def test_a_stretch_ends_at_another_state_and_at_a_gap():
    found = read(
        *(window(start=start) for start in (0.0, 2.0)),
        silence(4.0),
        *(window(start=start) for start in (6.0, 8.0, 10.0, 16.0)),
        guess((1, 1), (2, 2), start=18.0),
    )
    stretches = session_windows.runs(found, ("determined",))
    assert list(stretches) == [[0, 1], [3, 4, 5], [6]]
    assert list(session_windows.runs(found, ("not determined",))) == [[7]]
    assert list(session_windows.runs(read(), ("determined",))) == []


def test_places_are_half_a_meter_around_their_mean():
    found = read(
        window((1.0, 1.0), start=0.0),
        window((4.0, 1.0), start=2.0),
        window((1.4, 1.2), start=4.0),
        guess((3.0, 3.0), (1.0, 1.0), start=6.0),
        window((1.0, 1.6), start=8.0),  # 0.54 m from the mean of the others.
    )
    first, second, third = session_windows.find_places(found)
    assert first.middle == pytest.approx((1.2, 1.1)) and first.count == 2
    assert second == session_windows.Place((4.0, 1.0), 1)
    assert third == session_windows.Place((1.0, 1.6), 1)


def test_tracks_are_of_one_talker_each():
    """A window of no talker ends no track."""
    (one,) = tracked_session()["recordings"]
    found = session_windows.read_recording(one)
    assert [window.talker for window in found.windows] == [1, 1, 2, 1, None]
    assert found.windows[2].smooth == (4.6, 1.2)
    assert found.windows[2].smooth_radius == 0.5
    assert list(session_windows.find_tracks(found)) == [[0, 1], [2], [3]]
    assert [turn.talker for turn in found.turns] == [1, 2, 1]
    assert found.turns[0].confidence == 0.97
    assert found.speech[0] == (0.2, 3.9)
    one["windows"][2]["talker"] = None
    again = session_windows.read_recording(one)
    assert list(session_windows.find_tracks(again)) == [[0, 1, 3]]
    assert list(session_windows.find_tracks(read(window()))) == []


@pytest.mark.parametrize("broken", [None, 1.5, math.nan, "1"])
def test_a_talker_is_a_whole_number(broken):
    assert read(window(talker=broken)).windows[0].talker is None
