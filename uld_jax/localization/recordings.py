"""Recordings as `localize` is given them: checks, the room, the nodes, and windows."""

import dataclasses
import math

import numpy as np
import scipy.fft
from jaxtyping import Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.audio import signals as signals_lib
from uld_jax.localization import batches

WINDOW_SECONDS = 2.0  # As in training.
LEAST_SECONDS = 0.25
_MOST_WINDOWS = 15
_RATES = (8_000, 400_000)  # Hz.
MOST_NODES = 60
NODE_HEIGHT = 1.2  # Meters, if nodes have two coordinates.
_MARGIN = 2.0  # Meters around the nodes that are searched without a room.
_ROOM_HEIGHT = 3.0
_TOLERANCE = 0.05  # Meters by which a node may be outside of a room that was measured.
_FARTHEST = 100.0  # Meters: larger numbers are of another unit.
_STUCK_SECONDS = 0.1  # The same value for so long is no sound.
_CLIPPED = 0.01  # Share of samples at the largest value.


def to_array(signals: ArrayLike) -> np.ndarray:
    """Convert signals to an array of numbers.

    Raises:
        RecordingError: If they are of different lengths, or no numbers.
    """
    try:
        array = np.asarray(signals)
    except ValueError:
        lengths = [np.shape(one)[-1] for one in signals]
        raise batches.RecordingError(
            f"signals have different lengths, {min(lengths)} to {max(lengths)} samples; cut "
            "them to one"
        ) from None
    if array.dtype.kind not in "fiu":
        raise batches.RecordingError(
            f"signals are {array.dtype}, not real numbers; read files first, with "
            "soundfile.read for example"
        )
    return array


def check(
    signals: np.ndarray,
    sample_rate: int | float,
    node_positions: ArrayLike,
    source_height: int | float | None,
) -> np.ndarray:
    """Check what `localize` is given, but for the room.

    Args:
        signals: Of one recording.
        sample_rate: In Hz.
        node_positions: With or without heights.
        source_height: In meters, or None.

    Returns:
        Node positions in meters, [M, 3].

    Raises:
        RecordingError: With the first problem.
    """
    if signals.ndim != 2 or 0 in signals.shape:
        raise batches.RecordingError(
            f"signals has shape {signals.shape}; give an array [M, N] of M nodes and N "
            "samples"
        )
    try:
        nodes = np.asarray(node_positions, np.float64)
    except ValueError:
        raise batches.RecordingError(
            "node_positions must be numbers: (x, y) or (x, y, z) in meters for each node"
        ) from None
    num_nodes, num_samples = signals.shape
    if nodes.shape[:1] not in ((), (num_nodes,)):
        exchanged = nodes.shape[:1] == (num_samples,)
        raise batches.RecordingError(
            f"signals has shape {signals.shape}, of {num_nodes} nodes, and node_positions "
            f"has {len(nodes)}; "
            + (
                "the axes are exchanged: give signals.T"
                if exchanged
                else "give as many"
            )
        )
    low, high = _RATES
    if not low <= sample_rate <= high:
        raise batches.RecordingError(
            f"sample_rate is {sample_rate}; give it in Hz, from {low:,} to {high:,}"
        )
    seconds = num_samples / sample_rate
    if seconds < LEAST_SECONDS:
        raise batches.RecordingError(
            f"signals are {seconds:.3g} s long ({num_samples} samples); give at least "
            f"{LEAST_SECONDS} s"
        )
    if num_nodes > MOST_NODES:
        raise batches.RecordingError(
            f"signals has {num_nodes} nodes; give at most {MOST_NODES}"
        )
    if nodes.shape not in ((num_nodes, 2), (num_nodes, 3)):
        raise batches.RecordingError(
            f"node_positions has shape {nodes.shape}; with these signals it must be "
            f"({num_nodes}, 3), or ({num_nodes}, 2) without heights"
        )
    for name, values in (("signals", signals), ("node_positions", nodes)):
        for number, row in enumerate(values):  # One by one, for memory.
            if not np.isfinite(row).all():
                raise batches.RecordingError(
                    f"{name} of node {number} holds NaN or infinity; correct it, or leave "
                    "the node out"
                )
    span = np.ptp(nodes, axis=0).max()
    if span > _FARTHEST and np.abs(nodes).max() > _FARTHEST:
        raise batches.RecordingError(f"node_positions spans {span:.4g} m; give meters")
    if source_height is not None and not 0 <= source_height <= _FARTHEST / 10:
        raise batches.RecordingError(
            f"source_height is {source_height}; give it in meters above the floor"
        )
    if nodes.shape[1] == 2:
        nodes = np.append(nodes, np.full((num_nodes, 1), NODE_HEIGHT), axis=1)
    for one in range(num_nodes):
        for other in range(one):
            if (nodes[one] == nodes[other]).all():
                raise batches.RecordingError(
                    f"nodes {other} and {one} are both at {nodes[one].tolist()}; give "
                    "each its own place, or leave one out"
                )
    return nodes


