"""Localize a talker with its uncertainty: votes, amplitudes and times.

The posterior of the network's `votes` is computed on 64 x 64 cells and finer around its
modes. Positions that the nodes' times of arrival confirm (`times`) are added to it. Where
times confirm none, clocks may be off: nodes are aligned then, and the posterior is
multiplied by the likelihood of direct sound's amplitudes (`alignment`).
`uld_jax.localize` is the entry.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import (
    answers,
    batches,
    clocks,
    fusion,
    posterior,
    radii,
    recordings,
    times,
    votes,
)
from uld_jax.localization import doubts as doubts_lib

LEAST_NODES = 3
# Evidence of amplitudes for each node below which they do not fit.
_FITS = 0.7


def localize(
    signals: ArrayLike,
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None = None,
    *,
    source_height: int | float | None = None,
) -> answers.Localization | list[answers.Localization]:
    """Localize a talker who stays in one place, from the signals of scattered nodes.

    Recordings longer than 2 s are cut into windows of 2 s, and the logarithms of their
    posteriors are averaged; of those longer than 30 s, 15 windows are used.

    Args:
        signals: [M, N] of M nodes, up to 60, or [B, M, N] of B recordings with the same
            nodes: of any level, with clocks up to 50 ms off. Fewer than 3 nodes
            determine nothing.
        sample_rate: In Hz, 8,000 or more. Below 16,000, high frequencies are missing.
        node_positions: (x, y, z) or (x, y) in meters, [M, 3] or [M, 2]. Without
            heights, all are taken to be at 1.2 m.
        room_size: Sides along x and y in meters, and the height or not. None for
            unknown: up to 2 m around the nodes are searched then.
        source_height: Of the talker's mouth in meters; None for 0.8 to 1.9.

    Returns:
        A `Localization`; a list of them for signals with an axis B.

    Raises:
        RecordingError: If shapes do not agree, a value is not finite, the sample rate or
            a unit cannot be right, signals are too short, nodes are too many, or two in
            one place, or one outside of the room.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
    >>> distances = np.linalg.norm(np.array(nodes) - [2.0, 3.0, 1.4], axis=1)
    >>> delays = np.rint(distances / 343.0 * 16_000).astype(int)
    >>> noise = np.random.default_rng(0).normal(size=33_000)
    >>> signals = [noise[500 - d : 32_500 - d] / r for d, r in zip(delays, distances)]
    >>> found = uld_jax.localize(signals, 16_000, nodes, [6.0, 4.5])
    >>> bool(np.linalg.norm(found.position - [2.0, 3.0]) < max(0.3, found.radius_90))
    True
    """
    signals = recordings.to_array(signals)
    if signals.ndim != 3:
        return localize_one(
            signals, sample_rate, node_positions, room_size, source_height
        )
    if not len(signals):
        raise batches.RecordingError("signals has no recording")
    return [
        localize_one(one, sample_rate, node_positions, room_size, source_height)
        for one in signals
    ]


def localize_one(
    signals: np.ndarray,
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None,
    source_height: int | float | None,
    calibrated: bool = True,
    late: Float[np.ndarray, " M"] | None = None,
) -> answers.Localization:
    """Localize a talker in one recording: see `localize`.

    Args:
        signals: [M, N].
        sample_rate: In Hz.
        node_positions: In meters.
        room_size: In meters, or None.
        source_height: In meters, or None.
        calibrated: Whether the radius is what calibration makes of the posterior's own.
        late: Seconds by which each node's clock is known to be late; None for unknown.
    """
    nodes = recordings.check(signals, sample_rate, node_positions, source_height)
    room = recordings.Room.around(nodes, room_size)
    levels, used, reasons = recordings.look_at_nodes(signals, sample_rate)
    reasons = room.reasons + reasons
    if int(used.sum()) < LEAST_NODES:
        return _undetermined(room, nodes, levels, used, reasons)
    sound = signals[used]
    if late is not None:
        sound = recordings.advance(sound, late[used], sample_rate)
    scene = _make_scene(sound, sample_rate, nodes, used, room, source_height)
    found = _compute_posterior(scene)
    modes = posterior.find_modes(found.cloud, found.peaks)
    within = posterior.radius(found.cloud, modes[0].position)
    if calibrated:
        alone = modes[0].mass >= radii.SHARE
        within = radii.calibrate(within, int(used.sum()), one_place=alone)
    doubts = doubts_lib.find_doubts(modes, within, found.cloud, scene.plan, room.origin)
    implied = _estimate_offsets(scene, found, modes[0].position)
    doubts += implied.doubts
    offsets, errors = np.full((2, len(nodes)), np.nan)
    offsets[used], errors[used] = implied.offsets, implied.errors
    moved = [
        dataclasses.replace(mode, position=mode.position + room.origin)
        for mode in modes
    ]
    return answers.Localization(
        moved[0].position,
        moved[0].covariance,
        within,
        tuple(moved),
        not doubts,
        (*doubts, *reasons, *implied.notes),
        levels,
        used.astype(float),
        float(implied.height - scene.lift),
        offsets,
        errors,
        posterior.encode(found.cloud, scene.plan, votes.RESOLUTION),
        scene.plan,
        room.origin,
        nodes,
    )


class _Scene(NamedTuple):
    """A recording by the nodes that are used, in the room's coordinates.

    Attributes:
        windows: Of 2 s at 16 kHz, [W, M, n].
        padded: The same, as batches.
        nodes: Relative to the corner of the room, and lifted, [M, 3].
        numbers: Of the nodes, as the user counts them, [M].
        room: The room.
        height: Mean and deviation of the talker's height, lifted.
        lift: Meters by which heights are lifted. A known height of the talker is
            brought to the one that is looked at: distances alone matter.
        all_heights: Whether the talker's height is not known.
    """

    windows: np.ndarray
    padded: list[dict[str, Any]]
    nodes: np.ndarray
    numbers: np.ndarray
    room: recordings.Room
    height: tuple[float, float]
    lift: float
    all_heights: bool

    @property
    def plan(self) -> np.ndarray:
        """Sides of the room along x and y."""
        return self.room.sides[:2]


def _make_scene(sound, sample_rate, nodes, used, room, source_height) -> _Scene:
    windows = recordings.cut(sound, sample_rate)
    unknown = source_height is None
    lift = 0.0 if unknown else votes.MIDDLE_HEIGHT - source_height
    moved = (nodes - np.append(room.origin, -lift))[used]
    height = votes.HEIGHT if unknown else (votes.MIDDLE_HEIGHT, votes.KNOWN_SPREAD)
    padded = [votes.pad(window, moved, room.sides) for window in windows]
    numbers = np.flatnonzero(used)
    return _Scene(windows, padded, moved, numbers, room, height, lift, unknown)


class _Evidence(NamedTuple):
    """The posterior from votes, times and amplitudes, and what it rests on.

    Attributes:
        cloud: The posterior.
        peaks: Of it, (x, y) in meters, [P, 2].
        confirmed: Positions that times confirm, the surest first.
        delays: Of aligned nodes in seconds, [M]; None if times needed no alignment.
        evidence: Of the amplitudes of aligned nodes.
    """

    cloud: posterior.Cloud
    peaks: np.ndarray
    confirmed: list[times.Fit]
    delays: np.ndarray | None
    evidence: float


def _compute_posterior(scene: _Scene) -> _Evidence:
    """Compute the posterior of votes, times and, where these do not fit, amplitudes."""
    padded, plan, height = scene.padded, scene.plan, scene.height
    probability, cloud, peaks = _vote(padded, plan, scene.all_heights)
    starts = np.float32(np.resize(peaks, (posterior.MAX_MODES, 2)))  # Always as many.
    max_lag = correlations_lib.lag_bound(scene.nodes)
    fits = fusion.fit_times(padded, max_lag, starts, np.float32(height))
    delays, evidence = None, math.inf
    if max(float(fit.evidence) for fit in fits) < fusion.BELIEVED:
        cloud, delays, evidence = fusion.weigh_amplitudes(cloud, peaks, padded, height)
        probability = posterior.encode(cloud, plan, votes.RESOLUTION)
        peaks = posterior.find_peaks(probability, plan)
    cloud, confirmed = fusion.confirm(cloud, probability, plan, fits)
    if confirmed:
        apart = [np.linalg.norm(peaks - fit.position[:2], axis=1) for fit in confirmed]
        peaks = peaks[np.min(apart, axis=0) > fusion.MERGE_DISTANCE]
        peaks = np.stack([*(fit.position[:2] for fit in confirmed), *peaks])
    return _Evidence(cloud, peaks, confirmed, delays, evidence)


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
    scene: _Scene, found: _Evidence, position: Float[np.ndarray, "2"]
) -> _Offsets:
    """Compare when the sound reached the nodes with when it should, by the answer."""
    doubts, notes = [], []
    nearest = [
        fit
        for fit in found.confirmed
        if np.linalg.norm(fit.position[:2] - position) < fusion.MERGE_DISTANCE
    ]
    at, spread = np.append(position, scene.height[0]), scene.height[1]
    offsets = np.full(len(scene.nodes), np.nan)
    if nearest:
        at[2], spread = nearest[0].position[2], 0.0
        offsets, notes = _compare_nodes(scene.padded, nearest[0], at, scene.numbers)
    elif found.confirmed and float(found.confirmed[0].evidence) >= fusion.BELIEVED:
        x, y = found.confirmed[0].position[:2] + scene.room.origin
        doubts.append(f"Times confirm another place, ({x:.2f}, {y:.2f}) m")
    elif not doubts_lib.is_coherent(scene.windows):
        doubts.append(doubts_lib.NOT_COHERENT)
    elif found.delays is not None:
        offsets = clocks.subtract_paths(found.delays, scene.nodes, at)
    covariance = np.diag([0.0, 0.0, spread**2])
    covariance[:2, :2] = posterior.scatter(found.cloud, position)
    errors = clocks.standard_errors(scene.nodes, at, covariance)
    errors[np.isnan(offsets)] = np.nan
    if not nearest and np.isfinite(offsets).any():
        if found.evidence < _FITS * len(scene.nodes):
            doubts.append(doubts_lib.NOTHING_FITS)
        else:
            notes = doubts_lib.describe_clocks(offsets, errors)
    return _Offsets(offsets, errors, float(at[2]), doubts, notes)


def fused(
    signals: ArrayLike,
    node_positions: ArrayLike,
    room_size: ArrayLike,
    mask: ArrayLike | None = None,
    num_sources: int = 1,
    *,
    source_height: int | float | None = None,
) -> tuple[Float[np.ndarray, "B 1 2"], Float[np.ndarray, "B 1"]]:
    """Localize one source in each recording of a batch by `localize`.

    Args:
        signals: Recordings at 16 kHz, [B, M, N].
        node_positions: Node positions in meters, [B, M, 3].
        room_size: Sides along x, y, z in meters, [B, 3].
        mask: True where there is a node, [B, M]; None for everywhere.
        num_sources: 1.
        source_height: Height of the source in meters; None for 0.8 to 1.9.

    Returns:
        Positions in meters, and the radii around them that hold 90 %.

    Raises:
        RecordingError: If `num_sources` is not 1, or as `localize`.
    """
    if num_sources != 1:
        raise batches.RecordingError(
            f"num_sources is {num_sources}; this method localizes one source, for more "
            "use srp_phat"
        )
    arrays = batches.prepare(
        signals, node_positions, room_size, mask, least_nodes=LEAST_NODES
    )
    rate = constants.SAMPLE_RATE
    found = [
        localize_one(one[present], rate, nodes[present], room, source_height)
        for one, nodes, room, present in zip(*map(np.asarray, arrays), strict=True)
    ]
    positions = np.float32([[each.position] for each in found])
    return positions, np.float32([[each.radius_90] for each in found])


def _vote(
    padded: list[dict[str, Any]], plan: np.ndarray, all_heights: bool
) -> tuple[np.ndarray, posterior.Cloud, np.ndarray]:
    """Compute the votes' posterior on the grid, finer around its peaks, and these."""
    network = votes.load_network(all_heights)
    voted = [votes.vote(*network, batch) for batch in padded]
    logs = np.mean([np.float64(logs) for _, logs in voted], axis=0)
    probability = np.exp(logs - logs.max())
    probability /= probability.sum()
    peaks = posterior.find_peaks(probability, plan)
    starts = np.resize(peaks, (posterior.MAX_MODES, 2))
    patches = np.concatenate(
        [posterior.patch(one, plan, votes.RESOLUTION) for one in starts]
    ).astype(np.float32)
    fine = np.mean(
        [np.float64(votes.vote_at(*network, found, patches)) for found, _ in voted],
        axis=0,
    )
    fine = fine.reshape(len(starts), -1)[: len(peaks)]
    return probability, posterior.combine(probability, plan, peaks, fine), peaks


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


def _undetermined(room, nodes, levels, used, reasons) -> answers.Localization:
    """Answer where too few nodes can be used: anywhere."""
    count = int(used.sum())
    plan = room.sides[:2]
    K = votes.RESOLUTION + 1
    probability = np.full((K, K), 1 / K**2)
    points = posterior.grid(plan, votes.RESOLUTION).reshape(-1, 2)
    center = plan / 2
    cloud = posterior.Cloud(points, probability.ravel(), np.zeros((K**2, 2)))
    within = posterior.radius(cloud, center)
    covariance = np.diag(plan**2 / 12)
    position = center + room.origin
    noun = "node" if count == 1 else "nodes"
    few = (
        f"Not determined: {count or 'no'} {noun} can be used, and {LEAST_NODES} are "
        "needed"
    )
    unknown = np.full(len(used), np.nan)
    return answers.Localization(
        position,
        covariance,
        within,
        (posterior.Mode(position, covariance, 1.0),),
        False,
        (few, *reasons),
        levels,
        used.astype(float),
        np.nan,
        unknown,
        unknown,
        probability,
        plan,
        room.origin,
        nodes,
    )
