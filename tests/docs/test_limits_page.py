"""The figures of the limits are those of the records."""

import importlib.util
import re

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def limits():
    spec = importlib.util.spec_from_file_location("limits", ROOT / "docs" / "limits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_made_from_the_records(limits):
    assert limits.make_table() in limits.PAGE.read_text()


def test_figures_are_those_of_the_pages_that_rows_link_to(limits):
    """A row of the table in words, and the same row of the record's page in numbers."""
    table = limits.make_table().replace(" %", "%")
    phones = (ROOT / "docs" / "phones.md").read_text()
    (row,) = (line for line in phones.splitlines() if line.startswith("| 6 "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    (line,) = (
        one for one in table.splitlines() if "phones.md" in one and "| 6 " in one
    )
    found, windows, held = cells[2], cells[8], cells[11]
    assert f"found in {found} of" in line
    assert f"{windows} of the windows" in line and f"holds {held}" in line
    rooms = (ROOT / "docs" / "other_rooms.md").read_text()
    (row,) = (
        line for line in rooms.splitlines() if line.startswith("| 5     | clocks 2 ms")
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    (line,) = (
        one for one in table.splitlines() if "clocks 2 ms" in one and "| 5 " in one
    )
    assert f"{cells[9]} are determined" in line
    errors = [float(one) for one in re.findall(r"([\d.]+) m off", line)]
    assert errors == pytest.approx([float(cells[10]), float(cells[6])], rel=0.05)
