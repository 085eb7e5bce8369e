"""The page of a plan: cells and nodes where they are, in the colors of the legend."""

import re

import numpy as np
import pytest
from made_session_records import parse

from uld_jax.report import placement_page, radius_map

ROOM = [6.0, 4.0, 2.7]
RADII = [[0.01, 0.03, 0.07], [0.15, 0.3, 0.6]]
RECORD = {
    "name": "a <b> plan",
    "command": "uld_jax plan --room=6x4x2.7 --nodes=3",
    "version": "0.1.0",
    "written": "2026-11-30T18:00:00+00:00",
    "room_size_m": ROOM,
    "nodes": [
        {"name": "door", "position_m": [0.0, 1.0, 1.2], "fixed": True},
        {"name": "n1", "position_m": [6.0, 4.0, 1.2], "fixed": False},
        {"name": "n2", "position_m": [3.0, 0.0, 1.2], "fixed": False},
    ],
    "one_more_m": [1.5, 4.0, 1.2],
    "table_m": [2.0, 1.0, 4.0, 3.0],
    "radii_m": RADII,
    "answers": ["90 % radius expected: worst 0.6 m."],
    "facts": ["one clock"],
    "assumed": ["Walls are plain."],
}


@pytest.fixture(scope="module")
def page():
    return parse(placement_page.render(RECORD))


def to_meters(page, units):
    """Map units to meters by the outline of the room."""
    outline = page.one("path", "room")["d"]
    left, bottom, right, top = map(float, re.findall(r"-?[\d.]+", outline)[:4])
    low, high = np.array([left, bottom]), np.array([right, top])
    return (np.asarray(units) - low) / (high - low) * ROOM[:2]


def test_each_cell_is_in_its_place_with_its_color(page):
    cells = page.one("g", "map").all("rect")
    assert len(cells) == 6
    for number, cell in enumerate(cells):
        row, column = divmod(number, 3)
        corner = np.array([float(cell["x"]), float(cell["y"])])
        size = np.array([float(cell["width"]), float(cell["height"])])
        center = to_meters(page, corner + size / 2)
        np.testing.assert_allclose(center, [2 * column + 1, 2 * row + 1], atol=2e-3)
        assert cell.classes == [f"level-{number}"]
        radius, at = cell.one("title").text.split(" at ")
        assert float(radius.split()[0]) == pytest.approx(RADII[row][column])
        assert at.startswith(f"({center[0]:.2f}")


def test_the_legend_has_the_bounds_of_the_colors(page):
    lines = page.one("ul", "legend").all("li")
    named = [one.one("rect").classes[0] for one in lines]
    assert named == [f"level-{level}" for level in range(7)]
    for level, (line, bound) in enumerate(zip(lines, radius_map.LEVELS, strict=False)):
        assert line.text == f"up to {bound:g} m"
        assert radius_map.find_level(bound) == level
        assert radius_map.find_level(1.001 * bound) == level + 1
    assert lines[-1].text == "above 1 m"


def test_nodes_are_where_they_are_and_given_ones_differ(page):
    marks = page.one("g", "nodes").all("path", "node")
    for mark, node in zip(marks, RECORD["nodes"], strict=True):
        place = re.match(r"M([\d.]+) ([\d.]+)m", mark["d"]).groups()
        found = to_meters(page, np.float64(place))
        np.testing.assert_allclose(found, node["position_m"][:2], atol=2e-3)
        assert ("fixed" in mark.classes) == node["fixed"]
    (more,) = page.all("path", "more")
    place = re.match(r"M([\d.]+) ([\d.]+)m", more["d"]).groups()
    np.testing.assert_allclose(to_meters(page, np.float64(place)), [1.5, 4], atol=2e-3)
    assert page.all("path", "table")


def test_the_texts_are_there_and_escaped(page):
    text = placement_page.render(RECORD)
    assert "a &lt;b&gt; plan" in text and "<b> plan" not in text
    assert page.one("ul", "answers").text == RECORD["answers"][0]
    assert "one clock" in page.one("p", "facts-line").text
    rows = page.one("table", "placed").all("tr")
    assert [cell.text for cell in rows[1].children] == [
        *("door", "0.00", "1.00", "1.20", "given")
    ]


def test_the_page_loads_nothing(page):
    text = placement_page.render(RECORD)
    assert "default-src 'none'" in text and "<script" not in text
    assert not re.search(r"https?://|@import|url\(", text)


def test_a_plan_without_extras_is_drawn():
    few = RECORD | {"one_more_m": None, "table_m": None}
    page = parse(placement_page.render(few))
    assert not page.all("path", "more") and not page.all("path", "table")
