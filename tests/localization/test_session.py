"""Localization throughout long recordings, with clocks that are late and drift."""

import dataclasses

import free_field
import numpy as np
import pytest

import uld_jax
from uld_jax.audio import builtin
from uld_jax.localization import batches, session

SPEED, RATE = 343.0, 16_000
PLACES = np.array([[1.2, 3.1], [4.4, 1.0], [2.8, 4.2], [0.8, 0.9], [5.1, 3.6]])
HEIGHT = 1.5
ROOM = [6.0, 5.0]
STARTS = [0, 12, 24, 36, 48, 58]  # Of talkers, in seconds; the rest is silent.


def record(nodes, late, drifts, starts=STARTS, seconds=60, places=PLACES):
    """Record talkers in turn, each for 2 s, by clocks that are late and drift.

    A node's clock runs slow by its drift, so that its signals are stretched, within a
    talk, too.
    """
    quiet = 1e-4 * np.random.default_rng(9).normal(size=(len(nodes), RATE * seconds))
    at = np.arange(2 * RATE) / RATE
    for number, start in enumerate(starts):
        speech = np.asarray(builtin.synthesize(f"test0{number}-0"), np.float64)
        place = places[number % len(places)]
        paths = np.linalg.norm(nodes - [*place, HEIGHT], axis=1)
        begin = RATE * start
        for node in range(len(nodes)):
            shift = paths[node] / SPEED + late[node]
            shift += (start + at - seconds / 2) * drifts[node]
            # The delay changes by less than 3 samples: pieces of 0.1 s, each moved.
            for piece in range(20):
                some = slice(piece * RATE // 10, (piece + 1) * RATE // 10)
                delayed = free_field.delay(
                    speech[:48_000], shift[some].mean(keepdims=True)
                )
                sound = delayed[0, 8_000 : 8_000 + 2 * RATE][some] / paths[node]
                quiet[node, begin + some.start : begin + some.stop] += sound
    return quiet


@pytest.fixture(scope="module")
def nodes():
    return np.random.default_rng(6).uniform([0.2, 0.2, 0.5], [5.8, 4.8, 2.2], (8, 3))


@pytest.fixture(scope="module")
def meeting(nodes):
    """Return clocks, the signals of a minute, and what was found in them."""
    rng = np.random.default_rng(7)
    late, drifts = 0.01 * rng.normal(size=8), 5e-5 * rng.normal(size=8)
    signals = record(nodes, late, drifts)
    return late, drifts, signals, uld_jax.localize_session(signals, RATE, nodes, ROOM)


def test_a_session_is_localized_by_the_clocks_that_it_shows(meeting):
    late, _, _, found = meeting
    np.testing.assert_array_equal(found.starts, STARTS)
    assert found.clocks.determined
    wrong = found.clocks.late_at([30.0])[0] - late
    wrong = wrong[np.isfinite(found.clocks.offsets)]
    assert len(wrong) >= 7
    assert np.abs(wrong - np.median(wrong)).max() < 2e-4
    away = np.linalg.norm(found.positions - PLACES[np.arange(6) % 5], axis=1)
    assert np.median(away) < 0.02
    alone = [one.radius_90 for one in found.clocks.localizations]
    assert np.median(found.radii_90) < 0.3 * np.median(alone)
    text = str(found)
    assert text.startswith(("    0.0 s: (1.2", "    0.0 s: (1.19"))
    assert "node 7: offset" in text


def test_drifts_are_found_through_signals(meeting):
    _, drifts, _, found = meeting
    wrong = found.clocks.drifts - drifts
    wrong = wrong[np.isfinite(wrong)]
    assert np.abs(wrong - np.median(wrong)).max() < 5e-6


def test_what_is_constant_is_no_sound(meeting, nodes):
    """An offset of the recorder, whole numbers, and a node that is stuck."""
    _, _, signals, found = meeting
    scaled = np.int16(1e4 * signals / np.abs(signals).max())
    starts, _ = session.recordings.windows_with_sound(scaled + np.int16(500), RATE)
    np.testing.assert_array_equal(starts / RATE, found.starts)
    scaled[2] = 32_767
    starts, _ = session.recordings.windows_with_sound(scaled, RATE)
    np.testing.assert_array_equal(starts / RATE, found.starts)
    # However quiet.
    starts, _ = session.recordings.windows_with_sound(1e-9 * signals, RATE)
    np.testing.assert_array_equal(starts / RATE, found.starts)


def test_long_sessions_calibrate_with_the_strongest_windows(
    nodes, monkeypatch, meeting
):
    """Of stretches as long as each other; all windows are localized, in their order."""
    *_, signals, whole = meeting
    used, seen = [], []

    def calibrate(windows, *_, **given):
        used.append(given["times"].tolist())
        return whole.clocks

    def localize_one(window, *_, late):
        seen.append((window, late))
        return whole.localizations[0]

    monkeypatch.setattr(session, "CALIBRATED_WITH", 3)
    monkeypatch.setattr(session.calibration, "calibrate_clocks", calibrate)
    monkeypatch.setattr(session.localize, "localize_one", localize_one)
    louder = signals.copy()
    louder[:, 12 * RATE : 14 * RATE] *= 10
    louder[:, 48 * RATE : 50 * RATE] *= 10
    uld_jax.localize_session(louder, RATE, nodes, ROOM)
    assert used[0][0] == 12.0
    assert used[0][2] == 48.0
    assert len(used[0]) == 3
    for start, (window, late) in zip(STARTS, seen, strict=True):
        np.testing.assert_array_equal(
            window, louder[:, start * RATE : (start + 2) * RATE]
        )
        # Clocks are taken halfway.
        np.testing.assert_array_equal(late, whole.clocks.late_at([start + 1.0])[0])


def test_windows_that_do_not_fit_are_counted(meeting, monkeypatch):
    *_, whole = meeting
    fitted = np.array([True, False, True, True, False, True])
    some = dataclasses.replace(whole.clocks, fitted=fitted, reasons=("one", "two"))
    monkeypatch.setattr(session.calibration, "calibrate_clocks", lambda *_: some)
    clocks = session.calibrate_with_windows([np.zeros(1)] * 6)
    assert clocks.reasons == ("Times of 2 of 6 windows do not fit these clocks",)
    every = dataclasses.replace(some, fitted=np.ones(6, bool), reasons=())
    monkeypatch.setattr(session.calibration, "calibrate_clocks", lambda *_: every)
    assert session.calibrate_with_windows([np.zeros(1)] * 6) is every


def test_a_session_of_one_place_says_that_clocks_are_not_determined(nodes):
    late = 0.01 * np.random.default_rng(7).normal(size=8)
    signals = record(
        *(nodes, late, np.zeros(8)), [0, 2, 4], seconds=6, places=PLACES[:1]
    )
    found = uld_jax.localize_session(signals, RATE, nodes, ROOM)
    assert not found.clocks.determined
    assert found.localizations == found.clocks.localizations
    assert "clocks are not determined" in str(found)
    away = np.linalg.norm(found.positions - PLACES[0], axis=1)
    assert (away < found.radii_90).all()


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (np.zeros((4, 64_000)), "hold no sound: every node is silent"),
        (np.ones((4, 64_000)), "hold no sound: every node is silent"),
        (np.random.default_rng(0).normal(size=(4, 16_000)), "are 1 s long; give at"),
        (
            np.zeros((1, 4, 64_000)),
            r"shape \(1, 4, 64000\); it must be \[M, N\] of one",
        ),
    ],
)
def test_bad_input_is_named_with_the_fix(signals, message):
    places = np.random.default_rng(0).uniform(0, 4, (4, 3))
    with pytest.raises(batches.RecordingError, match=message):
        uld_jax.localize_session(signals, RATE, places)


