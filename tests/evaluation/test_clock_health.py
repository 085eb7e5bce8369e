"""Remarks on clocks say what was tried, how often it works, and what to do."""

from unittest import mock

import numpy as np
import pytest

from uld_jax.audio import diagnosis, sessions
from uld_jax.evaluation import clock_health, session_clocks
from uld_jax.localization import (
    answers,
    calibration,
    clock_lines,
    drifts,
    late_starts,
)

NODES = ("door", "desk", "shelf", "phone")
NO = np.full(4, np.nan)


def health(determined=(True,) * 4, calibrated=None, remarks=(), known=30):
    found = [mock.Mock(spec=answers.Localization, determined=one) for one in determined]
    lines = clock_lines.ClockLines(np.zeros(known), NO, NO, NO)
    return clock_health.ClockHealth(found, lines, calibrated, list(remarks))


@pytest.mark.parametrize(
    ("made", "places", "nodes", "words"),
    [
        (
            health(),
            1,
            8,
            "need not move. They were at 1 place; to calibrate clocks, with ",
        ),
        (
            health(),
            3,
            6,
            "with 6 nodes, 6 places of talkers or more are enough in four",
        ),
        (health(), 3, 8, "6 places of talkers or more are enough in six of ten"),
        (health(), 3, 30, "4 places of talkers or more are nearly always enough"),
        (health(), 3, 5, "6 places of talkers or more are seldom enough"),
        (
            health(known=3),
            3,
            6,
            "Clocks of 3 of 6 nodes agree; times of the others are",
        ),
        (health(calibrated=True), 6, 8, "can be calibrated"),
        (health([False] * 4, False), 0, 6, "Clocks could not be calibrated: with 6"),
        (health([False] * 2), 0, 6, "Windows are too few to calibrate"),
        (health([False] * 4), 0, 6, "Calibrated clocks determine no more"),
    ],
)
def test_sentences_say_what_is_known(made, places, nodes, words):
    assert words in clock_health.describe(made, places, nodes)


def test_nodes_that_are_off_are_excepted():
    remarks = [
        diagnosis.Remark("desk", 1, "clock", "is late", "Mend it"),
        diagnosis.Remark("door", 1, "misfit", "does not fit", "Mend it"),
    ]
    said = clock_health.describe(health(remarks=remarks), 3, 6)
    assert said.startswith("All clocks but that of desk agree")


def examine(
    monkeypatch, *, ppm=(0,) * 4, rates=None, few=None, tried=None, started=None
):
    """Examine windows of which the parts are known: what each step would find.

    Drifts `ppm` are those of times of arrival, `rates` of correlations with their errors.
    """
    rates = np.full((2, 4), np.nan) if rates is None else 1e-6 * np.array(rates)
    found = health().found
    for one in found:
        one.node_offsets, one.node_offset_errors = np.zeros((2, 4))
        one.radius_90 = 1.0
    lines = clock_lines.ClockLines(
        np.zeros(4), np.full(4, 1e-5), 1e-6 * np.array(ppm), np.full(4, 2e-6)
    )
    monkeypatch.setattr(clock_lines, "fit", lambda found, moments: lines)
    monkeypatch.setattr(session_clocks, "find_drifts", lambda *_: drifts.Drifts(*rates))
    monkeypatch.setattr(session_clocks, "find_exchanged", lambda *_: ())
    monkeypatch.setattr(
        session_clocks,
        "correct_late_nodes",
        lambda whole, one, found, starts, started: (found, ()),
    )
    monkeypatch.setattr(
        session_clocks,
        "correct_late_starts",
        lambda whole, one, found, starts: (found, started),
    )
    monkeypatch.setattr(
        session_clocks,
        "calibrate_if_few",
        lambda whole, one, found, starts: (found, few),
    )
    calls = mock.Mock(spec=session_clocks.calibrate, return_value=tried)
    monkeypatch.setattr(session_clocks, "calibrate", calls)
    whole = mock.Mock(
        spec=sessions.Session, nodes=NODES, num_samples=32_000, room_size=None
    )
    recording = mock.Mock(spec=sessions.Recording)
    starts = np.array([0, 320_000, 640_000, 960_000])
    return clock_health.examine(whole, recording, found, starts), calls


def calibrated(model=1, determined=True):
    covariance = np.diag(np.repeat([4e-10, 1e-12], 4))
    return calibration.Calibration(
        *(
            np.array([0, 0.01, 0, np.nan]),
            np.full(4, 2e-5),
            np.array([0, 3e-5, 0, 0.0]),
        ),
        *(np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool), determined, (), ()),
        model=model,
        covariance=covariance,
    )


