"""A plan of where nodes are placed, as sentences, tables and the record of its page."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

import uld_jax
from uld_jax.localization import placement

_NEAR = (0.1, 0.5)  # Meters, for which the share of the floor is said.


def make(
    plan: placement.Plan,
    room_size: Sequence[float],
    names: Sequence[str],
    table: Sequence[float] | None,
    facts: Sequence[str],
    name: str,
    command: str,
) -> dict[str, Any]:
    """Make the record of a plan, of numbers and texts alone.

    Args:
        plan: The plan.
        room_size: Sides in meters.
        names: Of the nodes.
        table: x0, y0, x1, y1 in meters of the table; None for none.
        facts: What was assumed of clocks and the like, in short.
        name: Of the plan.
        command: What made it.

    Returns:
        What `report.placement_page` describes.
    """
    more = plan.one_more
    return {
        "name": name,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": uld_jax.__version__,
        "command": command,
        "room_size_m": [float(side) for side in room_size],
        "nodes": [
            {
                "name": node,
                "position_m": [round(float(value), 3) for value in position],
                "fixed": number < plan.num_fixed,
            }
            for number, (node, position) in enumerate(
                zip(names, plan.nodes, strict=True)
            )
        ],
        "one_more_m": None if more is None else [round(float(v), 3) for v in more],
        "table_m": None if table is None else [float(value) for value in table],
        "radii_m": [[round(float(r), 4) for r in row] for row in plan.radii],
        "answers": describe(plan),
        "facts": list(facts),
        "assumed": [
            "Talkers stand 0.3 m or more from the walls; the map shows the whole floor.",
            "Walls, gains and clocks are those of a simulator that is kinder than a room: "
            "furniture, people who face away and noise make radii larger.",
            "The radius is what the localizer is expected to answer by its own model. "
            "Only the differences between places and layouts are to be relied on.",
        ],
    }


def describe(plan: placement.Plan) -> list[str]:
    """Summarize a plan in sentences: its radii, and those with one more node."""
    lines = []
    if plan.calibrated is not None and plan.radii_without is not None:
        lines.append(
            f"Clocks are expected to be calibrated in {100 * plan.calibrated:.0f} % of recordings; "
            f"in others: {_summarize(plan, plan.radii_without)}."
        )
    with_clocks = "" if plan.calibrated is None else " with calibrated clocks"
    lines.append(f"90 % radius expected{with_clocks}: {_summarize(plan, plan.radii)}.")
    if plan.one_more is not None and plan.radii_with is not None:
        x, y, _ = plan.one_more
        share = (
            ""
            if plan.calibrated_with is None
            else f"calibrated in {100 * plan.calibrated_with:.0f} %; "
        )
        lines.append(
            f"One more node, best at ({x:.2f}, {y:.2f}) m: {share}"
            f"{_summarize(plan, plan.radii_with)}."
        )
    if placement.are_on_line(plan.nodes):
        lines.append(
            "Nodes are nearly on a line: a talker and the mirror image may be confused, "
            "which the radius does not show."
        )
    return lines


def _summarize(plan: placement.Plan, radii: Float[np.ndarray, "R C"]) -> str:
    counted = radii[plan.counts]
    x, y = plan.places[plan.counts][counted.argmax()]
    shares = " and ".join(
        f"{100 * np.mean(counted <= near):.0f} % of the floor within {near:g} m"
        for near in _NEAR
    )
    return (
        f"worst {format_radius(float(counted.max()))} at ({x:.1f}, {y:.1f}), mean "
        f"{format_radius(float(counted.mean()))}; {shares}"
    )


def format_radius(radius: float) -> str:
    """Write a radius to two digits.

    >>> [format_radius(radius) for radius in (0.01234, 0.456, 3.21)]
    ['0.012 m', '0.46 m', '3.2 m']
    """
    return f"{float(f'{radius:.2g}'):g} m"


def name_nodes(fixed: Sequence[str], count: int) -> list[str]:
    """Name nodes: the fixed ones as they are, the others n1, n2, ..., none twice.

    >>> name_nodes(["door", "n1"], 4)
    ['door', 'n1', 'n2', 'n3']
    """
    names, number = list(fixed), 0
    while len(names) < count:
        number += 1
        if f"n{number}" not in names:
            names.append(f"n{number}")
    return names


def to_csv(record: dict[str, Any]) -> str:
    """Format the nodes of a record as the table of a session's nodes."""
    rows = [
        ",".join([_cell(one["name"]), *(f"{value:.3f}" for value in one["position_m"])])
        for one in record["nodes"]
    ]
    return "\n".join(["node,x,y,z", *rows]) + "\n"


def _cell(text: str) -> str:
    """Quote a text that a comma or a quote would end."""
    return '"' + text.replace('"', '""') + '"' if {",", '"'} & set(text) else text
