"""Examine a session before anything is made of it: its signals, its nodes, its talkers."""

import collections
import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from uld_jax.audio import diagnosis, polarity, sessions, surveys
from uld_jax.audio import signals as signals_lib
from uld_jax.evaluation import clock_health, geometry, radius_maps, session_clocks
from uld_jax.evaluation import turns as turns_lib
from uld_jax.localization import (
    answers,
    clock_lines,
    coherence,
    doubts,
    localize,
    same_places,
)
from uld_jax.runtime import progress

_DETERMINED = 0.5  # Share of windows.
_FIX_OF_EXCHANGED = "Exchange their rows in the table, or their files"
_EXCHANGED = re.compile(r"^Nodes .+ seem to be exchanged")
# Medians over windows. What has nothing in common with three nodes or more has up to
# 0.044, by chance; in twenty rooms with eight nodes, the least of the others is 0.14.
_INCOHERENT, _COHERENT = 0.05, 0.1
_FIX = (
    "Check places and files of the nodes, put all recorders on one clock, add recorders, "
    "or record talkers at six places or more"
)
# Kinds of remarks whose cause is open, or that need nothing done.
_RESULTS = ("undetermined", "clocks", "late")
_TOGETHER = (
    "Clocks can be calibrated from all recordings together: pass "
    "--calibrate_clocks=session to uld_jax locate"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Examined:
    """Levels, times and remarks of a recording.

    Attributes:
        name: Of the recording.
        facts: Levels of each node.
        starts: Seconds by which each recorder started after the first, [M].
        coherence: Of each node with the others, the median of windows, [M]; NaN where
            it is not known.
        clocks: Offset and drift of each node with their standard errors; None where
            nothing was localized.
        said_of_clocks: Whether they agree, or talkers moved enough to calibrate them, in
            a sentence; empty where nothing was localized.
        windows: How many windows were localized.
        determined: In how many of them the position is determined, by corrected clocks.
        places: At how many places a talker was, as far as that is determined.
        map: Where in the room a position can be determined; None with too few nodes.
        remarks: What is wrong.
    """

    name: str
    facts: list[diagnosis.Facts]
    starts: np.ndarray
    coherence: np.ndarray
    clocks: clock_lines.ClockLines | None
    said_of_clocks: str
    windows: int
    determined: int
    places: int
    map: radius_maps.RadiusMap | None
    remarks: list[diagnosis.Remark]

    @property
    def level(self) -> int:
        """0 if nothing is wrong, or the highest level of the remarks."""
        return max((remark.level for remark in self.remarks), default=0)


def examine(session: sessions.Session) -> list[Examined]:
    """Examine each recording of a session, some of its windows by `localize`.

    Raises:
        SessionError: If no recording can be read, or all are silent.
        SignalError: If a file is truncated.
    """
    whole = session.listed(labeled_only=False, strict=False)
    examined = [_examine(whole, recording) for recording in whole.recordings]
    if any(one.determined for one in examined) or not any(
        one.windows for one in examined
    ):
        return examined
    return _judge_undetermined(whole, examined)


def _judge_undetermined(
    whole: sessions.Session, examined: list[Examined]
) -> list[Examined]:
    """Judge a session without a determined window: unusable, but for its clocks."""
    level, fix = diagnosis.UNUSABLE, _FIX
    if len(examined) > 1:
        progress.log("No window is determined; calibrating clocks of all recordings")
        if session_clocks.calibrate_together(whole).determined:
            level, fix = diagnosis.REMARK, _TOGETHER
    return [
        dataclasses.replace(
            one,
            remarks=[
                remark._replace(level=level, fix=fix)
                if remark.kind == "undetermined"
                else remark
                for remark in one.remarks
            ],
        )
        for one in examined
    ]


def summarize(examined: Sequence[Examined]) -> str:
    """Summarize a session in a line: whether, and how, it can be used."""
    remarks = [remark for one in examined for remark in one.remarks]
    count = f"{len(remarks)} remark{'s'[: len(remarks) - 1]}"
    bad = [remark for remark in remarks if remark.level == diagnosis.UNUSABLE]
    if not remarks:
        return "Nothing is wrong"
    if not bad:
        return f"Usable: {count}"
    if whole := [remark for remark in bad if remark.node is None]:
        # What is known to be wrong comes before what may be.
        known = [remark for remark in remarks if remark.kind not in _RESULTS]
        return f"Not usable: {count}. First of all: {(known or whole)[0].fix}"
    names = list(dict.fromkeys(remark.node for remark in bad))
    noun, verb = ("Node", "is") if len(names) == 1 else ("Nodes", "are")
    return f"{noun} {', '.join(names)} {verb} not usable, and the session is without: {count}"


def _examine(whole: sessions.Session, recording: sessions.Recording) -> Examined:
    survey = whole.surveyed[recording.name]
    remarks = geometry.check(whole, survey.faults)
    facts = diagnosis.measure(survey)
    remarks += diagnosis.examine(survey, facts, whole.nodes)
    made = radius_maps.make(whole, survey.faults)
    remarks += radius_maps.check(made) if made else []
    coherent = np.full(len(whole.nodes), np.nan)
    health, said, windows, determined, num_places = None, "", 0, 0, 0
    if not any(one.node is None and one.level > 1 for one in remarks):
        starts, sound = _load_some(whole, recording)
        inverted = _find_inverted(sound, survey)
        remarks += _describe_inverted(whole.nodes, inverted)
        coherent = _measure_coherence(sound, inverted)
        remarks += _find_incoherent(whole.nodes, coherent)
        found = _localize(whole, recording, sound)
        health = clock_health.examine(whole, recording, found, starts)
        remarks += _compare_windows(whole.nodes, found, health)
        windows = len(found)
        determined = sum(one.determined for one in health.found)
        seconds = starts / signals_lib.SAMPLE_RATE
        length = whole.num_samples / signals_lib.SAMPLE_RATE
        turns = turns_lib.find_turns(seconds, health.found, length)
        places = [turn.position for turn in turns]
        num_places = same_places.count_apart(np.reshape(places, (-1, 2)))
        usable = sum(signals_lib.is_usable(fault) for fault in survey.faults)
        said = clock_health.describe(health, num_places, usable)
    return Examined(
        recording.name,
        facts,
        survey.starts / signals_lib.SAMPLE_RATE,
        coherent,
        health.lines if health else None,
        said,
        windows,
        determined,
        num_places,
        made,
        remarks,
    )


def _load_some(
    whole: sessions.Session, recording: sessions.Recording
) -> tuple[np.ndarray, np.ndarray]:
    """Load windows [W, M, N], the strongest of each stretch, and return their starts."""
    starts = np.array(whole.starts[recording.name])
    chosen, windows = session_clocks.load_strongest(whole, recording, starts)
    return starts[chosen], np.float32(windows)


def _find_inverted(windows: np.ndarray, survey: surveys.Survey) -> np.ndarray:
    """Find nodes whose signals have the sign of the others changed."""
    usable = np.flatnonzero([signals_lib.is_usable(fault) for fault in survey.faults])
    return usable[polarity.find_inverted(windows[:, usable], signals_lib.SAMPLE_RATE)]


def _describe_inverted(
    nodes: Sequence[str], inverted: np.ndarray
) -> list[diagnosis.Remark]:
    what = "has an inverted polarity: its signal has the sign of the others changed"
    fix = "Exchange the wires of its plug, or invert its file"
    return [
        diagnosis.Remark(nodes[node], diagnosis.REMARK, "inverted", what, fix)
        for node in inverted
    ]


def _measure_coherence(windows: np.ndarray, inverted: np.ndarray) -> np.ndarray:
    """Measure the median coherence of each node, with the sign that the others have."""
    signs = np.ones(windows.shape[1], np.float32)
    signs[inverted] = -1.0
    found = coherence.measure(windows * signs[:, None])
    known = np.isfinite(found).any(axis=0)
    medians = np.full(len(signs), np.nan)
    medians[known] = np.nanmedian(found[:, known], axis=0)
    return medians


def _find_incoherent(
    nodes: Sequence[str], coherent: np.ndarray
) -> list[diagnosis.Remark]:
    """Find nodes that have nothing in common with others, which have."""
    known = coherent[np.isfinite(coherent)]
    if len(known) < localize.LEAST_NODES or np.median(known) < _COHERENT:
        return []
    what = (
        "has nothing in common with the others: a coherence of {:.2f}, where they have "
        f"{np.median(known):.2f} in the median"
    )
    fix = "Check that its file is of this recording, and that it is in the same room"
    return [
        diagnosis.Remark(
            *(nodes[node], diagnosis.REMARK, "incoherent"),
            *(what.format(coherent[node]), fix),
        )
        for node in np.flatnonzero(coherent < _INCOHERENT)
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


def _compare_windows(
    nodes: Sequence[str],
    found: Sequence[answers.Localization],
    health: clock_health.ClockHealth,
) -> list[diagnosis.Remark]:
    """Describe doubts that many windows share, and nodes that do not fit the others.

    Args:
        nodes: Their names.
        found: Windows, each localized by itself.
        health: Of the clocks, by which they were localized again where that helps.
    """
    remarks = _describe_undetermined(nodes, health)
    counts = collections.Counter(
        reason
        for one in found
        for reason in doubts.with_names(one.reasons, nodes)
        if _EXCHANGED.match(reason)
    )
    often = [
        reason for reason, count in counts.items() if count >= max(2, len(found) / 3)
    ]
    exchanged = [
        diagnosis.Remark(None, diagnosis.REMARK, "exchanged", said, _FIX_OF_EXCHANGED)
        for said in dict.fromkeys([*often, *health.exchanged])
    ]
    # Exchanged nodes do not fit, either: that is said once.
    return remarks + (exchanged or health.remarks)


def _describe_undetermined(
    nodes: Sequence[str], health: clock_health.ClockHealth
) -> list[diagnosis.Remark]:
    """Say why few windows are determined, and whether clocks could be calibrated."""
    remarks, found = [], health.found
    sure = sum(one.determined for one in found)
    if sure < _DETERMINED * len(found):
        reasons = collections.Counter(
            one.reasons[0] for one in found if one.reasons and not one.determined
        )
        (reason, _), *_ = reasons.most_common(1) or [("nothing fits", 0)]
        (reason,) = doubts.with_names([reason], nodes)
        what = f"Positions are determined in {sure} of {len(found)} windows: {reason}"
        remarks.append(
            diagnosis.Remark(None, diagnosis.REMARK, "undetermined", what, _FIX)
        )
    drifts = any(remark.kind == "drift" for remark in health.remarks)
    if health.calibrated and not drifts:
        what = "Clocks differ, and are calibrated by talkers at several places"
        fix = "Nothing is to be done; uld_jax locate does so by itself"
        remarks.append(diagnosis.Remark(None, diagnosis.REMARK, "clocks", what, fix))
    return remarks
