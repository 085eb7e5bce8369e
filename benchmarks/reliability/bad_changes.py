"""Changes of a small session: of its tables, line by line or as a whole."""

import pathlib
from collections.abc import Callable

from benchmarks.reliability import small_session
from benchmarks.reliability.bad_kind import Skipped

Change = Callable[[pathlib.Path], None]

_NODES = "nodes.csv"


def edit(old: str, new: str, name: str = _NODES, count: int = 1) -> Change:
    """Make a change of a table's text."""

    def change(folder):
        text = (folder / name).read_text()
        assert old in text, old
        (folder / name).write_text(text.replace(old, new, count))

    return change


def write(data: str | bytes, name: str = _NODES) -> Change:
    """Make a change that writes a whole table."""

    def change(folder):
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)

    return change


def listed(*changes: Change) -> Change:
    """Make a change of a session with a table of recordings."""
    return then(small_session.list_recordings, *changes)


def then(*changes: Change) -> Change:
    """Join changes."""

    def change(folder):
        for one in changes:
            one(folder)

    return change


def encode(encoding: str) -> Change:
    """Make a change of the encoding of the table of nodes."""

    def change(folder):
        text = (folder / _NODES).read_text(encoding="utf-8")
        (folder / _NODES).write_bytes(text.encode(encoding))

    return change


def each_line(change_line: Callable[[list[str]], list[str]]) -> Change:
    """Make a change of the cells of each line of the table of nodes."""

    def change(folder):
        lines = [line.split(",") for line in (folder / _NODES).read_text().split()]
        lines = [",".join(change_line(cells)) for cells in lines]
        (folder / _NODES).write_text("\n".join(lines) + "\n")

    return change


def in_units(units: dict[str, tuple[str, float]]) -> Change:
    """Make a change of the units of some columns, to a name and its meters."""
    columns = {"x": 1, "y": 2, "z": 3}

    def change_line(cells):
        cells = list(cells)
        for column, (name, meters) in units.items():
            at = columns[column]
            head = cells[at] == column
            cells[at] = name if head else f"{float(cells[at]) / meters:.4f}"
        return cells

    return each_line(change_line)


def forbid(name: str) -> Change:
    """Make a change that takes the permission to read a file."""

    def change(folder):
        (folder / name).chmod(0)
        try:
            (folder / name).read_bytes()
        except PermissionError:
            return
        (folder / name).chmod(0o644)
        raise Skipped("this user may read all files")

    return change


def workbook(*sheets: list[list], merged: str | None = None) -> Change:
    """Make a change of the table of nodes to a workbook, each sheet a list of rows."""

    def change(folder):
        try:
            import openpyxl
        except ImportError:
            raise Skipped("openpyxl is not installed") from None
        book = openpyxl.Workbook()
        for number, rows in enumerate(sheets):
            sheet = book.create_sheet() if number else book.active
            for row in rows:
                sheet.append(row)
        if merged:
            book.active.merge_cells(merged)
        book.save(folder / "nodes.xlsx")
        (folder / _NODES).unlink()

    return change
