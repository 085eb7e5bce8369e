"""The page of a session in Chromium: what it shows, and what its controls do."""

import browser_pages
import pytest
from browser_pages import HOSTILE, LONG, find
from made_session_records import (
    guess,
    long_session,
    record,
    recording,
    session,
    silence,
    tracked_session,
    window,
)

from uld_jax.report import session_page

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
wait = pytest.importorskip("selenium.webdriver.support.wait", reason="needs selenium")


@pytest.fixture(scope="module")
def browser():
    yield from browser_pages.start()


@pytest.fixture
def show(browser, tmp_path):
    path = tmp_path / "located.html"
    yield from browser_pages.show_by(browser, path, session_page.write)


def place(browser, selector):
    """Return the center of an element on the screen, in pixels."""
    return browser.execute_script(
        "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2];",
        selector,
    )


def facts(browser):
    names, values = (
        [one.text for one in browser.find_elements("css selector", f".facts {tag}")]
        for tag in ("dt", "dd")
    )
    return dict(zip(names, values, strict=True))


def press(browser, *keys):
    find(browser, "input[type=range]").send_keys(*keys)


def test_the_first_determined_window_is_selected(browser, show):
    show(record(recording([guess((1, 1), (4, 4)), window((3, 2), start=2.0)])))
    assert find(browser, ".count").text == "2 of 2"
    assert (
        facts(browser)["Position"].replace("\N{NO-BREAK SPACE}", " ")
        == "(3.00, 2.00) m"
    )


def test_arrow_keys_move_the_marker_to_the_next_window(browser, show):
    show(session())
    dots = [place(browser, f".plan .dots circle:nth-child({k})") for k in (1, 2, 3, 4)]
    marker = ".plan .marker"
    assert place(browser, marker) == pytest.approx(dots[0], abs=0.5)
    press(browser, webdriver.Keys.ARROW_RIGHT)
    assert place(browser, marker) == pytest.approx(dots[1], abs=0.5)
    press(browser, webdriver.Keys.END)
    assert place(browser, marker) == pytest.approx(dots[3], abs=0.5)
    assert find(browser, ".count").text == "6 of 6"
    press(browser, webdriver.Keys.HOME)
    assert place(browser, marker) == pytest.approx(dots[0], abs=0.5)


def test_the_slider_moves_along_the_track(browser, show):
    """The smoothed position, its radius, and the way of its talker until then."""
    show(tracked_session())
    lines = browser.find_elements("css selector", ".plan .track path")

    def ends(path, index):
        return browser.execute_script(
            "const path = arguments[0], box = path.getScreenCTM();"
            "const at = path.getPointAtLength(arguments[1] ? path.getTotalLength() : 0);"
            "const {x, y} = new DOMPoint(at.x, at.y).matrixTransform(box);"
            "return [x, y];",
            path,
            index,
        )

    smooth, trail = ".plan .smooth", find(browser, ".plan .trail")
    assert place(browser, smooth) == pytest.approx(ends(lines[0], 0), abs=0.5)
    width = find(browser, ".plan .smooth-radius").size["width"]
    press(browser, webdriver.Keys.ARROW_RIGHT)  # Not determined by itself.
    assert facts(browser)["State"] == "not determined"
    assert place(browser, smooth) == pytest.approx(ends(lines[0], 1), abs=0.5)
    assert ends(trail, 0) == pytest.approx(ends(lines[0], 0), abs=0.5)
    assert ends(trail, 1) == pytest.approx(ends(lines[0], 1), abs=0.5)
    press(browser, webdriver.Keys.ARROW_RIGHT)  # The other talker.
    assert facts(browser)["Talker"] == "2"
    assert place(browser, smooth) == pytest.approx(ends(lines[2], 0), abs=0.5)
    wider = find(browser, ".plan .smooth-radius").size["width"]
    assert wider / width == pytest.approx(5 / 3, abs=0.05)
    assert trail.get_attribute("d").count("L") == 0
    press(browser, webdriver.Keys.ARROW_RIGHT)
    assert trail.get_attribute("d").count("L") == 2  # Over three windows of the first.
    press(browser, webdriver.Keys.ARROW_RIGHT)  # Nobody's.
    assert not find(browser, smooth).is_displayed()
    assert not trail.is_displayed()


def test_the_slider_says_which_window_it_selects(browser, show):
    show(session())
    press(browser, webdriver.Keys.ARROW_RIGHT)
    words = find(browser, "input[type=range]").get_attribute("aria-valuetext")
    assert words.startswith("2 of 6, 2.0\N{EN DASH}4.0") and "determined" in words
    assert find(browser, "input[type=range]").accessible_name == "Window"


def test_a_window_that_is_not_determined_shows_its_places_and_reasons(browser, show):
    show(session())
    press(browser, webdriver.Keys.HOME, webdriver.Keys.ARROW_RIGHT * 2)
    found = facts(browser)
    assert found["State"] == "not determined"
    assert found["Remarks"] == "90 % of the posterior needs 1.5 m"
    masses = browser.find_elements("css selector", ".plan .mass")
    assert [one.text for one in masses if one.is_displayed()] == [
        "60 %",
        "40 %",
    ]
    press(browser, webdriver.Keys.ARROW_RIGHT)  # Nobody spoke.
    assert facts(browser)["State"] == "no position"
    assert not find(browser, ".plan .marker").is_displayed()
    assert not any(one.is_displayed() for one in masses)


