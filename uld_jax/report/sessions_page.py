"""A page that lists many sessions with their outcomes, and links to their pages.

One HTML file without a script, in the style of a session's page.
"""

import pathlib
import urllib.parse
from collections.abc import Sequence
from typing import Any

from uld_jax.report import document
from uld_jax.report.session_markup import (
    UNKNOWN,
    escape,
    format_count,
    format_origin,
    table,
)
from uld_jax.storage import atomic

_OUTCOMES = {
    "located": '<span class="state sure">located</span>',
    "failed": '<span class="state unsure">failed</span>',
}
_WAITING = '<span class="state silent">not located yet</span>'
_COUNTS = ("recordings", "windows", "determined", "turns", "remarks")


def write(record: dict[str, Any], path: pathlib.Path) -> None:
    """Write the page of many sessions in one piece.

    Args:
        record: As for `render`.
        path: Of the page, an HTML file.
    """
    atomic.write_bytes(path, render(record).encode())


def render(record: dict[str, Any]) -> str:
    """Render the page of many sessions.

    Args:
        record: With these keys:

            - `name`, `command`, `version`, `written` (ISO 8601): texts.
            - `settings`: of the command, by name.
            - `sessions`: for each

              - `name`, and `page`, the path of its page; None if there is none;
              - `status`: "located" or "failed"; others are still to be located;
              - `recordings`, `windows`, `determined`, `turns`, `remarks`: counts; None
                where they are not known;
              - `left_out`: sentences about recordings that could not be used;
              - `reason`: why it failed.

    Returns:
        The text of an HTML file.

    >>> page = render({"name": "spring", "sessions": [{"name": "monday"}]})
    >>> "1 session" in page, "not located yet" in page
    (True, True)
    """
    sessions = record.get("sessions") or ()
    settings = [
        [f"<code>{escape(key)}</code>", escape(value)]
        for key, value in (record.get("settings") or {}).items()
        if value is not None
    ]
    parts = (_list_failed(sessions), _list_left_out(sessions), _list_all(sessions))
    return document.format_page(
        escape(record.get("name") or "Sessions"),
        "located sessions",
        facts=_facts(sessions),
        answers="",
        main="\n".join(parts),
        origin=format_origin(record, "How they were located", settings),
        style="sessions_page.css",
    )


def _facts(sessions: Sequence[dict[str, Any]]) -> str:
    located, failed = (
        sum(one.get("status") == status for one in sessions) for status in _OUTCOMES
    )
    facts = [format_count(len(sessions), "session"), f"{located:,} located"]
    if failed:
        facts.append(f"{failed:,} failed")
    if waiting := len(sessions) - located - failed:
        facts.append(f"{waiting:,} not located yet")
    return escape(" \N{MIDDLE DOT} ".join(facts))


def _list_failed(sessions: Sequence[dict[str, Any]]) -> str:
    rows = [
        [escape(one["name"]), escape(one.get("reason"))]
        for one in sessions
        if one.get("status") == "failed"
    ]
    if not rows:
        return ""
    return f"<h2>Failed</h2>{table('Failed', 'failed', ['Session', 'Why'], rows)}"


def _list_left_out(sessions: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"<li><b>{escape(one['name'])}:</b> {escape(sentence)}</li>"
        for one in sessions
        for sentence in one.get("left_out") or ()
    ]
    if not lines:
        return ""
    return (
        '<section class="note"><h2>Recordings that were left out</h2>'
        f"<ul>{''.join(lines)}</ul></section>"
    )


def _list_all(sessions: Sequence[dict[str, Any]]) -> str:
    rows = [
        [_link(one), _OUTCOMES.get(one.get("status"), _WAITING), *_counts(one)]
        for one in sessions
    ]
    header = ["Session", "Outcome", *(name.capitalize() for name in _COUNTS)]
    return f"<h2>Sessions</h2>{table('Sessions', 'sessions', header, rows)}"


def _link(session: dict[str, Any]) -> str:
    name = escape(session["name"])
    if not (page := session.get("page")):
        return name
    return f'<a href="{escape(urllib.parse.quote(f"./{page}"))}">{name}</a>'


def _counts(session: dict[str, Any]) -> list[str]:
    counts = (session.get(name) for name in _COUNTS)
    return [UNKNOWN if count is None else f"{count:,}" for count in counts]
