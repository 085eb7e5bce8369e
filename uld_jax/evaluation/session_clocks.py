"""Correct the clocks of a recording where few of its windows are determined.

Windows are loaded one by one, so that recordings of hours fit into memory.
"""

from collections.abc import Sequence

import numpy as np

from uld_jax.audio import sessions
from uld_jax.audio import signals as signals_lib
from uld_jax.localization import answers, calibration, late_nodes
from uld_jax.localization import session as session_lib
from uld_jax.runtime import progress

_RATE = signals_lib.SAMPLE_RATE


def correct_late_nodes(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
    clocks: calibration.Calibration | None = None,
) -> tuple[Sequence[answers.Localization], tuple[str, ...]]:
    """Localize again with corrected clocks where some nodes are late in all windows.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows.
        starts: Of the windows, in samples at 16 kHz.
        clocks: By which they were found; None if they were not corrected.

    Returns:
        What was found, now or before, whichever determines more; and what there is to say.
    """
    late = late_nodes.find(found)
    if not late.any():
        return found, ()
    again = _localize(whole, recording, starts, clocks, late)
    if _count(again) < _count(found):
        return found, ()
    said = tuple(
        f"Node {whole.nodes[node]} is {1000 * abs(late[node]):.1f} ms "
        f"{'late' if late[node] > 0 else 'early'} in all windows; it was corrected"
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
    powers = whole.surveyed[recording.name].window_powers(starts, whole.num_samples)
    chosen = starts[session_lib.strongest(powers, session_lib.CALIBRATED_WITH)]
    return session_lib.calibrate_with_windows(
        [_load(whole, recording, start) for start in chosen],
        _RATE,
        whole.node_positions,
        whole.room_size,
        times=chosen / _RATE,
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
    whole, recording, starts, clocks=None, late=None
) -> list[answers.Localization]:
    """Localize windows by known clocks of nodes, some of which are later than that."""
    found = []
    with progress.Progress("Localizing again", len(starts), "windows") as bar:
        for start in starts:
            found.append(
                session_lib.localize_window(
                    _load(whole, recording, start),
                    _RATE,
                    whole.node_positions,
                    whole.room_size,
                    start=start / _RATE,
                    clocks=clocks,
                    late=late,
                )
            )
            bar.update()
    return found


def _load(whole, recording, start) -> np.ndarray:
    return signals_lib.to_stored(whole.load_window(recording, int(start)))[0]


def _count(found: Sequence[answers.Localization]) -> int:
    return sum(one.determined for one in found)
