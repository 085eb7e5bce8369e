"""Windows of a located session's record, where each value may be missing."""

import dataclasses
import itertools
import math
import numbers
import statistics
from collections.abc import Iterator
from typing import Any

Point = tuple[float, float]
Matrix = tuple[Point, Point]  # Rows of a covariance, in square meters.

# States of a window. A method that does not know how sure it is has LOCATED alone.
DETERMINED = "determined"
UNDETERMINED = "not determined"
LOCATED = "located"
SILENT = "no position"
STATES = (DETERMINED, UNDETERMINED, LOCATED, SILENT)

_SAME_PLACE = 0.5  # Meters around the mean of positions that are one place.


@dataclasses.dataclass(frozen=True)
class Mode:
    """A place that fits a window.

    Attributes:
        position: (x, y) in meters.
        covariance: In square meters; None if unknown.
        mass: Share of the posterior; None if unknown.
    """

    position: Point
    covariance: Matrix | None
    mass: float | None


@dataclasses.dataclass(frozen=True)
class Window:
    """A window of a recording; None, or an empty tuple, where the record has nothing.

    Attributes:
        state: One of `STATES`.
        start: In seconds.
        length: In seconds.
        positions: (x, y) of each source in meters.
        height: Of the talker in meters.
        errors: Distances to the true positions in meters.
        radius: Meters around the first position that hold 90 % of the posterior.
        covariance: Of the first position, in square meters.
        modes: All places that fit.
        reasons: Sentences about this window.
        levels: Of each node in dB; None if silent.
        weights: Of each node; 0 if it was left out.
        offsets: Seconds by which sound reached each node late.
        offset_errors: Their standard errors in seconds.
        talker: Its number; None outside of turns.
        smooth: (x, y) in meters, by the windows before and after, too.
        smooth_radius: Meters around it that hold 90 %.
    """

    state: str
    start: float | None
    length: float | None
    positions: tuple[Point, ...]
    height: float | None
    errors: tuple[float, ...]
    radius: float | None
    covariance: Matrix | None
    modes: tuple[Mode, ...]
    reasons: tuple[str, ...]
    levels: tuple[float | None, ...]
    weights: tuple[float | None, ...]
    offsets: tuple[float | None, ...]
    offset_errors: tuple[float | None, ...]
    talker: int | None = None
    smooth: Point | None = None
    smooth_radius: float | None = None

    @property
    def answers(self) -> bool:
        """Whether its positions are the answer, rather than a best guess."""
        return self.state in (DETERMINED, LOCATED)

    @property
    def holds_truth(self) -> bool | None:
        """Whether the true position lies within the radius; None if unknown."""
        if self.radius is None or len(self.errors) != 1:
            return None
        return self.errors[0] <= self.radius


@dataclasses.dataclass(frozen=True)
class Turn:
    """A stretch in which a talker was at one place.

    Attributes:
        start: In seconds.
        end: In seconds.
        position: (x, y) in meters.
        radius: Meters around it that hold 90 %; None if unknown.
        talker: Its number; None if unknown.
        confidence: Share of what is known that is there; None if unknown.
    """

    start: float
    end: float
    position: Point
    radius: float | None
    talker: int | None = None
    confidence: float | None = None


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording with its windows in order of time.

    Attributes:
        name: Of its file.
        duration: In seconds; None if unknown.
        num_sources: Talkers at a time.
        truth: True (x, y) in meters, one for each source; empty if unknown.
        clocks: Rows of the record as they are.
        windows: In order of time.
        times: Seconds of the middle of each window; a window without a start has the
            number of its place.
        turns: Of talkers; None if the record has none.
        speech: Start and end of each stretch of speech, in seconds.
    """

    name: str
    duration: float | None
    num_sources: int
    truth: tuple[Point, ...]
    clocks: tuple[dict[str, Any], ...]
    windows: tuple[Window, ...]
    times: tuple[float, ...]
    turns: tuple[Turn, ...] | None = None
    speech: tuple[Point, ...] = ()

    def count(self, state: str) -> int:
        """Count the windows in a state."""
        return sum(window.state == state for window in self.windows)


@dataclasses.dataclass(frozen=True)
class Place:
    """Positions of several windows that lie together.

    Attributes:
        middle: Their mean (x, y) in meters.
        count: Their number.
    """

    middle: Point
    count: int

    def joined(self, position: Point) -> "Place":
        """Add a position to the mean."""
        count = self.count + 1
        x, y = (
            old + (new - old) / count
            for old, new in zip(self.middle, position, strict=True)
        )
        return Place((x, y), count)


def number(value: Any) -> float | None:
    """Read a finite number; None for anything else."""
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    return None


def numbers_of(values: Any) -> tuple[float | None, ...]:
    """Read a list of numbers of which each may be missing."""
    return tuple(number(value) for value in values or ())


def point(values: Any) -> Point | None:
    """Read (x, y) of a position; None unless both are known."""
    found = numbers_of(values)[:2]
    return found if len(found) == 2 and None not in found else None


def points(values: Any) -> tuple[Point, ...]:
    """Read the positions that are known."""
    return tuple(found for value in values or () if (found := point(value)) is not None)


def text(value: Any) -> str:
    """Read a text; empty if there is none."""
    return "" if value is None else str(value)


def _integer(value: Any) -> int | None:
    """Read a whole number; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def _matrix(values: Any) -> Matrix | None:
    """Read a covariance; None unless it is whole."""
    rows = points(values)
    return rows if len(rows) == 2 else None


