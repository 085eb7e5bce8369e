"""Survey a recording in one pass, block by block: levels, faults, and starts.

Memory does not grow with the recording, but for a level each 10 ms of each node.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Int

from uld_jax.audio import session_files, start_offsets
from uld_jax.audio import signals as signals_lib

HOP = 160  # Samples at 16 kHz for each level.

FRAME = 4096  # Samples of each spectrum.

_WINDOW = np.hanning(FRAME).astype(np.float32)
BLOCK = 1000 * HOP  # Samples: 10 s.
EARLY = 0.5  # Seconds before the last end, from which it is said of a recorder.
_MISSING = 0.1  # Seconds that a file lacks, likewise.
# Correlation of the powers of two signals that are one, whatever their gains: of two
# microphones side by side, noise of their own makes it less.
_ONE_SIGNAL = 1 - 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """Facts of a recording by M nodes, from one pass over it.

    Attributes:
        means: Of each node's samples, [M], full scale at one.
        powers: Mean squares of each node's samples without their mean in each `HOP`,
            [M, T]; zero before and after its recording.
        starts: Samples at 16 kHz by which each recorder started after the first, [M].
        starts_known: Whether that could be found; if not, it is taken to be zero, [M].
        lengths: Samples at 16 kHz of each node, [M].
        faults: Of each node, one of `signals.FAULTS`; empty if none.
        spectra: Mean power spectra of each node's frames of `FRAME`, [M, 2049].
        gaps: Of each node, how many `HOP` of its recording are zeros, [M].
        missing: Samples at 16 kHz that the file of each node names and does not have, [M].
    """

    means: Float[np.ndarray, " M"]
    powers: Float[np.ndarray, "M T"]
    starts: Int[np.ndarray, " M"]
    starts_known: Bool[np.ndarray, " M"]
    lengths: Int[np.ndarray, " M"]
    faults: tuple[str, ...]
    spectra: Float[np.ndarray, "M F"]
    gaps: Int[np.ndarray, " M"]
    missing: Int[np.ndarray, " M"]

    @property
    def num_samples(self) -> int:
        """Samples at 16 kHz from the first recorder's start to the last one's end."""
        return int((self.starts + self.lengths).max())

    @property
    def common(self) -> tuple[int, int]:
        """From where to where, in samples at 16 kHz, all recorders recorded."""
        return int(self.starts.max()), int((self.starts + self.lengths).min())

    def describe(self, nodes: Sequence[str]) -> list[str]:
        """Describe faults of nodes, and late starts and early ends, in sentences."""
        said = [
            f"Node {node} {fault}"
            for node, fault in zip(nodes, self.faults, strict=True)
            if fault
        ]
        for number, node in enumerate(nodes):
            said += [f"Node {node} {one}" for one, _ in self.describe_times(number)]
        for number, other in self.find_copies():
            said.append(
                f"Node {nodes[number]} has the same signal as node {nodes[other]}"
            )
        return said

    def find_copies(self) -> list[tuple[int, int]]:
        """Find pairs of nodes with one signal, as two files of one recorder have."""
        levels = self.powers / np.maximum(
            np.linalg.norm(self.powers, axis=1, keepdims=True), 1e-30
        )
        usable = [signals_lib.is_usable(fault) for fault in self.faults]
        return [
            (second, first)
            for second in np.flatnonzero(usable).tolist()
            for first in np.flatnonzero(usable[:second]).tolist()
            if levels[first] @ levels[second] > _ONE_SIGNAL
        ]

    def describe_times(self, node: int) -> list[tuple[str, str]]:
        """Describe a node's late start or early end, in what follows its name and a word."""
        rate, said = signals_lib.SAMPLE_RATE, []
        if not self.starts_known[node] and not self.faults[node]:
            lost = (
                "has no start that could be found: it has little in common with others"
            )
            said.append((lost, "unknown start"))
        if self.starts[node] > 0:
            said.append(
                (f"started {self.starts[node] / rate:.2f} s after the first", "late")
            )
        if self.missing[node] > _MISSING * rate:
            held = self.lengths[node] / rate
            whole = held + self.missing[node] / rate
            what = f"has {held:.1f} s of the {whole:.1f} s that its file's header names"
            return [*said, (what, "truncated")]
        early = self.num_samples - self.starts[node] - self.lengths[node]
        if early > EARLY * rate:
            said.append((f"ended {early / rate:.1f} s before the last", "early"))
        return said

    def window_powers(
        self, starts: Int[np.ndarray, " W"], num_samples: int
    ) -> Float[np.ndarray, " W"]:
        """Compute the mean square of all nodes in some windows, [W].

        Args:
            starts: First samples of the windows, at 16 kHz.
            num_samples: Their length; a multiple of `HOP` is exact.
        """
        total = np.zeros(self.num_samples // HOP + 2)
        for powers, start in zip(self.powers, self.starts, strict=True):
            begin = round(start / HOP)
            total[begin : begin + len(powers)] += powers[: len(total) - begin]
        sums = np.concatenate([[0.0], np.cumsum(total)])
        first = np.rint(starts / HOP).astype(int)
        last = np.rint((starts + num_samples) / HOP).astype(int)
        last = np.minimum(last, len(sums) - 1)
        return (sums[last] - sums[first]) * HOP / num_samples / len(self.means)


def survey(channels: Sequence[session_files.Channel]) -> Survey:
    """Read a recording once.

    Recorders of their own, each with its file, may have started at different times.

    Args:
        channels: Of the M nodes.

    Raises:
        SignalError: If a file is unreadable or truncated.
    """
    totals = _Totals(np.array([channel.num_samples for channel in channels]))
    for begin in range(0, totals.longest, BLOCK):
        length = min(BLOCK, totals.longest - begin)
        starts = [begin] * len(channels)
        block = session_files.read_block(channels, starts, length, totals.watch)
        totals.add(block, begin)
    means, powers = totals.means_and_powers()
    faults = totals.faults()
    starts, known = start_offsets.estimate(
        powers,
        (totals.lengths // HOP).tolist(),
        files=[channel.path for channel in channels],
        usable=[signals_lib.is_usable(fault) for fault in faults],
    )
    return Survey(
        means,
        powers,
        np.rint(starts * HOP).astype(int),
        known,
        totals.lengths,
        faults,
        totals.spectra / np.maximum(totals.frames, 1)[:, None],
        totals.gaps(),
        np.array([c.missing * signals_lib.SAMPLE_RATE // c.rate for c in channels]),
    )


class _Totals:
    """Sums over the blocks of M nodes' signals."""

    def __init__(self, lengths: np.ndarray):
        count, self.lengths, self.longest = len(lengths), lengths, int(lengths.max())
        self.sums, self.squares = np.zeros((2, count, -(-self.longest // HOP)))
        self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
        self.clipped, self.watched = np.zeros((2, count))
        self.finite = np.ones(count, bool)
        self.spectra, self.frames = np.zeros((count, FRAME // 2 + 1)), np.zeros(count)

    def watch(self, nodes: list[int], samples: np.ndarray) -> None:
        """Look at samples [k, n] of some nodes as they are in their file."""
        self.finite[nodes] &= np.isfinite(samples).all(axis=1)
        self.low[nodes] = np.fmin(self.low[nodes], np.fmin.reduce(samples, axis=1))
        self.high[nodes] = np.fmax(self.high[nodes], np.fmax.reduce(samples, axis=1))
        full = np.abs(samples) >= signals_lib.CLIPPED_FROM
        self.clipped[nodes] += full.sum(axis=1)
        self.watched[nodes] += samples.shape[1]

    def add(self, block: np.ndarray, begin: int) -> None:
        """Add a block [M, N] that begins at a sample."""
        block[~np.isfinite(block)] = 0.0
        for node, signal in enumerate(block):
            own = signal[: max(self.lengths[node] - begin, 0)]
            frames = own[: len(own) // FRAME * FRAME].reshape(-1, FRAME)
            windowed = (frames - frames.mean(axis=1, keepdims=True)) * _WINDOW
            spectra = np.square(np.abs(scipy.fft.rfft(windowed, axis=1)))
            self.spectra[node] += spectra.sum(axis=0)
            self.frames[node] += len(frames)
        padded = np.pad(block, ((0, 0), (0, -block.shape[1] % HOP))).astype(np.float64)
        parts = padded.reshape(len(block), -1, HOP)
        where = slice(begin // HOP, begin // HOP + parts.shape[1])
        self.sums[:, where] = parts.sum(axis=2)
        self.squares[:, where] = np.square(parts).sum(axis=2)

    def means_and_powers(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute the means [M], and the powers without them in each hop, [M, T]."""
        means = self.sums.sum(axis=1) / self.lengths
        hops = HOP * np.arange(self.sums.shape[1])
        inside = np.clip(self.lengths[:, None] - hops, 0, HOP)
        centered = self.squares - 2 * means[:, None] * self.sums
        centered += np.square(means)[:, None] * inside
        return means, np.maximum(centered, 0.0) / HOP

    def gaps(self) -> np.ndarray:
        """Count the hops of each node that are zeros."""
        whole = self.lengths // HOP
        return np.array(
            [
                (own[:count] == 0).sum()
                for own, count in zip(self.squares, whole, strict=True)
            ]
        )

    def faults(self) -> tuple[str, ...]:
        """Say why each node's signal cannot be right; empty if it can."""
        shares = self.clipped / np.maximum(self.watched, 1)
        clipped = signals_lib.are_clipped(shares, np.maximum(-self.low, self.high))
        return signals_lib.name_faults(self.finite, self.low == self.high, clipped)
