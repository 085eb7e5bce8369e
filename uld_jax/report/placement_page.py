"""A page that shows how surely a talker will be localized, and where to put nodes.

One HTML file without a script, in the style of a session's page.
"""

import pathlib
from typing import Any

from uld_jax.report import document, radius_map
from uld_jax.report.session_markup import (
    escape,
    format_count,
    format_number,
    format_origin,
    table,
)
from uld_jax.storage import atomic

_TIMES = "\N{MULTIPLICATION SIGN}"


def write(record: dict[str, Any], path: pathlib.Path) -> None:
    """Write the page of a plan in one piece.

    Args:
        record: As for `render`.
        path: Of the page, an HTML file.
    """
    atomic.write_bytes(path, render(record).encode())


def render(record: dict[str, Any]) -> str:
    """Render the page of a plan.

    Args:
        record: With these keys:

            - `name`, `command`, `version`, `written` (ISO 8601): texts.
            - `room_size_m`: [x, y] or [x, y, z].
            - `nodes`: for each its `name`, `position_m` [x, y, z], and whether it is
              `fixed`.
            - `one_more_m`: [x, y, z] of the best further node; None for none.
            - `table_m`: [x0, y0, x1, y1]; None for none.
            - `radii_m`: expected 90 % radii at the cells of a grid over the floor, rows
              y, the first cell at the origin.
            - `answers`, `assumed`: sentences.
            - `facts`: short texts about the setting.

    Returns:
        The text of an HTML file.

    >>> page = render(
    ...     {
    ...         "name": "my_plan",
    ...         "room_size_m": [6.0, 4.0],
    ...         "nodes": [{"name": "door", "position_m": [0, 1, 1.2], "fixed": True}],
    ...         "radii_m": [[0.1, 0.3], [0.2, 0.3]],
    ...     }
    ... )
    >>> page.count("<rect")
    11
    """
    answers = "".join(f"<li>{escape(one)}</li>" for one in record.get("answers", ()))
    return document.format_page(
        escape(record.get("name") or "Plan"),
        "where to put recorders",
        facts=_facts(record),
        answers=f'<ul class="answers">{answers}</ul>',
        main=_main(record),
        origin=format_origin(record, "How it was made"),
        style=radius_map.STYLE,
    )


def _main(record: dict[str, Any]) -> str:
    """Format the map with its legend, the nodes, and what is assumed."""
    assumed = "".join(f"<li>{escape(one)}</li>" for one in record.get("assumed", ()))
    return (
        f'<div class="pair"><figure>{_map(record)}'
        f"<figcaption>{_caption(record)}</figcaption></figure>"
        f"<div><h2>90 % radius expected</h2>{radius_map.format_legend()}"
        f"{_nodes(record)}</div></div>"
        f'<section class="note"><h2>What is assumed</h2><ul>{assumed}</ul></section>'
    )


def _map(record: dict[str, Any]) -> str:
    sides = tuple(float(side) for side in record["room_size_m"][:2])
    nodes = [
        (
            one["name"],
            tuple(one["position_m"][:2]),
            "node fixed" if one.get("fixed") else "node",
        )
        for one in record["nodes"]
    ]
    desk, more = record.get("table_m"), record.get("one_more_m")
    return radius_map.draw_map(
        [(0.0, 0.0), sides],
        record["radii_m"],
        nodes,
        table=[tuple(desk[:2]), tuple(desk[2:])] if desk else None,
        one_more=tuple(more[:2]) if more else None,
    )


def _facts(record: dict[str, Any]) -> str:
    size = f" {_TIMES} ".join(format_number(s, 2) for s in record["room_size_m"])
    facts = [format_count(len(record["nodes"]), "node"), f"room of {size} m"]
    return escape(" \N{MIDDLE DOT} ".join([*facts, *record.get("facts", ())]))


def _caption(record: dict[str, Any]) -> str:
    parts = ["Of ten answers for a talker at a place, nine should be this near."]
    if any(one.get("fixed") for one in record["nodes"]):
        parts.append("Outlined triangles are nodes that were given.")
    if record.get("one_more_m"):
        parts.append("The dotted triangle is the best place of one more.")
    return " ".join(parts)


def _nodes(record: dict[str, Any]) -> str:
    rows = [
        [
            escape(one["name"]),
            *(format_number(float(value), 2) for value in one["position_m"]),
            "given" if one.get("fixed") else "proposed",
        ]
        for one in record["nodes"]
    ]
    return table("Nodes", "placed", ["Node", "x in m", "y in m", "z in m", ""], rows)
