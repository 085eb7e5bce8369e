"""A page that shows where talkers were in a session's recordings, in one HTML file.

The page loads nothing else. Its drawings and tables need no script; the script lets a
reader select a window.
"""

import math
import pathlib
from typing import Any

import numpy as np

from uld_jax.report import (
    document,
    session_charts,
    session_controls,
    session_plan,
    session_tables,
    session_windows,
)
from uld_jax.report.session_markup import (
    escape,
    format_count,
    format_meters,
    format_number,
    format_origin,
    format_point,
    format_position,
)
from uld_jax.report.session_windows import Point, Recording
from uld_jax.storage import atomic

_MOST_PLACES = 4
_WITHOUT_SCRIPT = (
    "Selecting a window needs JavaScript. Drawings and tables are complete without it."
)


def write(record: dict[str, Any], path: pathlib.Path) -> None:
    """Write the page of a session in one piece.

    Args:
        record: As for `render`.
        path: Of the page, an HTML file.
    """
    atomic.write_bytes(path, render(record).encode())


def render(record: dict[str, Any]) -> str:
    """Render the page of a located session.

    Every number, and every list, may be None or missing where it is unknown. Numbers
    that are not finite count as unknown.

    Args:
        record: What `json` reads, with these keys:

            - `name`, `written` (ISO 8601), `version`, `command`: texts.
            - `settings`: of the command, by name.
            - `room_size_m`: [x, y, z]; None if it is unknown.
            - `area_m`: [[x, y], [x, y]], opposite corners of the area that was searched.
            - `nodes`: for each its `name` and `position_m` [x, y, z].
            - `remarks`: sentences about the session.
            - `left_out`: sentences about recordings that could not be used.
            - `recordings`: for each

              - `name`, `duration_s`, and `sources`, the number of talkers;
              - `true_positions_m`: [x, y, z] of each source;
              - `clocks`: for each node `node` (its name), `offset_s`,
                `offset_error_s`, `drift_ppm` and `determined`;
              - `turns`: for each `start_s`, `end_s`, `talker` (a number), `position_m`,
                `covariance_m2`, `radius_90_m` and `confidence`; None where it is not
                known how sure positions are;
              - `speech_s`: start and end of each stretch of speech;
              - `windows`: for each

                - `start_s`, `length_s`;
                - `positions_m`: [x, y] of each source; `height_m`; `errors_m` of each;
                - from methods that know how sure they are: `radius_90_m`,
                  `covariance_m2` [2, 2], `determined`, `reasons` (sentences), `modes`
                  (for each `position_m`, `covariance_m2` and `mass`), and one number
                  for each node in `node_levels_db`, `node_weights`, `node_offsets_s`
                  and `node_offset_errors_s`;
                - smoothed: `talker` (None outside of turns), `smooth_position_m`,
                  `smooth_covariance_m2`, `smooth_radius_90_m` and `smooth_mass`.

            - `accuracy`, also of each recording: by kind of windows `windows`, `share` of
              all, `median_m`, `within_90_m` and `coverage` of radii, where true
              positions are known.

    Returns:
        The text of an HTML file.

    >>> page = render({"name": "my_lab", "recordings": []})
    >>> "No recording was located." in page
    True
    """
    recordings = [
        session_windows.read_recording(one) for one in record.get("recordings") or ()
    ]
    nodes = [
        (session_windows.text(one.get("name")) or f"node {index}", one)
        for index, one in enumerate(record.get("nodes") or ())
    ]
    sections, data = [], []
    for index, recording in enumerate(recordings):
        section, numbers = _recording(index, recording, record, nodes)
        sections.append(section)
        data.append(numbers)
    return document.format_page(
        escape(record.get("name") or "Session"),
        "where talkers were",
        facts=_facts(record, recordings, nodes),
        answers=_answers(recordings),
        main="\n".join(
            [_remarks(record), session_controls.format_chooser(recordings), *sections]
        ),
        origin=_origin(record),
        script=document.Script("session_page.js", data, _WITHOUT_SCRIPT),
    )


# The top of the page.


def _facts(
    record: dict[str, Any], recordings: list[Recording], nodes: list[Any]
) -> str:
    """Describe the session in a line: recordings, nodes, room."""
    facts = [
        format_count(len(recordings), "recording"),
        format_count(len(nodes), "node"),
    ]
    sides = session_windows.numbers_of(record.get("room_size_m"))
    area = _area(record)
    if sides and None not in sides:
        size = " \N{MULTIPLICATION SIGN} ".join(
            format_number(side, 2) for side in sides
        )
        facts.append(f"room of {size} m")
    elif area:
        low, high = area
        facts.append(
            f"room unknown, searched from {format_point(low)} to {format_point(high)} m"
        )
    return escape(" \N{MIDDLE DOT} ".join(facts))


def _area(record: dict[str, Any]) -> tuple[Point, ...]:
    """Find two corners of what was searched; none if it is unknown."""
    area = session_windows.points(record.get("area_m"))
    room = session_windows.point(record.get("room_size_m"))
    if len(area) != 2:
        return ((0.0, 0.0), room) if room else ()
    return area


def _answers(recordings: list[Recording]) -> str:
    if not recordings:
        return "<p>No recording was located.</p>"
    lines = [
        f"<li><b>{escape(one.name)}:</b> {escape(_answer(one))}</li>"
        for one in recordings
    ]
    return f'<ul class="answers">{"".join(lines)}</ul>'


