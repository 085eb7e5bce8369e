"""Examine a session before anything is made of it: its signals, its nodes, its talkers."""

import collections
import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from uld_jax.audio import diagnosis, polarity, sessions, surveys
from uld_jax.audio import signals as signals_lib
from uld_jax.evaluation import geometry, session_clocks
from uld_jax.evaluation import turns as turns_lib
from uld_jax.localization import answers, doubts, late_nodes, late_starts, localize
from uld_jax.runtime import progress

_WINDOWS = 8  # Of each recording, the strongest.
_WINDOWS_FOR_CLOCKS = 24  # Likewise, where recorders started late.
_DETERMINED = 0.5  # Share of windows.
_APART = 0.5  # Meters between places.
_FIX_OF_EXCHANGED = "Exchange their rows in the table, or their files"
_EXCHANGED = re.compile(r"^Nodes .+ seem to be exchanged")


@dataclasses.dataclass(frozen=True, eq=False)
class Examined:
    """Levels, times and remarks of a recording.

    Attributes:
        name: Of the recording.
        facts: Levels of each node.
        starts: Seconds by which each recorder started after the first, [M].
        windows: How many windows were localized.
        determined: In how many of them the position is determined.
        places: At how many places a talker was.
        remarks: What is wrong.
    """

    name: str
    facts: list[diagnosis.Facts]
    starts: np.ndarray
    windows: int
    determined: int
    places: int
    remarks: list[diagnosis.Remark]

    @property
    def level(self) -> int:
        """0 if nothing is wrong, or the highest level of the remarks."""
        return max((remark.level for remark in self.remarks), default=0)


def examine(session: sessions.Session) -> list[Examined]:
    """Examine each recording of a session, its strongest windows by `localize`.

    Raises:
        SessionError: If no recording can be read, or all are silent.
        SignalError: If a file is truncated.
    """
    whole = session.listed(labeled_only=False, strict=False)
    return [_examine(whole, recording) for recording in whole.recordings]


def _examine(whole: sessions.Session, recording: sessions.Recording) -> Examined:
    survey = whole.surveyed[recording.name]
    remarks = geometry.check(whole, survey.faults)
    facts = diagnosis.measure(survey)
    remarks += diagnosis.examine(survey, facts, whole.nodes)
    starts, found = [], []
    if not any(one.node is None and one.level > 1 for one in remarks):
        starts, windows = _load_strongest(whole, recording, survey, _WINDOWS)
        remarks += _find_inverted(whole.nodes, windows, survey)
        found = _localize(whole, recording, windows)
        starts, found, clocks = _correct_late_starts(
            whole, recording, survey, starts, found
        )
        remarks += clocks + _find_exchanged(whole, recording, starts, found)
        remarks += _compare_windows(whole.nodes, found)
    length = whole.num_samples / signals_lib.SAMPLE_RATE
    places = _places(turns_lib.find_turns(np.array(starts, float), found, length))
    return Examined(
        recording.name,
        facts,
        survey.starts / signals_lib.SAMPLE_RATE,
        len(found),
        sum(one.determined for one in found),
        len(places),
        remarks,
    )


def _load_strongest(
    whole: sessions.Session,
    recording: sessions.Recording,
    survey: surveys.Survey,
    count: int,
) -> tuple[list[float], np.ndarray]:
    """Load the strongest windows [W, M, N]; return their starts in seconds, too."""
    starts = np.array(whole.starts[recording.name])
    powers = survey.window_powers(starts, whole.num_samples)
    chosen = np.sort(starts[np.argsort(-powers)[:count]])
    windows = np.stack([whole.load_window(recording, int(start)) for start in chosen])
    return (chosen / signals_lib.SAMPLE_RATE).tolist(), windows


def _find_inverted(
    nodes: Sequence[str], windows: np.ndarray, survey: surveys.Survey
) -> list[diagnosis.Remark]:
    """Find nodes whose signals have the sign of the others changed."""
    usable = np.flatnonzero([signals_lib.is_usable(fault) for fault in survey.faults])
    found = polarity.find_inverted(windows[:, usable], signals_lib.SAMPLE_RATE)
    what = "has an inverted polarity: its signal has the sign of the others changed"
    fix = "Exchange the wires of its plug, or invert its file"
    return [
        diagnosis.Remark(nodes[node], diagnosis.REMARK, "inverted", what, fix)
        for node in usable[found]
    ]


