"""A page that shows how surely a talker will be localized, and where to put nodes.

One HTML file without a script, in the style of a session's page.
"""

import pathlib
import string
from collections.abc import Sequence

from uld_jax.report import session_plan
from uld_jax.report.session_markup import (
    escape,
    format_count,
    format_number,
    format_origin,
    format_position,
    table,
)
from uld_jax.storage import atomic

# Upper bounds of radii in meters that have a color of their own.
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_TIMES = "\N{MULTIPLICATION SIGN}"


def write(record: dict, path: pathlib.Path) -> None:
    """Write the page of a plan in one piece.

    Args:
        record: As for `render`.
        path: Of the page, an HTML file.
    """
    atomic.write_bytes(path, render(record).encode())


def render(record: dict) -> str:
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
    folder = pathlib.Path(__file__).parent
    style, page = (
        (folder / name).read_text("utf-8")
        for name in ("session_page.css", "placement_page.html")
    )
    answers = "".join(f"<li>{escape(one)}</li>" for one in record.get("answers", ()))
    assumed = "".join(f"<li>{escape(one)}</li>" for one in record.get("assumed", ()))
    return string.Template(page).substitute(
        title=escape(record.get("name") or "Plan"),
        facts=_facts(record),
        answers=f'<ul class="answers">{answers}</ul>',
        map=draw_map(record),
        caption=_caption(record),
        legend=_legend(),
        nodes=_nodes(record),
        assumed=assumed,
        origin=format_origin(record, "How it was made"),
        style=style,
    )


def find_level(radius: float) -> int:
    """Find which of the colors a radius has, from 0 for the smallest.

    >>> [find_level(radius) for radius in (0.01, 0.02, 0.021, 7.0)]
    [0, 0, 1, 6]
    """
    return sum(radius > bound for bound in LEVELS)


def draw_map(record: dict) -> str:
    """Draw the floor plan: a colored cell for each radius, and the nodes over it.

    Args:
        record: As for `render`.
    """
    sides = tuple(float(side) for side in record["room_size_m"][:2])
    corners = [(0.0, 0.0), sides]
    frame = session_plan.Frame.around(corners)
    nodes = [(one["name"], tuple(one["position_m"][:2])) for one in record["nodes"]]
    kinds = ["node fixed" if one.get("fixed") else "node" for one in record["nodes"]]
    marks = session_plan.draw_nodes(frame, nodes, [], kinds)
    parts = [
        f'<g class="map" shape-rendering="crispEdges">{"".join(_draw_cells(frame, record["radii_m"], sides))}</g>',
        session_plan.draw_axes(frame),
        session_plan.draw_area(frame, corners, known_room=True),
    ]
    if desk := record.get("table_m"):
        area = [tuple(desk[:2]), tuple(desk[2:])]
        outline = session_plan.draw_area(frame, area, known_room=False)
        parts.append(outline.replace('"searched"', '"table"'))
    if more := record.get("one_more_m"):
        symbol = session_plan.mark("node more", *frame.point(tuple(more[:2])))
        parts.append(f"<g>{symbol}<title>One more node</title></g>")
    words = escape(f"Map of the expected 90 % radius with {len(nodes)} nodes")
    size = (
        f"{session_plan.units(session_plan.WIDTH)} {session_plan.units(frame.height)}"
    )
    return (
        f'<svg class="plan" viewBox="0 0 {size}" role="img" aria-label="{words}">'
        f"{''.join(parts)}{marks}</svg>"
    )


def _draw_cells(frame, radii: Sequence[Sequence[float]], sides):
    """Draw a rectangle for each cell, which names its radius."""
    units = session_plan.units
    depth, width = sides[1] / len(radii), sides[0] / len(radii[0])
    size = f'width="{units(width * frame.scale)}" height="{units(depth * frame.scale)}"'
    for row, line in enumerate(radii):
        for column, radius in enumerate(line):
            x, y = frame.point((column * width, (row + 1) * depth))
            center = format_position([(column + 0.5) * width, (row + 0.5) * depth])
            yield (
                f'<rect class="level-{find_level(radius)}" x="{units(x)}" '
                f'y="{units(y)}" {size}><title>{format_number(radius, 2, "m")} at '
                f"{center}</title></rect>"
            )


def _legend() -> str:
    """List the colors with their bounds."""
    names = [f"up to {bound:g} m" for bound in LEVELS] + [f"above {LEVELS[-1]:g} m"]
    lines = [
        f'<li><svg class="symbol" viewBox="0 0 26 20"><rect class="level-{level}" x="1" '
        f'y="2" width="24" height="16"/></svg>{name}</li>'
        for level, name in enumerate(names)
    ]
    return f'<ul class="legend">{"".join(lines)}</ul>'


def _facts(record: dict) -> str:
    size = f" {_TIMES} ".join(format_number(s, 2) for s in record["room_size_m"])
    facts = [format_count(len(record["nodes"]), "node"), f"room of {size} m"]
    return escape(" \N{MIDDLE DOT} ".join([*facts, *record.get("facts", ())]))


def _caption(record: dict) -> str:
    parts = ["Of ten answers for a talker at a place, nine should be this near."]
    if any(one.get("fixed") for one in record["nodes"]):
        parts.append("Outlined triangles are nodes that were given.")
    if record.get("one_more_m"):
        parts.append("The dotted triangle is the best place of one more.")
    return " ".join(parts)


def _nodes(record: dict) -> str:
    rows = [
        [
            escape(one["name"]),
            *(format_number(float(value), 2) for value in one["position_m"]),
            "given" if one.get("fixed") else "proposed",
        ]
        for one in record["nodes"]
    ]
    return table("Nodes", "placed", ["Node", "x in m", "y in m", "z in m", ""], rows)
