"""Tables of a located recording: its windows, nodes, errors, clocks and remarks."""

import collections
import math
import re
from typing import Any

import numpy as np

from uld_jax.report import session_charts, session_windows
from uld_jax.report.session_markup import (
    SPACE,
    STATE_CLASSES,
    UNKNOWN,
    escape,
    format_count,
    format_mass,
    format_meters,
    format_number,
    format_position,
    join_lines,
    table,
)
from uld_jax.report.session_windows import Recording, Window

# Meters per second, as in `uld_jax.acoustics`, which this package does not import.
SPEED_OF_SOUND = 343.0
_MOST_REASONS = 25


def format_windows(recording: Recording) -> str:
    """Format the table of all windows, which is also what the script shows of one."""
    long = (recording.times[-1] if recording.times else 0.0) > 180
    windows = recording.windows
    columns = [
        ("Time", lambda window: _time(window, long)),
        ("State", _state),
        ("Position", lambda window: join_lines(map(format_position, window.positions))),
    ]
    if any(one.height is not None for one in windows):
        columns.append(("Height", lambda window: format_number(window.height, 2, "m")))
    if any(one.radius is not None for one in windows):
        columns.append(("90 % within", lambda window: format_meters(window.radius)))
    if any(one.talker is not None for one in windows):
        columns.append(("Talker", lambda window: str(window.talker or UNKNOWN)))
        columns.append(("Smoothed", _smoothed))
    if any(one.errors for one in windows):
        columns.append(
            ("Error", lambda window: join_lines(map(format_meters, window.errors)))
        )
    if any(len(one.modes) > 1 for one in windows):
        columns.append(("Places that fit", lambda window: join_lines(_places(window))))
    if any(one.reasons for one in windows):
        columns.append(
            ("Remarks", lambda window: join_lines(map(escape, window.reasons)))
        )
    header = [title for title, _ in columns]
    rows = [[cell(window) for _, cell in columns] for window in windows]
    count = format_count(len(windows), "window")
    return (
        f'<details class="all"><summary>Table of {count}</summary>'
        f"{table(count, 'windows', header, rows)}</details>"
    )


def format_turns(recording: Recording) -> str:
    """Format the table of talkers' turns; empty if there are none."""
    turns = recording.turns or ()
    if not turns:
        return ""
    long = turns[-1].end > 180
    rows = []
    for turn in turns:
        first, last = (
            session_charts.format_time(time, long) for time in (turn.start, turn.end)
        )
        rows.append(
            [
                f"{first}\N{EN DASH}{last}{'' if long else f'{SPACE}s'}",
                UNKNOWN if turn.talker is None else str(turn.talker),
                format_position(turn.position),
                format_meters(turn.radius),
                UNKNOWN if turn.confidence is None else format_mass(turn.confidence),
            ]
        )
    header = ["Time", "Talker", "Position", "90 % within", "Sure by"]
    count = format_count(len(turns), "turn")
    return (
        f'<details class="all"><summary>Table of {count}</summary><p>A talker is a place: '
        "who walks becomes another one.</p>"
        f"{table(count, 'turns', header, rows)}</details>"
    )


def _time(window: Window, long: bool) -> str:
    if window.start is None:
        return UNKNOWN
    first = session_charts.format_time(window.start, long)
    unit = "" if long else f"{SPACE}s"
    if window.length is None:
        return f"from {first}{unit}"
    last = session_charts.format_time(window.start + window.length, long)
    return f"{first}\N{EN DASH}{last}{unit}"


def _smoothed(window: Window) -> str:
    if window.talker is None or window.smooth is None:
        return UNKNOWN
    within = format_meters(window.smooth_radius)
    return f"{format_position(window.smooth)} \N{PLUS-MINUS SIGN}{SPACE}{within}"


def _state(window: Window) -> str:
    kind = STATE_CLASSES[window.state]
    return f'<span class="state {kind}">{window.state}</span>'


