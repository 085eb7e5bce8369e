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
import scipy.signal
from flax import nnx
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants, envelopes
from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import batches, posterior, srp_phat, times
from uld_jax.networks import evidence as evidence_lib
from uld_jax.pretrained import loading, weights

_RESOLUTION = 64  # Cells per axis of the whole posterior.
_VOTES_ON = 16  # Cells on whose points finer votes are seen relative to.
_WINDOW_SECONDS = 2.0  # As in training.
_HEARD = 1e-3  # Energy of a window that is used, relative to the strongest.
_MOST_WINDOWS = 15
_LEAST_SECONDS = 0.25
_RATES = (8_000, 400_000)  # Hz.
LEAST_NODES, _MOST_NODES = 3, 60
# Nodes are padded to one of these numbers, so that few programs are compiled.
_SIZES = (3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60)
# Of the talkers that the network was trained with: mean and deviation in meters.
_MIDDLE_HEIGHT = 1.35
_HEIGHT = (_MIDDLE_HEIGHT, 0.3)
_NODE_HEIGHT = 1.2  # Meters, if nodes have two coordinates.
_MARGIN = 2.0  # Meters around the nodes that are searched without a room.
_ROOM_HEIGHT = 3.0
_TOLERANCE = 0.05  # Meters by which a node may be outside of a room that was measured.
# An answer is determined if its mode holds this mass, within this radius in meters.
_SURE_MASS, _SURE_RADIUS = 0.8, 1.0
_WALL_CELLS, _WALL_MASS = (
    1.5,
    0.3,
)  # Much of the posterior so near to a wall is doubtful.
_FARTHEST = 100.0  # Meters: larger numbers are of another unit.
_STUCK_SECONDS = 0.1  # The same value for so long is no sound.
_CLIPPED = 0.01  # Share of samples at the largest value.
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
    nodes = _check(signals, sample_rate, node_positions, source_height)
    room = _Room.of(nodes, room_size)
    levels, used, reasons = _look_at_nodes(signals, sample_rate)
    reasons = room.reasons + reasons
    if int(used.sum()) < LEAST_NODES:
        return _undetermined(room, levels, used, reasons)
    windows = _windows(signals[used], sample_rate)
    # A known height is brought to the one that is looked at: distances alone matter.
    lift = 0.0 if source_height is None else _MIDDLE_HEIGHT - source_height
    moved_nodes = nodes - np.append(room.origin, -lift)
    network = _network(source_height is None)
    votes = [
        _vote(*network, _pad(window, moved_nodes[used], room.sides))
        for window in windows
    ]
    logs = np.mean([np.float64(logs) for _, logs in votes], axis=0)
    probability = np.exp(logs - logs.max())
    probability /= probability.sum()
    plan = room.sides[:2]
    peaks = posterior.find_peaks(probability, plan)
    padded = np.resize(peaks, (posterior.MAX_MODES, 2))
    patches = np.concatenate(
        [posterior.patch(one, plan, _RESOLUTION) for one in padded]
    ).astype(np.float32)
    fine = np.mean(
        [np.float64(_vote_at(*network, found, patches)) for found, _ in votes], axis=0
    )
    fine = fine.reshape(len(padded), -1)[: len(peaks)]
    cloud = posterior.combine(probability, plan, peaks, fine)
    height = _HEIGHT if source_height is None else (_MIDDLE_HEIGHT, 0.01)
    fits = _fit_times(windows, moved_nodes[used], plan, peaks, np.float32(height))
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


