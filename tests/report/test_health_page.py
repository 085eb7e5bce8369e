"""The page of an examined session: what the record says, and nothing from elsewhere."""

import re

import pytest
from made_page_records import EXAMINED
from made_session_records import parse

from uld_jax.report import health_page


@pytest.fixture(scope="module")
def page():
    return parse(health_page.render(EXAMINED))


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
    text = health_page.render(EXAMINED)
    assert text.index("Usable: 2 remarks") < text.index("monday")
    assert "my &lt;lab&gt;" in text and "<lab>" not in text
    assert "11 of 12 windows determined, at 3 places." in text


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_state_is_marked_by_more_than_words(level):
    text = health_page.render(EXAMINED | {"level": level})
    marked = re.search(r"<p( class=\"state \w+\")?><b>Usable", text)[1]
    assert (marked or "") == ("", ' class="state sure"', ' class="state unsure"')[
        (1, 0, 2)[level]
    ]


def test_the_page_loads_nothing(page):
    text = health_page.render(EXAMINED)
    assert "default-src 'none'" in text and "<script" not in text
    assert not re.search(r"https?://|@import|url\(", text)


def test_a_recording_that_was_not_localized_is_shown():
    one = EXAMINED["recordings"][0]
    lost = one | {"map": None, "windows": 0, "determined": 0, "clocks": None}
    text = health_page.render(EXAMINED | {"recordings": [lost], "room_size_m": None})
    assert "Nothing was localized." in text and "<svg" not in text
