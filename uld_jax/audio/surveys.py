"""Listen once to a recording, block by block: levels, faults, and when recorders started.

Memory does not grow with the recording, but for a level each 10 ms of each node.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from uld_jax.audio import session_files, start_offsets
from uld_jax.audio import signals as signals_lib

HOP = 160  # Samples at 16 kHz for each level.

_BLOCK = 1000 * HOP  # Samples: 10 s.
_EARLY = 0.5  # Seconds before the last recorder's end that are worth a word.


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """Facts of a recording by M nodes, from one pass over it.

    Attributes:
        means: Of each node's samples, [M], full scale at one.
        powers: Mean squares of each node's samples without their mean in each `HOP`,
            [M, T]; zero before and after its recording.
        starts: Samples at 16 kHz by which each recorder started after the first, [M].
        lengths: Samples at 16 kHz of each node, [M].
        faults: Of each node, in words: "is silent", "is clipped"; empty if none.
    """

    means: Float[np.ndarray, " M"]
    powers: Float[np.ndarray, "M T"]
    starts: Int[np.ndarray, " M"]
    lengths: Int[np.ndarray, " M"]
    faults: tuple[str, ...]

    @property
    def num_samples(self) -> int:
        """Samples at 16 kHz from the first recorder's start to the last one's end."""
        return int((self.starts + self.lengths).max())

    @property
    def common(self) -> tuple[int, int]:
        """From where to where, in samples at 16 kHz, all recorders recorded."""
        return int(self.starts.max()), int((self.starts + self.lengths).min())

    def describe(self, nodes: Sequence[str]) -> list[str]:
        """Say what is wrong with nodes, and which recorders started late, in sentences."""
        said = [
            f"Node {node} {fault}"
            for node, fault in zip(nodes, self.faults, strict=True)
            if fault
        ]
        rate, last = signals_lib.SAMPLE_RATE, (self.starts + self.lengths).max()
        for node, start, length in zip(nodes, self.starts, self.lengths, strict=True):
            if start > 0:
                said.append(f"Node {node} started {start / rate:.2f} s after the first")
            if (early := last - start - length) > _EARLY * rate:
                said.append(f"Node {node} ended {early / rate:.1f} s before the last")
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
    count = len(channels)
    lengths = np.array([channel.num_samples for channel in channels])
    longest = int(lengths.max())
    hops = -(-longest // HOP)
    sums, squares = np.zeros((2, count, hops))
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    clipped, finite = np.zeros(count), np.ones(count, bool)
    for begin in range(0, longest, _BLOCK):
        length = min(_BLOCK, longest - begin)
        block = session_files.read_block(channels, [begin] * count, length)
        broken = ~np.isfinite(block).all(axis=1)
        finite &= ~broken
        block[broken] = 0.0
        clipped += (np.abs(block) >= signals_lib.CLIPPED_FROM).sum(axis=1)
        for node, signal in enumerate(block):
            own = signal[: max(lengths[node] - begin, 0)]
            if own.size:
                low[node] = min(low[node], own.min())
                high[node] = max(high[node], own.max())
        padded = np.pad(block, ((0, 0), (0, -length % HOP))).astype(np.float64)
        parts = padded.reshape(count, -1, HOP)
        where = slice(begin // HOP, begin // HOP + parts.shape[1])
        sums[:, where] = parts.sum(axis=2)
        squares[:, where] = np.square(parts).sum(axis=2)
    means = sums.sum(axis=1) / lengths
    inside = np.clip(lengths[:, None] - HOP * np.arange(hops), 0, HOP)
    centered = squares - 2 * means[:, None] * sums + np.square(means)[:, None] * inside
    powers = np.maximum(centered, 0.0) / HOP
    faults = tuple(
        "holds NaN or infinity"
        if not finite[node]
        else "is silent (all its samples are equal)"
        if low[node] == high[node]
        else "is clipped (0.1 % of it is at full scale)"
        if clipped[node] > signals_lib.CLIPPED_SHARE * lengths[node]
        else ""
        for node in range(count)
    )
    files = [channel.path for channel in channels]
    usable = [not fault for fault in faults]
    starts = start_offsets.estimate(powers, (lengths // HOP).tolist(), files, usable)
    return Survey(means, powers, np.rint(starts * HOP).astype(int), lengths, faults)
