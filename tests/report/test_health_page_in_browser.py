"""The page of an examined session in Chromium: on any screen, in print, with any name."""

import copy

import browser_pages
import pytest
from browser_pages import HOSTILE, LONG, find, texts
from made_page_records import EXAMINED

from uld_jax.report import health_page


@pytest.fixture(scope="module")
def browser():
    yield from browser_pages.start()


@pytest.fixture
def show(browser, tmp_path):
    path = tmp_path / "health.html"
    yield from browser_pages.show_by(browser, path, health_page.write)


@pytest.fixture
def renamed():
    """Return a function that gives all that has a name another one."""

    def rename(name):
        record = copy.deepcopy(EXAMINED)
        (one,) = record["recordings"]
        record["session"] = record["command"] = record["summary"] = name
        record["nodes"] = [f"{name}{k}" for k in range(3)]
        one["name"] = one["clocks"] = one["geometry"] = name
        one["map"]["nodes"] = record["nodes"][:2]
        for index, (remark, node) in enumerate(
            zip(one["remarks"] * 2, one["nodes"], strict=False)
        ):
            remark["text"], node["name"] = name, record["nodes"][index]
        return record

    return rename


def test_what_is_wrong_can_be_read_at_once(browser, show):
    """The sentence on the whole, and the worst remark, are on the first screen."""
    show(EXAMINED)
    assert find(browser, "header .state, header p b").text == "Usable: 2 remarks"
    remarks = browser.find_elements("css selector", ".note li")
    assert remarks[0].text == "Node a & b is silent."
    bottom = remarks[-1].location["y"] + remarks[-1].size["height"]
    assert bottom < browser.execute_script("return innerHeight")


def test_the_map_covers_its_room_and_names_each_radius(browser, show):
    """Cells lie side by side, from wall to wall, above to the right."""
    show(EXAMINED)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.map rect')].map((one) => {"
        "const box = one.getBoundingClientRect();"
        "return [box.left, box.top, box.right, box.bottom]; })"
    )
    wall = browser.execute_script(
        "const box = document.querySelector('.plan .room').getBoundingClientRect();"
        "return [box.left, box.top, box.right, box.bottom];"
    )
    assert len(boxes) == 6
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    covered = [min(lefts), min(tops), max(rights), max(bottoms)]
    assert covered == pytest.approx(wall, abs=3.0)
    assert boxes[1][0] == pytest.approx(boxes[0][2], abs=1.0)  # Along x.
    assert boxes[3][3] == pytest.approx(boxes[0][1], abs=1.0)  # Rows go up, as y.
    colors = browser.execute_script(
        "return [...document.querySelectorAll('.map rect')].map("
        "(one) => getComputedStyle(one).fill)"
    )
    assert len(set(colors)) == 6
    titles = browser.execute_script(
        "return [...document.querySelectorAll('.map title')].map("
        "(one) => one.textContent.replaceAll('\u00a0', ' '))"
    )
    assert titles[2] == "1.20 m at (5.00, 1.00) m"


def test_tables_have_a_row_for_each_node(browser, show):
    show(EXAMINED)
    for kind in ("signals", "clocks"):
        assert texts(browser, f"table.{kind} tbody th") == ["door", "desk", "a & b"]
    numbers = texts(browser, "table.clocks tbody tr:nth-child(2) td")
    plus_minus, space = "\N{PLUS-MINUS SIGN}", "\N{NO-BREAK SPACE}"
    assert [one.replace(space, " ") for one in numbers] == [
        *("0.30", f"\N{MINUS SIGN}10.00 {plus_minus} 0.02"),
        f"+20.3 {plus_minus} 1.0",
    ]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", [None, LONG], ids=["short", "long"])
def test_nothing_is_wider_than_the_screen(browser, show, renamed, width, name):
    show(renamed(name) if name else EXAMINED, width)
    browser_pages.assert_fits(browser, width)


def test_texts_of_users_are_not_run(browser, show, renamed):
    show(renamed(HOSTILE))
    assert find(browser, "h1").text == HOSTILE
    assert find(browser, "h2").text == HOSTILE
    assert texts(browser, ".note li") == [HOSTILE] * 2
    assert browser.title.startswith(HOSTILE)
    assert browser.find_elements("css selector", "img, script") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(browser, show, scheme):
    show(EXAMINED, scheme=scheme)
    letters = {"ink": 7.0, "quiet": 4.5, "sure": 4.5, "unsure": 4.5}
    browser_pages.assert_contrast(browser, scheme, letters | {"wall": 3.0})


def test_a_printed_page_is_light_and_complete(browser, show):
    show(EXAMINED, media="print", scheme="dark")
    browser_pages.assert_white(browser)
    for selector in (".map", ".note", "table.signals", "table.clocks", ".legend"):
        assert find(browser, selector).is_displayed()
