"""Propose places for recorders, and map how sure positions will be.

    uld_jax plan --room=6x4 --nodes=6
    uld_jax plan --room=6x4x2.7 --nodes=8 --clocks=1ms --out=my_plan
    uld_jax plan --room=6x4 --nodes=8 --clocks=50ms --calibrate=6
    uld_jax plan --room=6x4 --nodes=6 --fixed=nodes.csv --on=table --table=2,1,4,3

The expected 90 % radius of an answer follows from the localizer's own model: times of
arrival, or, where clocks are too different, coarser votes and levels. With --calibrate, how
likely talkers at so many places calibrate the clocks counts, too. Proposed places make its
worst or its mean value over the room least. --out writes a page with the map, and nodes.csv
and room.csv to start a session with.
"""

import pathlib
import re
import shlex
from typing import Any

from uld_jax.cli.flags import Flag, parse_numbers, parse_quantity
from uld_jax.runtime import errors, progress

FLAGS = (
    Flag("room", "string", "Sides in meters: 6x4, or 6x4x2.7.", required=True),
    Flag("nodes", "integer", "Number of nodes, fixed ones included.", required=True),
    Flag(
        "clocks",
        "string",
        "How far clocks are off (standard deviation), such as 1ms; 0 for one clock.",
        default="0",
    ),
    Flag(
        "calibrate",
        "integer",
        "Places of talkers in a recording by which these clocks are calibrated; 0 for none.",
        default=0,
        least=0,
    ),
    Flag("fixed", "string", "Table of nodes that stay where they are, as nodes.csv."),
    Flag("out", "string", "Folder, or page in a folder (.html), to write to."),
    Flag(
        "on", "string", "Where nodes may be: walls, anywhere, table.", default="walls"
    ),
    Flag("table", "string", "x0,y0,x1,y1 in meters: the rectangle of --on=table."),
    Flag("minimize", "string", "Which radius: worst or mean.", default="worst"),
    Flag(
        "positions",
        "string",
        "How well places of nodes are measured (standard deviation).",
        default="1cm",
    ),
    Flag("node_height", "float", "Of proposed nodes, in meters.", default=1.2),
    Flag("source_height", "float", "Of talkers' mouths in meters; else 0.8 to 1.9."),
    Flag("t60", "float", "Reverberation time in seconds.", default=0.5),
    Flag("seed", "integer", "Of the search.", default=0, least=0),
    Flag("overwrite", "bool", "Overwrite files in --out.", default=False),
)
TAKES_PATHS = False

_SECONDS = {"ms": 1e-3, "s": 1.0, "us": 1e-6, "\N{MICRO SIGN}s": 1e-6}
_METERS = {"cm": 0.01, "m": 1.0, "mm": 0.001}
_PAGE, _NODES, _ROOM = "plan.html", "nodes.csv", "room.csv"


def main(values: Any, _: Any) -> None:
    """Make the plan; print and write it."""
    room = parse_numbers("room", values.room, (2, 3), "6x4")
    options = {
        "clocks": parse_quantity("clocks", values.clocks, _SECONDS),
        "calibrate": values.calibrate,
        "positions": parse_quantity("positions", values.positions, _METERS),
        "source_height": values.source_height,
        "t60": values.t60,
    }
    table = values.table and parse_numbers("table", values.table, (4,), "2,1,4,3")
    page = _check_out(values)

    from uld_jax.evaluation import plan_record
    from uld_jax.localization import planning
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    try:
        names, found = _place(values, room, table, options)
    except planning.PlanningError as error:
        raise errors.InputError(_name_flags(str(error))) from None
    clocks = f"clocks off by {values.clocks}" if options["clocks"] else "one clock"
    if values.calibrate:
        clocks += f", calibrated by talkers at {values.calibrate} places"
    facts = [
        clocks,
        f"places known to {values.positions}",
        f"T60 {values.t60:g} s",
    ]
    name = page.parent.resolve().name if page else "plan"
    record = plan_record.make(found, room, names, table, facts, name, _command(values))
    progress.log(_format(record))
    if page:
        _write(page, record)


