"""Localize a talker with its uncertainty: votes, and times where clocks agree.

The network (`networks.multilateration`) was trained on sessions of every kind: 3 to 30
nodes at any heights, clocks up to 50 ms off, positions up to 0.4 m, gains up to 8 dB,
noise from -10 to 30 dB. Its weights come with the package. Its posterior is computed on
64 x 64 cells and finer around its modes. Positions that the nodes' times of arrival
confirm (`times`) are added to it. `uld_jax.localize` is the entry.
"""

import dataclasses
import functools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants, envelopes
from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import batches, posterior, recordings, srp_phat, times
from uld_jax.networks import evidence as evidence_lib
from uld_jax.pretrained import loading, weights

_RESOLUTION = 64  # Cells per axis of the whole posterior.
_VOTES_ON = 16  # Cells on whose points finer votes are seen relative to.
LEAST_NODES = 3
# Nodes are padded to one of these numbers, so that few programs are compiled.
_SIZES = (3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60)
# Of the talkers that the network was trained with: mean and deviation in meters.
_MIDDLE_HEIGHT = 1.35
_HEIGHT = (_MIDDLE_HEIGHT, 0.3)
# An answer is determined if its mode holds this mass, within this radius in meters.
_SURE_MASS, _SURE_RADIUS = 0.8, 1.0
# Much of the posterior so near to a wall, in cells, is doubtful.
_WALL_CELLS, _WALL_MASS = 1.5, 0.3
# Nodes and windows that show whether signals have anything in common, at most; and how
# far their correlations must stand out, in standard errors.
_MOST_CHECKED, _LEAST_CONTRAST = 10, 4.0
_SRP_PEAKS = 3  # Positions whose times are fitted besides the posterior's own peaks.
_MERGE_DISTANCE = 0.3  # Meters: fits or peaks that are no farther apart are one.
# How far around a position its times count against the votes, in meters; the most that
# they count there and against other places, as logarithms; what share of how far it is
# behind the most of all positions counts against one; and the least votes for a position.
_SURROUNDINGS, _MOST_WITHIN, _MOST_BETWEEN = 0.6, 9.0, 2.0
_SHARE_BEHIND, _LEAST_VOTES = 0.15, 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Localization:
    """Where a talker is, and how sure that is.

    Attributes:
        position: (x, y) in meters: the mean of the heaviest mode.
        covariance: [2, 2] in square meters, of that mode.
        radius_90: Meters around `position` that hold 90 % of the whole posterior.
        modes: All places that hold a hundredth of it or more, the heaviest first.
        determined: Whether the answer can be trusted: one mode holds nearly all, within
            a meter, and the signals have something in common.
        reasons: Why not, and what else is to be known, in sentences.
        node_levels: Of each node, in dB, relative to the mean of those used; -inf if
            silent.
        node_weights: 1 for the nodes that were used, and 0 for those left out.
        probability: The posterior at 65 x 65 grid points, rows y: a ULD code.
        room_size: Sides along x and y of the area it spans, in meters.
        origin: Its corner (x, y): zero unless the room was not given.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3]]
    >>> found = uld_jax.localize(np.ones((2, 8_000)), 16_000, nodes, [6.0, 4.5])
    >>> found.determined, found.reasons[0]
    (False, 'Not determined: no nodes can be used, and 3 are needed')
    """

    position: Float[np.ndarray, "2"]
    covariance: Float[np.ndarray, "2 2"]
    radius_90: float
    modes: tuple[posterior.Mode, ...]
    determined: bool
    reasons: tuple[str, ...]
    node_levels: Float[np.ndarray, " M"]
    node_weights: Float[np.ndarray, " M"]
    probability: Float[np.ndarray, "K K"]
    room_size: Float[np.ndarray, "2"]
    origin: Float[np.ndarray, "2"]

    def __str__(self):
        digits = 2 if self.radius_90 > 0.05 else 3
        x, y, radius = (
            f"{value:.{digits}f}" for value in (*self.position, self.radius_90)
        )
        answer = f"({x}, {y}) m, 90 % within {radius} m"
        if not self.determined:
            answer = f"not determined; best guess {answer}"
        return "\n  ".join([answer, *self.reasons])

    def _repr_html_(self):
        rows = "".join(
            f"<tr><td>({mode.position[0]:.2f}, {mode.position[1]:.2f}) m</td>"
            f"<td>{mode.mass:.0%}</td></tr>"
            for mode in self.modes
        )
        first, *others = str(self).split("\n  ")
        notes = "".join(f"<li>{reason}</li>" for reason in others)
        return f"<b>{first}</b><table>{rows}</table><ul>{notes}</ul>"