def _check(
    signals: np.ndarray,
    sample_rate: int | float,
    node_positions: ArrayLike,
    source_height: int | float | None,
) -> np.ndarray:
    """Check what is given; return node positions [M, 3]."""
    if signals.ndim != 2 or 0 in signals.shape:
        raise batches.RecordingError(
            f"signals has shape {signals.shape}; it must be [M, N] or [B, M, N]"
        )
    num_nodes, num_samples = signals.shape
    low, high = _RATES
    if not low <= sample_rate <= high:
        raise batches.RecordingError(
            f"sample_rate is {sample_rate}; give it in Hz, from {low:,} to {high:,}"
        )
    seconds = num_samples / sample_rate
    if seconds < _LEAST_SECONDS:
        raise batches.RecordingError(
            f"signals are {seconds:.3g} s long ({num_samples} samples); give at least "
            f"{_LEAST_SECONDS} s"
        )
    if num_nodes > _MOST_NODES:
        raise batches.RecordingError(
            f"signals has {num_nodes} nodes; give at most {_MOST_NODES}"
        )
    nodes = np.asarray(node_positions, np.float64)
    if nodes.shape not in ((num_nodes, 2), (num_nodes, 3)):
        raise batches.RecordingError(
            f"node_positions has shape {nodes.shape}; with these signals it must be "
            f"({num_nodes}, 3), or ({num_nodes}, 2) without heights"
        )
    for name, values in (("signals", signals), ("node_positions", nodes)):
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise batches.RecordingError(
                f"{name} of node {int(finite.argmin())} holds NaN or infinity; correct "
                "it, or leave the node out"
            )
    if (
        np.abs(nodes).max(initial=0.0) > _FARTHEST
        and np.ptp(nodes, axis=0).max() > _FARTHEST
    ):
        raise batches.RecordingError(
            f"node_positions spans {np.ptp(nodes, axis=0).max():.4g} m; give meters"
        )
    if source_height is not None and not 0 <= source_height <= _FARTHEST / 10:
        raise batches.RecordingError(
            f"source_height is {source_height}; give it in meters above the floor"
        )
    if nodes.shape[1] == 2:
        nodes = np.append(nodes, np.full((num_nodes, 1), _NODE_HEIGHT), axis=1)
    for one in range(num_nodes):
        for other in range(one):
            if (nodes[one] == nodes[other]).all():
                raise batches.RecordingError(
                    f"nodes {other} and {one} are both at {nodes[one].tolist()}; give "
                    "each its own place, or leave one out"
                )
    return nodes


@dataclasses.dataclass(frozen=True)
class _Room:
    """The box that is searched.

    Attributes:
        origin: Its corner on the plan.
        sides: Along x, y and z, in meters.
        reasons: What a user is to know about it.
    """

    origin: np.ndarray
    sides: np.ndarray
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, nodes: np.ndarray, room_size: ArrayLike | None) -> "_Room":
        if room_size is None:
            low, high = nodes[:, :2].min(axis=0), nodes[:, :2].max(axis=0)
            sides = np.append(high - low + 2 * _MARGIN, _ROOM_HEIGHT)
            note = (
                f"No room was given: up to {_MARGIN:g} m around the nodes was searched"
            )
            return cls(low - _MARGIN, sides, (note,))
        sides = np.asarray(room_size, np.float64)
        if sides.shape not in ((2,), (3,)) or not (
            np.isfinite(sides).all() and (sides > 0).all() and (sides < _FARTHEST).all()
        ):
            raise batches.RecordingError(
                f"room_size is {np.asarray(room_size).tolist()}; give its sides along x "
                f"and y, and its height or not, in meters from 0 to {_FARTHEST:g}"
            )
        plan = nodes[:, :2]
        wrong = ((plan < -_TOLERANCE) | (plan > sides[:2] + _TOLERANCE)).any(axis=1)
        if wrong.any():
            number = int(wrong.argmax())
            raise batches.RecordingError(
                f"node {number} at {plan[number].tolist()} m is outside of the "
                f"room of {sides[:2].tolist()} m; correct one of them"
            )
        if len(sides) == 2:
            sides = np.append(sides, _ROOM_HEIGHT)
        return cls(np.zeros(2), sides)


