"""Tables as spreadsheets save them."""

import importlib.util
import math

import pytest

from uld_jax.audio import spreadsheets

ROWS = [["node", "x", "height"], ["tür", "1.5", "2"], ["desk, left", "-0.25", ""]]


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return spreadsheets.read(path)


def joined(delimiter, comma=".", end="\n"):
    lines = [
        delimiter.join(
            f'"{cell}"' if "," in cell else cell.replace(".", comma) for cell in row
        )
        for row in ROWS
    ]
    return end.join(lines) + end


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_all_dialects_are_one_table(tmp_path, delimiter, encoding, end):
    table = written(tmp_path / "nodes.csv", joined(delimiter, end=end), encoding)
    assert table.header == ROWS[0]
    assert table.lines == [(2, ROWS[1]), (3, ROWS[2])]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark(tmp_path, encoding):
    table = written(tmp_path / "nodes.csv", joined(";"), encoding)
    assert [cells for _, cells in table.lines] == ROWS[1:]


def test_the_first_line_may_name_the_delimiter(tmp_path):
    table = written(tmp_path / "nodes.csv", "sep=|\na|b\n1|2\n")
    assert table == (["a", "b"], [(3, ["1", "2"])])


def test_empty_lines_and_columns_are_no_cells(tmp_path):
    table = written(tmp_path / "nodes.csv", "\n a , b ,,\n,,,\n 1 ,2,,\n\n")
    assert table == (["a", "b"], [(4, ["1", "2", "", ""])])
    assert written(tmp_path / "nodes.csv", "") == ([], [])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.5", 1.5),
        ("1,5", 1.5),
        ("-2", -2.0),
        ("\N{MINUS SIGN}2,25", -2.25),
        ("2e0", 2.0),
        ("1.234,5", math.nan),
        ("1,234,5", math.nan),
        ("1_5", math.nan),
        ("inf", math.nan),
        (".5", 0.5),
        ("two", math.nan),
        ("", math.nan),
    ],
)
def test_numbers(text, number):
    assert spreadsheets.to_number(text) == pytest.approx(number, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nodes.csv", 'a,b\n"1,2\n', ", line 2: a quote is not closed"),
        ("nodes.csv", 'a,b\n"1"2,2\n', ", line 2: there is text after a closing quote"),
        ("nodes.csv", "a,b\n1\x01,2\n", " is no text: it holds the character"),
        (
            "nodes.csv",
            "PK\x03\x04",
            " is no text, but a workbook; save it as CSV, or as",
        ),
        ("nodes.xlsx", "no archive", " is no readable XLSX .*; save it again"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, name, text, message):
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    with pytest.raises(spreadsheets.TableError, match=rf"{name}'{message}"):
        written(tmp_path / name, text)


def test_a_table_is_found_in_any_case_once(tmp_path):
    assert spreadsheets.find(tmp_path, "nodes.csv") is None
    (tmp_path / "Nodes.TSV").write_text("")
    (tmp_path / "nodes.wav").write_text("")
    assert spreadsheets.find(tmp_path, "nodes.csv") == tmp_path / "Nodes.TSV"
    (tmp_path / "nodes.csv").write_text("")
    with pytest.raises(spreadsheets.TableError, match="keep one of them"):
        spreadsheets.find(tmp_path, "nodes.csv")


def test_workbooks_are_read(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["notes"])
    book.create_sheet("Nodes")
    for row in [["node", "x", "height"], [None], ["tür", 1.5, 2], [7, -0.1, None]]:
        book["Nodes"].append(row)
    book.save(tmp_path / "nodes.xlsx")
    table = spreadsheets.read(tmp_path / "nodes.xlsx")
    assert table.header == ROWS[0]
    assert [(n, cells[:2]) for n, cells in table.lines] == [
        (3, ["tür", "1.5"]),
        (4, ["7", "-0.1"]),
    ]


def test_a_workbook_without_openpyxl_names_the_fix(tmp_path):
    if importlib.util.find_spec("openpyxl"):
        pytest.skip("openpyxl is installed")
    with pytest.raises(spreadsheets.TableError, match=r"pip install .*xlsx"):
        written(tmp_path / "nodes.xlsx", "")
