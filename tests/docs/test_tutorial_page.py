"""What the tutorial quotes is what the program prints, as far as that is quick to check."""

import importlib.util
import math
import re

import pytest
from conftest import ROOT
from whole_runs import call

from uld_jax.cli import new_session
from uld_jax.evaluation import locate

TURN = re.compile(
    r"^ +([\d.]+)-([\d.]+) s: talker (\d+) at \(([\d.]+), ([\d.]+)\) m, "
    r"90 % within ([\d.]+) m",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def tutorial():
    path = ROOT / "docs" / "tutorial.py"
    spec = importlib.util.spec_from_file_location("tutorial", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(tutorial):
    return tutorial.PAGE.read_text()


@pytest.fixture(scope="module")
def quoted(tutorial, page):
    """Return the lines of each block by its kind and what it quotes."""
    found = {}

    def keep(kind, what):
        (block,) = re.findall(
            rf"<!-- {kind}: {re.escape(what)} -->\n\n(.*?)\n\n<!--", page, re.DOTALL
        )
        found[kind, what] = "\n".join(line[4:] for line in block.splitlines())
        return ""

    tutorial.fill(page, keep)
    return found


def read_turns(text):
    """Read start, end, talker, x, y and radius of each turn."""
    return [
        (*map(float, one[:2]), int(one[2]), *map(float, one[3:]))
        for one in TURN.findall(text)
    ]


def test_tables_and_places_are_those_of_the_session(tutorial, page, quoted):
    for name, text in tutorial.tables().items():
        assert quoted["file", f"meeting/{name}"] == text.rstrip()
    assert tutorial.places() in page


def test_a_new_session_is_announced_as_quoted(quoted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call(new_session, "meeting")
    printed = capsys.readouterr().out.rstrip()
    command = "uld_jax new-session meeting"
    assert quoted["run", command] == f"$ {command}\n{printed}"
    assert len((tmp_path / "meeting" / "README.txt").read_text().splitlines()) <= 10


def test_turns_that_are_quoted_are_where_the_talkers_were(tutorial, quoted):
    """Each stay has a turn, within the radius that is printed; same place, same number."""
    (text,) = (text for (_, what), text in quoted.items() if " locate " in what)
    turns = read_turns(text)
    stays = tutorial.ROOM.stays
    assert len(turns) == len(stays)
    numbers = {}
    for (start, end, number, x, y, radius), stay in zip(turns, stays, strict=True):
        assert stay.start - 0.5 < start < end < stay.end + 2.5
        assert math.dist((x, y), stay.place[:2]) < radius
        numbers.setdefault(stay.place, set()).add(number)
    assert [len(found) for found in numbers.values()] == [1] * len(numbers)
    assert len({*map(tuple, numbers.values())}) == len(numbers)


def test_the_doctor_that_is_quoted_found_when_phones_started(tutorial, quoted):
    (text,) = (text for (_, what), text in quoted.items() if " doctor " in what)
    for name, phone in tutorial.PHONES.items():
        starts = re.findall(rf"^  {name} +([\d.]+) .*(?:±| - )", text, re.MULTILINE)
        assert phone.start == pytest.approx(float(starts[-1]), abs=0.05)


def test_rows_that_are_quoted_have_the_columns_of_the_table(quoted):
    (text,) = (
        text
        for (kind, what), text in quoted.items()
        if (kind, what[:9]) == ("file", "positions")
    )
    header, *rows = text.splitlines()
    assert header.split(",") == list(locate.COLUMNS[: len(header.split(","))])
    assert rows and all(len(row.split(",")) == len(header.split(",")) for row in rows)


def test_pictures_are_small_and_shown(tutorial, page):
    for name in tutorial._PICTURES:
        assert f"]({name})" in page
        assert 5_000 < (ROOT / "docs" / name).stat().st_size < 150_000


@pytest.mark.slow
def test_the_session_is_located_again_as_quoted(tutorial, quoted, tmp_path):
    pytest.importorskip("pyroomacoustics")
    folder = tmp_path / tutorial.SESSION
    folder.mkdir()
    tutorial.write_session(folder)
    (command,) = (what for _, what in quoted if " locate " in what)
    again = read_turns(tutorial.run(command, tmp_path))
    turns = read_turns(quoted["run", command])
    assert [one[2] for one in again] == [one[2] for one in turns]
    for one, other in zip(again, turns, strict=True):
        assert one == pytest.approx(other, abs=0.1)
