"""The floor plan of a located session as SVG.

The style sheet of the page gives colors and the sizes of letters, which are larger in
units of a drawing where a narrow screen makes it small.
"""

import dataclasses
import html
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from uld_jax.report import session_labels, session_windows
from uld_jax.report.session_windows import Matrix, Point, Recording

# Squared radius, in standard deviations, that holds 90 % of a normal distribution over
# the plane: its chi-squared has two degrees of freedom, so this is -2 log(1 - 0.9).
ELLIPSE_90 = -2.0 * math.log(0.1)
ANSWERS = (session_windows.DETERMINED, session_windows.LOCATED)
GUESS = (session_windows.UNDETERMINED,)

WIDTH, _TALLEST = 640.0, 600.0  # Of the floor plan and its inside.
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 30.0, 34.0, 58.0  # Margins of the floor plan.
_DOT = 3.2
CROWD = 300  # Positions from which symbols are smaller and paler.


def units(value: float) -> str:
    """Write a length in units of a drawing."""
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-0", "0", value > -0.005)


@dataclasses.dataclass(frozen=True)
class Frame:
    """Map meters to units of the floor plan, at one scale for x and y.

    A position (x, y) lies at (x0 + scale (x - x_low), y0 - scale (y - y_low)): y points
    up in a room and down in a drawing.

    Attributes:
        low: Corner with the smallest x and y, in meters.
        high: The opposite corner.
        scale: Units per meter.
        corner: Where `low` is, in units.
    """

    low: Point
    high: Point
    scale: float
    corner: Point

    @classmethod
    def around(cls, positions: Sequence[Point]) -> "Frame":
        """Fit a plan around some positions."""
        corners = np.array(positions or [(0.0, 0.0), (1.0, 1.0)], float)
        low, high = corners.min(axis=0), corners.max(axis=0)
        # Positions on one line, or a single one, still need an area.
        missing = np.maximum(0.5 - (high - low), 0.0)
        low, high = low - missing, high + missing
        width, height = high - low
        inside = WIDTH - _LEFT - _RIGHT
        scale = min(inside / width, _TALLEST / height)
        corner = (
            float(_LEFT + (inside - scale * width) / 2),
            float(_TOP + scale * height),
        )
        return cls(tuple(low.tolist()), tuple(high.tolist()), float(scale), corner)

    def point(self, position: Point) -> Point:
        """Map a position in meters to units."""
        return (
            self.corner[0] + self.scale * (position[0] - self.low[0]),
            self.corner[1] - self.scale * (position[1] - self.low[1]),
        )

    @property
    def height(self) -> float:
        """Of the whole drawing in units."""
        return self.corner[1] + _BOTTOM


def ellipse(
    frame: Frame, position: Point, covariance: Matrix
) -> tuple[float, float, float, float, float]:
    """Compute the ellipse that holds 90 % of a normal distribution, in units.

    Returns:
        Center (x, y), longer and shorter radius, and the degrees by which the longer one
        is turned from x to y of the drawing.
    """
    values, vectors = np.linalg.eigh(np.array(covariance))
    shorter, longer = frame.scale * np.sqrt(ELLIPSE_90 * np.maximum(values, 0.0))
    x, y = vectors[:, 1]
    degrees = -math.degrees(math.atan2(y, x))
    return (*frame.point(position), float(longer), float(shorter), degrees)


def mark(kind: str, x: float, y: float) -> str:
    """Draw the symbol of a node, a best guess, a truth or a position.

    Args:
        kind: "node", with or without more classes, "guess", "truth", or that of a
            position.
        x: In units.
        y: In units.
    """
    place = f"{units(x)} {units(y)}"
    if kind.startswith("node"):
        return f'<path class="{kind}" d="M{place}m0 -6.5l6 11h-12z"/>'
    if kind == "guess":
        return f'<path class="guess" d="M{place}m-4 -4l8 8m0 -8l-8 8"/>'
    if kind == "truth":
        return (
            f'<path class="truth" d="M{place}m-9 0h18m-9 -9v18"/>'
            f'<circle class="truth" cx="{units(x)}" cy="{units(y)}" r="5.5"/>'
        )
    return f'<circle class="{kind}" cx="{units(x)}" cy="{units(y)}" r="{_DOT}"/>'


def draw_ellipse(shape: tuple[float, float, float, float, float]) -> str:
    """Draw what `ellipse` computes."""
    x, y, longer, shorter, degrees = (units(value) for value in shape)
    turn = f"translate({x} {y}) rotate({degrees})"
    return f'<ellipse rx="{longer}" ry="{shorter}" transform="{turn}"/>'


