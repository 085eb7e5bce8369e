import base64
import copy
import hashlib
import math
import pathlib
import re
import tomllib

import numpy as np
import pytest
from conftest import ROOT
from made_session_records import (
    NODES,
    guess,
    long_session,
    numbers,
    parse,
    record,
    recording,
    session,
    silence,
    tracked_session,
    window,
)

from uld_jax.report import session_page
from uld_jax.storage import atomic


def render(found):
    return parse(session_page.render(found))


def answers(page):
    return [one.text for one in page.one("ul", "answers").all("li")]


def cells(page, kind):
    """Return the rows of a table, as lists of texts without unbreakable spaces."""
    return [
        [cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in row.children]
        for row in page.one("table", kind).all("tr")
    ]


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_answer_is_on_top():
    (line,) = answers(render(session()))
    assert plain(line) == (
        "monday.wav: 4 of 6 windows determined: 2 at (1.35, 1.45) m and 2 at "
        "(4.65, 1.20) m. Median 90 % radius 0.450 m. Median error 0.250 m."
    )


def test_one_place_is_not_counted():
    (line,) = answers(render(record(recording([window(), window(start=2.0)]))))
    assert "2 of 2 windows determined, at (1.30, 1.40) m." in plain(line)


def test_many_places_are_a_range():
    windows = [window((x, 2.0), start=2.0 * x) for x in range(1, 7)]
    (line,) = answers(render(record(recording(windows))))
    assert "at 6 places between (1.10, 2.00) m and (5.90, 2.00) m" in plain(line)


def test_thirty_places_are_a_range():
    """Each of them has too few windows to be named."""
    windows = [
        window((0.6 * x, 0.6 * y), start=2.0 * (6 * x + y))
        for x in range(5)
        for y in range(6)
    ]
    (line,) = answers(render(record(recording(windows))))
    assert "30 of 30 windows determined, at 30 places between" in plain(line)


def test_none_determined_is_said():
    (line,) = answers(render(record(recording([guess((1, 2), (3, 4)), silence(2.0)]))))
    assert line == "monday.wav: None of 2 windows determined."


def test_a_method_that_is_never_sure_is_said():
    two = {"start_s": 0.0, "length_s": 2.0, "positions_m": [[1, 2], [4, 3]]}
    page = render(record(recording([two], sources=2)))
    assert plain(answers(page)[0]) == (
        "monday.wav: 1 of 1 window located (this method does not say how sure it is): "
        "1 at (1.00, 2.00) m and 1 at (4.00, 3.00) m."
    )
    assert not page.all("table", "nodes") and not page.all("table", "errors")
    assert cells(page, "windows") == [
        ["Time", "State", "Position"],
        ["0.0\N{EN DASH}2.0 s", "located", "(1.00, 2.00) m(4.00, 3.00) m"],
    ]


def test_the_table_has_every_window():
    page = render(session())
    header, *rows = cells(page, "windows")
    assert header[:3] == ["Time", "State", "Position"]
    assert header[3:6] == ["Height", "90 % within", "Error"]
    assert len(rows) == 6
    assert rows[0][2:6] == ["(1.30, 1.40) m", "1.30 m", "0.450 m", "0.100 m"]
    assert [row[1] for row in rows[1:4]] == [
        "determined",
        "not determined",
        "no position",
    ]
    assert rows[2][6] == "(2.00, 3.00) m, 60 %(4.00, 1.00) m, 40 %"


def test_errors_are_summarized():
    page = render(session())
    table = np.array(cells(page, "errors"))
    np.testing.assert_array_equal(table[0], ["Error", "determined", "all windows"])
    sure, everything = [0.10, 0.20, 0.50, 0.30], [0.10, 0.20, 1.50, 0.50, 0.30]
    for column, errors in ((1, sure), (2, everything)):
        expected = [np.median(errors), np.mean(errors), np.percentile(errors, 90)]
        assert table[1, column] == str(len(errors))
        assert table[2:5, column].tolist() == [f"{one:.3f} m" for one in expected]
        assert table[5, column] == f"{max(errors):.3f} m"
    assert table[6, 1:].tolist() == ["3 of 4 (75 %)", "3 of 5 (60 %)"]


