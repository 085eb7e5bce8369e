"""Charts of a located session as SVG: positions over time, and errors."""

import dataclasses
import html
import math
from collections.abc import Iterator, Sequence

from uld_jax.report import session_windows
from uld_jax.report.session_plan import (
    ANSWERS,
    CROWD,
    GUESS,
    Frame,
    path,
    tick_label,
    ticks,
    units,
)
from uld_jax.report.session_windows import Recording

_WIDTH, _LEFT, _RIGHT = (
    640.0,
    46.0,
    20.0,
)  # Of positions over time, as the floor plan's.
_PANEL, _GAP, _STRIP, _SPEECH = 112.0, 48.0, 12.0, 5.0
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)

_CDF_WIDTH, _CDF_HEIGHT, _CDF_LEFT, _CDF_BOTTOM = 480.0, 270.0, 66.0, 50.0


@dataclasses.dataclass(frozen=True)
class TimeAxis:
    """Map seconds to units of the drawing of positions over time.

    Attributes:
        first: Seconds at the left.
        last: Seconds at the right.
    """

    first: float
    last: float

    @classmethod
    def of(cls, recording: Recording) -> "TimeAxis":
        """Span a recording."""
        ends = [
            time + (window.length or 0.0) / 2
            for time, window in zip(recording.times, recording.windows, strict=True)
        ]
        first = min([0.0, *recording.times])
        last = max([first, recording.duration or 0.0, *ends])
        return cls(first, last if last > first else first + 1.0)

    def x(self, seconds: float) -> float:
        """Map a time to units."""
        inside = _WIDTH - _LEFT - _RIGHT
        return _LEFT + inside * (seconds - self.first) / (self.last - self.first)


def format_time(seconds: float, long: bool) -> str:
    """Write a time as seconds, or as minutes and seconds.

    >>> format_time(62.0, False), format_time(3722.5, True)
    ('62.0', '62:02.5')
    """
    if not long:
        return f"{seconds:.1f}"
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def draw_times(recording: Recording, frame: Frame) -> str:
    """Draw x and y over time, with the radius that holds 90 %, and each window's state.

    Args:
        recording: The recording.
        frame: Of its floor plan, whose sides are those of the axes.
    """
    axis = TimeAxis.of(recording)
    parts, cursor, top = [], "", 26.0
    for number, name in enumerate("xy"):
        panel = _Panel(top, frame.low[number], frame.high[number])
        parts += [
            _draw_panel_axes(panel, name),
            *_draw_line(recording, axis, panel, number),
        ]
        cursor += f"M0 {units(top - 6)}v{units(_PANEL + 12)}"
        top += _PANEL + _GAP
    top -= _GAP - (24.0 if recording.speech else 12.0)
    parts.append(_draw_speech(recording, axis, top - _SPEECH - 4.0))
    bottom = top + _STRIP
    parts += [*_draw_states(recording, axis, top), _draw_time_ticks(axis, bottom)]
    cursor += f"M0 {units(top - 6)}V{units(bottom)}"
    parts.append(f'<path class="cursor" display="none" d="{cursor}"/>')
    words = f"x and y over time in {recording.name}"
    crowd = " crowded" if len(recording.windows) > CROWD else ""
    return (
        f'<svg class="times{crowd}" viewBox="0 0 {units(_WIDTH)} {units(bottom + 50)}" '
        f'role="img" aria-label="{html.escape(words)}">{"".join(parts)}</svg>'
    )


@dataclasses.dataclass(frozen=True)
class _Panel:
    """One coordinate over time: `top` in units, from `low` to `high` in meters."""

    top: float
    low: float
    high: float

    def y(self, meters: float) -> float:
        share = (meters - self.low) / (self.high - self.low)
        # A radius may reach beyond the room.
        return self.top + _PANEL * (1.0 - min(max(share, 0.0), 1.0))


def _draw_panel_axes(panel: _Panel, name: str) -> str:
    right = units(_WIDTH - _RIGHT)
    grid, letters = [], []
    for value in ticks(panel.low, panel.high, 5):
        y = units(panel.y(value))
        grid.append(f"M{units(_LEFT)} {y}H{right}")
        letters.append(
            f'<text x="{units(_LEFT - 10)}" y="{y}" dy=".35em" '
            f'text-anchor="end">{tick_label(value)}</text>'
        )
    letters.append(
        f'<text class="axis" x="12" y="{units(panel.top - 14)}">{name} in m</text>'
    )
    return f'<path class="grid" d="{"".join(grid)}"/>{"".join(letters)}'


def _draw_line(
    recording: Recording, axis: TimeAxis, panel: _Panel, number: int
) -> Iterator[str]:
    """Draw one coordinate: truth, band of the radius, line, dots, best guesses."""
    windows, times = recording.windows, recording.times
    for position in recording.truth:
        y = units(panel.y(position[number]))
        right = units(_WIDTH - _RIGHT)
        yield f'<path class="truth line" d="M{units(_LEFT)} {y}H{right}"/>'
    for run in session_windows.runs(recording, ANSWERS):
        if recording.num_sources != 1:
            continue
        middle = [
            (axis.x(times[index]), windows[index].positions[0][number]) for index in run
        ]
        radii = [windows[index].radius or 0.0 for index in run]
        if any(radii):
            edges = [(x, p + r) for (x, p), r in zip(middle, radii, strict=True)]
            lower = [(x, p - r) for (x, p), r in zip(middle, radii, strict=True)]
            outline = [(x, panel.y(p)) for x, p in [*edges, *lower[::-1]]]
            yield f'<path class="band" d="{path(outline)}z"/>'
        if len(run) > 1:
            yield f'<path class="line" d="{path([(x, panel.y(p)) for x, p in middle])}"/>'
    for layer, states, radius in (("guesses", GUESS, 0.0), ("dots", ANSWERS, 2.0)):
        yield f'<g class="{layer}">'
        for window, time in zip(windows, times, strict=True):
            for position in window.positions if window.state in states else ():
                x, y = units(axis.x(time)), units(panel.y(position[number]))
                if radius:
                    yield f'<circle class="dot" cx="{x}" cy="{y}" r="{radius}"/>'
                else:
                    yield f'<path class="guess" d="M{x} {y}m-3 -3l6 6m0 -6l-6 6"/>'
        yield "</g>"