def _place(values, room, table, options):
    """Read the fixed nodes, and place the others; return the names of all, and a plan."""
    import numpy as np

    from uld_jax.audio import array_tables
    from uld_jax.evaluation import plan_record
    from uld_jax.localization import placement, planning, recordings

    planning.check(room, **{k: v for k, v in options.items() if k != "calibrate"})
    fixed = {}
    if values.fixed:
        _, fixed = array_tables.read(values.fixed, "x".join(map(str, room)))
    places = [
        np.append(one.position, recordings.NODE_HEIGHT)[:3] for one in fixed.values()
    ]
    found = placement.place_nodes(
        room,
        values.nodes,
        places or None,
        on=values.on,
        table=table,
        minimize=values.minimize,
        node_height=values.node_height,
        seed=values.seed,
        **options,
    )
    return plan_record.name_nodes(list(fixed), values.nodes), found


def _name_flags(message: str) -> str:
    """Replace the arguments of `place_nodes` in a message by their flags."""
    names = {"room_size": "room", "num_nodes": "nodes"}
    names |= {flag.name: flag.name for flag in FLAGS if flag.name not in names.values()}
    named = rf"\b({'|'.join(names)}) (is|\[)"
    return re.sub(named, lambda found: f"--{names[found[1]]} {found[2]}", message)


def _check_out(values) -> pathlib.Path | None:
    """Check that nothing is overwritten; return the path of the page."""
    if values.out is None:
        return None
    out = pathlib.Path(values.out).expanduser()
    page = out if out.suffix == ".html" else out / _PAGE
    if page.parent.exists() and not page.parent.is_dir():
        raise errors.InputError(f"--out: {str(out)!r} is a file; name a folder")
    for path in (page, page.with_name(_NODES), page.with_name(_ROOM)):
        if path.is_dir():
            raise errors.InputError(f"--out: {str(path)!r} is a folder; name another")
        if path.exists() and not values.overwrite:
            raise errors.InputError(
                f"--out: {str(path)!r} exists; name another folder, or pass --overwrite"
            )
    if (nodes := page.with_name(_NODES)).exists() and not page.exists():
        raise errors.InputError(
            f"--out: {str(nodes)!r} is no plan's, and is not overwritten; name another folder"
        )
    if (
        values.fixed
        and nodes.resolve() == pathlib.Path(values.fixed).expanduser().resolve()
    ):
        raise errors.InputError(
            f"--out: {str(nodes)!r} is the table of --fixed; name another folder"
        )
    return page


def _command(values) -> str:
    """Write the command again, without folders."""
    words = [
        f"--{flag.name}={pathlib.Path(value).name if flag.name == 'fixed' else value}"
        for flag in FLAGS
        if flag.name not in ("out", "overwrite")
        and (value := getattr(values, flag.name)) not in (None, flag.default)
    ]
    return " ".join(["uld_jax plan", *map(shlex.quote, words)])


def _format(record: dict[str, Any]) -> str:
    """Format the nodes as a table, and what is expected."""
    width = max(len("node"), *(len(one["name"]) for one in record["nodes"]))
    lines = [", ".join([f"{len(record['nodes'])} nodes", *record["facts"]])]
    lines.append(f"  {'node':<{width}}     x m     y m     z m")
    for one in record["nodes"]:
        at = "".join(f"{value:8.2f}" for value in one["position_m"])
        lines.append(f"  {one['name']:<{width}}{at}{'  given' * one['fixed']}")
    return "\n".join([*lines, *(f"  {one}" for one in record["answers"])])


def _write(page: pathlib.Path, record: dict[str, Any]) -> None:
    from uld_jax.evaluation import plan_record
    from uld_jax.report import placement_page
    from uld_jax.storage import atomic

    page.parent.mkdir(parents=True, exist_ok=True)
    placement_page.write(record, page)
    nodes, room = page.with_name(_NODES), page.with_name(_ROOM)
    atomic.write_bytes(nodes, plan_record.to_csv(record).encode())
    sides = record["room_size_m"]
    row = ",".join(f"{side:g}" for side in sides)
    atomic.write_bytes(room, f"{','.join('xyz'[: len(sides)])}\n{row}\n".encode())
    progress.log(f"The map is in {page}; {nodes} and {room} start a session")
