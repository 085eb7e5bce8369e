"""Examine a session before anything is made of it: its signals, its nodes, its talkers."""

import collections
import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from uld_jax.audio import diagnosis, sessions, surveys
from uld_jax.audio import signals as signals_lib
from uld_jax.evaluation import turns as turns_lib
from uld_jax.localization import answers, doubts, late_nodes, localize, placement
from uld_jax.runtime import progress

_WINDOWS = 8  # Of each recording, the strongest.
_DETERMINED = 0.5  # Share of windows.
_PLACES, _APART = 3, 0.5  # That clocks need, and meters between them.
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
    remarks = _check_geometry(whole, survey)
    facts = diagnosis.measure(survey)
    remarks += diagnosis.examine(survey, facts, whole.nodes)
    starts, found = [], []
    if not any(one.node is None and one.level > 1 for one in remarks):
        starts, found = _localize(whole, recording, survey)
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


def _check_geometry(
    whole: sessions.Session, survey: surveys.Survey
) -> list[diagnosis.Remark]:
    """Check that the nodes with sound can determine a position."""
    usable = [fault in ("", signals_lib.CLIPPED) for fault in survey.faults]
    plan = whole.node_positions[usable, :2]
    if len(np.unique(plan, axis=0)) < localize.LEAST_NODES:
        what = f"{len(plan)} nodes can be used, and {localize.LEAST_NODES} are needed"
        fix = "Add recorders, or mend those that are silent"
        return [diagnosis.Remark(None, diagnosis.UNUSABLE, "few", what, fix)]
    if placement.are_on_line(plan):
        what = "Nodes are on a line: a talker and the mirror image cannot be told apart"
        fix = "Move a node away from the line"
        return [diagnosis.Remark(None, diagnosis.REMARK, "line", what, fix)]
    return []


def _localize(
    whole: sessions.Session, recording: sessions.Recording, survey: surveys.Survey
) -> tuple[list[float], list[answers.Localization]]:
    """Localize the strongest windows; return their starts in seconds, and the answers."""
    starts = np.array(whole.starts[recording.name])
    powers = survey.window_powers(starts, whole.num_samples)
    chosen = np.sort(starts[np.argsort(-powers)[:_WINDOWS]])
    found = []
    with progress.Progress(recording.name, len(chosen), "windows") as bar:
        for start in chosen:
            window = whole.load_window(recording, int(start))
            found.append(
                localize.localize(
                    window,
                    signals_lib.SAMPLE_RATE,
                    whole.node_positions,
                    whole.room_size,
                )
            )
            bar.update()
    return (chosen / signals_lib.SAMPLE_RATE).tolist(), found


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
            fix = "Exchange their rows in the table, or their files"
            remarks.append(
                diagnosis.Remark(None, diagnosis.REMARK, "exchanged", reason, fix)
            )
    if found and not exchanged:
        remarks += _find_late(nodes, found)
    return remarks


def _find_late(
    nodes: Sequence[str], found: Sequence[answers.Localization]
) -> list[diagnosis.Remark]:
    """Find nodes that sound reached later, or earlier, than it should have."""
    remarks = []
    for name, late in zip(nodes, late_nodes.find(found), strict=True):
        if late:
            word = "late" if late > 0 else "early"
            what = f"is {1000 * abs(late):.1f} ms {word} in all windows"
            fix = "Its clock is off, and is corrected"
            remarks.append(diagnosis.Remark(name, diagnosis.REMARK, "clock", what, fix))
    return remarks


def _places(turns: Sequence[turns_lib.Turn]) -> list[np.ndarray]:
    """List the places of turns that are far enough apart."""
    places: list[np.ndarray] = []
    for turn in turns:
        if all(np.linalg.norm(turn.position - other) > _APART for other in places):
            places.append(turn.position)
    return places