def test_turns_are_listed_with_their_talkers():
    page = render(tracked_session())
    assert cells(page, "turns") == [
        ["Time", "Talker", "Position", "90 % within", "Sure by"],
        ["0.2\N{EN DASH}3.9 s", "1", "(1.35, 1.50) m", "0.300 m", "97 %"],
        ["4.0\N{EN DASH}5.8 s", "2", "(4.60, 1.20) m", "0.300 m", "97 %"],
        ["6.1\N{EN DASH}7.7 s", "1", "(1.40, 1.60) m", "0.300 m", "97 %"],
    ]
    header, first, *_, last = cells(page, "windows")
    talker, smooth = header.index("Talker"), header.index("Smoothed")
    assert first[talker] == "1" and last[talker] == "\N{EN DASH}"
    assert first[smooth] == "(1.30, 1.50) m \N{PLUS-MINUS SIGN} 0.300 m"
    assert last[smooth] == "\N{EN DASH}"
    assert not render(session()).all("table", "turns")


def test_smoothed_positions_have_errors_too():
    found = tracked_session()
    (one,) = found["recordings"]
    one["true_positions_m"] = [[1.4, 1.5, 1.3]]
    table = np.array(cells(render(found), "errors"))
    np.testing.assert_array_equal(table[0], ["Error", "smoothed, in turns"])
    # 0.1, 0, 3.214 and 0.1 m, with radii of 0.3, and of 0.5 for the third.
    assert table[1:3, 1].tolist() == ["4", "0.100 m"]
    assert table[6, 1] == "3 of 4 (75 %)"


def test_clocks_are_listed():
    header, door, *_, desk = cells(render(session()), "clocks")
    assert header == ["Node", "Late by", "Standard error", "Drift", "Determined"]
    assert door == ["door", "+12.300 ms", "0.010 ms", "\N{MINUS SIGN}3.2 ppm", "yes"]
    assert desk[0] == "desk" and desk[3:] == ["\N{EN DASH}", "no"]


def test_nodes_have_medians():
    header, *rows = cells(render(session()), "nodes")
    assert header[:2] == ["Node", "Late by, \N{PLUS-MINUS SIGN}0.5 m"]
    assert rows[1][0] == "window(6.00, 0.30, 1.40) m"
    assert rows[1][3] == "+41.160 m +120.00 ms"  # 343 m/s times 0.12 s.
    assert rows[1][4] == "\N{MINUS SIGN}1.2 dB" and rows[1][5] == "6 of 6"
    assert rows[2][3:] == ["\N{EN DASH}", "\N{EN DASH}", "0 of 6"]


def test_remarks_that_differ_in_numbers_are_one():
    windows = [
        window(
            start=2.0 * k, reasons=[f"Node 1 is {k}.5 ms late", "Rare"][: 1 + (k == 1)]
        )
        for k in range(3)
    ]
    _, *rows = cells(render(record(recording(windows))), "reasons")
    assert rows == [["Node 1 is 0.5 ms late", "3"], ["Rare", "1"]]


def test_remarks_and_what_was_left_out_are_shown():
    notes = [one.text for one in render(session()).all("section", "note")]
    assert notes == [
        "RemarksNode 1 is 120.0 ms late: its clock or position is off",
        "Left outtuesday.wav has 5 channels, and the session has 4 nodes",
    ]


def test_how_it_was_located_is_at_the_end():
    _, *rows = cells(render(session()), "origin")
    assert ["Command", "uld_jax locate --recordings=my_lab"] in rows
    assert ["Version of uld_jax", "0.1.0"] in rows
    assert rows[-3:] == [
        ["method", "fused"],
        ["calibrate_clocks", "not given"],
        ["seen", "no"],
    ]


