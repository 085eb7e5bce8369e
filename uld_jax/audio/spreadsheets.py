"""Tables as spreadsheets save them: CSV with commas, semicolons or tabs, or XLSX.

Files are read in UTF-8, UTF-16 or, if they are neither, Windows-1252. Numbers may have a
decimal comma.
"""

import contextlib
import csv
import io
import math
import pathlib
import re
import unicodedata
from typing import Any, NamedTuple

from uld_jax.runtime import errors

ENDINGS = (".csv", ".tsv", ".txt", ".xlsx")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DELIMITERS = ";\t,"  # A semicolon in the first line is not there by chance.
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
# First bytes of workbooks, new and old, that were given the name of a text.
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffe]")


class TableError(errors.InputError):
    """A table that cannot be read, with the reason."""


class Table(NamedTuple):
    """A table's cells, without blanks around them and without empty lines.

    Attributes:
        header: Cells of the first line.
        lines: Number and cells of each further line.
    """

    header: list[str]
    lines: list[tuple[int, list[str]]]


def find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Find a table by the name of its CSV file, in any case, with one of `ENDINGS`.

    Returns:
        Its path; None if there is none.

    Raises:
        TableError: If there are several.
    """
    stem, name = pathlib.PurePath(name).stem.lower(), name.lower()
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in ENDINGS
        and path.stem.lower() in (stem, name)  # nodes.csv.txt, as some editors save it.
    ]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise TableError(f"{str(folder)!r} has {names}; keep one of them")
    return found[0] if found else None


def read(path: pathlib.Path) -> Table:
    """Read a table; empty, it has no header.

    Raises:
        TableError: If it cannot be read, with the fix.
    """
    lines = _read_xlsx(path) if path.suffix.lower() == ".xlsx" else _read_csv(path)
    lines = [
        (number, [unicodedata.normalize("NFC", cell.strip()) for cell in cells])
        for number, cells in lines
    ]
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = lines[0][1] if lines else []
    while header and not header[-1]:
        header.pop()
    return Table(header, lines[1:])


def to_number(text: str) -> float:
    """Convert a cell to a number, with a decimal point or comma; NaN if it is none."""
    if "." not in text:
        text = text.replace(",", ".")
    text = text.replace("\N{MINUS SIGN}", "-")
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _read_csv(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    text = _read_text(path)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter(text), strict=True
    )
    lines, number = [], 1
    try:
        for cells in reader:
            lines.append((reader.line_num, cells))
            number = reader.line_num + 1
    except csv.Error as error:
        # The line in which the cells begin: an open quote is noticed at the end alone.
        raise TableError(f"{str(path)!r}, line {number}: {_explain(error)}") from None
    if lines and lines[0][1][:1] and lines[0][1][0].lower().startswith("sep="):
        del lines[0]
    return lines


def _explain(error: csv.Error) -> str:
    """Say what an error of the CSV reader means."""
    if "unexpected end" in str(error):
        return "a quote is not closed; write a second one, or none"
    if "expected after" in str(error):
        return "there is text after a closing quote; write quotes around whole cells"
    if "field limit" in str(error):
        return f"a cell is too long ({error}); is this a table?"
    return f"{error}; save it as CSV in UTF-8"


def _read_text(path: pathlib.Path) -> str:
    """Read the text of a file.

    Raises:
        TableError: If it cannot be read, or is no text.
    """
    try:
        data = path.read_bytes()
        text = _decode(data)
    except IsADirectoryError:
        raise TableError(f"{str(path)!r} is a folder; give a table") from None
    except PermissionError:
        raise TableError(
            f"{str(path)!r} cannot be read: this user has no permission; change it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(
            f"{str(path)!r} is no text ({error}); save it as CSV in UTF-8"
        ) from None
    if data.startswith(_WORKBOOKS):
        raise TableError(
            f"{str(path)!r} is no text, but a workbook; save it as CSV, or as "
            f"{path.with_suffix('.xlsx').name}"
        )
    if odd := _CONTROLS.search(text):
        raise TableError(
            f"{str(path)!r} is no text: it holds the character {odd[0]!r}; save it as CSV "
            "in UTF-8"
        )
    return text


def _decode(data: bytes) -> str:
    """Decode a file's bytes by their byte order mark, or by trying."""
    if data.startswith(_BYTE_ORDER_MARKS):
        return data.decode("utf-16")
    if data.startswith(_WORKBOOKS):
        return ""
    if b"\0" in data:
        return data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def delimiter(text: str) -> str:
    """Find what separates the cells of a table's first line.

    >>> from uld_jax.audio import spreadsheets
    >>> spreadsheets.delimiter("node;x;y")
    ';'
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lower().startswith("sep=") and len(first) > 4:
        return first[4]
    return next((mark for mark in _DELIMITERS if mark in first), ",")


def _read_xlsx(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    try:
        import openpyxl
    except ImportError:
        raise TableError(
            f"{str(path)!r}: reading XLSX needs openpyxl: pip install "
            "'uld-jax[xlsx]', or save the table as CSV"
        ) from None
    try:
        # Once for values, once for formulas.
        values, formulas = (
            openpyxl.load_workbook(path, read_only=True, data_only=one)
            for one in (True, False)
        )
        with contextlib.closing(values), contextlib.closing(formulas):
            number, rows = _find_sheet(values, path.stem.lower())
            written = _sheet_rows(formulas.worksheets[number])
    except Exception as error:  # A damaged archive fails in many ways.
        raise TableError(
            f"{str(path)!r} is no readable XLSX ({error}); save it again, or as CSV"
        ) from None
    _check_formulas(path, rows, written)
    return [(number, list(map(_to_text, row))) for number, row in rows.items()]


def _find_sheet(book, name: str) -> tuple[int, dict[int, tuple[Any, ...]]]:
    """Find the sheet with a name, or the first that is not empty; return its rows, too."""
    sheets = [_sheet_rows(sheet) for sheet in book.worksheets]
    titles = [sheet.title.lower() for sheet in book.worksheets]
    if name in titles:
        return titles.index(name), sheets[titles.index(name)]
    filled = [number for number, rows in enumerate(sheets) if rows] or [0]
    return filled[0], sheets[filled[0]]


def _sheet_rows(sheet) -> dict[int, tuple[Any, ...]]:
    """Read the rows of a sheet that are not empty, by their number."""
    sheet.reset_dimensions()  # Some programs write wrong ones.
    return {
        number: row
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1)
        if any(cell is not None for cell in row)
    }


def _check_formulas(
    path: pathlib.Path,
    rows: dict[int, tuple[Any, ...]],
    written: dict[int, tuple[Any, ...]],
) -> None:
    """Raise if a formula has no value: programs other than spreadsheets write none."""
    for number, cells in written.items():
        for column, cell in enumerate(cells):
            values = rows.get(number, ())
            value = values[column] if column < len(values) else None
            if value is None and str(cell or "").startswith("="):
                raise TableError(
                    f"{str(path)!r}, line {number}, column {column + 1}: the formula "
                    f"{str(cell)!r} has no value; open the table in a spreadsheet and save "
                    "it, or write numbers"
                )


def _to_text(cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.15g}" if isinstance(cell, float) else str(cell)