def _draw_states(recording: Recording, axis: TimeAxis, top: float) -> Iterator[str]:
    """Draw a strip: full where the position is an answer, half where it is a guess."""
    for kind, states, height in (
        ("sure", ANSWERS, _STRIP),
        ("unsure", GUESS, _STRIP / 2),
    ):
        for run in session_windows.runs(recording, states):
            ends = [
                recording.times[index] + side * (recording.windows[index].length or 0.0)
                for index, side in ((run[0], -0.5), (run[-1], 0.5))
            ]
            left, right = (axis.x(end) for end in ends)
            yield (
                f'<rect class="{kind}" x="{units(left)}" '
                f'y="{units(top + _STRIP - height)}" '
                f'width="{units(max(right - left, 0.5))}" height="{units(height)}"/>'
            )


def _draw_speech(recording: Recording, axis: TimeAxis, top: float) -> str:
    """Draw the speech activity line: a bar for each stretch of speech."""
    return "".join(
        f'<rect class="speech" x="{units(axis.x(start))}" y="{units(top)}" '
        f'width="{units(max(axis.x(end) - axis.x(start), 0.5))}" '
        f'height="{units(_SPEECH)}"/>'
        for start, end in recording.speech
    )


def _draw_time_ticks(axis: TimeAxis, bottom: float) -> str:
    length = axis.last - axis.first
    step = next(
        (one for one in _TIME_STEPS if length / one <= 9), math.ceil(length / 9)
    )
    long = length > 180
    parts = [
        f'<path class="axis-line" d="M{units(_LEFT)} {units(bottom)}'
        f'H{units(_WIDTH - _RIGHT)}"/>'
    ]
    for k in range(math.ceil(axis.first / step), math.floor(axis.last / step) + 1):
        seconds = k * step
        written = f"{seconds // 60}:{seconds % 60:02d}" if long else str(seconds)
        parts.append(
            f'<text x="{units(axis.x(float(seconds)))}" y="{units(bottom + 20)}" '
            f'text-anchor="middle">{written}</text>'
        )
    unit = "time in min:s" if long else "time in s"
    parts.append(
        f'<text class="axis" x="{units(_LEFT)}" y="{units(bottom + 42)}">{unit}</text>'
    )
    return "".join(parts)


def draw_errors(samples: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Draw the share of windows within each error, over a logarithmic axis.

    Args:
        samples: Class of each line in the style sheet, and its errors in meters.
    """
    errors = [max(error, 1e-3) for _, values in samples for error in values]
    low = 10.0 ** math.floor(math.log10(min(errors)))
    high = 10.0 ** math.ceil(math.log10(max(errors) * 1.0001))
    right, top = _CDF_WIDTH - 14.0, 30.0
    bottom = _CDF_HEIGHT - _CDF_BOTTOM

    def x(error: float) -> float:
        share = math.log(max(error, low) / low) / math.log(high / low)
        return _CDF_LEFT + share * (right - _CDF_LEFT)

    def y(share: float) -> float:
        return bottom - share * (bottom - top)

    grid, parts = [], []
    for percent in (0, 25, 50, 75, 100):
        place = units(y(percent / 100))
        grid.append(f"M{units(_CDF_LEFT)} {place}H{units(right)}")
        parts.append(
            f'<text x="{units(_CDF_LEFT - 10)}" y="{place}" dy=".35em" '
            f'text-anchor="end">{percent} %</text>'
        )
    decades = round(math.log10(high / low))
    for power in range(decades + 1):
        for digit in (1, 2, 5) if decades < 3 else (1,):
            error = digit * low * 10.0**power
            if error > high * 1.001:
                continue
            grid.append(f"M{units(x(error))} {units(top)}V{units(bottom)}")
            parts.append(
                f'<text x="{units(x(error))}" y="{units(bottom + 20)}" '
                f'text-anchor="middle">{error:.6g}</text>'
            )
    for kind, values in samples:
        steps = [(x(low), y(0.0))]
        ordered = sorted(values)
        for rank, error in enumerate(ordered, start=1):
            steps += [(x(error), steps[-1][1]), (x(error), y(rank / len(ordered)))]
        steps.append((x(high), y(1.0)))
        parts.append(f'<path class="{kind}" d="{path(steps)}"/>')
    return (
        f'<svg class="cdf" viewBox="0 0 {units(_CDF_WIDTH)} {units(_CDF_HEIGHT)}" '
        'role="img" aria-label="Share of windows within each error">'
        f'<path class="grid" d="{"".join(grid)}"/>'
        f'<text class="axis" x="10" y="16">windows within</text>'
        f'<text class="axis" x="{units(_CDF_LEFT)}" y="{units(bottom + 42)}">'
        f"error in m</text>{''.join(parts)}</svg>"
    )
