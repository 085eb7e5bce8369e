"""A page that shows what is wrong with a session's recordings, and what to do about it.

One HTML file without a script, in the style of a session's page.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from uld_jax.report import document, radius_map
from uld_jax.report.session_markup import (
    SPACE,
    escape,
    format_count,
    format_number,
    format_origin,
    table,
)
from uld_jax.storage import atomic

_TIMES, _PLUS_MINUS = "\N{MULTIPLICATION SIGN}", "\N{PLUS-MINUS SIGN}"
_STATES = (' class="state sure"', "", ' class="state unsure"')
_FAINTEST = -100.0  # dB of full scale: less is nothing.


def write(record: dict[str, Any], path: pathlib.Path) -> None:
    """Write the page of an examined session in one piece.

    Args:
        record: As for `render`.
        path: Of the page, an HTML file.
    """
    atomic.write_bytes(path, render(record).encode())


def render(record: dict[str, Any]) -> str:
    """Render the page of an examined session.

    Args:
        record: What `json` reads, with these keys; what is not known is None:

            - `session`, `command`, `version`, `written` (ISO 8601): texts.
            - `level`: 0 if nothing is wrong, 1 if it is usable, 2 if not; `summary`: the
              same in a sentence.
            - `room_size_m`: [x, y] or [x, y, z].
            - `nodes`: names; `node_positions_m`: [x, y] or [x, y, z] of each.
            - `recordings`: for each

              - `name`, `level`; `windows`, how many of them are `determined`, and at how
                many `places`;
              - `clocks`, `geometry`: sentences on both;
              - `remarks`: for each its `text`, its `level`, and the `node` it is about;
              - `nodes`: for each its `name`; `speech_db`, `noise_db`, `offset_db`,
                `hum_db` against speech, `gap_seconds`, `bandwidth_hz`; `start_s`,
                `clock_offset_s`, `clock_drift_ppm` and the standard errors of both,
                `clock_offset_error_s` and `clock_drift_error_ppm`; `coherence`;
              - `map`: `radii_m`, expected 90 % radii at the cells of a grid, rows y, over
                `area_m`, two corners; the `limit_m` above which a position is not
                determined, and the names of the `nodes` that are used.

    Returns:
        The text of an HTML file.

    >>> page = render({"session": "my_lab", "level": 0, "summary": "Nothing is wrong",
    ...                "nodes": [], "node_positions_m": [], "recordings": []})
    >>> "Nothing is wrong" in page
    True
    """
    sections = [_recording(record, one) for one in record["recordings"]]
    return document.format_page(
        escape(record["session"]),
        "health of its recordings",
        facts=_facts(record),
        answers=f"<p{_STATES[record['level']]}><b>{escape(record['summary'])}</b></p>",
        main="\n".join(sections),
        origin=format_origin(record, "How it was examined"),
        style=radius_map.STYLE,
    )


def _facts(record: dict[str, Any]) -> str:
    facts = [
        format_count(len(record["recordings"]), "recording"),
        format_count(len(record["nodes"]), "node"),
    ]
    if room := record.get("room_size_m"):
        size = f" {_TIMES} ".join(format_number(side, 2) for side in room)
        facts.append(f"room of {size} m")
    return escape(" \N{MIDDLE DOT} ".join(facts))


def _recording(record: dict[str, Any], one: dict[str, Any]) -> str:
    """Format the section of a recording: remarks, the map, and its nodes."""
    said = [_found(one), one.get("clocks"), one.get("geometry")]
    sentences = "".join(f"<p>{escape(text)}.</p>" for text in said if text)
    return (
        f'<section class="recording"><h2>{escape(one["name"])}</h2>{sentences}'
        f"{_remarks(one['remarks'])}{_map(record, one)}{_levels(one['nodes'])}"
        f"{_clocks(one['nodes'])}</section>"
    )


def _found(one: dict[str, Any]) -> str:
    if not one["windows"]:
        return "Nothing was localized"
    found = (
        f"{one['determined']} of {format_count(one['windows'], 'window')} determined"
    )
    if not one["determined"]:
        return found
    return f"{found}, at {format_count(one['places'], 'place')}"


def _remarks(remarks: Sequence[dict[str, Any]]) -> str:
    """List remarks, with those that make something unusable first."""
    if not remarks:
        return ""
    ordered = sorted(remarks, key=lambda remark: -remark["level"])
    lines = "".join(f"<li>{escape(remark['text'])}</li>" for remark in ordered)
    return f'<section class="note"><h2>Remarks</h2><ul>{lines}</ul></section>'


def _map(record: dict[str, Any], one: dict[str, Any]) -> str:
    """Draw where in the room a position can be determined, with its legend."""
    if not (made := one.get("map")):
        return ""
    used = set(made["nodes"])
    nodes = [
        (name, tuple(position[:2]), "node" if name in used else "node fixed")
        for name, position in zip(
            record["nodes"], record["node_positions_m"], strict=True
        )
    ]
    drawing = radius_map.draw_map(
        [tuple(corner) for corner in made["area_m"]],
        made["radii_m"],
        nodes,
        known_room=bool(record.get("room_size_m")),
    )
    caption = (
        "The 90 % radius that is expected by the places of the nodes alone, if their "
        f"clocks agree. Above {made['limit_m']:g} m, a position is not determined."
    )
    if len(used) < len(nodes):
        caption += " Outlined triangles are nodes that cannot be used."
    return (
        f'<div class="pair"><figure>{drawing}<figcaption>{caption}</figcaption></figure>'
        f"<div><h3>Where positions can be determined</h3>{radius_map.format_legend()}"
        "</div></div>"
    )


def _levels(nodes: Sequence[dict[str, Any]]) -> str:
    """Format the table of signals."""
    rows = [
        [
            escape(node["name"]),
            format_number(node["speech_db"], 0),
            format_number(node["noise_db"], 0),
            _level(node["offset_db"]),
            _level(_sum(node["hum_db"], node["speech_db"])),
            format_number(node["gap_seconds"], 1),
            format_number(node["bandwidth_hz"] / 1000, 1),
            format_number(node["coherence"], 2),
        ]
        for node in nodes
    ]
    heads = [
        "Node",
        "Speech in dB",
        "Noise in dB",
        "DC in dB",
        "Hum in dB",
    ]
    heads += ["Silent in s", "Bandwidth in kHz", "Coherence with others"]
    return (
        "<h3>Signals</h3><p>Levels are relative to full scale. Coherence is 1 for the "
        "same sound at all nodes; echoes make it 0.1 to 0.7, and a few hundredths are "
        f"nothing in common.</p>{table('Signals', 'signals', heads, rows)}"
    )


def _sum(relative: float | None, level: float | None) -> float | None:
    return None if relative is None or level is None else relative + level


def _level(level: float | None) -> str:
    """Write a level in dB; a dash where there is hardly anything."""
    return format_number(level if level is None or level > _FAINTEST else None, 0)


def _clocks(nodes: Sequence[dict[str, Any]]) -> str:
    """Format the table of clocks."""
    rows = [
        [
            escape(node["name"]),
            format_number(node["start_s"], 2),
            _with_error(node, "clock_offset_s", "clock_offset_error_s", 1e3, 2),
            _with_error(node, "clock_drift_ppm", "clock_drift_error_ppm", 1.0, 1),
        ]
        for node in nodes
    ]
    heads = ["Node", "Started after the first, in s", "Late by then, in ms"]
    heads.append("Drift in ppm")
    return (
        "<h3>Clocks</h3><p>Starts are known within some tens of milliseconds; what is left "
        "is in the next column, at the middle of the recording, relative to the nodes that "
        f"agree, {_PLUS_MINUS} a standard error.</p>{table('Clocks', 'clocks', heads, rows)}"
    )


def _with_error(
    node: dict[str, Any], key: str, error: str, scale: float, digits: int
) -> str:
    if node[key] is None:
        return format_number(None, digits)
    value = format_number(scale * node[key], digits, sign="+")
    within = format_number(scale * node[error], digits)
    return f"{value}{SPACE}{_PLUS_MINUS}{SPACE}{within}"
