"""Clocks of recordings of which few windows are determined."""

from unittest import mock

import numpy as np
import pytest

from uld_jax.audio import sessions, surveys
from uld_jax.evaluation import session_clocks
from uld_jax.localization import (
    answers,
    calibration,
    drifts,
    exchanged_nodes,
    late_starts,
    localize,
)
from uld_jax.localization import session as session_lib

RATE = 16_000


def answer(determined, **facts):
    """Make an answer: whether it is determined, and by which clocks."""
    return mock.Mock(spec=answers.Localization, determined=determined, **facts)


@pytest.fixture
def whole(monkeypatch):
    """Return a session of six windows, the loudest the fourth, without signals."""
    powers = np.array([1.0, 2.0, 1.0, 5.0, 1.0, 3.0])
    survey = mock.Mock(spec=surveys.Survey)
    survey.window_powers.return_value = powers
    monkeypatch.setattr(session_lib.localize, "localize_one", by_clocks)
    monkeypatch.setattr(
        session_clocks.signals_lib, "to_stored", lambda window: (window,)
    )
    monkeypatch.setattr(session_lib, "CALIBRATED_WITH", 3)
    monkeypatch.setattr(session_lib, "widen", lambda one, _: one)
    return mock.Mock(
        spec=sessions.Session,
        surveyed={"a.wav": survey},
        num_samples=32_000,
        node_positions=np.zeros((4, 3)),
        room_size=None,
        load_window=lambda recording, start: np.full((4, 2), start),
    )


def by_clocks(window, *_, late):
    return answer(bool(late[0] > 0), late=late[0], start=window[0, 0])


def calibration_of(determined, seen):
    def calibrate(windows, *_, times):
        seen.append(([int(window[0, 0]) for window in windows], times.tolist()))
        return mock.Mock(
            spec=calibration.Calibration,
            determined=determined,
            late_at=lambda times: np.array([[times[0], 0.0, 0.0, 0.0]]),
            covariance_at=lambda time: np.zeros((4, 4)),
            joint=None,
        )

    return calibrate


STARTS = 32_000 * np.arange(6)
RECORDING = mock.Mock(spec=sessions.Recording)
RECORDING.name = "a.wav"


def run(whole, determined):
    found = [answer(bool(one)) for one in determined]
    return found, session_clocks.calibrate_if_few(
        whole, RECORDING, found, STARTS[: len(found)]
    )


def test_few_determined_windows_are_localized_again(whole, monkeypatch):
    seen = []
    monkeypatch.setattr(
        session_lib, "calibrate_with_windows", calibration_of(True, seen)
    )
    _, (again, clocks) = run(whole, [1, 0, 0, 0, 1, 0])
    assert clocks.determined
    # The strongest of each third.
    assert seen == [([32_000, 96_000, 160_000], [2.0, 6.0, 10.0])]
    assert [one.start for one in again] == STARTS.tolist()
    assert [one.late for one in again] == [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]  # Halfway.


def test_clocks_that_are_not_determined_change_nothing(whole, monkeypatch):
    seen = []
    monkeypatch.setattr(
        session_lib, "calibrate_with_windows", calibration_of(False, seen)
    )
    found, (again, clocks) = run(whole, [0, 0, 0, 0, 1, 0])
    assert again is found
    assert not clocks.determined  # That it was tried is said.
    assert len(seen) == 1


def test_clocks_by_which_fewer_windows_are_determined_are_not_used(whole, monkeypatch):
    monkeypatch.setattr(session_lib, "calibrate_with_windows", calibration_of(True, []))
    monkeypatch.setattr(
        session_lib.localize,
        "localize_one",
        lambda *_, late: answer(False),
    )
    found, (again, clocks) = run(whole, [0, 0, 0, 0, 1, 0])
    assert again is found
    assert clocks is None


