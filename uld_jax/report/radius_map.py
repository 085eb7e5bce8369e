"""A map of the 90 % radius that is expected at each place of a room, as SVG.

Its colors are in `radius_map.css`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from uld_jax.report import session_plan
from uld_jax.report.session_markup import escape, format_number, format_position
from uld_jax.report.session_windows import Point

# Upper bounds of radii in meters that have a color of their own.
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
STYLE = "radius_map.css"


def find_level(radius: float) -> int:
    """Find which of the colors a radius has, from 0 for the smallest.

    >>> [find_level(radius) for radius in (0.01, 0.02, 0.021, 7.0)]
    [0, 0, 1, 6]
    """
    return sum(radius > bound for bound in LEVELS)


def draw_map(
    area: Sequence[Point],
    radii: Sequence[Sequence[float]],
    nodes: Sequence[tuple[str, Point, str]],
    *,
    known_room: bool = True,
    table: Sequence[Point] | None = None,
    one_more: Point | None = None,
) -> str:
    """Draw the floor plan: a colored cell for each radius, and the nodes over it.

    Args:
        area: Corners of the room, or of the area that is searched, in meters.
        radii: In meters, at the cells of a grid over it, rows y.
        nodes: The name, (x, y) in meters and the symbol of each.
        known_room: Whether the area is the room.
        table: Corners of the table that nodes are on, in meters; None for none.
        one_more: (x, y) in meters of a further node; None for none.
    """
    frame = session_plan.Frame.around(area)
    named = [(name, position) for name, position, _ in nodes]
    kinds = [kind for *_, kind in nodes]
    marks = session_plan.draw_nodes(frame, named, [], kinds)
    cells = "".join(_draw_cells(frame, radii, *np.array(area, float)))
    parts = [
        f'<g class="map" shape-rendering="crispEdges">{cells}</g>',
        session_plan.draw_axes(frame),
        session_plan.draw_area(frame, area, known_room),
    ]
    if table:
        outline = session_plan.draw_area(frame, table, known_room=False)
        parts.append(outline.replace('"searched"', '"table"'))
    if one_more:
        symbol = session_plan.mark("node more", *frame.point(one_more))
        parts.append(f"<g>{symbol}<title>One more node</title></g>")
    words = escape(f"Map of the expected 90 % radius with {len(nodes)} nodes")
    size = (
        f"{session_plan.units(session_plan.WIDTH)} {session_plan.units(frame.height)}"
    )
    return (
        f'<svg class="plan" viewBox="0 0 {size}" role="img" aria-label="{words}">'
        f"{''.join(parts)}{marks}</svg>"
    )


def _draw_cells(
    frame: session_plan.Frame,
    radii: Sequence[Sequence[float]],
    low: np.ndarray,
    high: np.ndarray,
) -> Iterator[str]:
    """Draw a rectangle for each cell, which names its radius."""
    units = session_plan.units
    side = (high - low) / [len(radii[0]), len(radii)]
    width, height = (units(one) for one in (side * frame.scale).tolist())
    for row, line in enumerate(radii):
        for column, radius in enumerate(line):
            x, y = frame.point(tuple((low + side * [column, row + 1]).tolist()))
            center = format_position((low + side * [column + 0.5, row + 0.5]).tolist())
            yield (
                f'<rect class="level-{find_level(radius)}" x="{units(x)}" '
                f'y="{units(y)}" width="{width}" height="{height}"><title>'
                f"{format_number(radius, 2, 'm')} at {center}</title></rect>"
            )


def format_legend() -> str:
    """List the colors with their bounds."""
    names = [f"up to {bound:g} m" for bound in LEVELS] + [f"above {LEVELS[-1]:g} m"]
    lines = [
        f'<li><svg class="symbol" viewBox="0 0 26 20"><rect class="level-{level}" x="1" '
        f'y="2" width="24" height="16"/></svg>{name}</li>'
        for level, name in enumerate(names)
    ]
    return f'<ul class="legend">{"".join(lines)}</ul>'