def _places(window: Window) -> list[str]:
    if len(window.modes) < 2:
        return []
    return [
        f"{format_position(mode.position)}, {format_mass(mode.mass)}"
        for mode in window.modes
    ]


def choose_limits(recording: Recording) -> dict[str, float]:
    """Choose where bars end: a few nodes that are far off do not shrink all others."""
    offsets = [
        abs(one) * SPEED_OF_SOUND
        for window in recording.windows
        for one in window.offsets
        if one is not None
    ]
    levels = [
        abs(one)
        for window in recording.windows
        for one in window.levels
        if one is not None
    ]
    limits = {"path_m": 0.1, "level_db": 10.0}
    if offsets:
        usual, largest = 4 * np.median(offsets), np.percentile(offsets, 99)
        limits["path_m"] = _round_up(max(0.05, min(usual, largest)))
    if levels:
        limits["level_db"] = _round_up(max(3.0, np.percentile(levels, 99)))
    return limits


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{next(k for k in (1, 2, 5, 10) if k * power >= value) * power:.6g}")


def format_nodes(
    recording: Recording, nodes: list[Any], limits: dict[str, float]
) -> str:
    """Format the table of nodes: bars of one window, and medians of the recording.

    Args:
        recording: The recording.
        nodes: Names, and what the record has of each.
        limits: As `choose_limits` gives them.
    """
    rows = [
        _node_row(recording, index, name, node)
        for index, (name, node) in enumerate(nodes)
    ]
    if all(not window.offsets + window.levels for window in recording.windows):
        return ""
    header = [
        "Node",
        f"Late by, \N{PLUS-MINUS SIGN}{limits['path_m']:g} m",
        f"Level, \N{PLUS-MINUS SIGN}{limits['level_db']:g} dB",
        "Late by, median",
        "Level, median",
        "Used in windows",
    ]
    return (
        "<h3>Nodes</h3><p>How much later sound reached each node than its position and "
        f"its clock explain: as meters of path at {SPEED_OF_SOUND:g} m/s, and in "
        "milliseconds. Levels are relative to the mean of the nodes that were used. "
        '<span class="needs-script">Bars are of the selected window; one with an arrow '
        f"is longer than its column.</span></p>{table('Nodes', 'nodes', header, rows)}"
    )


def _node_row(
    recording: Recording, index: int, name: str, node: dict[str, Any]
) -> list[str]:
    """Format the cells of a node."""
    offsets, levels, weights = (
        [
            values[index]
            for window in recording.windows
            if index < len(values := getattr(window, kind))
            and values[index] is not None
        ]
        for kind in ("offsets", "levels", "weights")
    )
    value = '<span class="value"></span>'  # The script fills it, and the bar.
    used = sum(weight > 0 for weight in weights)
    return [
        f"{escape(name)}<small>{_format_node(node)}</small>",
        f'<span class="bar late"><i></i><b></b></span>{value}',
        f'<span class="bar level"><i></i></span>{value}',
        _late(_median(offsets)),
        format_number(_median(levels), 1, "dB", "+"),
        f"{used:,} of {len(weights):,}" if weights else UNKNOWN,
    ]


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def _format_node(node: dict[str, Any]) -> str:
    """Format the position of a node, of which a part may be unknown."""
    position = session_windows.numbers_of(node.get("position_m"))
    cells = [format_number(value, 2) for value in position]
    return f"({f',{SPACE}'.join(cells)}){SPACE}m" if cells else "position unknown"


