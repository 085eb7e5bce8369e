"""The record of an examined session: all that its page shows, as JSON, and text."""

import datetime
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import uld_jax
from uld_jax.audio import sessions
from uld_jax.evaluation import doctor, radius_maps
from uld_jax.localization import doubts

_UNKNOWN = "-"


def make(
    session: sessions.Session, examined: Sequence[doctor.Examined], command: str
) -> dict[str, Any]:
    """Make the record of an examined session, of numbers and texts alone.

    Args:
        session: The session.
        examined: What was found in its recordings.
        command: What made it, without folders.

    Returns:
        Units are part of the names: `_m`, `_s`, `_db`. What is not known is None.
        `report.health_page` describes all of it.
    """
    room = session.room_size
    return {
        "session": session.name,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": uld_jax.__version__,
        "command": command,
        "level": max(one.level for one in examined),
        "summary": doctor.summarize(examined),
        "room_size_m": None if room is None else [_number(side) for side in room],
        "nodes": list(session.nodes),
        "node_positions_m": [
            [_number(value) for value in position]
            for position in session.node_positions
        ],
        "recordings": [_recording(session, one) for one in examined],
    }


def _recording(session: sessions.Session, one: doctor.Examined) -> dict[str, Any]:
    return {
        "name": one.name,
        "level": one.level,
        "windows": one.windows,
        "determined": one.determined,
        "places": one.places,
        "clocks": one.said_of_clocks or None,
        "geometry": one.map.describe() if one.map else None,
        "nodes": [_node(session, one, node) for node in range(len(session.nodes))],
        "remarks": [remark._asdict() | {"text": str(remark)} for remark in one.remarks],
        "map": _map(one.map) if one.map else None,
    }


def _node(session: sessions.Session, one: doctor.Examined, node: int) -> dict[str, Any]:
    facts = one.facts[node]
    clocks = {
        "clock_offset_s": None,
        "clock_offset_error_s": None,
        "clock_drift_ppm": None,
        "clock_drift_error_ppm": None,
    }
    if one.clocks:
        lines = one.clocks
        values = (lines.offsets, lines.offset_errors)
        values += (1e6 * lines.drifts, 1e6 * lines.drift_errors)
        clocks = {
            key: _number(value[node]) for key, value in zip(clocks, values, strict=True)
        }
    return {
        "name": session.nodes[node],
        "speech_db": _number(facts.speech_db),
        "noise_db": _number(facts.noise_db),
        "offset_db": _number(facts.offset_db),
        "hum_db": _number(facts.hum_db),
        "high_db": _number(facts.high_db),
        "gap_seconds": _number(facts.gap_seconds),
        "bandwidth_hz": _number(facts.bandwidth),
        "start_s": _number(one.starts[node]),
        **clocks,
        "coherence": _number(one.coherence[node]),
    }


def _map(made: radius_maps.RadiusMap) -> dict[str, Any]:
    return {
        "area_m": [[_number(value) for value in corner] for corner in made.area],
        "radii_m": [[round(float(radius), 4) for radius in row] for row in made.radii],
        "limit_m": doubts.SURE_RADIUS,
        "share_undetermined": _number(made.share_lost),
        "nodes": list(made.nodes),
    }


def _number(value) -> float | None:
    """Round to seven digits; None for what is no number."""
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else None


def describe(session: sessions.Session, one: doctor.Examined) -> str:
    """Describe a recording for the terminal: two tables, what was localized, remarks.

    Args:
        session: The session.
        one: What was found in one of its recordings.
    """
    levels = [
        [
            f"{facts.speech_db:.0f}",
            f"{facts.noise_db:.0f}",
            _level(facts.offset_db),
            _level(facts.hum_db + facts.speech_db),
            f"{facts.gap_seconds:.1f}",
            f"{facts.bandwidth / 1000:.1f}",
        ]
        for facts in one.facts
    ]
    heads = ["speech dB", "noise dB", "DC dB", "hum dB", "silent s", "band kHz"]
    lines = [f"{one.name}:", *_table(session.nodes, heads, levels)]
    heads = ["start s", "clock ms", "drift ppm", "coherence"]
    lines += _table(session.nodes, heads, _format_times(one))
    if one.windows:
        places = f", {one.places} place{'' if one.places == 1 else 's'}"
        found = f"{one.determined} of {one.windows} windows determined"
        lines.append(f"  {found}{places if one.determined else ''}")
    if one.said_of_clocks:
        lines.append(f"  {one.said_of_clocks}")
    if one.map and not radius_maps.check(one.map):  # Else it is a remark.
        lines.append(f"  {one.map.describe()}")
    return "\n".join([*lines, *(f"  - {remark}" for remark in one.remarks)])


def _format_times(one: doctor.Examined) -> list[list[str]]:
    """Format start, clock, drift and coherence of each node."""
    count = len(one.starts)
    clocks = np.full((4, count), np.nan) if one.clocks is None else np.array(one.clocks)
    offsets, offset_errors, drifts, drift_errors = clocks
    return [
        [
            f"{one.starts[node]:.2f}",
            _with_error(1e3 * offsets[node], 1e3 * offset_errors[node], 2),
            _with_error(1e6 * drifts[node], 1e6 * drift_errors[node], 1),
            _known(one.coherence[node], ".2f"),
        ]
        for node in range(count)
    ]


def _table(
    nodes: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> list[str]:
    """Format a table with columns as wide as they need to be, two spaces apart."""
    cells = [
        ["node", *heads],
        *([name, *row] for name, row in zip(nodes, rows, strict=True)),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  "
        + "  ".join(
            [first.ljust(widths[0])]
            + [one.rjust(width) for one, width in zip(others, widths[1:], strict=True)]
        )
        for first, *others in cells
    ]


def _level(level: float) -> str:
    """Write a level in dB; a dash where there is hardly anything."""
    return f"{level:.0f}" if level > -100 else _UNKNOWN


def _known(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else _UNKNOWN


def _with_error(value: float, error: float, digits: int) -> str:
    """Write a number with its standard error.

    >>> _with_error(-10.004, 0.03, 2), _with_error(float("nan"), 0.1, 2)
    ('-10.00 ± 0.03', '-')
    """
    if not math.isfinite(value):
        return _UNKNOWN
    return f"{value:.{digits}f} ± {error:.{digits}f}"
