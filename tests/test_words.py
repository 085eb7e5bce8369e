"""STYLE section 3: docstrings open with a verb or a noun phrase, in plain English."""

import ast
import io
import re
import tokenize

import pytest
from conftest import ROOT

FOLDERS = ("uld_jax", "data", "experiments", "benchmarks")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md")}
)

# A first line that a reader has to turn around in the head.
OPENING = re.compile(
    r"(Return (what|whether|how|where|why|which)|Whoever|What|Says|Tells)\b"
)
ODD = re.compile(
    r"\b(hears?|heard|anew|whoever|(be|is|are) told(?! apart)|go(es)? on with|"
    r"gone on with|begun from|begins? from)\b",
    re.IGNORECASE,
)


def docstrings(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield node, text


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_first_lines_are_plain(path):
    found = [
        text.splitlines()[0]
        for _, text in docstrings(path)
        if OPENING.match(text) or not text.splitlines()[0].endswith((".", ":", "?"))
    ]
    assert not found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_words_are_those_of_the_field(path):
    """In docstrings, comments and messages."""
    lines = io.StringIO(path.read_text()).readline
    kinds = (tokenize.STRING, tokenize.COMMENT)
    found = [
        f"line {token.start[0]}: {match.group()}"
        for token in tokenize.generate_tokens(lines)
        if token.type in kinds
        for match in ODD.finditer(token.string)
    ]
    assert not found


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_words_of_pages_are_those_of_the_field(path):
    assert not [match.group() for match in ODD.finditer(path.read_text())]


def test_the_file_list_is_not_empty():
    assert len(FILES) > 100 and len(PAGES) > 10