def _late(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    path = format_number(seconds * SPEED_OF_SOUND, 3, "m", "+")
    return f"{path} <small>{format_number(1000 * seconds, 2, 'ms', '+')}</small>"


def format_errors(recording: Recording) -> str:
    """Format the errors of determined and of all windows; empty if unknown."""
    everything = [one for one in recording.windows if one.errors]
    sure = [one for one in everything if one.state == session_windows.DETERMINED]
    columns, samples = [], []
    for kind, title, errors, held in (
        ("all-errors", "all windows", *_misses(everything)),
        ("sure-errors", "determined", *_misses(sure)),
        ("smooth-errors", "smoothed, in turns", *_smooth_misses(recording)),
    ):
        if errors:
            samples.append((kind, errors))
            title = f'<span class="key {kind}"></span>{title}'
            columns.append([title, *_spread(errors, held)])
    if not samples:
        return ""
    titles = ["Error", "Windows", "Median", "Mean", "90 % are below", "Largest"]
    header, *rows = zip(
        [*titles, "Radius holds the truth"], *columns[::-1], strict=True
    )
    hint = ""
    if any(one.holds_truth is not None for one in everything):
        hint = "<p>A radius should hold the true position in 90 % of windows.</p>"
    return (
        '<h3>Errors</h3><div class="pair"><figure>'
        f"{session_charts.draw_errors(samples)}</figure>"
        f"<div>{table('Errors', 'errors', header, rows)}{hint}</div></div>"
    )


def _misses(some: list[Window]) -> tuple[list[float], list[bool]]:
    """List errors of windows, and whether radii hold the truth where that is known."""
    errors = [error for window in some for error in window.errors]
    held = [window.holds_truth for window in some if window.holds_truth is not None]
    return errors, held


def _smooth_misses(recording: Recording) -> tuple[list[float], list[bool]]:
    """List the same of smoothed positions in turns, for one talker."""
    errors, held = [], []
    for window in recording.windows if len(recording.truth) == 1 else ():
        if window.talker is not None and window.smooth is not None:
            errors.append(math.dist(window.smooth, recording.truth[0]))
            if window.smooth_radius is not None:
                held.append(errors[-1] <= window.smooth_radius)
    return errors, held


def _spread(errors: list[float], held: list[bool]) -> list[str]:
    """Summarize the errors of some windows, as cells of a table."""
    values = np.median(errors), np.mean(errors), np.percentile(errors, 90), max(errors)
    share = UNKNOWN
    if held:
        share = f"{sum(held):,} of {len(held):,} ({100 * np.mean(held):.0f} %)"
    count = f"{len(errors):,}"
    return [count, *(format_meters(float(value)) for value in values), share]


def format_clocks(recording: Recording) -> str:
    """Format the clocks of the nodes; empty if they were not calibrated."""
    if not recording.clocks:
        return ""
    rows = []
    for clock in recording.clocks:
        offset, error, drift = (
            session_windows.number(clock.get(key))
            for key in ("offset_s", "offset_error_s", "drift_ppm")
        )
        known = {True: "yes", False: "no"}.get(clock.get("determined"), UNKNOWN)
        rows.append(
            [
                escape(clock.get("node")) or UNKNOWN,
                format_number(None if offset is None else 1000 * offset, 3, "ms", "+"),
                format_number(None if error is None else 1000 * error, 3, "ms"),
                format_number(drift, 1, "ppm", "+"),
                known,
            ]
        )
    header = ["Node", "Late by", "Standard error", "Drift", "Determined"]
    return f"<h3>Clocks</h3>{table('Clocks', 'clocks', header, rows)}"


def format_reasons(recording: Recording) -> str:
    """Count remarks about windows; those that differ in numbers alone are one."""
    counts: collections.Counter[str] = collections.Counter()
    examples: dict[str, str] = {}
    for window in recording.windows:
        alike = {re.sub(r"\d+(\.\d+)?", "0", one): one for one in window.reasons}
        counts.update(alike.keys())
        examples = alike | examples  # The first window's.
    if not counts:
        return ""
    rows = [
        [escape(examples[key]), f"{count:,}"]
        for key, count in counts.most_common(_MOST_REASONS)
    ]
    rest = len(counts) - len(rows)
    more = ""
    if rest:
        more = f"<p>{format_count(rest, 'rarer remark')} in the table of windows.</p>"
    header = ["Remark, with the numbers of its first window", "Windows"]
    listed = table("Remarks", "reasons", header, rows)
    return f"<h3>Remarks about windows</h3>{listed}{more}"