def test_the_script_gets_numbers_of_each_window():
    page = render(session())
    (found,) = numbers(page)
    assert [one["state"] for one in found["windows"]] == [
        *("sure", "sure", "unsure", "silent", "sure", "sure")
    ]
    assert found["windows"][0]["offsets_ms"] == [0.1, 120.0, None, -0.2]
    assert found["speed_of_sound"] == 343.0
    dots = page.one("svg", "plan").one("g", "dots").children
    assert found["windows"][4]["points"] == [
        [float(dots[2]["cx"]), float(dots[2]["cy"])]
    ]
    assert [mode["mass"] for mode in found["windows"][2]["modes"]] == [
        "60\N{NO-BREAK SPACE}%",
        "40\N{NO-BREAK SPACE}%",
    ]
    assert "modes" not in found["windows"][0] and "points" not in found["windows"][3]


def test_one_late_node_does_not_shrink_the_bars_of_all_others():
    (found,) = numbers(render(session()))
    assert found["limits"] == {"path_m": 0.5, "level_db": 5.0}


HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "<!--",
    "]]>&amp;${alert(1)}$title",
    "</title></style></svg>",
]


def named(name):
    """Return a page whose texts are all the same, two recordings and several nodes."""
    found = session()
    found |= dict.fromkeys(["name", "command", "version", "written"], name)
    found |= {"remarks": [name], "left_out": [name], "settings": {name: name}}
    for node in found["nodes"]:
        node["name"] = name
    (one,) = found["recordings"]
    one["name"] = name
    for clock in one["clocks"]:
        clock["node"] = name
    for some in one["windows"]:
        some["reasons"] = [name]
    return render(found | {"recordings": [one, one]})


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_of_users_stay_texts(name):
    page, expected = named(name), named("plain")
    assert [one.tag for one in page.all()] == [one.tag for one in expected.all()]
    for one, other in zip(page.all(), expected.all(), strict=True):
        assert one.attributes.keys() == other.attributes.keys()
    assert page.one("h1").text == page.all("h2")[2].text == name
    assert page.all("title")[1].text == name
    assert cells(page, "origin")[-1] == [name, name]


def test_the_page_loads_nothing():
    for element in render(session()).all():
        assert element.tag not in {"iframe", "img", "object", "embed", "base"}
        assert not {"src", "srcset", "action", "formaction"} & element.attributes.keys()
        assert element.attributes.get("href", "data:,") == "data:,"
        for value in element.attributes.values():
            assert not re.search(r"url\((?!#)", value or "")
    style = render(session()).one("style").text
    assert "url(" not in style and "@import" not in style


def test_browsers_run_the_script_of_this_package_alone():
    page = render(session())
    (policy,) = (
        one["content"]
        for one in page.all("meta")
        if "content" in one.attributes and "script-src" in one["content"]
    )
    text = session_page.render(session())
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_an_hour_of_30_nodes_fits_in_5_megabytes():
    text = session_page.render(long_session())
    assert len(text.encode()) < 5e6
    assert len(parse(text).one("table", "windows").all("tr")) == 1801