def draw_plan(
    recording: Recording,
    nodes: Sequence[tuple[str, Point]],
    area: Sequence[Point],
    known_room: bool,
    name: str,
) -> tuple[str, Frame]:
    """Draw the floor plan with the positions of a recording.

    Args:
        recording: The recording.
        nodes: Names and (x, y) in meters of those whose positions are known.
        area: Corners of the room or of the area that was searched; may be empty.
        known_room: Whether the area is the room.
        name: Of the drawing within the page, for references.

    Returns:
        The drawing, and how it maps meters to units.
    """
    found = [xy for window in recording.windows for xy in window.positions]
    found += [window.smooth for window in recording.windows if window.smooth]
    places = [xy for _, xy in nodes]
    frame = Frame.around([*area, *places, *found, *recording.truth])
    parts = [draw_axes(frame)]
    if area:
        parts.append(draw_area(frame, area, known_room))
    parts += [
        f'<clipPath id="{name}-inside"><path d="{_box(frame.low, frame.high, frame)}"/>'
        "</clipPath>",
        f'<g clip-path="url(#{name}-inside)">{"".join(_draw_extents(frame, recording))}'
        f'<g class="track">{"".join(_draw_track(frame, recording))}</g></g>',
    ]
    for layer, kind, states in (("guesses", "guess", GUESS), ("dots", "dot", ANSWERS)):
        marks = [
            mark(kind, *frame.point(position))
            for window in recording.windows
            if window.state in states
            for position in window.positions
        ]
        parts.append(f'<g class="{layer}">{"".join(marks)}</g>')
    truth = [frame.point(position) for position in recording.truth]
    parts += [
        f'<g class="truths">{"".join(mark("truth", *place) for place in truth)}</g>',
        draw_nodes(frame, nodes, [*(frame.point(xy) for xy in found), *truth]),
        f'<g class="talkers">{"".join(_draw_talkers(frame, recording))}</g>',
        _draw_selection(recording, name),
    ]
    crowd = " crowded" if len(found) > CROWD else ""
    words = html.escape(_describe(recording, nodes))
    drawing = (
        f'<svg class="plan{crowd}" viewBox="0 0 {units(WIDTH)} {units(frame.height)}" '
        f'role="img" aria-label="{words}">{"".join(parts)}</svg>'
    )
    return drawing, frame


def _describe(recording: Recording, nodes: Sequence[Any]) -> str:
    """Summarize the floor plan for readers who do not see it."""
    counts = [
        f"{count} {state}"
        for state in session_windows.STATES
        if (count := recording.count(state))
    ]
    return (
        f"Floor plan of {recording.name} with {len(nodes)} nodes; windows: "
        f"{', '.join(counts) or 'none'}"
    )


def _box(low: Point, high: Point, frame: Frame) -> str:
    (left, bottom), (right, top) = frame.point(low), frame.point(high)
    return f"M{units(left)} {units(bottom)}H{units(right)}V{units(top)}H{units(left)}z"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Choose round numbers within a range.

    >>> ticks(0.0, 6.2, 8)
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(k for k in (1, 2, 5, 10, 20) if (high - low) / (k * step) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 9) + 0.0 for k in range(first, last + 1)]


