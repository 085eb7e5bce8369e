"""Controls of a session's page, and the numbers that its script shows."""

from collections.abc import Iterable, Iterator
from typing import Any

from uld_jax.report import session_charts, session_plan, session_windows
from uld_jax.report.session_markup import STATE_CLASSES, escape, format_mass
from uld_jax.report.session_windows import Recording

# Rows of a legend: class of what it shows, symbol, words, and whether it can be hidden
# and is shown at first; None if it is always shown.
_LEGEND = (
    ("dots", "dot", "position", None),
    ("ellipses", "ellipse", "90 % ellipse", True),
    ("circles", "circle", "90 % radius", False),
    ("track", "track", "track", True),
    ("smooth", "smooth", "smoothed position and its 90 % radius", None),
    ("guesses", "guess", "best guess, not determined", True),
    ("truths", "truth", "true position", None),
    ("nodes", "node", "node", None),
)


def format_chooser(recordings: list[Recording]) -> str:
    """Format the list to choose a recording from; empty if there is one."""
    if len(recordings) < 2:
        return ""
    options = "".join(
        f'<option value="{index}">{escape(one.name)}</option>'
        for index, one in enumerate(recordings)
    )
    return (
        '<p class="chooser needs-script"><label for="chooser">Recording</label> '
        f'<select id="chooser" autocomplete="off">{options}</select></p>'
    )


def format_selection(name: str, recording: Recording) -> str:
    """Format the slider, and room for what the script shows of the selected window.

    Args:
        name: Of the recording's section within the page.
        recording: The recording.
    """
    last = len(recording.windows) - 1
    return (
        '<div class="selection needs-script">'
        f'<div class="control"><label for="{name}-slider">Window</label>'
        '<span class="count"></span><div class="row">'
        f'<input id="{name}-slider" type="range" min="0" max="{last}" step="1" '
        f'value="{_first(recording)}" autocomplete="off">'
        '<button type="button" class="play">Play</button></div></div>'
        '<dl class="facts"></dl></div>'
    )


def _first(recording: Recording) -> int:
    """Choose the window that is selected at first: an answer, if there is one."""
    indices = range(len(recording.windows))
    return next((k for k in indices if recording.windows[k].answers), 0)


def format_legend(recording: Recording, searched: bool) -> str:
    """Format the legend of the floor plan, by which most of it can be hidden.

    Args:
        recording: The recording.
        searched: Whether the plan shows an area that was searched, in place of a room.
    """
    windows = recording.windows
    sure = [one for one in windows if one.state == session_windows.DETERMINED]
    shown = {
        "dots": any(one.answers for one in windows),
        "ellipses": any(one.covariance for one in sure),
        "circles": any(one.radius is not None for one in sure),
        "track": recording.num_sources == 1 and any(one.answers for one in windows),
        "smooth": any(one.smooth and one.talker for one in windows),
        "guesses": recording.count(session_windows.UNDETERMINED) > 0,
        "truths": bool(recording.truth),
        "nodes": True,
    }
    rows = []
    for layer, kind, words, at_first in _LEGEND:
        if not shown[layer]:
            continue
        content = f"{_symbol(kind)} {words}"
        if at_first is not None:
            checked = " checked" if at_first else ""
            content = (
                f'<label><input type="checkbox" data-layer="{layer}" '
                f'autocomplete="off"{checked}> {content}</label>'
            )
        rows.append(f"<li>{content}</li>")
    if searched:
        rows.append(f"<li>{_symbol('searched')} area that was searched</li>")
    caption = ""
    if shown["ellipses"] or shown["circles"]:
        caption = (
            "<figcaption>The ellipse holds 90 % of the place that fits best; the radius "
            "holds 90 % of all places that fit.</figcaption>"
        )
    return f'<ul class="legend">{"".join(rows)}</ul>{caption}'


def _symbol(kind: str) -> str:
    """Draw a symbol of the legend."""
    content = {
        "ellipse": '<g class="ellipses"><ellipse cx="13" cy="10" rx="11" ry="6"/></g>',
        "circle": '<g class="circles"><circle cx="13" cy="10" r="8"/></g>',
        "track": '<g class="track"><path d="M1 14L25 6"/></g>',
        "smooth": '<g class="selected"><circle class="smooth-radius" cx="13" cy="10" '
        'r="9"/><circle class="smooth" cx="13" cy="10" r="4"/></g>',
        "searched": '<path class="searched" d="M2 3h22v14h-22z"/>',
    }.get(kind) or session_plan.mark(kind, 13.0, 10.0)
    return f'<svg class="symbol" viewBox="0 0 26 20" aria-hidden="true">{content}</svg>'


def window_numbers(
    recording: Recording, frame: session_plan.Frame
) -> Iterator[dict[str, Any]]:
    """List what the script shows of each window: shapes in units, numbers of nodes."""
    axis = session_charts.TimeAxis.of(recording)

    def shape(position, covariance):
        if covariance is None:
            return None
        return _rounded(session_plan.ellipse(frame, position, covariance), 2)

    for window, time in zip(recording.windows, recording.times, strict=True):
        entry = {
            "state": STATE_CLASSES[window.state],
            "time": round(axis.x(time), 2),
            "points": [_rounded(frame.point(xy), 2) for xy in window.positions],
            "offsets_ms": _rounded(window.offsets, 4, 1000.0),
            "offset_errors_ms": _rounded(window.offset_errors, 4, 1000.0),
            "levels_db": _rounded(window.levels, 1),
            "weights": _rounded(window.weights, 2),
        }
        if window.positions and window.radius is not None:
            entry["radius"] = round(window.radius * frame.scale, 2)
        if window.talker is not None and window.smooth is not None:
            entry["talker"] = window.talker
            entry["smooth"] = _rounded(frame.point(window.smooth), 2)
            if window.smooth_radius is not None:
                radius = round(window.smooth_radius * frame.scale, 2)
                entry["smooth_radius"] = radius
        if window.positions and window.covariance is not None:
            entry["ellipse"] = shape(window.positions[0], window.covariance)
        if len(window.modes) > 1:
            entry["modes"] = [
                {
                    "point": _rounded(frame.point(mode.position), 2),
                    "ellipse": shape(mode.position, mode.covariance),
                    "mass": format_mass(mode.mass),
                }
                for mode in window.modes
            ]
        # Unknown values take no place in the file.
        yield {key: value for key, value in entry.items() if value not in (None, [])}


def _rounded(values: Iterable[Any], digits: int, factor: float = 1.0) -> list[Any]:
    return [None if one is None else round(factor * one, digits) for one in values]
