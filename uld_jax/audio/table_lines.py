"""Lines of a session's tables: their columns, units, and numbers in meters.

All lines are read before anything is refused: problems are noted with file, line, column
and fix.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from uld_jax.audio import spreadsheets
from uld_jax.audio.session_problems import SessionError
from uld_jax.runtime import progress

_METERS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254}
_LONG_UNITS = {
    "m": ("meter", "meters", "metre", "metres"),
    "cm": ("centimeter", "centimeters", "centimetre", "centimetres"),
    "mm": ("millimeter", "millimeters", "millimetre", "millimetres"),
    "ft": ("foot", "feet"),
    "in": ("inch", "inches"),
}
_UNITS = {name: unit for unit, names in _LONG_UNITS.items() for name in (unit, *names)}
# x, y2, x_cm, "X (cm)", "z [m]", "y / m" and "y in feet": axis, number and unit.
_COORDINATE = re.compile(
    r"([xyz])([1-9]\d?)?(?:(?:[ _]in[ _]|[ _]*[/,]?[ _]*)[\[(]? *([a-z]+) *[\])]?)?"
)
_OTHER_ENDINGS = (".ods", ".xls", ".xlsm", ".xlsb", ".numbers", ".dat", ".json")


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        where: File and line, for messages.
        cells: By column.
        units: Likewise.

    >>> from uld_jax.audio import table_lines
    >>> line = table_lines.Line("line 2", {"x": "125"}, {"x": "cm"})
    >>> line.position(["x"]).tolist()
    [1.25]
    """

    where: str
    cells: dict[str, str]
    units: dict[str, str]

    def position(self, columns: Sequence[str]) -> np.ndarray:
        """Convert the cells of some columns to meters."""
        numbers = np.array([self._number(column) for column in columns])
        wrong = [c for c, n in zip(columns, numbers, strict=True) if not np.isfinite(n)]
        if wrong:
            said = ", ".join(f"{column} is {self.cells[column]!r}" for column in wrong)
            unit = self.units[wrong[0]]
            examples = {"m": "meters, such as 1.25", "cm": "cm, such as 125"}
            examples |= {"mm": "mm, such as 1250"}
            fix = examples.get(unit, f"{unit} without the unit")
            raise SessionError(f"{said}, not a number; give {fix}")
        return numbers

    def _number(self, column: str) -> float:
        unit = self.units[column]
        if unit in ("mm", "cm") and re.search(r"\d[.,]\d{3}$", self.cells[column]):
            return math.nan  # 1,250 and 1.250 may be 1250 or 1.25.
        return spreadsheets.to_number(self.cells[column]) * _METERS[unit]


@dataclasses.dataclass(frozen=True)
class Form:
    """The form of a table.

    Attributes:
        name: Of its CSV file.
        key: The column that names a line in messages; None for none.
        columns_of: From a header to the columns that are needed, and others that are used.
        optional: Whether the table may be missing.

    >>> from uld_jax.audio import table_lines
    >>> form = table_lines.Form("room.csv", None, lambda _: (["x", "y"], ["z"]))
    >>> form.columns_of([])[0]
    ['x', 'y']
    """

    name: str
    key: str | None
    columns_of: Callable[[Sequence[str]], tuple[list[str], list[str]]]
    optional: bool = False


def read_lines(folder: pathlib.Path, form: Form, problems: list[str]) -> list[Line]:
    """Read the lines of a table; note problems of its form.

    Args:
        folder: Folder of the table.
        form: What it has to have.
        problems: Receives what is wrong.
    """
    try:
        path = spreadsheets.find(folder, form.name)
        table = path and spreadsheets.read(path)
    except spreadsheets.TableError as error:
        problems.append(str(error))
        return []
    if table is None:
        if missing := _describe_missing(folder, form):
            problems.append(missing)
        return []
    named = [_name_column(cell) for cell in table.header]
    header, units = [column for column, _, _ in named], {c: u for c, u, _ in named}
    if wrong := _wrong_header(table.header, named, form):
        problems.append(f"{str(path)!r}{wrong}")
        return []
    if not table.lines:
        problems.append(f"{str(path)!r} has no rows below its first line; add them")
    needed, used = form.columns_of(header)
    others = dict(zip(header, table.header, strict=True))
    if others := [others[c] for c in others if c and c not in (*needed, *used)]:
        progress.log(f"{path.name}: not used: {', '.join(map(repr, others))}")
    lines = []
    for number, cells in table.lines:
        where = f"{str(path)!r}, line {number}"
        if wrong := _wrong_cells(cells, table.header):
            problems.append(f"{where}: {wrong}")
            continue
        missing = [""] * (len(header) - len(cells))  # Empty ones at the end.
        row = dict(zip(header, cells + missing, strict=False))
        key = form.key
        where = f"{where}, {key} {row[key]!r}" if key else where
        lines.append(Line(where, row, units))
    return lines


