"""From the posterior of a talker's position to an answer, with doubts and nodes' offsets."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from uld_jax.acoustics import constants
from uld_jax.localization import (
    answers,
    clocks,
    fusion,
    posterior,
    radii,
    times,
    votes,
)
from uld_jax.localization import doubts as doubts_lib
from uld_jax.localization import observation as observation_lib

# Evidence of amplitudes for each node below which they do not fit.
_FITS = 0.7
# Seconds at which a sound may be another talker's.
_NEAR = times.REACH / constants.SAMPLE_RATE


def conclude(
    observed: observation_lib.Observation,
    found: fusion.Evidence,
    calibrated: bool = True,
    *,
    alone: bool = True,
) -> answers.Localization:
    """Answer where a talker is by a posterior, and say how sure that is.

    Args:
        observed: The recording.
        found: The posterior.
        calibrated: Whether the radius is what calibration makes of the posterior's own.
        alone: Whether one talker speaks. Among several, a node is not called late: what
            reaches it later may be another.
    """
    origin, used = observed.room.origin, observed.used
    modes = posterior.find_modes(found.cloud, found.peaks)
    within = posterior.radius(found.cloud, modes[0].position)
    if calibrated:
        one_place = modes[0].mass >= radii.SHARE
        within = radii.calibrate(within, len(observed.nodes), one_place=one_place)
    doubts = doubts_lib.find_doubts(modes, within, found.cloud, observed.plan, origin)
    implied = _estimate_offsets(observed, found, modes[0].position)
    doubts += implied.doubts
    notes = implied.notes
    if not alone:
        notes = []
        other = np.abs(implied.offsets) > _NEAR
        implied.offsets[other] = implied.errors[other] = np.nan
    offsets, errors = np.full((2, len(used)), np.nan)
    offsets[used], errors[used] = implied.offsets, implied.errors
    moved = [
        dataclasses.replace(mode, position=mode.position + origin) for mode in modes
    ]
    return answers.Localization(
        moved[0].position,
        moved[0].covariance,
        within,
        tuple(moved),
        not doubts,
        (*doubts, *observed.reasons, *notes),
        observed.levels,
        used.astype(float),
        float(implied.height - observed.lift),
        offsets,
        errors,
        posterior.encode(found.cloud, observed.plan, votes.RESOLUTION),
        observed.plan,
        origin,
        observed.given,
    )


class _Offsets(NamedTuple):
    """Clock offsets implied by a position, with doubts and notes.

    Attributes:
        offsets: In seconds, [M]; NaN where it is not known.
        errors: Their standard errors.
        height: Of the talker in meters, lifted.
        doubts: Why the answer cannot be trusted, in sentences.
        notes: What else is to be known.
    """

    offsets: np.ndarray
    errors: np.ndarray
    height: float
    doubts: list[str]
    notes: list[str]


def _estimate_offsets(
    observed: observation_lib.Observation,
    found: fusion.Evidence,
    position: Float[np.ndarray, "2"],
) -> _Offsets:
    """Compare when the sound reached the nodes with when it should, by the answer."""
    doubts, notes = [], []
    nearest = [
        fit
        for fit in found.confirmed
        if np.linalg.norm(fit.position[:2] - position) < fusion.MERGE_DISTANCE
    ]
    at, spread = np.append(position, observed.height[0]), observed.height[1]
    offsets = np.full(len(observed.nodes), np.nan)
    if nearest:
        at[2], spread = nearest[0].position[2], 0.0
        offsets, notes = _compare_nodes(
            observed.padded, nearest[0], at, observed.numbers
        )
    elif found.confirmed and float(found.confirmed[0].evidence) >= fusion.BELIEVED:
        x, y = found.confirmed[0].position[:2] + observed.room.origin
        doubts.append(f"Times confirm another place, ({x:.2f}, {y:.2f}) m")
    elif not doubts_lib.is_coherent(observed.windows):
        doubts.append(doubts_lib.NOT_COHERENT)
    elif found.delays is not None:
        offsets = clocks.subtract_paths(found.delays, observed.nodes, at)
    covariance = np.diag([0.0, 0.0, spread**2])
    covariance[:2, :2] = posterior.scatter(found.cloud, position)
    errors = clocks.standard_errors(observed.nodes, at, covariance)
    errors[np.isnan(offsets)] = np.nan
    if not nearest and np.isfinite(offsets).any():
        if found.evidence < _FITS * len(observed.nodes):
            doubts.append(doubts_lib.NOTHING_FITS)
        else:
            notes = doubts_lib.describe_clocks(offsets, errors)
    return _Offsets(offsets, errors, float(at[2]), doubts, notes)


def _compare_nodes(
    padded: list[dict[str, Any]],
    fit: times.Fit,
    position: np.ndarray,
    numbers: np.ndarray,
) -> tuple[np.ndarray, list[str]]:
    """Find nodes that do not fit a position that times confirm.

    Args:
        padded: Windows.
        fit: The position.
        position: The answer near it, [3].
        numbers: Of the nodes, as the user counts them.

    Returns:
        Seconds by which each is late by the answer, and what there is to say.
    """
    nodes, mask = votes.nodes_of(padded)
    paths = np.linalg.norm(nodes - fit.position, axis=1)
    late = clocks.find_late(votes.signals_of(padded), mask, fit.agrees, paths)
    late, paths = late[mask], paths[mask]
    exchanged = numbers[clocks.find_exchanged(late, paths)]
    notes = doubts_lib.describe_nodes(late, numbers, exchanged)
    moved = paths - np.linalg.norm(nodes[mask] - position, axis=1)
    moved -= np.median(moved)
    return late + moved / constants.SPEED_OF_SOUND, notes


def undetermined(observed: observation_lib.Observation) -> answers.Localization:
    """Answer where too few nodes can be used: anywhere."""
    used, room, plan = observed.used, observed.room, observed.plan
    count, least = int(used.sum()), observation_lib.LEAST_NODES
    K = votes.RESOLUTION + 1
    center = plan / 2
    cloud = posterior.spread_evenly(plan, votes.RESOLUTION)
    within = posterior.radius(cloud, center)
    covariance = np.diag(plan**2 / 12)
    position = center + room.origin
    noun = "node" if count == 1 else "nodes"
    few = f"Not determined: {count or 'no'} {noun} can be used, and {least} are needed"
    unknown = np.full(len(used), np.nan)
    return answers.Localization(
        position,
        covariance,
        within,
        (posterior.Mode(position, covariance, 1.0),),
        False,
        (few, *observed.reasons),
        observed.levels,
        used.astype(float),
        np.nan,
        unknown,
        unknown,
        cloud.masses.reshape(K, K),
        plan,
        room.origin,
        observed.given,
    )