@pytest.mark.parametrize("determined", [[1, 1, 1, 0, 0, 0], [0, 0]])
def test_enough_determined_windows_or_few_at_all_are_left(
    whole, monkeypatch, determined
):
    seen = []
    monkeypatch.setattr(
        session_lib, "calibrate_with_windows", calibration_of(True, seen)
    )
    found, (again, clocks) = run(whole, determined)
    assert again is found
    assert clocks is None
    assert not seen


@pytest.fixture
def started(whole, monkeypatch):
    """Let the last of four recorders start late, and note what is looked at."""
    whole.surveyed["a.wav"].starts = np.array([0, 0, 0, 1600])
    whole.surveyed["a.wav"].starts_known = np.ones(4, bool)
    whole.surveyed["a.wav"].faults = ("",) * 4
    whole.nodes = ("desk", "door", "shelf", "board")
    seen = []

    def find(windows, times, found, together):
        numbers = [int(window[0, 0]) for window in windows]
        seen.append((numbers, times.tolist(), len(found), together.tolist()))
        return late_starts.Clocks(
            np.array([0.002, 0, 0, -0.01]), np.array([0, 0, 0, 1e-5])
        )

    monkeypatch.setattr(late_starts, "find", find)
    return seen


def correct(whole, determined):
    found = [answer(bool(one)) for one in determined]
    return found, session_clocks.correct_late_starts(
        whole, RECORDING, found, STARTS[: len(found)]
    )


def test_recorders_that_started_late_are_compared_with_the_others(
    whole, started, monkeypatch
):
    monkeypatch.setattr(late_starts, "are_confirmed", lambda found, again: True)
    monkeypatch.setattr(
        session_lib.localize, "localize_one", lambda *_, late: answer(True, late=late)
    )
    _, (again, clocks) = correct(whole, [1, 0, 0, 0, 1, 0])
    windows = [32_000, 96_000, 160_000], [3.0, 7.0, 11.0], 3
    assert started == [(*windows, [True, True, True, False])]
    np.testing.assert_allclose(again[2].late, [0.002, 0, 0, -0.01 + 5e-5])
    assert session_clocks.describe(clocks, whole.nodes) == (
        "Node desk is 2.0 ms late; it was corrected",
        "Node board is 10.0 ms early and drifts by 10 ppm; it was corrected",
    )
    # What is found later is on top of these clocks.
    monkeypatch.setattr(
        session_clocks.late_nodes,
        "find",
        lambda found, room_size: np.array([0, 0.003, 0, 0]),
    )
    later, _ = session_clocks.correct_late_nodes(
        whole, RECORDING, again, STARTS, started=clocks
    )
    np.testing.assert_allclose(later[2].late, [0.002, 0.003, 0, -0.01 + 5e-5])


def test_clocks_that_positions_do_not_confirm_are_not_used(whole, started, monkeypatch):
    monkeypatch.setattr(late_starts, "are_confirmed", lambda found, again: False)
    found, (again, clocks) = correct(whole, [0, 0, 0, 0, 1, 0])
    assert again is found
    assert clocks is None
    assert len(started) == 1


def test_recorders_that_started_together_are_not_compared(whole, started):
    whole.surveyed["a.wav"].starts[:] = 0
    found, (again, clocks) = correct(whole, [0] * 6)
    assert again is found
    assert clocks is None
    assert not started


@pytest.mark.parametrize(
    ("determined", "start", "pair", "count"),
    [
        ([0] * 6, 0, (0, 3), 1),
        ([0] * 6, 0, None, 0),
        ([1, 1, 1, 0, 0, 0], 0, (0, 3), 0),  # Enough are determined,
        ([2] * 6, 0, (0, 3), 1),  # but not by levels alone.
        ([0] * 6, 1600, (0, 3), 0),  # A clock may be off.
    ],
)
def test_exchanged_nodes_are_named_where_few_windows_are_determined(
    whole, started, monkeypatch, determined, start, pair, count
):
    whole.surveyed["a.wav"].starts[3] = start
    monkeypatch.setattr(exchanged_nodes, "find", lambda windows, found: pair)
    radii = {1: 0.1, 2: 0.4}
    found = [answer(bool(one), radius_90=radii.get(one)) for one in determined]
    sure = answer(True, radius_90=0.1)
    monkeypatch.setattr(localize, "localize", lambda *given: sure)
    said = session_clocks.find_exchanged(whole, RECORDING, found, STARTS)
    one = "Nodes desk and board seem to be exchanged: each fits the other's position"
    assert said == count * (one,)