def _localize(
    whole: sessions.Session, recording: sessions.Recording, windows: np.ndarray
) -> list[answers.Localization]:
    """Localize windows [W, M, N]."""
    found = []
    with progress.Progress(recording.name, len(windows), "windows") as bar:
        for window in windows:
            found.append(
                localize.localize(
                    window,
                    signals_lib.SAMPLE_RATE,
                    whole.node_positions,
                    whole.room_size,
                )
            )
            bar.update()
    return found


def _correct_late_starts(
    whole: sessions.Session,
    recording: sessions.Recording,
    survey: surveys.Survey,
    starts: Sequence[float],
    found: list[answers.Localization],
) -> tuple[Sequence[float], list[answers.Localization], list[diagnosis.Remark]]:
    """Find the clocks of recorders that started late, if few windows are determined.

    That takes more windows; they replace those that are given if clocks are found.
    """
    usable, together = session_clocks.find_together(survey)
    if not late_starts.is_worth_trying(found, together, usable):
        return starts, found, []
    more, windows = _load_strongest(whole, recording, survey, _WINDOWS_FOR_CLOCKS)
    samples = np.rint(np.array(more) * signals_lib.SAMPLE_RATE).astype(int)
    again, clocks = session_clocks.correct_late_starts(
        whole, recording, _localize(whole, recording, windows), samples
    )
    if clocks is None:
        return starts, found, []
    fix = "Its clock is off, and is corrected"
    remarks = [
        diagnosis.Remark(name, diagnosis.REMARK, "clock", what, fix)
        for name, what in clocks.describe(whole.nodes).items()
    ]
    return more, list(again), remarks


def _find_exchanged(
    whole: sessions.Session,
    recording: sessions.Recording,
    starts: Sequence[float],
    found: Sequence[answers.Localization],
) -> list[diagnosis.Remark]:
    """Find two nodes that are exchanged, if few windows are determined."""
    samples = np.rint(np.array(starts) * signals_lib.SAMPLE_RATE).astype(int)
    return [
        diagnosis.Remark(None, diagnosis.REMARK, "exchanged", said, _FIX_OF_EXCHANGED)
        for said in session_clocks.find_exchanged(whole, recording, found, samples)
    ]


def _compare_windows(
    nodes: Sequence[str], found: Sequence[answers.Localization]
) -> list[diagnosis.Remark]:
    """Find nodes that do not fit the others, and doubts that many windows share."""
    remarks = []
    sure = [one for one in found if one.determined]
    if len(sure) < _DETERMINED * len(found):
        reasons = collections.Counter(one.reasons[0] for one in found if one.reasons)
        (reason, _), *_ = reasons.most_common(1) or [("nothing fits", 0)]
        (reason,) = doubts.with_names([reason], nodes)
        remarks.append(
            diagnosis.Remark(
                *(None, diagnosis.REMARK, "undetermined"),
                f"Positions are determined in {len(sure)} of {len(found)} windows: "
                f"{reason}",
                "Check the places and clocks of the nodes, or add nodes",
            )
        )
    exchanged = collections.Counter(
        reason
        for one in found
        for reason in doubts.with_names(one.reasons, nodes)
        if _EXCHANGED.match(reason)
    )
    for reason, count in exchanged.items():
        if count >= max(2, len(found) / 3):
            remarks.append(
                diagnosis.Remark(
                    *(None, diagnosis.REMARK, "exchanged", reason, _FIX_OF_EXCHANGED)
                )
            )
    if found and not exchanged:
        remarks += _find_late(nodes, found)
    return remarks


def _find_late(
    nodes: Sequence[str], found: Sequence[answers.Localization]
) -> list[diagnosis.Remark]:
    """Find nodes that sound reached later, or earlier, than it should have."""
    remarks = []
    misfits = late_nodes.find_misfits(found)
    for name, late, off in zip(nodes, late_nodes.find(found), misfits, strict=True):
        if late:
            word = "late" if late > 0 else "early"
            what = f"is {1000 * abs(late):.1f} ms {word} in all windows"
            fix = "Its clock is off, and is corrected"
            remarks.append(diagnosis.Remark(name, diagnosis.REMARK, "clock", what, fix))
        elif off:
            what = f"does not fit the others: sound reached it up to {1000 * off:.1f} ms off"
            fix = "Check its place and its file, then those of the others"
            remarks.append(
                diagnosis.Remark(name, diagnosis.REMARK, "misfit", what, fix)
            )
    return remarks


def _places(turns: Sequence[turns_lib.Turn]) -> list[np.ndarray]:
    """List the places of turns that are far enough apart."""
    places: list[np.ndarray] = []
    for turn in turns:
        if all(np.linalg.norm(turn.position - other) > _APART for other in places):
            places.append(turn.position)
    return places