def test_errors_of_clocks_widen_answers(meeting):
    *_, whole = meeting
    one = whole.localizations[0]
    nothing = session.widen(one, np.zeros((8, 8)))
    assert nothing is one
    errors = np.diag(np.full(8, 1e-4**2))
    wider = session.widen(one, errors)
    moved = wider.covariance - one.covariance
    assert np.linalg.eigvalsh(moved)[0] > 0.005**2  # 0.1 ms are 3 cm of path.
    further = 2.146**2 * np.linalg.eigvalsh(moved)[-1]
    assert wider.radius_90 == pytest.approx(np.sqrt(one.radius_90**2 + further))
    assert wider.probability.sum() == pytest.approx(1.0)
    assert wider.probability.max() < one.probability.max()
    np.testing.assert_allclose(
        wider.modes[0].covariance - one.modes[0].covariance, moved
    )


def test_windows_that_clocks_were_fitted_to_have_the_joint_posterior(meeting):
    """By their times; others at their place are moved by clocks as these are."""
    *_, whole = meeting
    clocks = whole.clocks
    number = int(np.flatnonzero(clocks.fitted)[0])
    one, place = clocks.localizations[number], clocks.positions[number]
    far = dataclasses.replace(
        one,
        position=place + 1.0,
        determined=False,
        reasons=("2 places fit: a, b", "Node 1"),
    )
    found = session._with_clocks(far, clocks, clocks.moments[number])
    np.testing.assert_array_equal(found.position, place)
    np.testing.assert_array_equal(found.covariance, clocks.joint[number])
    widest = np.linalg.eigvalsh(clocks.joint[number])[-1]
    assert found.radius_90 == pytest.approx(2.146 * np.sqrt(widest))
    assert found.determined and found.reasons == ("Node 1",)
    assert found.probability.sum() == pytest.approx(1.0)
    near = dataclasses.replace(
        one, position=place + np.array([0.01, 0.0]), radius_90=0.05
    )
    other = session._with_clocks(near, clocks, clocks.moments[number] + 0.5)
    np.testing.assert_allclose(
        other.covariance - near.covariance, clocks.of_clocks[number]
    )
    np.testing.assert_array_equal(other.position, near.position)
    # Elsewhere nothing but the clocks is known.
    away = dataclasses.replace(one, position=np.array([2.0, 2.0]), radius_90=0.05)
    apart = np.linalg.norm(clocks.positions - away.position, axis=1)
    assert apart.min() > 0.5
    alone = session._with_clocks(away, clocks, 99.0)
    expected = session.widen(away, clocks.covariance_at(99.0))
    np.testing.assert_allclose(alone.covariance, expected.covariance)


