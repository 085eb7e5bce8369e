"""Numbers, positions and tables of a session's page as HTML."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from uld_jax.report import session_windows

UNKNOWN = "\N{EN DASH}"
SPACE = "\N{NO-BREAK SPACE}"
STATE_CLASSES = dict(
    zip(session_windows.STATES, ("sure", "unsure", "located", "silent"), strict=True)
)


def escape(value: object) -> str:
    """Format a text of the record; empty if there is none."""
    return html.escape(session_windows.text(value))


def format_number(
    value: float | None, digits: int, unit: str = "", sign: str = ""
) -> str:
    """Write a number with its unit, or a dash if it is unknown."""
    if value is None:
        return UNKNOWN
    rounded = round(value, digits) + 0.0  # Not minus zero.
    written = f"{rounded:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return f"{written}{SPACE}{unit}" if unit else written


def format_point(position: Sequence[float]) -> str:
    """Write a position without its unit."""
    numbers = [format_number(float(value), 2) for value in position]
    return f"({f',{SPACE}'.join(numbers)})"


def format_position(position: Sequence[float]) -> str:
    """Write a position in meters."""
    return f"{format_point(position)}{SPACE}m"


def format_meters(value: float | None) -> str:
    """Write meters to the millimeter."""
    return format_number(value, 3, "m")


def format_count(count: int, noun: str) -> str:
    """Write a count and its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_mass(mass: float | None) -> str:
    """Write the share of the posterior that a place has."""
    return "?" if mass is None else f"{100 * mass:.0f}{SPACE}%"


def join_lines(cells: Iterable[str]) -> str:
    """Put several values into one cell of a table."""
    return "<br>".join(cells) or UNKNOWN


def table(
    title: str, kind: str, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """Format a table.

    Args:
        title: For readers who do not see the page.
        kind: Class in the style sheet.
        header: Cells of the head, in HTML.
        rows: Cells in HTML; the first of each row is its header.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td>{cell}</td>" for cell in others)
        + "</tr>\n"
        for first, *others in rows
    )
    # It can be scrolled, so the keyboard must reach it.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f'<table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def format_origin(
    record: Mapping[str, Any], heading: str, settings: Sequence[Sequence[str]] = ()
) -> str:
    """Format how a page came about: command, version, date, settings; empty if unknown.

    Args:
        record: With `command`, `version` and `written`, as far as they are known.
        heading: Over them.
        settings: Further rows of names and values, as HTML.
    """
    rows = [
        [title, f"<code>{escape(value)}</code>" if key == "command" else escape(value)]
        for key, title in (
            ("command", "Command"),
            ("version", "Version of uld_jax"),
            ("written", "Written"),
        )
        if (value := record.get(key)) is not None
    ]
    rows += settings
    if not rows:
        return ""
    return f"<h2>{heading}</h2>{table('Settings', 'origin', ['Name', 'Value'], rows)}"
