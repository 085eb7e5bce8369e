"""Tables as spreadsheets save them: CSV with commas, semicolons or tabs, or XLSX.

Files are read in UTF-8, UTF-16 or, if they are neither, Windows-1252. Numbers may have a
decimal comma.
"""

import csv
import io
import math
import pathlib
import re
import unicodedata
from typing import NamedTuple

from uld_jax.runtime import errors

ENDINGS = (".csv", ".tsv", ".txt", ".xlsx")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DELIMITERS = ";\t,"  # A semicolon in the first line is not there by chance.
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


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
    try:
        text = _decode(path.read_bytes())
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True
        )
        lines = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{str(path)!r}: {error}; save it as CSV in UTF-8") from None
    if lines and lines[0][1][:1] and lines[0][1][0].lower().startswith("sep="):
        del lines[0]
    return lines


def _decode(data: bytes) -> str:
    """Decode a file's bytes by their byte order mark, or by trying."""
    if data.startswith(_BYTE_ORDER_MARKS):
        return data.decode("utf-16")
    if b"\0" in data:
        return data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _delimiter(text: str) -> str:
    """Find what separates the cells of the first line."""
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
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = {sheet.title.lower(): sheet for sheet in reversed(book.worksheets)}
        sheet = sheets.get(path.stem.lower(), book.worksheets[0])
        sheet.reset_dimensions()  # Some programs write wrong ones.
        rows = [
            (number, list(map(_to_text, row)))
            for number, row in enumerate(sheet.iter_rows(values_only=True), 1)
            if any(cell is not None for cell in row)
        ]
        book.close()
    except Exception as error:  # A damaged archive fails in many ways.
        raise TableError(
            f"{str(path)!r} is no readable XLSX ({error}); save it again, or as CSV"
        ) from None
    return rows


def _to_text(cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.15g}" if isinstance(cell, float) else str(cell)
