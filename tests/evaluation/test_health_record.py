"""The record of an examined session: plain numbers, nothing lost, None for unknown."""

import json
import pathlib

import numpy as np

from uld_jax.audio import diagnosis, sessions
from uld_jax.evaluation import doctor, health_record, radius_maps
from uld_jax.localization import clock_lines

NAN = np.nan
NODES = np.array([[0.0, 1.0, 1.2], [5.0, 3.0, 1.2], [3.0, 0.0, 1.2]])


def session():
    folder, room = pathlib.Path("my_lab"), np.array([6.0, 4.0, 2.5])
    return sessions.Session(folder, room, ("door", "a long name", "desk"), NODES, ())


def examined(**changed):
    facts = diagnosis.Facts(-20.0, -40.0, -104.0, -12.0, -4.0, 0.5, 3400.0)
    lines = clock_lines.ClockLines(
        np.array([1e-5, -0.01, NAN]),
        np.array([2e-5, 3e-5, NAN]),
        np.array([1e-6, 2e-5, NAN]),
        np.array([2e-6, 1e-6, NAN]),
    )
    values = {
        "name": "monday",
        "facts": [facts] * 3,
        "starts": np.array([0.0, 0.3, 0.0]),
        "coherence": np.array([0.3, 0.25, NAN]),
        "clocks": lines,
        "said_of_clocks": "Clocks agree",
        "windows": 12,
        "determined": 11,
        "places": 1,
        "map": radius_maps.make(session(), [""] * 3),
        "remarks": [diagnosis.Remark("desk", 1, "late", "is late", "Move it")],
    }
    return doctor.Examined(**(values | changed))


def test_the_record_is_json_and_has_all():
    record = health_record.make(session(), [examined()], "uld_jax doctor my_lab")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["level"], record["summary"]) == (1, "Usable: 1 remark")
    (one,) = record["recordings"]
    door, _, desk = one["nodes"]
    assert door["clock_drift_ppm"] == 1.0 and door["clock_offset_error_s"] == 2e-5
    assert door["bandwidth_hz"] == 3400.0
    assert desk["coherence"] is desk["clock_drift_ppm"] is None
    assert one["remarks"][0]["text"] == "Node desk is late. Move it."
    assert np.shape(one["map"]["radii_m"]) == examined().map.radii.shape
    assert one["map"]["area_m"] == [[0.0, 0.0], [6.0, 4.0]]


def test_a_recording_that_was_not_localized_has_no_clocks():
    lost = examined(clocks=None, said_of_clocks="", windows=0, determined=0, map=None)
    record = health_record.make(session(), [lost], "uld_jax doctor my_lab")
    (one,) = record["recordings"]
    assert one["clocks"] is one["map"] is one["geometry"] is None
    assert one["nodes"][0]["clock_offset_s"] is None
    assert "windows" not in health_record.describe(session(), lost)


def test_the_terminal_has_a_line_for_each_node_in_both_tables():
    lines = health_record.describe(session(), examined()).splitlines()
    assert lines[0] == "monday:"
    assert lines[2].split() == ["door", "-20", "-40", "-", "-32", "0.5", "3.4"]
    assert " ".join(lines[7].split()[3:]) == "0.30 -10.00 ± 0.03 20.0 ± 1.0 0.25"
    assert lines[8].split() == ["desk", "0.00", "-", "-", "-"]
    assert len({len(line) for line in lines[1:5]}) == 1
    assert lines[9] == "  11 of 12 windows determined, 1 place"
    assert lines[-1] == "  - Node desk is late. Move it."
