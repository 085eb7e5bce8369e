"""The record of a located session: all that its page shows, as JSON."""

import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import uld_jax
from uld_jax.audio import sessions
from uld_jax.evaluation import locate, session_errors, turns
from uld_jax.localization import answers, calibration


def make(
    session: sessions.Session,
    located: Sequence[locate.Located],
    left_out: Sequence[str],
    command: str,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the record of a session, of numbers and texts alone.

    Args:
        session: The session.
        located: What was found in its recordings.
        left_out: Recordings that could not be used, in sentences.
        command: What made it, without folders.
        settings: Of the command, by name.

    Returns:
        Units are part of the names: `_m`, `_s`, `_db`. What is not known is None.
        `report.session_page` describes all of it.
    """
    room = session.room_size
    return {
        "name": session.name,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": uld_jax.__version__,
        "command": command,
        "settings": dict(settings),
        "room_size_m": None if room is None else _numbers(room),
        "area_m": _area(session, located),
        "nodes": [
            {"name": name, "position_m": _numbers(position)}
            for name, position in zip(
                session.nodes, session.node_positions, strict=True
            )
        ],
        "remarks": [
            f"{one.recording.name}: {remark}"
            for one in located
            for remark in one.remarks
        ],
        "left_out": list(left_out),
        "accuracy": _accuracy(located),
        "recordings": [_recording(session, one) for one in located],
    }


def _area(session, located) -> list[list[float | None]]:
    """Return two corners of the part of the plan that was looked at."""
    for one in located:
        several = itertools.chain.from_iterable(one.several or ())
        for found in one.details or several:
            return [_numbers(found.origin), _numbers(found.origin + found.room_size)]
    if session.room_size is not None:
        return [[0.0, 0.0], _numbers(session.room_size[:2])]
    plan = session.node_positions[:, :2]
    return [_numbers(plan.min(axis=0)), _numbers(plan.max(axis=0))]


def _recording(session: sessions.Session, one: locate.Located) -> dict[str, Any]:
    places = one.recording.source_positions
    return {
        "name": one.recording.name,
        "duration_s": None if one.duration is None else _number(one.duration),
        "sources": int(one.predicted.shape[1]),
        "true_positions_m": None if places is None else [_numbers(p) for p in places],
        "clocks": _clocks(session.nodes, one.clocks),
        "speech_s": None if one.speech is None else [_numbers(s) for s in one.speech],
        "accuracy": _accuracy([one]),
        "turns": None if one.details is None else [_turn(turn) for turn in one.turns],
        "windows": [_window(one, number) for number in range(len(one.starts))],
    }


def _accuracy(located: Sequence[locate.Located]) -> dict[str, dict[str, Any]]:
    """Return errors by kind of window; empty if true positions are not known."""
    return {
        kind: {
            "windows": found.windows,
            "share": _number(found.share),
            "median_m": _number(found.median),
            "within_90_m": _number(found.within_90),
            "coverage": None if found.coverage is None else _number(found.coverage),
        }
        for kind, found in session_errors.measure(one.misses for one in located).items()
    }


def _turn(turn: turns.Turn) -> dict[str, Any]:
    return {
        "start_s": _number(turn.start),
        "end_s": _number(turn.end),
        "talker": turn.talker,
        "position_m": _numbers(turn.position),
        "covariance_m2": [_numbers(row) for row in turn.covariance],
        "radius_90_m": _number(turn.radius_90),
        "confidence": _number(turn.confidence),
    }


def _window(one: locate.Located, number: int) -> dict[str, Any]:
    window = {
        "start_s": _number(one.starts[number]),
        "length_s": _number(one.length),
        "positions_m": [_numbers(position) for position in one.predicted[number]],
        "errors_m": None if one.errors is None else _numbers(one.errors[number]),
    }
    if one.details:
        window |= _details(one.details[number]) | _smoothed(one, number)
    if one.several:
        window |= _several(one.several[number])
    return window


def _several(found: Sequence[answers.Localization]) -> dict[str, Any]:
    """Say of each of several talkers how sure its position is."""
    return {
        "determined": all(bool(one.determined) for one in found),
        "reasons": [
            f"Talker {number}: {reason}"
            for number, one in enumerate(found, start=1)
            for reason in one.reasons
        ],
        "talkers": [
            {"position_m": _numbers(one.position)} | _details(one) for one in found
        ],
    }


def _smoothed(one: locate.Located, number: int) -> dict[str, Any]:
    track = one.track
    return {
        "talker": one.talkers[number],
        "smooth_position_m": _numbers(track.positions[number]),
        "smooth_covariance_m2": [_numbers(row) for row in track.covariances[number]],
        "smooth_radius_90_m": _number(track.radii_90[number]),
        "smooth_mass": _number(track.masses[number]),
    }


def _details(found: answers.Localization) -> dict[str, Any]:
    return {
        "height_m": _number(found.height),
        "radius_90_m": _number(found.radius_90),
        "covariance_m2": [_numbers(row) for row in found.covariance],
        "determined": bool(found.determined),
        "reasons": list(found.reasons),
        "modes": [
            {
                "position_m": _numbers(mode.position),
                "covariance_m2": [_numbers(row) for row in mode.covariance],
                "mass": _number(mode.mass),
            }
            for mode in found.modes
        ],
        "node_levels_db": _numbers(found.node_levels),
        "node_weights": _numbers(found.node_weights),
        "node_offsets_s": _numbers(found.node_offsets),
        "node_offset_errors_s": _numbers(found.node_offset_errors),
    }


def _clocks(
    nodes: Sequence[str], clocks: calibration.Calibration | None
) -> list[dict[str, Any]] | None:
    if clocks is None:
        return None
    known = np.isfinite(clocks.offsets) & clocks.determined
    drifts = clocks.drifts
    return [
        {
            "node": name,
            "offset_s": _number(clocks.offsets[node]),
            "offset_error_s": _number(clocks.offset_errors[node]),
            "drift_ppm": None if drifts is None else _number(1e6 * drifts[node]),
            "determined": bool(known[node]),
        }
        for node, name in enumerate(nodes)
    ]


def _number(value) -> float | None:
    """Round to seven digits; None for what is no number."""
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _numbers(values) -> list[float | None]:
    return [_number(value) for value in values]