@dataclasses.dataclass(frozen=True)
class Room:
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
    def around(cls, nodes: np.ndarray, room_size: ArrayLike | None) -> "Room":
        """Make the box of a room, or, without its size, around the nodes.

        Raises:
            RecordingError: If a side cannot be right, or a node is outside.
        """
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
        given = nodes[:, : len(sides)]  # Heights are checked against one that is given.
        wrong = ((given < -_TOLERANCE) | (given > sides + _TOLERANCE)).any(axis=1)
        if wrong.any():
            number = int(wrong.argmax())
            raise batches.RecordingError(
                f"node {number} at {given[number].tolist()} m is outside of the "
                f"room of {sides.tolist()} m; correct one of them"
            )
        if len(sides) == 2:
            sides = np.append(sides, _ROOM_HEIGHT)
        return cls(np.zeros(2), sides)


def look_at_nodes(
    signals: np.ndarray, sample_rate: int | float
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Find out which nodes can be used.

    Returns:
        Levels in dB, relative to the mean of those used; which are used; and what a user
        is to know about the others, and about clipped ones.
    """
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
    samples = samples.astype(np.float64)  # Differences of integers may overflow.
    for edge in (samples.max(), samples.min()):
        flat = np.abs(samples - edge) < 1e-6 * np.ptp(samples)
        plateau += (flat[1:] & flat[:-1]).sum()
    return plateau / len(samples)


def cut(signals: np.ndarray, sample_rate: int | float) -> np.ndarray:
    """Cut signals [M, N] into windows [W, M, n] of 2 s at 16 kHz, or of what there is.

    Of long signals, some windows from the beginning to the end. Those far below the
    strongest are left out.
    """
    num_samples = signals.shape[1]
    longest = round(WINDOW_SECONDS * sample_rate)
    # Few lengths, so that few programs are compiled.
    step = round(LEAST_SECONDS * sample_rate)
    length = min(longest, num_samples // step * step)
    count = min(_MOST_WINDOWS, max(1, round(num_samples / length)))
    starts = np.linspace(0, num_samples - length, count).astype(int)
    windows = np.stack(
        [_resample(signals[:, start : start + length], sample_rate) for start in starts]
    )
    energies = (windows**2).sum(axis=(1, 2))
    windows = windows[energies > 10 ** (signals_lib.ACTIVE_DB / 10) * energies.max()]
    return np.float32(windows / np.abs(windows).max())


def windows_with_sound(
    signals: np.ndarray, sample_rate: int | float
) -> tuple[np.ndarray, np.ndarray]:
    """Find the windows of 2 s with sound, end to end from the beginning.

    By the nodes that can be used, a window holds at least a thousandth (-30 dB) of the
    power of the strongest. What is constant is no sound.

    Args:
        signals: [M, N].
        sample_rate: In Hz.

    Returns:
        Their starts in samples, and their powers.

    Raises:
        RecordingError: If signals are shorter than a window, or silent.
    """
    length = round(WINDOW_SECONDS * sample_rate)
    starts = np.arange(0, signals.shape[1] - length + 1, length)
    if not len(starts):
        raise batches.RecordingError(
            f"signals are {signals.shape[1] / sample_rate:.3g} s long; give at least "
            f"{WINDOW_SECONDS:g} s, or localize them by uld_jax.localize"
        )
    _, used, _ = look_at_nodes(signals, sample_rate)
    powers = np.array(
        [
            sum(
                np.var(samples[start : start + length], dtype=np.float64)
                for samples in signals[used]
            )
            for start in starts
        ]
    )
    if not powers.max() > 0:
        raise batches.RecordingError(
            "signals hold no sound: every node is silent or holds one value"
        )
    loud = powers >= 10 ** (signals_lib.ACTIVE_DB / 10) * powers.max()
    return starts[loud], powers[loud]


def advance(
    signals: np.ndarray, late: Float[np.ndarray, " M"], sample_rate: int | float
) -> Float[np.ndarray, "M N"]:
    """Move signals [M, N] forward by the seconds that each node is late.

    By fractions of a sample, without their means. Zeros come after their ends.
    """
    num_samples = signals.shape[1]
    longer = scipy.fft.next_fast_len(
        num_samples + math.ceil(np.abs(late).max() * sample_rate), real=True
    )
    sound = signals - signals.mean(axis=1, keepdims=True, dtype=np.float64)
    frequencies = np.fft.rfftfreq(longer, 1 / sample_rate)
    turns = np.exp(2j * np.pi * frequencies * late[:, None])
    return np.fft.irfft(np.fft.rfft(sound, longer) * turns, longer)[:, :num_samples]


def _resample(signals: np.ndarray, sample_rate: int | float) -> np.ndarray:
    """Convert signals to 16 kHz and zero mean."""
    sound = signals.astype(np.float64)
    # First: a step to zero at the ends would be a click in all nodes at once.
    sound -= sound.mean(axis=1, keepdims=True)
    if sample_rate == constants.SAMPLE_RATE:
        return sound
    import scipy.signal  # Takes longer to import than JAX.

    # Rates such as 44,100 have a common divisor; others are rounded to 1 Hz.
    rate = round(sample_rate)
    divisor = math.gcd(rate, constants.SAMPLE_RATE)
    return scipy.signal.resample_poly(
        sound, constants.SAMPLE_RATE // divisor, rate // divisor, axis=1
    )