def localize(
    signals: ArrayLike,
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None = None,
    *,
    source_height: int | float | None = None,
) -> Localization | list[Localization]:
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
    signals = np.asarray(signals)
    if signals.ndim == 3:
        if not len(signals):
            raise batches.RecordingError("signals has no recording")
        return [
            localize(
                one,
                sample_rate,
                node_positions,
                room_size,
                source_height=source_height,
            )
            for one in signals
        ]
    nodes = recordings.check(signals, sample_rate, node_positions, source_height)
    room = recordings.Room.around(nodes, room_size)
    levels, used, reasons = recordings.look_at_nodes(signals, sample_rate)
    reasons = room.reasons + reasons
    if int(used.sum()) < LEAST_NODES:
        return _undetermined(room, levels, used, reasons)
    windows = recordings.cut(signals[used], sample_rate)
    # A known height is brought to the one that is looked at: distances alone matter.
    lift = 0.0 if source_height is None else _MIDDLE_HEIGHT - source_height
    moved_nodes = (nodes - np.append(room.origin, -lift))[used]
    padded = [_pad(window, moved_nodes, room.sides) for window in windows]
    network = _network(source_height is None)
    votes = [_vote(*network, batch) for batch in padded]
    logs = np.mean([np.float64(logs) for _, logs in votes], axis=0)
    probability = np.exp(logs - logs.max())
    probability /= probability.sum()
    plan = room.sides[:2]
    peaks = posterior.find_peaks(probability, plan)
    starts = np.resize(peaks, (posterior.MAX_MODES, 2))  # Always as many.
    patches = np.concatenate(
        [posterior.patch(one, plan, _RESOLUTION) for one in starts]
    ).astype(np.float32)
    fine = np.mean(
        [np.float64(_vote_at(*network, found, patches)) for found, _ in votes], axis=0
    )
    fine = fine.reshape(len(starts), -1)[: len(peaks)]
    cloud = posterior.combine(probability, plan, peaks, fine)
    height = _HEIGHT if source_height is None else (_MIDDLE_HEIGHT, 0.01)
    max_lag = correlations_lib.lag_bound(moved_nodes)
    fits = _fit_times(padded, max_lag, np.float32(starts), np.float32(height))
    cloud, confirmed = _confirm(cloud, probability, plan, fits)
    if confirmed:
        apart = [np.linalg.norm(peaks - fit.position[:2], axis=1) for fit in confirmed]
        peaks = peaks[np.min(apart, axis=0) > _MERGE_DISTANCE]
        peaks = np.stack([*(fit.position[:2] for fit in confirmed), *peaks])
    modes = posterior.find_modes(cloud, peaks)
    within = posterior.radius(cloud, modes[0].position)
    doubts = _doubts(modes, within, cloud, plan, room.origin)
    apart = [np.linalg.norm(fit.position[:2] - modes[0].position) for fit in confirmed]
    if min(apart, default=np.inf) > _MERGE_DISTANCE and not _is_coherent(windows):
        doubts.append(
            "The nodes' signals have nothing in common within 60 ms: silence, noise of "
            "each node's own, or clocks that are farther off"
        )
    moved = [
        dataclasses.replace(mode, position=mode.position + room.origin)
        for mode in modes
    ]
    return Localization(
        moved[0].position,
        moved[0].covariance,
        within,
        tuple(moved),
        not doubts,
        (*doubts, *reasons),
        levels,
        used.astype(float),
        posterior.encode(cloud, plan, _RESOLUTION),
        plan,
        room.origin,
    )