def _answer(recording: Recording) -> str:
    """Summarize a recording in a line: how many windows are determined, and where."""
    count = len(recording.windows)
    if not count:
        return "no windows, so nothing was located."
    windows = format_count(count, "window")
    sure, located = (
        recording.count(state)
        for state in (session_windows.DETERMINED, session_windows.LOCATED)
    )
    if located:
        head = f"{located:,} of {windows} located"
        head += " (this method does not say how sure it is)"
    else:
        head = f"{f'{sure:,}' if sure else 'None'} of {windows} determined"
    facts = [f"{head}{_where(recording)}"]
    chosen = [window for window in recording.windows if window.answers]
    for title, values in (
        (
            "Median 90 % radius",
            [one.radius for one in chosen if one.radius is not None],
        ),
        ("Median error", [error for one in chosen for error in one.errors]),
    ):
        if values:
            facts.append(f"{title} {format_meters(float(np.median(values)))}")
    return f"{'. '.join(facts)}."


def _where(recording: Recording) -> str:
    """List a recording's turns, or the places of its answers, or the area they span."""
    if recording.turns and len(recording.turns) <= _MOST_PLACES:
        spots = [
            f"{format_position(one.position)} from {one.start:,.0f} to {one.end:,.0f} s"
            for one in recording.turns
        ]
        return f": {', '.join(spots[:-1])}{' and ' if spots[1:] else ''}{spots[-1]}"
    places = session_windows.find_places(recording)
    total = sum(place.count for place in places)
    main = [place for place in places if place.count >= 0.05 * total]
    if not places:
        return ""
    if not 1 <= len(main) <= _MOST_PLACES:
        found = np.array(
            [xy for one in recording.windows if one.answers for xy in one.positions]
        )
        low, high = np.percentile(found, [2, 98], axis=0).tolist()
        ends = f"{format_position(low)} and {format_position(high)}"
        return f", at {len(places)} places between {ends}"
    if len(main) == 1:
        return f", at {format_position(main[0].middle)}"
    spots = [f"{one.count:,} at {format_position(one.middle)}" for one in main]
    return f": {', '.join(spots[:-1])} and {spots[-1]}"


def _remarks(record: dict[str, Any]) -> str:
    """List remarks about the session, and recordings that were left out."""
    parts = []
    for key, title in (("remarks", "Remarks"), ("left_out", "Left out")):
        if sentences := record.get(key):
            rows = "".join(f"<li>{escape(one)}</li>" for one in sentences)
            parts.append(
                f'<section class="note"><h2>{title}</h2><ul>{rows}</ul></section>'
            )
    return "".join(parts)


# One recording.


def _recording(
    index: int, recording: Recording, record: dict[str, Any], nodes: list[Any]
) -> tuple[str, dict[str, Any]]:
    """Format the section of a recording, and the numbers that its script needs."""
    name = f"recording-{index}"
    title = f'<h2 id="{name}-title">{escape(recording.name)}</h2>'
    head = f'<section class="recording" id="{name}" aria-labelledby="{name}-title">'
    if not recording.windows:
        text = "<p>No window of this recording was located.</p>"
        return (
            f"{head}{title}{text}{session_tables.format_clocks(recording)}</section>",
            {},
        )
    placed = [
        (label, position)
        for label, one in nodes
        if (position := session_windows.point(one.get("position_m"))) is not None
    ]
    known = session_windows.point(record.get("room_size_m")) is not None
    plan, frame = session_plan.draw_plan(recording, placed, _area(record), known, name)
    limits = session_tables.choose_limits(recording)
    parts = [
        head,
        title,
        '<div class="overview"><figure>',
        plan,
        session_controls.format_legend(recording, bool(_area(record)) and not known),
        "</figure>",
        session_controls.format_selection(name, recording),
        "<figure>",
        session_charts.draw_times(recording, frame),
        f"<figcaption>{_times_caption(recording)}</figcaption></figure></div>",
        session_tables.format_turns(recording),
        session_tables.format_nodes(recording, nodes, limits),
        session_tables.format_errors(recording),
        session_tables.format_clocks(recording),
        session_tables.format_reasons(recording),
        session_tables.format_windows(recording),
        "</section>",
    ]
    return "".join(parts), {
        "limits": limits,
        "speed_of_sound": session_tables.SPEED_OF_SOUND,
        "windows": list(session_controls.window_numbers(recording, frame)),
    }


def _times_caption(recording: Recording) -> str:
    parts = []
    chosen = [window for window in recording.windows if window.answers]
    if recording.num_sources == 1 and any(window.radius for window in chosen):
        parts.append("The band is the radius that holds 90 %.")
    if recording.truth:
        parts.append("Dashed lines are the true position.")
    if recording.speech:
        parts.append("The thin line below shows when somebody speaks.")
    parts.append("In the strip below, full height is a position")
    if recording.count(session_windows.UNDETERMINED):
        parts[-1] += ", half height a best guess (a cross)"
    parts[-1] += ", and a gap is a window without a position."
    parts.append(
        '<span class="needs-script on-screen">Click to select a window.</span>'
    )
    return " ".join(parts)


def _origin(record: dict[str, Any]) -> str:
    """Format how the session was located: command, version, settings."""
    settings = [
        [f"<code>{escape(key)}</code>", _setting(value)]
        for key, value in (record.get("settings") or {}).items()
    ]
    return format_origin(record, "How it was located", settings)


def _setting(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not math.isfinite(value):
        return "unknown"
    return escape(value)
