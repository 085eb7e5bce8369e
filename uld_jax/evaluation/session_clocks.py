"""Correct clocks, and find exchanged nodes, where few windows are determined.

Windows are loaded one by one, so that recordings of hours fit into memory.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from uld_jax.audio import sessions, surveys
from uld_jax.audio import signals as signals_lib
from uld_jax.localization import (
    answers,
    calibration,
    drifts,
    exchanged_nodes,
    late_nodes,
    late_starts,
    localize,
)
from uld_jax.localization import session as session_lib
from uld_jax.runtime import progress

_RATE = signals_lib.SAMPLE_RATE
_SURE = 0.3  # Meters: the radius of positions that times confirm.


class Corrected(NamedTuple):
    """Windows of a recording, and how the clocks of its nodes were corrected.

    Attributes:
        found: The windows, by all corrections that helped.
        compared: The windows before nodes were compared: only recorders that started
            late or drift are corrected.
        started: The clocks of these; None if they were not needed.
        said: On nodes that are late in all windows, and were corrected.
        exchanged: On two nodes that are exchanged; clocks are not calibrated then.
        clocks: All clocks, used if they are determined; None as `calibrate_if_few`.
    """

    found: Sequence[answers.Localization]
    compared: Sequence[answers.Localization]
    started: late_starts.Clocks | None
    said: tuple[str, ...]
    exchanged: tuple[str, ...]
    clocks: calibration.Calibration | None

    @property
    def calibrated(self) -> bool:
        """Whether all clocks were calibrated, and used."""
        return self.clocks is not None and self.clocks.determined


def correct(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
    rates: drifts.Drifts | None = None,
) -> Corrected:
    """Correct clocks where that helps: late starts or drifts, then late nodes, then all.

    Nodes that are exchanged are looked for before all clocks are calibrated, which takes
    longer, and which no clocks explain.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows, each localized by itself.
        starts: Of the windows, in samples at 16 kHz.
        rates: Drifts, if they were found before.
    """
    compared, started = correct_late_starts(whole, recording, found, starts)
    if started is None:
        compared, started = correct_drifts(whole, recording, compared, starts, rates)
    again, said = correct_late_nodes(
        whole, recording, compared, starts, started=started
    )
    exchanged, clocks = find_exchanged(whole, recording, again, starts), None
    if not exchanged:
        again, clocks = calibrate_if_few(whole, recording, again, starts)
    return Corrected(again, compared, started, said, exchanged, clocks)


@functools.lru_cache(maxsize=session_lib.CALIBRATED_WITH)
def load(
    whole: sessions.Session, recording: sessions.Recording, start: int
) -> np.ndarray:
    """Load a window [M, N] as `uld_jax locate` does; the last ones are kept.

    Args:
        whole: The session, listed.
        recording: Of it.
        start: Of the window, in samples at 16 kHz.
    """
    window = signals_lib.to_stored(whole.load_window(recording, start))[0]
    window.flags.writeable = False
    return window


def load_strongest(
    whole: sessions.Session,
    recording: sessions.Recording,
    starts: np.ndarray,
    count: int | None = None,
) -> tuple[list[int], list[np.ndarray]]:
    """Load windows, the strongest of each stretch of a recording.

    Args:
        whole: The session, listed.
        recording: Of it.
        starts: Of the windows, in samples at 16 kHz.
        count: How many, at most; None for as many as calibrate clocks.

    Returns:
        Their numbers, and they themselves, [M, N] each.
    """
    powers = whole.surveyed[recording.name].window_powers(starts, whole.num_samples)
    chosen = session_lib.strongest(powers, count or session_lib.CALIBRATED_WITH)
    return chosen, [load(whole, recording, int(starts[number])) for number in chosen]


def correct_late_starts(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
) -> tuple[Sequence[answers.Localization], late_starts.Clocks | None]:
    """Find the clocks of recorders that started late, where few windows are determined.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows.
        starts: Of the windows, in samples at 16 kHz.

    Returns:
        What was found, now or before; and the clocks that were used, or None.
    """
    usable, together = find_together(whole.surveyed[recording.name])
    if not late_starts.is_worth_trying(found, together, usable):
        return found, None
    progress.log(f"{recording.name}: few windows are determined; comparing recorders")
    chosen, windows = load_strongest(whole, recording, starts)
    clocks = late_starts.find(
        windows,
        starts[chosen] / _RATE + whole.num_samples / _RATE / 2,
        [found[number] for number in chosen],
        together,
    )
    again = _localize(whole, recording, starts, late_at=clocks.late_at)
    return (again, clocks) if late_starts.are_confirmed(found, again) else (found, None)


def find_drifts(
    whole: sessions.Session, recording: sessions.Recording, starts: np.ndarray
) -> drifts.Drifts:
    """Find how fast clocks drift, from the strongest windows of a recording.

    Args:
        whole: The session, listed.
        recording: Of it.
        starts: Of windows, in samples at 16 kHz.
    """
    chosen, windows = load_strongest(whole, recording, starts)
    return drifts.find(np.float32(windows), starts[chosen] / _RATE)


def correct_drifts(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
    rates: drifts.Drifts | None = None,
) -> tuple[Sequence[answers.Localization], late_starts.Clocks | None]:
    """Localize again without drifts of clocks, where few windows are determined.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows.
        starts: Of the windows, in samples at 16 kHz.
        rates: Drifts, if they were found before.

    Returns:
        What was found, now or before; and the clocks that were used, or None.
    """
    if 2 * _count(found) >= len(found):
        return found, None
    sure = (rates or find_drifts(whole, recording, starts)).sure
    if not sure.any():
        return found, None
    progress.log(f"{recording.name}: few windows are determined; clocks drift")
    middle = float(np.mean(starts)) / _RATE + whole.num_samples / _RATE / 2
    clocks = late_starts.Clocks(np.zeros(len(sure)), sure, middle)
    again = _localize(whole, recording, starts, late_at=clocks.late_at)
    return (again, clocks) if _count(again) > _count(found) else (found, None)


def find_exchanged(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
) -> tuple[str, ...]:
    """Say which two nodes are exchanged, if few positions are sure and it shows.

    Exchanged nodes can leave windows determined by levels, with large radii.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows.
        starts: Of the windows, in samples at 16 kHz.
    """
    usable, together = find_together(whole.surveyed[recording.name])
    if 2 * _count_sure(found) >= len(found) or (usable & ~together).any():
        return ()
    most = exchanged_nodes.MOST_WINDOWS
    chosen, windows = load_strongest(whole, recording, starts, most)
    pair = exchanged_nodes.find(windows, [found[number] for number in chosen])
    if pair is None:
        return ()
    # Where all places are wrong, one exchange may fit a little better, and none well.
    places = whole.node_positions.copy()
    places[list(pair)] = places[list(pair[::-1])]
    again = [
        localize.localize(window, _RATE, places, whole.room_size) for window in windows
    ]
    if 2 * _count_sure(again) < len(again):
        return ()
    one, other = (whole.nodes[node] for node in pair)
    return (
        f"Nodes {one} and {other} seem to be exchanged: each fits the other's position",
    )


def _count_sure(found: Sequence[answers.Localization]) -> int:
    """Count the windows whose positions times confirm."""
    return sum(one.determined and one.radius_90 < _SURE for one in found)


def describe(clocks: late_starts.Clocks, nodes: Sequence[str]) -> tuple[str, ...]:
    """Say how the clocks of recorders that started late were off."""
    said = clocks.describe(nodes)
    return tuple(f"Node {name} {what}; it was corrected" for name, what in said.items())


def find_together(survey: surveys.Survey) -> tuple[np.ndarray, np.ndarray]:
    """Find the nodes whose start is known, and those that started when most did."""
    usable = survey.starts_known & [
        signals_lib.is_usable(fault) for fault in survey.faults
    ]
    return usable, late_starts.started_together(survey.starts, usable)


def correct_late_nodes(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
    clocks: calibration.Calibration | None = None,
    started: late_starts.Clocks | None = None,
) -> tuple[Sequence[answers.Localization], tuple[str, ...]]:
    """Localize again with corrected clocks where some nodes are late in all windows.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows.
        starts: Of the windows, in samples at 16 kHz.
        clocks: By which they were found; None if they were not corrected.
        started: Likewise, of recorders that started late.

    Returns:
        What was found, now or before, whichever determines more; and what there is to say.
    """
    late = late_nodes.find(found, whole.room_size)
    if not late.any():
        return found, ()
    before = started.late_at if started else lambda time: 0.0
    again = _localize(
        *(whole, recording, starts, clocks), late_at=lambda time: late + before(time)
    )
    if _count(again) < _count(found):
        return found, ()
    said = tuple(
        f"Node {whole.nodes[node]} is {late_nodes.describe(late[node])} in all windows; "
        "it was corrected"
        for node in np.flatnonzero(late)
    )
    return again, said


def calibrate_if_few(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
) -> tuple[Sequence[answers.Localization], calibration.Calibration | None]:
    """Calibrate clocks, and localize again, where most windows are not determined.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows.
        starts: Of the windows, in samples at 16 kHz.

    Returns:
        What was found, now or before; and the clocks, used if they are determined; None
        if they were not looked at, or did not help.
    """
    if 2 * _count(found) >= len(found) or len(found) < calibration.LEAST_PLACES:
        return found, None
    progress.log(f"{recording.name}: few windows are determined; calibrating clocks")
    clocks = calibrate(whole, recording, starts)
    if not clocks.determined:
        return found, clocks
    again = _localize(whole, recording, starts, clocks)
    return (again, clocks) if _count(again) >= _count(found) else (found, None)


def calibrate(
    whole: sessions.Session, recording: sessions.Recording, starts: np.ndarray
) -> calibration.Calibration:
    """Calibrate the clocks of a recording with its strongest windows.

    Args:
        whole: The session, listed.
        recording: Of it.
        starts: Of windows, in samples at 16 kHz.
    """
    chosen, windows = load_strongest(whole, recording, starts)
    return session_lib.calibrate_with_windows(
        windows,
        _RATE,
        whole.node_positions,
        whole.room_size,
        times=starts[chosen] / _RATE,
    )


def calibrate_together(whole: sessions.Session) -> calibration.Calibration:
    """Calibrate clocks with the strongest windows of each recording.

    Args:
        whole: The session, listed, whose devices kept running.
    """
    each = max(1, session_lib.CALIBRATED_WITH // len(whole.recordings))
    windows = []
    for recording in whole.recordings[: session_lib.CALIBRATED_WITH]:
        windows += session_lib.strongest_windows(
            whole.load(recording), signals_lib.SAMPLE_RATE, each
        )
    return session_lib.calibrate_with_windows(
        windows, _RATE, whole.node_positions, whole.room_size
    )


def _localize(
    whole,
    recording,
    starts,
    clocks=None,
    late_at: Callable[[float], np.ndarray] | None = None,
) -> list[answers.Localization]:
    """Localize windows by known clocks of nodes, some of which are later than that."""
    found, middle = [], whole.num_samples / _RATE / 2
    with progress.Progress("Localizing again", len(starts), "windows") as bar:
        for start in starts:
            found.append(
                session_lib.localize_window(
                    load(whole, recording, int(start)),
                    _RATE,
                    whole.node_positions,
                    whole.room_size,
                    start=start / _RATE,
                    clocks=clocks,
                    late=None if late_at is None else late_at(start / _RATE + middle),
                )
            )
            bar.update()
    return found


def _count(found: Sequence[answers.Localization]) -> int:
    return sum(one.determined for one in found)