def fused(
    signals: ArrayLike,
    node_positions: ArrayLike,
    room_size: ArrayLike,
    mask: ArrayLike | None = None,
    num_sources: int = 1,
    *,
    source_height: int | float | None = None,
) -> Float[np.ndarray, "B 1 2"]:
    """Localize one source in each recording of a batch by `localize`: positions alone.

    Args:
        signals: Recordings at 16 kHz, [B, M, N].
        node_positions: Node positions in meters, [B, M, 3].
        room_size: Sides along x, y, z in meters, [B, 3].
        mask: True where there is a node, [B, M]; None for everywhere.
        num_sources: 1.
        source_height: Height of the source in meters; None for 0.8 to 1.9.

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
    found = [
        localize(
            one[present],
            constants.SAMPLE_RATE,
            nodes[present],
            room,
            source_height=source_height,
        )
        for one, nodes, room, present in zip(*map(np.asarray, arrays), strict=True)
    ]
    return np.float32([[each.position] for each in found])


def _fit_times(
    padded: list[dict], max_lag: int, starts: np.ndarray, height: np.ndarray
) -> list[times.Fit]:
    """Fit positions to times of arrival, from some starts and those of SRP-PHAT."""
    facts = ("node_positions", "node_mask", "room_size")
    nodes, mask, sides = (padded[0][name][0] for name in facts)
    sums = sum(
        np.asarray(_correlate(batch["audio"][0], mask, max_lag)) for batch in padded
    )
    fits = jax.device_get(_fit(sums, nodes, mask, starts, sides[:2], height))
    return [times.Fit(*parts) for parts in zip(*fits, strict=True)]


_correlate = jax.jit(times.correlate, static_argnames="max_lag")


@jax.jit
def _fit(correlations, nodes, mask, starts, sides, height):
    strongest = srp_phat.search(correlations, nodes, sides, height[0], _SRP_PEAKS)
    starts = jnp.concatenate([starts, strongest])
    return times.fit(correlations, nodes, mask, starts, sides, height)


def _confirm(
    cloud: posterior.Cloud,
    probability: np.ndarray,
    plan: np.ndarray,
    fits: list[times.Fit],
) -> tuple[posterior.Cloud, list[times.Fit]]:
    """Add what times of arrival confirm to the posterior of the votes.

    The posterior around such a position is multiplied by how much likelier the agreement
    of its nodes is than chance, exp(2) at most: sources of noise make nodes agree, too.
    There, between the position and what the votes say around it, it counts up to exp(9).
    """
    confirmed = []
    most = max(float(fit.evidence) for fit in fits)
    added = []
    masses = cloud.masses.copy()
    for fit in sorted(fits, key=lambda fit: -fit.evidence):
        position, evidence = fit.position[:2].astype(np.float64), float(fit.evidence)
        known = [np.linalg.norm(position - one.position[:2]) for one in confirmed]
        if evidence <= 0 or min(known, default=np.inf) < _MERGE_DISTANCE:
            continue
        column, row = np.rint(position / plan * _RESOLUTION).astype(int)
        around = probability[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        votes = max(around.sum(), _LEAST_VOTES)
        near = np.linalg.norm(cloud.points - position, axis=1) < _SURROUNDINGS
        total = max(cloud.masses[near].sum(), votes)
        times_say = votes * math.exp(min(evidence, _MOST_WITHIN))
        share = times_say / (times_say + total)
        behind = most - evidence
        gain = math.exp(min(evidence, _MOST_BETWEEN) - _SHARE_BEHIND * behind)
        masses[near] = (1 - share) * gain * cloud.masses[near]
        added.append(
            (position, fit.covariance.astype(np.float64), share * gain * total)
        )
        confirmed.append(fit)
    return posterior.add(cloud._replace(masses=masses), added), confirmed


def _undetermined(room, levels, used, reasons) -> Localization:
    """Answer where too few nodes can be used: anywhere."""
    count = int(used.sum())
    plan = room.sides[:2]
    K = _RESOLUTION + 1
    probability = np.full((K, K), 1 / K**2)
    points = posterior.grid(plan, _RESOLUTION).reshape(-1, 2)
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
    return Localization(
        position,
        covariance,
        within,
        (posterior.Mode(position, covariance, 1.0),),
        False,
        (few, *reasons),
        levels,
        used.astype(float),
        probability,
        plan,
        room.origin,
    )


def _pad(window: np.ndarray, nodes: np.ndarray, sides: np.ndarray) -> dict:
    """Make a batch of one window, with absent nodes up to one of few sizes."""
    missing = min(size for size in _SIZES if size >= len(nodes)) - len(nodes)
    mask = np.append(np.ones(len(nodes), bool), np.zeros(missing, bool))
    absent = ((0, missing), (0, 0))
    batch = {
        "audio": np.pad(window, absent),
        "node_positions": np.float32(np.pad(nodes, absent)),
        "node_mask": mask,
        "room_size": np.float32(sides),
    }
    return {key: array[None] for key, array in batch.items()}


@functools.cache
def _network(all_heights: bool):
    """Load the network that comes with the package: graph, parameters and statistics.

    Args:
        all_heights: Whether to sum over the talker's heights; else only the middle one
            is looked at, and nodes are moved up or down for others.
    """
    folder = pathlib.Path(weights.__file__).with_name("any_session")
    run = weights.read_run(folder, "localize")
    facts = loading.training_data(run)
    graph, params, statistics, _ = loading.restore_network(
        run, facts["num_nodes"], facts["num_sources"]
    )
    model = nnx.merge(graph, params, statistics)
    if not all_heights:
        model.source_heights = (_MIDDLE_HEIGHT,)
    graph, *_ = nnx.split(model, nnx.Param, ...)
    return graph, params, statistics


@functools.partial(jax.jit, static_argnames="graph")
def _vote(graph, params, statistics, batch):
    """Compute the evidence in a window, and its log posterior [K, K]."""
    model = nnx.merge(graph, params, statistics)
    evidence = evidence_lib.collect(batch)
    return evidence, model.log_posteriors(evidence, _RESOLUTION)[0, 0]


@functools.partial(jax.jit, static_argnames="graph")
def _vote_at(graph, params, statistics, evidence, plan: Float[Array, "P 2"]):
    """Compute the log posterior [P] of a window at some points of the plan."""
    model = nnx.merge(graph, params, statistics)
    return model.log_posteriors_at(evidence, plan[None], _VOTES_ON)[0, 0]


def _doubts(
    modes: tuple[posterior.Mode, ...],
    within: float,
    cloud: posterior.Cloud,
    plan: np.ndarray,
    origin: np.ndarray,
) -> list[str]:
    """Say why an answer cannot be trusted, if it cannot."""
    if modes[0].mass < _SURE_MASS:
        places = [
            f"({x:.2f}, {y:.2f}) m with {mode.mass:.0%}"
            for mode in modes
            for x, y in [mode.position + origin]
        ]
        return [f"{len(places)} places fit: {', '.join(places)}"]
    if within > _SURE_RADIUS:
        return [f"90 % of the posterior needs {within:.1f} m around the position"]
    reach = _WALL_CELLS * plan / _RESOLUTION
    near = (np.minimum(cloud.points, plan - cloud.points) < reach).any(axis=1)
    # What times confirm has no extent, and may be near a wall.
    near &= (cloud.variances > 0).any(axis=1)
    if cloud.masses[near].sum() > _WALL_MASS:
        return [
            "Much of the posterior is at a wall: the talker may be outside of the room"
        ]
    return []


def _is_coherent(windows: np.ndarray) -> bool:
    """Check whether signals of different nodes have anything in common.

    The peaks of their correlations are compared with those of the same signals, moved
    against each other by longer than any sound takes.
    """
    length = windows.shape[-1]
    some = windows
    for axis in (0, 1):
        most = min(some.shape[axis], _MOST_CHECKED)
        chosen = np.linspace(0, some.shape[axis] - 1, most).astype(int)
        some = some.take(chosen, axis)
    step = length // some.shape[1]
    if step < 2 * envelopes.LARGEST_LAG:  # Too short to be moved that far.
        some = some[:, : max(2, length // (2 * envelopes.LARGEST_LAG))]
        step = length // some.shape[1]
    moved = np.stack(
        [np.roll(some[:, m], m * step, axis=-1) for m in range(some.shape[1])], axis=1
    )
    real, chance = (np.asarray(_peaks(signals)) for signals in (some, moved))
    error = math.sqrt(chance.var() / chance.size + real.var() / real.size)
    return bool(real.mean() - chance.mean() > _LEAST_CONTRAST * max(error, 1e-3))


@jax.jit
def _peaks(windows: Float[Array, "W M N"]) -> Float[Array, "W Q"]:
    """Find the highest log envelope of each pair."""

    def one(signals):
        return envelopes.to_log(envelopes.pair_envelopes(signals))[0].max(axis=-1)

    return jax.lax.map(one, windows)