def _describe_missing(folder: pathlib.Path, form: Form) -> str:
    """Say that there is no table, and which file is meant to be it; empty if it may be."""
    missing = f"{str(folder / form.name)!r} is missing"
    stem = pathlib.PurePath(form.name).stem
    for path in sorted(folder.iterdir()):
        if path.stem.lower() == stem and path.suffix.lower() in _OTHER_ENDINGS:
            endings = ", ".join(spreadsheets.ENDINGS)
            return (
                f"{missing}, and {path.name} is not read; save it as one of {endings}"
            )
    if form.optional:
        return ""
    return f"{missing}; add it, with the first line {','.join(form.columns_of([])[0])}"


def _wrong_header(
    cells: list[str], named: list[tuple[str, str, bool | None]], form: Form
) -> str:
    """Describe what is wrong with a table's first line; empty if nothing is."""
    header = [column for column, _, _ in named]
    needed, used = form.columns_of(header)
    if wrong := _wrong_units(cells, named):
        return f": {wrong}"
    if not header:
        return f" is empty; write {','.join(needed)} and rows below"
    if cells[0].startswith("#"):
        return f", line 1: {_describe_comment(cells)}"
    if wrong := _wrong_columns(header, needed, used):
        return (
            f" {wrong} in its first line, {','.join(cells)!r}; write {','.join(needed)}"
        )
    return ""


def _wrong_cells(cells: list[str], header: list[str]) -> str:
    """Describe what is wrong with the cells of a line; empty if nothing is."""
    if any(cells[len(header) :]):
        return (
            f"{len(cells)} cells, and the first line has {len(header)}; write 1.5, not "
            "1,5, where commas separate cells"
        )
    if cells[: len(header)] == header:
        return "repeats the first line; remove it"
    filled = [cell for cell in cells if cell]
    if len(filled) == 1 < len(header):
        if filled[0].startswith("#"):
            return _describe_comment(filled)
        mark = spreadsheets.delimiter(filled[0])
        if filled[0].count(mark) >= len(header) - 1:
            return (
                f"its cells are separated by {mark!r}, and those of the first line "
                "otherwise; use one for all"
            )
    return ""


def _describe_comment(cells: list[str]) -> str:
    return f"{','.join(cells)!r} is a comment, and tables have none; remove it"


def _wrong_columns(header: list[str], needed: list[str], used: list[str]) -> str:
    """Describe what is wrong with a table's columns; empty if nothing is."""
    found = {
        "lacks the column": [column for column in needed if column not in header],
        "repeats the column": [c for c in (*needed, *used) if header.count(c) > 1],
    }
    for wrong, names in found.items():
        if names:
            return f"{wrong} {', '.join(map(repr, names))}"
    return ""


def _name_column(cell: str) -> tuple[str, str, bool | None]:
    """Find a column's name and unit: of "X (cm)" x and centimeters.

    Returns:
        Also whether the unit is written; None for what is no coordinate.
    """
    text = " ".join(cell.lower().split())
    match = _COORDINATE.fullmatch(text)
    if match and (match[3] is None or match[3] in _UNITS):
        axis, number, unit = match.groups()
        number = "" if number in (None, "1") else number
        return axis + number, _UNITS[unit or "m"], unit is not None
    return text, "m", None


def _wrong_units(header: list[str], named: list[tuple[str, str, bool | None]]) -> str:
    """Describe what is wrong with the units of coordinates; empty if nothing is."""
    for cell, (_, _, written) in zip(header, named, strict=True):
        if written is None and re.match(r"(?i)[xyz][\W_]", cell):
            return (
                f"the unit of the column {cell!r} is not known; write one of "
                f"{', '.join(_METERS)}, as in x_cm"
            )
    written = {unit: cell for cell, (_, _, unit) in zip(header, named, strict=True)}
    units = {unit for _, unit, given in named if given}
    if True in written and False in written and units != {"m"}:
        return (
            f"the column {written[False]!r} has no unit, and {written[True]!r} has; write "
            "one for each, as in x_cm"
        )
    return ""
