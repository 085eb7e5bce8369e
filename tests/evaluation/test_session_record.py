"""The record of a located session: numbers and texts, and nothing that JSON lacks."""

import dataclasses
import json

import numpy as np
import pytest

from uld_jax.audio import session_files, sessions
from uld_jax.evaluation import locate, session_record
from uld_jax.localization import calibration, localize

NODES = np.array([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0], [0.0, 2.0, 1.0]])


@pytest.fixture
def session(tmp_path):
    channels = tuple(
        session_files.Channel(tmp_path / f"{name}.wav", 0, 96_000, 48_000)
        for name in "abc"
    )
    recordings = (
        sessions.Recording("first", "test", np.array([[1.0, 1.0, 1.5]]), channels),
        sessions.Recording("second", "test", None, channels),
    )
    return sessions.Session(tmp_path, None, tuple("abc"), NODES, recordings)


@pytest.fixture
def silent():
    return localize.localize(np.zeros((3, 8000)), 16_000, NODES)


def test_all_is_json_whatever_is_unknown(session, silent):
    clocks = calibration.Calibration(
        offsets=np.array([0.001, -0.001, np.nan]),
        offset_errors=np.array([1e-5, 1e-5, np.nan]),
        drifts=None,
        positions=np.zeros((1, 2)),
        radii_90=np.ones(1),
        fitted=np.ones(1, bool),
        determined=True,
        reasons=(),
        localizations=(silent,),
    )
    found = dataclasses.replace(silent, position=np.array([1.5, 1.0]))
    located = [
        locate.Located(
            session.recordings[0],
            np.array([0.0, 4.0]),
            np.array([[[1.5, 1.0]], [[1.0, 1.0]]]),
            [found, silent],
            clocks=clocks,
            remarks=("Node b started 0.30 s after the first",),
            duration=2.0,
            speech=np.array([[0.0, 1.5]]),
        ),
        locate.Located(session.recordings[1], np.array([0.0]), np.ones((1, 2, 2))),
    ]
    record = session_record.make(session, located, ["third: lost"], "uld_jax", {"a": 1})
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again == record
    assert record["room_size_m"] is None
    # Two meters around the nodes are searched.
    np.testing.assert_allclose(record["area_m"], [[-2.0, -2.0], [5.0, 4.0]])
    assert record["remarks"] == ["first: Node b started 0.30 s after the first"]
    first, second = record["recordings"]
    assert first["duration_s"] == 2.0
    assert first["true_positions_m"] == [[1.0, 1.0, 1.5]]
    assert [clock["determined"] for clock in first["clocks"]] == [True, True, False]
    assert first["clocks"][0]["offset_s"] == 0.001
    assert first["clocks"][2]["offset_s"] is first["clocks"][0]["drift_ppm"] is None
    window = first["windows"][0]
    assert (window["start_s"], window["length_s"]) == (0.0, 2.0)
    assert window["errors_m"] == [0.5]
    assert window["node_levels_db"] == [None] * 3  # Silent.
    assert window["determined"] is False
    assert sum(mode["mass"] for mode in window["modes"]) == pytest.approx(1.0)
    assert window["talker"] is None and len(window["smooth_position_m"]) == 2
    assert first["accuracy"]["all windows"]["windows"] == 2
    assert first["accuracy"]["all windows"]["median_m"] == 0.25
    assert record["accuracy"] == first["accuracy"]
    assert first["speech_s"] == [[0.0, 1.5]] and second["speech_s"] is None
    assert second["accuracy"] == {}
    assert second["true_positions_m"] is second["clocks"] is None
    assert second["sources"] == 2
    assert "radius_90_m" not in second["windows"][0]


def test_without_answers_the_area_is_that_of_room_or_nodes(session):
    located = [
        locate.Located(session.recordings[1], np.array([0.0]), np.ones((1, 1, 2)))
    ]
    record = session_record.make(session, located, [], "", {})
    assert record["area_m"] == [[0.0, 0.0], [3.0, 2.0]]
    roomy = dataclasses.replace(session, room_size=np.array([4.0, 5.0]))
    record = session_record.make(roomy, located, [], "", {})
    assert record["area_m"] == [[0.0, 0.0], [4.0, 5.0]]
    assert record["room_size_m"] == [4.0, 5.0]