def _look_at_nodes(
    signals: np.ndarray, sample_rate: int | float
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Find out which nodes can be used: their levels in dB, which, and reasons."""
    power = np.array([np.var(samples, dtype=np.float64) for samples in signals])
    used = power > 0
    reasons = []
    for number, samples in enumerate(signals):
        if not used[number]:
            reasons.append(f"Node {number} is silent and was left out")
            continue
        longest = _longest_run(samples) / sample_rate
        if longest > _STUCK_SECONDS:
            used[number] = False
            reasons.append(
                f"Node {number} holds one value for {longest:.2f} s and was left out"
            )
        elif _share_clipped(samples) > _CLIPPED:
            reasons.append(f"Node {number} is clipped; it was used")
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(power)
    mean = levels[used].mean() if used.any() else 0.0
    return levels - mean, used, tuple(reasons)


def _longest_run(samples: np.ndarray) -> int:
    """Count the samples of the longest run of one value."""
    changes = np.flatnonzero(np.diff(samples) != 0)
    ends = np.concatenate([[-1], changes, [len(samples) - 1]])
    return int(np.diff(ends).max())


def _share_clipped(samples: np.ndarray) -> float:
    """Compute the share of samples on a plateau at the largest or the least value."""
    plateau = 0
    for edge in (samples.max(), samples.min()):
        flat = np.abs(samples - edge) < 1e-6 * np.ptp(samples)
        plateau += (flat[1:] & flat[:-1]).sum()
    return plateau / len(samples)


def _fit_times(
    windows: np.ndarray,
    nodes: np.ndarray,
    plan: np.ndarray,
    peaks: np.ndarray,
    height: np.ndarray,
) -> list[times.Fit]:
    """Fit positions to times of arrival, from the peaks and those of SRP-PHAT."""
    max_lag = correlations_lib.lag_bound(nodes)
    batches_of = [
        _pad(window, nodes, np.append(plan, _ROOM_HEIGHT)) for window in windows
    ]
    first = batches_of[0]
    positions, mask = first["node_positions"][0], first["node_mask"][0]
    sums = sum(
        np.asarray(_correlate(batch["audio"][0], mask, max_lag)) for batch in batches_of
    )
    starts = np.float32(np.resize(peaks, (posterior.MAX_MODES, 2)))
    sides = np.float32(plan)
    fits = jax.device_get(_fit(sums, positions, mask, starts, sides, height))
    return [times.Fit(*parts) for parts in zip(*fits, strict=True)]


@functools.partial(jax.jit, static_argnames="max_lag")
def _correlate(signals, mask, max_lag):
    return times.correlate(signals, mask, max_lag)


@jax.jit
def _fit(correlations, nodes, mask, starts, sides, height):
    strongest = srp_phat.search(correlations, nodes, sides, height[0], _SRP_PEAKS)
    starts = jnp.concatenate([starts, strongest])
    return jax.lax.map(
        lambda start: times.fit(correlations, nodes, mask, start, sides, height), starts
    )


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


def _windows(signals: np.ndarray, sample_rate: int | float) -> np.ndarray:
    """Cut signals [M, N] into windows [W, M, n] of 2 s at 16 kHz, or of what there is.

    Of long signals, some windows from the beginning to the end. Those far below the
    strongest are left out.
    """
    num_samples = signals.shape[1]
    longest = round(_WINDOW_SECONDS * sample_rate)
    # Few lengths, so that few programs are compiled.
    step = round(_LEAST_SECONDS * sample_rate)
    length = min(longest, num_samples // step * step)
    count = min(_MOST_WINDOWS, max(1, round(num_samples / length)))
    starts = np.linspace(0, num_samples - length, count).astype(int)
    windows = np.stack(
        [_resample(signals[:, start : start + length], sample_rate) for start in starts]
    )
    energies = (windows**2).sum(axis=(1, 2))
    windows = windows[energies > _HEARD * energies.max()]
    return np.float32(windows / np.abs(windows).max())


def _resample(signals: np.ndarray, sample_rate: int | float) -> np.ndarray:
    """Convert signals to 16 kHz and zero mean."""
    sound = signals.astype(np.float64)
    # First: a step to zero at the ends would be a click in all nodes at once.
    sound -= sound.mean(axis=1, keepdims=True)
    if sample_rate == constants.SAMPLE_RATE:
        return sound
    # Rates such as 44,100 have a common divisor; others are rounded to 1 Hz.
    rate = round(sample_rate)
    divisor = math.gcd(rate, constants.SAMPLE_RATE)
    return scipy.signal.resample_poly(
        sound, constants.SAMPLE_RATE // divisor, rate // divisor, axis=1
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
    heights = jnp.asarray(model.source_heights, jnp.float32)
    count = len(plan)
    points = jnp.concatenate(
        [
            jnp.tile(plan, (len(heights), 1)),
            jnp.repeat(heights, count)[:, None],
        ],
        axis=1,
    )
    scores = model.scores_at(evidence, points[None], _VOTES_ON)[0, 0]
    return jax.nn.logsumexp(scores.reshape(len(heights), count), axis=0)


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
        if len(places) > 1:
            return [f"{len(places)} places fit: {', '.join(places)}"]
        return [f"Much of the posterior is elsewhere: {1 - modes[0].mass:.0%}"]
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