def paths(value, path=()):
    """List the paths to all values of a record, and to all lists and mappings."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*path, index))


def test_everything_may_be_unknown():
    """Each value by itself is None, and each number is not finite."""
    whole = session()
    # Each kind of window once, and no names of elements of lists that the record needs.
    whole["recordings"][0]["windows"] = whole["recordings"][0]["windows"][1:4]
    lists = ("nodes", "recordings", "windows", "modes", "clocks")
    for path in paths(whole):
        if not path or (isinstance(path[-1], int) and path[-2] in lists):
            continue
        changed = copy.deepcopy(whole)
        place = changed
        for key in path[:-1]:
            place = place[key]
        values = [None]
        if isinstance(place[path[-1]], int | float):
            values.append(math.nan)
        for value in values:
            place[path[-1]] = value
            text = session_page.render(changed)
            words = re.sub(
                r"<(script|style).*?</\1>|None of", "", text, flags=re.DOTALL
            )
            assert not re.search(r"\b(nan|inf|None)\b", words), path


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "No recording was located."),
        (record(), "No recording was located."),
        (record(recording([])), "no windows, so nothing was located."),
        (record(recording(None)), "No window of this recording was located."),
        (record(recording([silence(0.0)])), "None of 1 window determined."),
    ],
)
def test_pages_with_nothing_found_say_so(found, words):
    page = render(found)
    assert words in page.text
    assert page.one("h1").text == found.get("name", "Session")


def test_of_an_unknown_room_the_area_is_shown():
    page = render(session() | {"room_size_m": None, "area_m": [[-1, -2], [7, 6.5]]})
    facts = plain(page.one("p", "facts-line").text)
    assert facts.endswith(
        "room unknown, searched from (\N{MINUS SIGN}1.00, "
        "\N{MINUS SIGN}2.00) to (7.00, 6.50) m"
    )
    assert page.one("svg", "plan").all("path", "searched")
    assert "area that was searched" in page.one("ul", "legend").text


def test_of_a_known_room_the_walls_are_shown():
    page = render(session())
    size = "room of 6.20 \N{MULTIPLICATION SIGN} 4.80 \N{MULTIPLICATION SIGN} 2.70 m"
    assert page.one("p", "facts-line").text.endswith(size)
    assert page.one("svg", "plan").all("path", "room")
    assert "searched" not in page.one("ul", "legend").text


def test_the_legend_shows_what_the_plan_has():
    page = render(record(recording([silence(0.0)])))
    assert page.one("ul", "legend").text == "node"
    layers = {
        one["data-layer"]
        for one in render(session()).all("input")
        if one["type"] == "checkbox"
    }
    plan = render(session()).one("svg", "plan")
    assert layers == {"ellipses", "circles", "track", "guesses"}
    assert all(plan.one("g", layer).children for layer in layers)
    style = (pathlib.Path(session_page.__file__).with_suffix(".css")).read_text()
    assert all(
        f"[data-layer={layer}]:not(:checked)) .plan .{layer}" in style
        for layer in layers
    )


def test_several_recordings_can_be_chosen_from():
    found = record(*(recording([window()], name=name) for name in ("a.wav", "b.wav")))
    page = render(found)
    assert [one.text for one in page.one("select").all("option")] == ["a.wav", "b.wav"]
    assert len(page.all("section", "recording")) == 2
    assert not render(session()).all("select")


def test_controls_have_labels_and_drawings_descriptions():
    page = render(session() | {"recordings": session()["recordings"] * 2})
    labelled = {one.attributes.get("for") for one in page.all("label")}
    wrapped = [one for label in page.all("label") for one in label.all("input")]
    for control in page.all("input") + page.all("select"):
        assert control in wrapped or control["id"] in labelled
    for drawing in page.all("svg"):
        assert drawing.attributes.get("aria-hidden") == "true" or drawing["aria-label"]
    ids = [one["id"] for one in page.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))


def test_nodes_without_a_position_are_listed():
    found = session()
    found["nodes"][0] = {"name": None, "position_m": None}
    page = render(found)
    assert cells(page, "nodes")[1][0] == "node 0position unknown"
    names = page.one("svg", "plan").one("g", "names").children
    assert [one.text for one in names] == list(NODES)[1:]


def test_the_page_is_written_in_one_piece(tmp_path, monkeypatch):
    path = tmp_path / "located.html"
    session_page.write(session(), path)
    assert path.read_text("utf-8") == session_page.render(session())
    monkeypatch.setattr(session_page, "render", lambda found: found["no such key"])
    with pytest.raises(KeyError):
        session_page.write(session(), path)
    assert [one.name for one in tmp_path.iterdir()] == ["located.html"]
    assert atomic.nearest_existing(path) == path


def test_the_package_ships_the_files_of_the_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = project["tool"]["setuptools"]["package-data"]["uld_jax.report"]
    folder = pathlib.Path(session_page.__file__).parent
    assert sorted(shipped) == sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in {".css", ".html", ".js"}
    )