def test_an_exchange_that_makes_nothing_sure_is_not_named(whole, started, monkeypatch):
    """All places are wrong: one exchange fits a little better than others."""
    whole.surveyed["a.wav"].starts[:] = 0
    whole.node_positions = np.arange(12.0).reshape(4, 3)
    monkeypatch.setattr(exchanged_nodes, "find", lambda windows, found: (0, 1))
    given = []

    def localized(window, rate, places, room):
        given.append(places)
        return answer(True, radius_90=0.4)

    monkeypatch.setattr(localize, "localize", localized)
    found = [answer(False, radius_90=3.0) for _ in STARTS]
    assert session_clocks.find_exchanged(whole, RECORDING, found, STARTS) == ()
    np.testing.assert_array_equal(given[0][:2], whole.node_positions[1::-1])


def test_clocks_are_not_calibrated_where_nodes_are_exchanged(monkeypatch):
    """It takes longer, and no clocks explain it."""
    for name in ("correct_late_starts", "correct_drifts"):
        monkeypatch.setattr(session_clocks, name, lambda *given: (given[2], None))
    monkeypatch.setattr(
        session_clocks, "correct_late_nodes", lambda *given, started: (given[2], ())
    )
    monkeypatch.setattr(session_clocks, "find_exchanged", lambda *_: ("Exchanged",))
    tried = mock.Mock(spec=session_clocks.calibrate_if_few)
    monkeypatch.setattr(session_clocks, "calibrate_if_few", tried)
    found = [answer(False)] * 3
    whole = mock.Mock(spec=sessions.Session)
    corrected = session_clocks.correct(whole, RECORDING, found, STARTS[:3])
    assert corrected.exchanged == ("Exchanged",)
    assert corrected.found is found and not corrected.calibrated
    assert not tried.called


def find_rates(whole, monkeypatch, determined, values):
    """Correct drifts of known size, and note what is looked at."""
    seen = []

    def find(windows, times):
        seen.append((windows[:, 0, 0].tolist(), times.tolist()))
        return drifts.Drifts(np.array(values), np.full(4, 1e-6))

    monkeypatch.setattr(session_clocks.drifts, "find", find)
    monkeypatch.setattr(
        session_lib.localize, "localize_one", lambda *_, late: answer(True, late=late)
    )
    found = [answer(bool(one)) for one in determined]
    made = session_clocks.correct_drifts(whole, RECORDING, found, STARTS[: len(found)])
    return found, seen, made


def test_drifts_are_corrected_where_few_windows_are_determined(whole, monkeypatch):
    rates = [0, 3e-5, 0, 4e-6]
    _, seen, (again, clocks) = find_rates(whole, monkeypatch, [1] + [0] * 5, rates)
    assert seen == [([32_000, 96_000, 160_000], [2.0, 6.0, 10.0])]
    np.testing.assert_allclose(clocks.late_at(6.0), 0, atol=1e-12)  # The middle.
    np.testing.assert_allclose(again[5].late, [0, 3e-5 * 5.0, 0, 0])


@pytest.mark.parametrize(
    ("determined", "rate", "looked"), [([1] * 3 + [0] * 3, 3e-5, 0), ([0] * 6, 0, 1)]
)
def test_no_drift_is_corrected_without_need(
    whole, monkeypatch, determined, rate, looked
):
    found, seen, made = find_rates(whole, monkeypatch, determined, [rate, 0, 0, 0])
    assert made == (found, None) and len(seen) == looked
