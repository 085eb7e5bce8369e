"""A page in one HTML file that loads nothing else: what all pages of sessions share."""

import base64
import hashlib
import json
import pathlib
import string
from typing import Any, NamedTuple

_FOLDER = pathlib.Path(__file__).parent
_STYLE = "session_page.css"


class Script(NamedTuple):
    """The script of a page.

    Attributes:
        file: In the folder of this module.
        data: What it reads: lists, dictionaries, texts and numbers.
        without: What readers without JavaScript are to know, in sentences.
    """

    file: str
    data: list[Any]
    without: str


def format_page(
    name: str,
    what: str,
    *,
    facts: str,
    answers: str,
    main: str,
    origin: str,
    style: str | None = None,
    script: Script | None = None,
) -> str:
    """Format a page, in the style of a session's.

    Args:
        name: Of the session or the plan, as HTML.
        what: The page shows of it, in the title.
        facts: About it, in a line.
        answers: Below the facts.
        main: The rest of the page.
        origin: How it was made, at its end.
        style: A further style sheet in the folder of this module; None for none.
        script: Of the page; None for none.

    Returns:
        The text of an HTML file. Its policy lets it load nothing, and run this script
        alone.

    >>> page = format_page("my_lab", "a test", facts="", answers="", main="", origin="")
    >>> "<title>my_lab: a test</title>" in page, "script-src" in page
    (True, False)
    """
    sheets = [_read(_STYLE), *([_read(style)] if style else [])]
    code = _read(script.file) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return string.Template(_read("document.html")).substitute(
        name=name,
        what=what,
        facts=facts,
        answers=answers,
        main=main,
        origin=origin,
        style="".join(sheets),
        policy=f"; script-src 'sha256-{digest}'" if script else "",
        script=_format_script(script, code) if script else "",
    )


def _format_script(script: Script, code: str) -> str:
    text = json.dumps(script.data, separators=(",", ":"), allow_nan=False)
    # Any "<" in the data could end its element.
    text = text.replace("<", "\\u003c")
    return (
        f"<noscript><p>{script.without}</p></noscript>\n"
        f'<script type="application/json" id="numbers">{text}</script>\n'
        f"<script>{code}</script>"
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")
