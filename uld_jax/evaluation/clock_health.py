"""Find out what a recording shows of its nodes' clocks, and whether that is enough.

As `uld_jax locate` does: nodes that are late in all windows are corrected, and where few
windows are determined, recorders that started late are compared with the others, and then
all clocks are calibrated. So what is said of a session is what its
positions will be.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from uld_jax.audio import diagnosis, sessions
from uld_jax.audio import signals as signals_lib
from uld_jax.evaluation import session_clocks
from uld_jax.localization import (
    answers,
    calibration,
    clock_lines,
    drifts,
    late_nodes,
    late_starts,
)

# Of drifts: standard errors from zero, and seconds at the ends of the recording, where
# times no longer agree (3 cm of path).
_SURE, _LEAST_DRIFT = 4.0, 1e-4
# Standard error of a drift by correlations that can deny another; and the share of the
# largest drift that one by times of arrival has to have.
_KNOWN, _OF_LARGEST = 5e-6, 0.5
_CORRECTED = "Its clock is off, and is corrected"
_MOST_KNOWN = 0.75  # Share of nodes whose clocks agree, so that all are said to.
# How many places talkers should be at, by nodes, and how often that was enough in
# simulated sessions (docs/sessions.md, docs/phones.md).
_ENOUGH = (
    (12, 4, "nearly always enough"),
    (8, 6, "enough in six of ten recordings"),
    (6, 6, "enough in four of ten recordings"),
    (0, 6, "seldom enough"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class ClockHealth:
    """The clocks of a recording, as far as it shows them.

    Attributes:
        found: Its windows, by corrected or calibrated clocks where that helped.
        lines: Offset and drift of each node with their standard errors, after each
            recorder was moved by its start.
        calibrated: Whether clocks could be calibrated, where few windows are determined
            without; None if that was not needed, or there are too few windows.
        remarks: What is wrong with single nodes' clocks, or places.
        exchanged: On two nodes that are exchanged, in a sentence; empty if none are.
    """

    found: Sequence[answers.Localization]
    lines: clock_lines.ClockLines
    calibrated: bool | None
    remarks: list[diagnosis.Remark]
    exchanged: tuple[str, ...] = ()


def examine(
    whole: sessions.Session,
    recording: sessions.Recording,
    found: Sequence[answers.Localization],
    starts: np.ndarray,
) -> ClockHealth:
    """Examine the clocks of a recording, and correct or calibrate them if that helps.

    Args:
        whole: The session, listed.
        recording: Of it.
        found: Its windows, each localized by itself.
        starts: Of these, in samples at 16 kHz.
    """
    moments = (starts + whole.num_samples / 2) / signals_lib.SAMPLE_RATE
    rates = session_clocks.find_drifts(whole, recording, starts)
    corrected = session_clocks.correct(whole, recording, found, starts, rates)
    late = late_nodes.find(corrected.compared, whole.room_size)
    clocks, started = corrected.clocks, corrected.started
    if corrected.calibrated:
        lines = _lines_of(clocks, moments)
    else:
        lines = clock_lines.fit(corrected.found, moments)
        if corrected.said:  # What is left of the lateness, and what was corrected.
            lines = lines._replace(offsets=lines.offsets + late)
    if started and not corrected.calibrated:
        lines = lines._replace(
            offsets=lines.offsets + started.late_at(float(np.mean(moments))),
            drifts=lines.drifts + started.drifts,
        )
    lines = _add_rates(lines, rates)
    drifting = _find_drifting(lines, rates, moments)
    calibrated = None if clocks is None else clocks.determined
    done = started.drifts != 0 if started else np.zeros(len(drifting), bool)
    if clocks is None and (drifting & ~done).any():
        clocks = session_clocks.calibrate(whole, recording, starts)
    # Clocks that were taken to agree correct no drift.
    corrects = clocks is not None and clocks.determined and clocks.model > 0
    remarks = _describe_drifts(
        whole.nodes, lines, drifting, done, _choose_fix(corrects)
    )
    remarks += _describe_late(
        whole.nodes,
        np.where(drifting, 0.0, late),
        bool(corrected.said) or bool(calibrated),
    )
    if started and not calibrated:
        late_ones = started._replace(drifts=np.where(drifting, 0.0, started.drifts))
        remarks += _describe_started(whole.nodes, late_ones)
    named = {remark.node for remark in remarks}
    misfits = late_nodes.find_misfits(corrected.compared, whole.room_size)
    remarks += [
        one for one in _describe_misfits(whole.nodes, misfits) if one.node not in named
    ]
    return ClockHealth(corrected.found, lines, calibrated, remarks, corrected.exchanged)


def _add_rates(
    lines: clock_lines.ClockLines, rates: drifts.Drifts
) -> clock_lines.ClockLines:
    """Add the drifts of correlations where times of arrival show none."""
    unknown = ~np.isfinite(lines.drifts)
    return lines._replace(
        drifts=np.where(unknown, rates.values, lines.drifts),
        drift_errors=np.where(unknown, rates.errors, lines.drift_errors),
    )


def _find_drifting(
    lines: clock_lines.ClockLines, rates: drifts.Drifts, moments: np.ndarray
) -> np.ndarray:
    """Find the nodes whose clocks surely drift, and far enough to matter.

    Correlations say so, or times of arrival where correlations do not deny it: a drift
    of one node moves positions, and by them the times of others.
    """
    with np.errstate(invalid="ignore"):
        sure = np.abs(lines.drifts) > _SURE * lines.drift_errors
        known = rates.errors < _KNOWN
        denied = known & (np.abs(rates.values) < np.abs(lines.drifts) / 2)
        largest = np.nanmax(np.abs(lines.drifts), initial=0.0)
        sure &= ~denied & (np.abs(lines.drifts) > _OF_LARGEST * largest)
        far = np.abs(lines.drifts) * np.ptp(moments) / 2 > _LEAST_DRIFT
        return ((rates.sure != 0) | sure) & far


def _lines_of(
    clocks: calibration.Calibration, moments: np.ndarray
) -> clock_lines.ClockLines:
    """Read the clocks that were calibrated, at the middle of a recording."""
    middle = float(np.mean(moments))
    offsets = np.where(np.isfinite(clocks.offsets), clocks.late_at([middle])[0], np.nan)
    count = len(offsets)
    errors = np.sqrt(np.diag(clocks.covariance_at(middle)))
    drifts, drift_errors = np.full((2, count), np.nan)
    if clocks.drifts is not None and clocks.model:  # Else they were taken to agree.
        drifts = clocks.drifts
        drift_errors = np.sqrt(np.diag(clocks.covariance)[count:])
    known = errors > 0
    return clock_lines.ClockLines(
        *(
            np.where(known, values, np.nan)
            for values in (offsets, errors, drifts, drift_errors)
        )
    )


def _choose_fix(corrects: bool) -> str:
    """Choose what to do of drifts, by whether calibration corrects them."""
    if corrects:
        return "Pass --calibrate_clocks to uld_jax locate: these recordings allow it"
    return (
        "Leave it out, or use a recorder with the others' clock: these recordings do not "
        "allow calibration"
    )


def _describe_drifts(
    nodes: Sequence[str],
    lines: clock_lines.ClockLines,
    drifting: np.ndarray,
    corrected: np.ndarray,
    fix: str,
) -> list[diagnosis.Remark]:
    return [
        diagnosis.Remark(
            *(nodes[node], diagnosis.REMARK, "drift"),
            f"has a clock that drifts by {1e6 * lines.drifts[node]:+.1f} ± "
            f"{1e6 * lines.drift_errors[node]:.1f} ppm against the others",
            _CORRECTED if corrected[node] else fix,
        )
        for node in np.flatnonzero(drifting)
    ]


def _describe_started(
    nodes: Sequence[str], started: late_starts.Clocks
) -> list[diagnosis.Remark]:
    """Name nodes that started late and have a clock of their own."""
    return [
        diagnosis.Remark(name, diagnosis.REMARK, "clock", what, _CORRECTED)
        for name, what in started.describe(nodes).items()
    ]


def _describe_late(
    nodes: Sequence[str], late: np.ndarray, corrected: bool
) -> list[diagnosis.Remark]:
    """Name nodes that sound reached later, or earlier, than it should have."""
    remarks, fix = [], _CORRECTED
    if not corrected:
        fix = "Its clock or its place is off: check its place, or leave it out"
    for node in np.flatnonzero(late):
        what = f"is {late_nodes.describe(late[node])} in all windows"
        remarks.append(
            diagnosis.Remark(nodes[node], diagnosis.REMARK, "clock", what, fix)
        )
    return remarks


def _describe_misfits(
    nodes: Sequence[str], misfits: np.ndarray
) -> list[diagnosis.Remark]:
    fix = "Check its place and its file, then those of the others"
    return [
        diagnosis.Remark(
            *(nodes[node], diagnosis.REMARK, "misfit"),
            "does not fit the others: sound reached it up to "
            f"{1000 * misfits[node]:.1f} ms off",
            fix,
        )
        for node in np.flatnonzero(misfits)
    ]


def describe(health: ClockHealth, num_places: int, num_nodes: int) -> str:
    """Describe in a sentence whether clocks agree, or talkers moved enough for them.

    Args:
        health: Of a recording.
        num_places: Places at which positions are determined.
        num_nodes: Nodes that can be used.
    """
    if health.calibrated:
        return "Clocks differ, and can be calibrated: talkers were at enough places"
    least, often = next(rest for nodes, *rest in _ENOUGH if num_nodes >= nodes)
    advice = f"with {num_nodes} nodes, {least} places of talkers or more are {often}"
    if health.calibrated is False:
        return f"Clocks could not be calibrated: {advice}"
    if 2 * sum(one.determined for one in health.found) < len(health.found):
        if len(health.found) < calibration.LEAST_PLACES:
            return f"Windows are too few to calibrate clocks: {advice}"
        return (
            "Calibrated clocks determine no more: places, noise or echoes are the cause"
        )
    known = int(np.isfinite(health.lines.offsets).sum())
    off = [remark.node for remark in health.remarks if remark.kind != "misfit"]
    if num_places > 1 and known < _MOST_KNOWN * num_nodes:
        return (
            f"Clocks of {known} of {num_nodes} nodes agree; times of the others are not "
            f"known well enough. If clocks differ, {advice}"
        )
    agree = (
        "Clocks agree" if not off else f"All clocks but that of {', '.join(off)} agree"
    )
    return (
        f"{agree}, so that talkers need not move. They were at {num_places} "
        f"place{'s'[: num_places != 1]}; to calibrate clocks, {advice}"
    )