def test_bars_are_of_the_selected_window(browser, show):
    late = [1e-4, 0.12, None, -2e-4]
    windows = [
        window(start=2.0 * k, node_offsets_s=[one and one * (1 + k) for one in late])
        for k in range(2)
    ]
    show(record(recording(windows)))
    cells = "[...document.querySelectorAll('.nodes tbody td:nth-child(2)')]"
    for factor in (1, 2):
        texts = browser.execute_script(f"return {cells}.map((cell) => cell.innerText)")
        paths = [343 * factor * one for one in (1e-4, 0.12, 2e-4)]
        assert texts[0].startswith(f"+{paths[0]:.3f} m")
        assert texts[1].startswith(f"+{paths[1]:.3f} m")
        assert f"+{120 * factor:.2f}" in texts[1]
        assert texts[2] == "unknown"
        assert texts[3].startswith(f"\N{MINUS SIGN}{paths[2]:.3f} m")
        widths = browser.execute_script(
            f"return {cells}.map((cell) => {{"
            "const bar = cell.querySelector('.bar').getBoundingClientRect();"
            "const fill = cell.querySelector('i').getBoundingClientRect();"
            "return [(fill.left - bar.left) / bar.width, fill.width / bar.width]; })"
        )
        # The column ends at 0.5 m on each side.
        assert widths[0] == pytest.approx([0.5, paths[0]], abs=0.01)
        assert widths[1] == pytest.approx([0.5, 0.5], abs=0.01)
        assert widths[3] == pytest.approx([0.5 - paths[2], paths[2]], abs=0.01)
        press(browser, webdriver.Keys.ARROW_RIGHT)


def test_a_click_selects_the_window_below(browser, show):
    show(session())
    chart = find(browser, ".times")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    # 9 of 30 s, of which the axis has its ends at 46 and 610 of 640 units.
    share = (46 + (610 - 46) * 9.0 / 30.0) / 640 - 0.5
    actions = webdriver.ActionChains(browser)
    actions.move_to_element_with_offset(chart, round(share * chart.size["width"]), 0)
    actions.click().perform()
    assert find(browser, ".count").text == "5 of 6"
    find(browser, ".plan .dots circle:nth-child(4)").click()
    assert find(browser, ".count").text == "6 of 6"


def test_playing_ends_at_the_last_window(browser, show):
    show(record(recording([window(start=2.0 * k) for k in range(3)])))
    button = find(browser, ".play")
    button.click()
    assert button.text == "Pause"
    wait.WebDriverWait(browser, 20).until(lambda _: button.text != "Pause")
    assert button.text == "Play" and find(browser, ".count").text == "3 of 3"
    button.click()  # From the first one.
    assert find(browser, ".count").text == "1 of 3"
    button.click()
    assert button.text == "Play"


def test_layers_can_be_hidden(browser, show):
    show(session())
    for layer in ("ellipses", "circles", "track", "guesses"):
        box = find(browser, f"[data-layer={layer}]")
        for _ in range(2):
            shown = find(browser, f".plan .{layer}").value_of_css_property("display")
            assert (shown != "none") == box.is_selected()
            box.click()


def test_the_chooser_shows_one_recording(browser, show):
    found = record(*(recording([window()], name=name) for name in ("a.wav", "b.wav")))
    show(found)

    def titles():
        shown = browser.find_elements("css selector", ".recording h2")
        return [one.text for one in shown if one.is_displayed()]

    assert titles() == ["a.wav"]
    find(browser, "select").send_keys(webdriver.Keys.ARROW_DOWN)
    assert titles() == ["b.wav"]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("make", [session, long_session], ids=["short", "long"])
def test_nothing_is_wider_than_the_screen(browser, show, width, make):
    found = make()
    for node in found["nodes"]:
        node["name"] = LONG
    found |= {
        "name": LONG,
        "command": LONG,
        "remarks": [LONG],
        "settings": {LONG: LONG},
    }
    found["recordings"][0]["name"] = LONG
    found["recordings"].append(recording([silence(0.0)], name=LONG))
    show(found, width)
    browser.execute_script("document.querySelector('details').open = true")
    browser_pages.assert_fits(browser, width)


def test_texts_of_users_are_not_run(browser, show):
    found = session()
    found["name"] = found["recordings"][0]["name"] = HOSTILE
    found["recordings"][0]["windows"][0]["reasons"] = [HOSTILE]
    show(found)
    assert find(browser, "h1").text == HOSTILE
    assert browser.title.startswith(HOSTILE)
    assert facts(browser)["Remarks"] == HOSTILE


def test_without_a_script_drawings_and_tables_are_there(browser, show):
    disable = "Emulation.setScriptExecutionDisabled"
    browser.execute_cdp_cmd(disable, {"value": True})
    try:
        show(record(*(recording([window()], name=name) for name in ("a.wav", "b.wav"))))
        shown = [
            one.is_displayed()
            for selector in (".plan", ".times", "table.nodes")
            for one in browser.find_elements("css selector", selector)
        ]
        assert shown == [True] * 6
        hidden = browser.find_elements("css selector", ".needs-script")
        assert hidden and not any(one.is_displayed() for one in hidden)
        assert "needs JavaScript" in find(browser, "noscript").text
    finally:
        browser.execute_cdp_cmd(disable, {"value": False})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(browser, show, scheme):
    show(session(), scheme=scheme)
    letters = {"ink": 7.0, "quiet": 4.5, "sure": 4.5, "unsure": 4.5}
    drawn = {"truth": 3.0, "wall": 3.0}
    browser_pages.assert_contrast(browser, scheme, letters | drawn)


def test_a_printed_page_has_no_controls_and_is_light(browser, show):
    show(session(), media="print", scheme="dark")
    for selector in ("input[type=range]", ".play", "[data-layer=track]"):
        assert not find(browser, selector).is_displayed()
    assert find(browser, ".facts").is_displayed()
    browser_pages.assert_white(browser)
