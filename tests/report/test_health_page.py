"""The page of an examined session: what the record says, and nothing from elsewhere."""

import re

import pytest
from made_session_records import parse

from uld_jax.report import health_page


def node(name, **changed):
    return {
        "name": name,
        "speech_db": -20.0,
        "noise_db": -41.4,
        "offset_db": -103.0,
        "hum_db": -12.0,
        "high_db": -4.0,
        "gap_seconds": 0.0,
        "bandwidth_hz": 7990.0,
        "start_s": 0.0,
        "clock_offset_s": 1e-5,
        "clock_offset_error_s": 2e-5,
        "clock_drift_ppm": None,
        "clock_drift_error_ppm": None,
        "coherence": 0.31,
        **changed,
    }


RECORD = {
    "session": "my <lab>",
    "written": "2026-12-01T01:00:00+00:00",
    "version": "0.1.0",
    "command": "uld_jax doctor my_lab",
    "level": 1,
    "summary": "Usable: 2 remarks",
    "room_size_m": [6.0, 4.0, 2.5],
    "nodes": ["door", "desk", "a & b"],
    "node_positions_m": [[0.0, 1.0, 1.2], [5.0, 3.0, 1.2], [3.0, 0.0, 1.2]],
    "recordings": [
        {
            "name": "monday",
            "level": 1,
            "windows": 12,
            "determined": 11,
            "places": 3,
            "clocks": "Clocks agree, so that talkers need not move",
            "geometry": "Places of nodes determine a position",
            "remarks": [
                {"node": "desk", "level": 1, "text": "Node desk started late."},
                {"node": "a & b", "level": 2, "text": "Node a & b is silent."},
            ],
            "nodes": [
                node("door"),
                node(
                    "desk",
                    start_s=0.3,
                    clock_offset_s=-0.01,
                    clock_drift_ppm=20.26,
                    clock_drift_error_ppm=1.04,
                ),
                node("a & b", coherence=None, clock_offset_s=None),
            ],
            "map": {
                "area_m": [[0.0, 0.0], [6.0, 4.0]],
                "radii_m": [[0.01, 0.3, 1.2], [0.1, 0.6, 0.04]],
                "limit_m": 1.0,
                "share_undetermined": 0.17,
                "nodes": ["door", "desk"],
            },
        }
    ],
}


@pytest.fixture(scope="module")
def page():
    return parse(health_page.render(RECORD))


def rows(page, kind):
    return [
        [cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in row.children]
        for row in page.one("table", kind).all("tr")
    ][1:]


def test_signals_and_clocks_are_those_of_the_record(page):
    minus, plus_minus = "\N{MINUS SIGN}", "\N{PLUS-MINUS SIGN}"
    levels = rows(page, "signals")
    assert levels[0] == [
        *("door", f"{minus}20", f"{minus}41", "\N{EN DASH}", f"{minus}32"),
        *("0.0", "8.0", "0.31"),
    ]
    assert levels[2][-1] == "\N{EN DASH}"
    clocks = rows(page, "clocks")
    assert clocks[0] == ["door", "0.00", f"+0.01 {plus_minus} 0.02", "\N{EN DASH}"]
    assert clocks[1][1:] == [
        *("0.30", f"{minus}10.00 {plus_minus} 0.02", f"+20.3 {plus_minus} 1.0")
    ]
    assert clocks[2][2] == "\N{EN DASH}"


def test_the_map_has_a_cell_for_each_radius_and_all_nodes(page):
    cells = page.one("g", "map").all("rect")
    levels = [one.classes[0] for one in cells]
    assert levels == [f"level-{k}" for k in (0, 4, 6, 2, 5, 1)]
    marks = page.one("g", "nodes").all("path", "node")
    assert ["fixed" in one.classes for one in marks] == [False, False, True]


def test_the_worst_remark_comes_first_and_the_summary_at_the_top(page):
    remarks = [one.text for one in page.one("section", "note").all("li")]
    assert remarks == ["Node a & b is silent.", "Node desk started late."]
    text = health_page.render(RECORD)
    assert text.index("Usable: 2 remarks") < text.index("monday")
    assert "my &lt;lab&gt;" in text and "<lab>" not in text
    assert "11 of 12 windows determined, at 3 places." in text


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_state_is_marked_by_more_than_words(level):
    text = health_page.render(RECORD | {"level": level})
    marked = re.search(r"<p( class=\"state \w+\")?><b>Usable", text)[1]
    assert (marked or "") == ("", ' class="state sure"', ' class="state unsure"')[
        (1, 0, 2)[level]
    ]


def test_the_page_loads_nothing(page):
    text = health_page.render(RECORD)
    assert "default-src 'none'" in text and "<script" not in text
    assert not re.search(r"https?://|@import|url\(", text)


def test_a_recording_that_was_not_localized_is_shown():
    one = RECORD["recordings"][0]
    lost = one | {"map": None, "windows": 0, "determined": 0, "clocks": None}
    text = health_page.render(RECORD | {"recordings": [lost], "room_size_m": None})
    assert "Nothing was localized." in text and "<svg" not in text