def read_recording(record: dict[str, Any]) -> Recording:
    """Read a recording of a session's record."""
    windows = tuple(_read_window(one) for one in record.get("windows") or ())
    times = [
        index if window.start is None else window.start + (window.length or 0.0) / 2
        for index, window in enumerate(windows)
    ]
    order = sorted(range(len(windows)), key=times.__getitem__)
    return Recording(
        name=text(record.get("name")) or "unnamed recording",
        duration=number(record.get("duration_s")),
        num_sources=int(number(record.get("sources")) or 1),
        truth=points(record.get("true_positions_m")),
        clocks=tuple(record.get("clocks") or ()),
        windows=tuple(windows[index] for index in order),
        times=tuple(float(times[index]) for index in order),
        turns=_read_turns(record.get("turns")),
        speech=points(record.get("speech_s")),
    )


def _read_turns(turns: list[dict[str, Any]] | None) -> tuple[Turn, ...] | None:
    if turns is None:
        return None
    return tuple(
        Turn(
            number(one.get("start_s")) or 0.0,
            number(one.get("end_s")) or 0.0,
            position,
            number(one.get("radius_90_m")),
            _integer(one.get("talker")),
            number(one.get("confidence")),
        )
        for one in turns
        if (position := point(one.get("position_m"))) is not None
    )


def _read_window(record: dict[str, Any]) -> Window:
    positions = points(record.get("positions_m"))
    modes = tuple(
        Mode(position, _matrix(one.get("covariance_m2")), number(one.get("mass")))
        for one in record.get("modes") or ()
        if (position := point(one.get("position_m"))) is not None
    )
    return Window(
        state=_state(positions, number(record.get("determined"))),
        start=number(record.get("start_s")),
        length=number(record.get("length_s")),
        positions=positions,
        height=number(record.get("height_m")),
        errors=tuple(
            error for error in numbers_of(record.get("errors_m")) if error is not None
        ),
        radius=number(record.get("radius_90_m")),
        covariance=_matrix(record.get("covariance_m2")),
        modes=modes,
        reasons=tuple(text(one) for one in record.get("reasons") or ()),
        levels=numbers_of(record.get("node_levels_db")),
        weights=numbers_of(record.get("node_weights")),
        offsets=numbers_of(record.get("node_offsets_s")),
        offset_errors=numbers_of(record.get("node_offset_errors_s")),
        talker=_integer(record.get("talker")),
        smooth=point(record.get("smooth_position_m")),
        smooth_radius=number(record.get("smooth_radius_90_m")),
    )


def _state(positions: tuple[Point, ...], determined: float | None) -> str:
    if not positions:
        return SILENT
    if determined is None:
        return LOCATED
    return DETERMINED if determined else UNDETERMINED


def runs(recording: Recording, states: tuple[str, ...]) -> Iterator[list[int]]:
    """Find stretches without a gap: windows in one of some states that follow closely.

    Yields:
        Indices of the windows of a stretch.
    """
    times = recording.times
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    longest = 1.5 * statistics.median(steps) if steps else 0.0
    found: list[int] = []
    for index, window in enumerate(recording.windows):
        if window.state in states:
            if found and times[index] - times[found[-1]] > longest:
                yield found
                found = []
            found.append(index)
        elif found:
            yield found
            found = []
    if found:
        yield found


def find_tracks(recording: Recording) -> Iterator[list[int]]:
    """Find stretches of one talker's windows, with smoothed positions, in order of time.

    Yields:
        Indices of the windows of a stretch. What lies between two of its windows, and
        belongs to nobody, does not end it.
    """
    found: list[int] = []
    for index, window in enumerate(recording.windows):
        if window.talker is None or window.smooth is None:
            continue
        if found and recording.windows[found[-1]].talker != window.talker:
            yield found
            found = []
        found.append(index)
    if found:
        yield found


def find_places(recording: Recording) -> list[Place]:
    """Group the positions that are answers into places, in order of time.

    A position joins the first place whose mean is within half a meter.
    """
    places: list[Place] = []
    for window in recording.windows:
        for position in window.positions if window.answers else ():
            for index, place in enumerate(places):
                if math.dist(position, place.middle) <= _SAME_PLACE:
                    places[index] = place.joined(position)
                    break
            else:
                places.append(Place(position, 1))
    return places