def tick_label(value: float) -> str:
    """Write the number of a tick, with a minus sign that is as wide as a plus."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def draw_axes(frame: Frame) -> str:
    """Draw ticks and grid of both axes, their names, and a bar of a round length."""
    (left, bottom), (right, top) = frame.point(frame.low), frame.point(frame.high)
    lines, letters = [], []
    most = max(2, int((right - left) / 64))
    for value in ticks(frame.low[0], frame.high[0], most):
        x = units(frame.point((value, 0.0))[0])
        lines.append(f"M{x} {units(top)}V{units(bottom)}")
        letters.append(
            f'<text x="{x}" y="{units(bottom + 20)}" text-anchor="middle">'
            f"{tick_label(value)}</text>"
        )
    for value in ticks(frame.low[1], frame.high[1], max(2, int((bottom - top) / 64))):
        y = frame.point((0.0, value))[1]
        lines.append(f"M{units(left)} {units(y)}H{units(right)}")
        letters.append(
            f'<text x="{units(left - 10)}" y="{units(y)}" dy=".35em" '
            f'text-anchor="end">{tick_label(value)}</text>'
        )
    base = units(bottom + 46)
    letters += [
        f'<text class="axis" x="{units(left)}" y="{base}">x in m</text>',
        f'<text class="axis" x="{units(left - 34)}" y="{units(top - 16)}">y in m</text>',
    ]
    # The longest bar that takes at most a quarter of the room.
    wide = frame.high[0] - frame.low[0]
    length = max(
        one for one in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if one <= max(wide / 4, 0.1)
    )
    start = right - length * frame.scale
    letters.append(
        f'<path class="scale" d="M{units(start)} {units(bottom + 36)}v6H{units(right)}'
        f'v-6"/><text x="{units(start - 10)}" y="{base}" text-anchor="end">'
        f"{tick_label(length)} m</text>"
    )
    return f'<path class="grid" d="{"".join(lines)}"/>{"".join(letters)}'


def draw_area(frame: Frame, area: Sequence[Point], known_room: bool) -> str:
    """Draw the outline of the room, or of an area that was searched."""
    kind = "room" if known_room else "searched"
    low, high = np.min(area, axis=0), np.max(area, axis=0)
    outline = _box(tuple(low.tolist()), tuple(high.tolist()), frame)
    return f'<path class="{kind}" d="{outline}"/>'


def _draw_extents(frame: Frame, recording: Recording) -> Iterator[str]:
    """Draw the ellipse and the circle of each determined window."""
    sure = [
        window
        for window in recording.windows
        if window.state == session_windows.DETERMINED
    ]
    yield '<g class="ellipses">'
    for window in sure:
        if window.covariance is not None:
            shape = ellipse(frame, window.positions[0], window.covariance)
            yield draw_ellipse(shape)
    yield '</g><g class="circles">'
    for window in sure:
        if window.radius is not None:
            x, y = frame.point(window.positions[0])
            radius = units(window.radius * frame.scale)
            yield f'<circle cx="{units(x)}" cy="{units(y)}" r="{radius}"/>'
    yield "</g>"


def _draw_track(frame: Frame, recording: Recording) -> Iterator[str]:
    """Connect the smoothed positions of each talker's turns, by dots from turn to turn.

    Records without smoothed positions have the answers for one talker connected, by dots
    where windows are missing between.
    """
    if recording.num_sources != 1:
        return
    windows = recording.windows
    if any(window.smooth for window in windows):
        stretches = [
            [windows[index].smooth for index in stretch]
            for stretch in session_windows.find_tracks(recording)
        ]
    else:
        stretches = [
            [windows[index].positions[0] for index in run]
            for run in session_windows.runs(recording, ANSWERS)
        ]
    last = None
    for stretch in stretches:
        places = [frame.point(position) for position in stretch]
        if last is not None:
            yield f'<path class="gap" d="{path([last, places[0]])}"/>'
        if len(places) > 1:
            yield f'<path d="{path(places)}"/>'
        last = places[-1]


def _draw_talkers(frame: Frame, recording: Recording) -> Iterator[str]:
    """Draw the number of each talker at the mean of its turns, if there are several."""
    places: dict[int, list[Point]] = {}
    for turn in recording.turns or ():
        if turn.talker is not None:
            places.setdefault(turn.talker, []).append(turn.position)
    if len(places) < 2:
        return
    for talker, some in places.items():
        x, y = frame.point(tuple(np.mean(some, axis=0).tolist()))
        yield (
            f'<text x="{units(x)}" y="{units(y)}" dy="-.8em" text-anchor="middle">'
            f"{talker}</text>"
        )


def path(places: Sequence[Point]) -> str:
    """Write the path that connects some places, in units."""
    return "M" + "L".join(f"{units(x)} {units(y)}" for x, y in places)


def _draw_selection(recording: Recording, name: str) -> str:
    """Draw what the script moves to the selected window."""
    points = max((len(window.positions) for window in recording.windows), default=0)
    modes = max((len(window.modes) for window in recording.windows), default=0)
    return (
        f'<g class="selected" display="none" clip-path="url(#{name}-inside)">'
        '<path class="trail"/><circle class="radius"/><ellipse class="extent"/>'
        '<circle class="smooth-radius" display="none"/>'
        + '<ellipse class="mode" display="none"/>' * modes
        + "</g>"
        + '<g class="selected" display="none">'
        + f'<circle class="mode-point" r="{units(_DOT)}"/>' * modes
        + f'<circle class="marker" r="{units(2.2 * _DOT)}"/>' * points
        + f'<circle class="smooth" r="{units(1.4 * _DOT)}" display="none"/>'
        + '<text class="mass" dy="-.9em" text-anchor="middle"></text>' * modes
        + "</g>"
    )


def draw_nodes(
    frame: Frame,
    nodes: Sequence[tuple[str, Point]],
    positions: Sequence[Point],
    kinds: Sequence[str] | None = None,
) -> str:
    """Draw nodes and their names.

    Args:
        frame: Of the plan.
        nodes: The name and the position in meters of each.
        positions: In units, which names avoid.
        kinds: The symbol of each, as `mark` takes it; None for "node".
    """
    names = [name for name, _ in nodes]
    places = [frame.point(position) for _, position in nodes]
    # Beyond the room are the numbers of its axes, and above it there is space.
    bounds = (frame.corner[0] - 8.0, 0.0, WIDTH, frame.corner[1] + 4.0)
    letters = [
        f'<text x="{units(label.place[0])}" y="{units(label.place[1])}" dy=".35em" '
        f'text-anchor="{label.anchor}">{html.escape(label.text)}</text>'
        for label in session_labels.place_labels(names, places, positions, bounds)
    ]
    marks = [
        f"<g>{mark(kind, *place)}<title>{html.escape(name)}</title></g>"
        for kind, name, place in zip(
            kinds or ["node"] * len(names), names, places, strict=True
        )
    ]
    crowd = " many" if session_labels.are_many(names) else ""
    # Names lie below, so that their outlines hide no node.
    return (
        f'<g class="names{crowd}">{"".join(letters)}</g>'
        f'<g class="nodes">{"".join(marks)}</g>'
    )