@pytest.mark.parametrize(
    ("tried", "words"),
    [
        (calibrated(), "Pass --calibrate_clocks to uld_jax locate"),
        (calibrated(model=0), "do not allow calibration"),
        (calibrated(determined=False), "do not allow calibration"),
    ],
)
def test_a_drift_is_told_with_what_helps(monkeypatch, tried, words):
    found, calls = examine(monkeypatch, ppm=(0, 0, -20, 1), tried=tried)
    (remark,) = found.remarks
    assert (remark.node, remark.kind) == ("shelf", "drift")
    assert "-20.0 ± 2.0 ppm" in remark.what and words in remark.fix
    assert calls.call_count == 1 and found.calibrated is None


def test_small_drifts_are_none(monkeypatch):
    found, calls = examine(monkeypatch, ppm=(7, -7, 0, 0))
    assert found.remarks == [] and not calls.called


def test_a_drift_by_correlations_is_told_where_times_show_none(monkeypatch):
    ppm, rates = (0, np.nan, 0, 0), ([0, 35, 0, 9], [1, 4, 1, 1])
    found, _ = examine(monkeypatch, ppm=ppm, rates=rates, tried=calibrated())
    (remark,) = found.remarks
    assert (remark.node, remark.kind) == ("desk", "drift")
    assert "+35.0 ± 4.0 ppm" in remark.what
    assert found.lines.drifts[1] == pytest.approx(35e-6)


@pytest.mark.parametrize(
    ("ppm", "rates", "named"),
    [
        ((0, 60, -20, 20), None, ["desk"]),  # One drift moves the others' times.
        ((0, 60, 0, 40), None, ["desk", "phone"]),
        ((0, 60, -40, 0), ([0, 55, 1, 0], [2] * 4), ["desk"]),  # It is denied,
        ((0, 60, -40, 0), ([0, 55, 1, 0], [9] * 4), ["desk", "shelf"]),  # or not.
    ],
)
def test_drifts_of_single_nodes_are_told(monkeypatch, ppm, rates, named):
    found, _ = examine(monkeypatch, ppm=ppm, rates=rates, tried=calibrated())
    assert [remark.node for remark in found.remarks] == named


def test_a_drift_that_was_corrected_needs_nothing(monkeypatch):
    rate = np.array([0, 4e-5, 0, 0])
    started = late_starts.Clocks(np.zeros(4), rate, 31.0)
    found, calls = examine(monkeypatch, started=started)
    (remark,) = found.remarks
    assert (remark.node, remark.kind) == ("desk", "drift")
    assert "is corrected" in remark.fix and not calls.called


def test_a_drift_is_said_to_be_corrected_only_where_it_was(monkeypatch):
    started = late_starts.Clocks(np.zeros(4), np.array([0, 4e-5, 0, 0]), 31.0)
    found, calls = examine(
        monkeypatch, ppm=(0, 0, 40, 0), started=started, tried=calibrated()
    )
    desk, shelf = found.remarks
    assert (desk.node, shelf.node) == ("desk", "shelf") and calls.call_count == 1
    assert "is corrected" in desk.fix
    assert "Pass --calibrate_clocks" in shelf.fix


def test_calibrated_clocks_are_shown_where_few_windows_are_determined(monkeypatch):
    found, calls = examine(monkeypatch, few=calibrated())
    assert found.calibrated and not calls.called
    middle = 31.0
    np.testing.assert_allclose(found.lines.offsets[:3], [0, 0.01 + middle * 3e-5, 0])
    np.testing.assert_allclose(
        found.lines.offset_errors[:3], np.sqrt(4e-10 + middle**2 * 1e-12)
    )
    np.testing.assert_allclose(found.lines.drifts[:3], [0, 3e-5, 0])
    assert np.isnan(found.lines.offsets[3])
    assert [one.kind for one in found.remarks] == ["drift"]


def test_clocks_that_were_taken_to_agree_tell_no_drift(monkeypatch):
    found, _ = examine(monkeypatch, few=calibrated(model=0))
    assert np.isnan(found.lines.drifts).all() and found.remarks == []


def test_clocks_of_recorders_that_started_late_are_said(monkeypatch):
    clocks = late_starts.Clocks(np.array([0, 0.02, 0, 0]), np.array([0, 1e-5, 0, 0]))
    made, _ = examine(monkeypatch, started=clocks)
    drift, late = made.remarks
    assert (drift.node, drift.kind) == ("desk", "drift")
    assert drift.what.startswith("has a clock that drifts by +10.0")
    assert (late.node, late.kind) == ("desk", "clock")
    assert late.what == "is 20.0 ms late"
    middle = 1e-5 * 31.0
    np.testing.assert_allclose(made.lines.offsets, [0, 0.02 + middle, 0, 0])
    np.testing.assert_allclose(made.lines.drifts, [0, 1e-5, 0, 0])