def test_offsets_of_nodes_are_those_from_the_place(meeting):
    *_, whole = meeting
    one = whole.localizations[0]
    place = one.position + np.array([0.3, -0.2])
    found = session.move_to_place(one, place, 1e-4 * np.eye(2))

    def arrivals(found):
        paths = np.linalg.norm(
            found.node_positions - np.append(found.position, found.height), axis=1
        )
        return found.node_offsets + paths / SPEED

    moved = arrivals(found) - arrivals(one)
    moved = moved[np.isfinite(moved)]
    np.testing.assert_allclose(moved, moved[0], atol=1e-9)


def test_a_place_that_is_known_within_meters_determines_nothing(meeting):
    *_, whole = meeting
    one = whole.localizations[0]
    found = session.move_to_place(one, one.position, np.eye(2))
    assert not found.determined
    assert found.reasons[0] == "Errors of clocks make the radius 2.15 m"


def test_clocks_are_least_known_long_before_and_after(meeting):
    *_, whole = meeting
    clocks = whole.clocks
    near = np.trace(clocks.covariance_at(clocks.reference))
    assert near == pytest.approx(np.trace(clocks.covariance[:8, :8]))
    assert np.trace(clocks.covariance_at(600.0)) > 10 * near
    blocks = clocks.covariance[:8, :8], clocks.covariance[:8, 8:]
    later = blocks[0] + 5 * (blocks[1] + blocks[1].T) + 25 * clocks.covariance[8:, 8:]
    np.testing.assert_allclose(clocks.covariance_at(clocks.reference + 5), later)


def test_a_window_of_which_nothing_is_known_is_not_widened(meeting):
    *_, whole = meeting
    one = dataclasses.replace(whole.localizations[0], height=float("nan"))
    assert session.widen(one, 1e-8 * np.eye(8)) is one


def test_errors_of_clocks_of_more_than_a_meter_determine_nothing(meeting):
    *_, whole = meeting
    one = next(one for one in whole.localizations if one.determined)
    wider = session.widen(one, 0.01**2 * np.eye(8))
    assert wider.radius_90 > 1
    assert not wider.determined
    assert wider.reasons[0].startswith("Errors of clocks make the radius")
