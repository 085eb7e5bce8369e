"""The page of many sessions: each with its outcome, and those that failed with why."""

import pytest
from made_page_records import FAILED, LOCATED, SESSIONS
from made_session_records import parse

from uld_jax.report import sessions_page


@pytest.fixture(scope="module")
def page():
    return parse(sessions_page.render(SESSIONS))


def rows(page, kind):
    return page.one("table", kind).one("tbody").all("tr")


def cells(row):
    return [row.one("th").text, *(cell.text for cell in row.all("td"))]


def test_each_session_has_its_outcome_and_numbers(page):
    located, failed, waiting = rows(page, "sessions")
    name = LOCATED["name"]
    assert cells(located) == [name, "located", "2", "1,234", "1,000", "7", "1"]
    assert cells(failed) == ["lost", "failed", *["\N{EN DASH}"] * 5]
    assert cells(waiting) == ["later", "not located yet", *["\N{EN DASH}"] * 5]
    head = page.one("table", "sessions").one("thead").all("th")
    titles = ["Recordings", "Windows", "Determined", "Turns", "Remarks"]
    assert [cell.text for cell in head] == ["Session", "Outcome", *titles]
    assert page.one("p", "facts-line").text == (
        "3 sessions \N{MIDDLE DOT} 1 located \N{MIDDLE DOT} 1 failed \N{MIDDLE DOT} "
        "1 not located yet"
    )


def test_only_what_is_located_has_a_link_whatever_its_name(page):
    (link,) = page.all("a")
    assert link["href"] == "./a%20%3Cb%3E%20%26%20%2541%3F%23/positions.html"
    assert link.text == LOCATED["name"]


def test_why_one_failed_and_what_was_left_out_is_said(page):
    (row,) = rows(page, "failed")
    assert cells(row) == ["lost", FAILED["reason"]]
    (line,) = page.one("section", "note").all("li")
    assert line.text == f"{LOCATED['name']}: {LOCATED['left_out'][0]}"


def test_settings_that_were_given_are_said(page):
    shown = dict(cells(row) for row in rows(page, "origin"))
    assert shown["num_sources"] == "2" and shown["method"] == "srp_phat"
    assert shown["Command"] == "uld_jax locate spring"
    assert "run" not in shown


def test_nothing_is_said_of_failures_where_there_are_none(tmp_path):
    sessions_page.write({"sessions": [LOCATED | {"left_out": []}]}, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert ">Failed<" not in text and "were left out" not in text
    assert (
        "http:" not in text and "https:" not in text and "<script" not in text
    )  # It loads nothing.
