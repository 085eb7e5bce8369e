"""The page of many sessions in Chromium: links lead to pages, on any screen."""

import browser_pages
import pytest
from browser_pages import HOSTILE, LONG, find, texts
from made_page_records import FAILED, LOCATED, SESSIONS
from made_session_records import session

from uld_jax.report import session_page, sessions_page


@pytest.fixture(scope="module")
def browser():
    yield from browser_pages.start()


@pytest.fixture
def show(browser, tmp_path):
    path = tmp_path / "index.html"
    yield from browser_pages.show_by(browser, path, sessions_page.write)


def rename(name):
    """Give the sessions, and all that is said of them, another name."""
    sessions = [
        LOCATED | {"name": name, "left_out": [name]},
        FAILED | {"reason": name},
    ]
    return SESSIONS | {"name": name, "command": name, "sessions": sessions}


def test_a_click_leads_to_the_page_of_the_session(browser, show, tmp_path):
    """Whatever its name is: this one has what a link could take for something else."""
    folder = tmp_path / LOCATED["name"]
    folder.mkdir()
    session_page.write(session() | {"name": LOCATED["name"]}, folder / "positions.html")
    show(SESSIONS)
    find(browser, "table.sessions a").click()
    assert find(browser, "h1").text == LOCATED["name"]
    assert find(browser, "input[type=range]").is_displayed()
    browser.back()
    assert find(browser, "h1").text == SESSIONS["name"]


def test_links_are_reached_by_the_keyboard(browser, show):
    show(SESSIONS)
    key = "\ue004"  # WebDriver's tabulator.
    reached = set()
    for _ in range(12):
        browser.switch_to.active_element.send_keys(key)
        reached.add(browser.switch_to.active_element.text)
    assert LOCATED["name"] in reached


def test_outcomes_differ_by_more_than_color(browser, show):
    """Each has a sign of its own, and a reason below a heading where it failed."""
    show(SESSIONS)
    outcomes = texts(browser, "table.sessions tbody td:nth-child(2)")
    assert outcomes == ["located", "failed", "not located yet"]
    signs = browser.execute_script(
        "return [...document.querySelectorAll('.sessions .state')].map("
        "(one) => getComputedStyle(one, '::before').content)"
    )
    assert len(set(signs)) == 3
    assert texts(browser, "h2")[0] == "Failed"
    (reason,) = texts(browser, "table.failed td")
    assert [line.strip() for line in reason.splitlines()] == [
        line.strip() for line in FAILED["reason"].split("\n")
    ]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", [None, LONG], ids=["short", "long"])
def test_nothing_is_wider_than_the_screen(browser, show, width, name):
    show(rename(name) if name else SESSIONS, width)
    browser_pages.assert_fits(browser, width)


def test_texts_of_users_are_not_run(browser, show):
    show(rename(HOSTILE))
    assert find(browser, "h1").text == HOSTILE
    assert texts(browser, "table.failed td") == [HOSTILE]
    assert browser.title.startswith(HOSTILE)
    assert browser.find_elements("css selector", "img, script") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(browser, show, scheme):
    show(SESSIONS, scheme=scheme)
    letters = {"ink": 7.0, "quiet": 4.5, "sure": 4.5, "unsure": 4.5}
    browser_pages.assert_contrast(browser, scheme, letters)


def test_a_printed_page_is_light_and_complete(browser, show):
    show(SESSIONS, media="print", scheme="dark")
    browser_pages.assert_white(browser)
    for selector in ("table.sessions", "table.failed", ".note", "table.origin"):
        assert find(browser, selector).is_displayed()
