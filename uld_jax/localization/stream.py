"""Localize a talker while signals arrive, window by window.

The newest samples are kept in a ring buffer as long as a window. When the last sample of a
window arrives, it is localized by `localize`, as a recording would be.
"""

import dataclasses
import itertools
import math
import numbers

import numpy as np
from jaxtyping import Num
from numpy.typing import ArrayLike

from uld_jax.acoustics import correlations
from uld_jax.localization import (
    answers,
    batches,
    clocks,
    doubts,
    fusion,
    localize,
    posterior,
    recordings,
    votes,
)

_LONGEST_WINDOW = 30.0  # Seconds: of longer signals, not all windows of 2 s are used.
_LEAST_HOP = 0.01  # Seconds.
_MOST_SUBSETS = 1_000  # Of nodes, that are looked at when programs are compiled.
_LONG_ENOUGH = 100_000  # Samples, at any sample rate.


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """Where a talker was in one window of a stream.

    Attributes:
        start: Of the window, in seconds after the stream's first sample.
        end: Of the window, likewise.
        localization: What `uld_jax.localize` gives for the samples of the window.
    """

    start: float
    end: float
    localization: answers.Localization


class Stream:
    """Localize a talker while the signals of scattered nodes arrive.

    A window is localized as soon as its last sample is pushed, exactly as
    `uld_jax.localize` does it, however the signals are cut into blocks. The delay is the
    time that this takes: with 8 nodes about 0.1 s of one core, and 0.2 s where clocks are
    off or noises are not of one place. The first answer would also wait for compilation:
    call `warm_up` before.

    Windows begin each `hop` seconds. A stream holds the samples of one window, and nothing
    that grows. Use it from one thread.

    Args:
        node_positions: (x, y, z) or (x, y) of M nodes in meters, as for `uld_jax.localize`.
        sample_rate: In Hz, 8,000 or more.
        room_size: Sides along x and y in meters, and the height or not; None for unknown.
        source_height: Of the talker's mouth in meters; None for 0.8 to 1.9.
        window: Seconds that each answer rests on, 0.25 to 30. Of more than 2 s, windows of
            2 s are averaged.
        hop: Seconds from one window to the next, at most `window`; None for as many, end to
            end.

    Raises:
        RecordingError: If one of these cannot be right.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
    >>> stream = uld_jax.Stream(nodes, 16_000, [6.0, 4.5], hop=0.5)
    >>> stream.push(np.zeros((4, 31_999)))
    []
    >>> [(one.start, one.end) for one in stream.push(np.zeros((4, 8_001)))]
    [(0.0, 2.0), (0.5, 2.5)]
    """

    def __init__(
        self,
        node_positions: ArrayLike,
        sample_rate: int | float,
        room_size: ArrayLike | None = None,
        *,
        source_height: int | float | None = None,
        window: int | float = recordings.WINDOW_SECONDS,
        hop: int | float | None = None,
    ):
        nodes = _check_nodes(node_positions, sample_rate, source_height)
        self._room = recordings.Room.around(nodes, room_size)
        self._nodes = nodes.copy()
        self._nodes.flags.writeable = False  # Answers share it.
        self._rate, self._source_height = sample_rate, source_height
        self._room_size = None if room_size is None else np.array(room_size, np.float64)
        _check_seconds("window", window, recordings.LEAST_SECONDS, _LONGEST_WINDOW)
        hop = window if hop is None else hop
        _check_seconds("hop", hop, _LEAST_HOP, window)
        least = math.ceil(recordings.LEAST_SECONDS * sample_rate)
        self._length = max(round(window * sample_rate), least)
        self._hop = hop * sample_rate  # Not always a whole number of samples.
        self._ring: np.ndarray | None = None  # Its type is that of the first block.
        self._received = self._answered = self._number = 0

    def push(self, block: ArrayLike) -> list[Answer]:
        """Take the next samples, and localize the windows that they complete.

        Args:
            block: [M, n] with any n, also 0: floating-point numbers or integers of any
                level, in one type throughout the stream. It is copied.

        Returns:
            An answer for each window whose last sample is in the block: mostly none or
            one.

        Raises:
            RecordingError: If the block has another shape or type, or holds NaN or
                infinity. The stream is then as before.
        """
        block = self._check(block)
        found = []
        while block.shape[1]:
            missing = self._start(self._number) + self._length - self._received
            self._store(block[:, :missing])
            if block.shape[1] >= missing:
                self._number += 1
                found.append(self._localize_last(self._length))
            block = block[:, missing:]
        return found

    def flush(self) -> list[Answer]:
        """Localize what came after the last window, at the end of a stream.

        Returns:
            One answer for the newest samples: as many as a window has, or all that there
            are. None if the last window holds them all, or they are shorter than 0.25 s.
            Less than a window is another length, for which programs are compiled.

        >>> import numpy as np
        >>> import uld_jax
        >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1]]
        >>> stream = uld_jax.Stream(nodes, 16_000)
        >>> stream.push(np.zeros((3, 24_000)))
        []
        >>> [one.end for one in stream.flush()]
        [1.5]
        """
        count = min(self._received, self._length)
        if self._received == self._answered:
            return []
        if count < recordings.LEAST_SECONDS * self._rate:
            return []
        return [self._localize_last(count)]

    def warm_up(self, least_nodes: int | None = None) -> None:
        """Compile the programs that answers need, so that the first is not late.

        It takes about half a minute, or seconds where an earlier process left programs in
        the folder that JAX_COMPILATION_CACHE_DIR names. If nodes fall silent, programs for
        fewer are compiled then, unless `least_nodes` asks for them here.

        Args:
            least_nodes: Fewest nodes to compile programs for, 3 or more; None for all M
                nodes alone.

        Raises:
            RecordingError: If `least_nodes` is below 3 or above M.
        """
        count = len(self._nodes)
        least = count if least_nodes is None else least_nodes
        if least_nodes is not None and not localize.LEAST_NODES <= least <= count:
            raise batches.RecordingError(
                f"least_nodes is {least_nodes}; give {localize.LEAST_NODES} to {count}, the "
                "number of nodes"
            )
        noise = np.random.default_rng(0).normal(size=(count, self._length))
        for used in range(count, max(least, localize.LEAST_NODES) - 1, -1):
            for chosen in self._subsets(used):
                signals = np.where(np.isin(np.arange(count), chosen)[:, None], noise, 0)
                self._localize(signals)
            self._compile_rest(recordings.cut(noise[chosen], self._rate), chosen)

    def _subsets(self, used: int) -> list[list[int]]:
        """Choose nodes for each length of correlations that so many can have."""
        found = {}
        some = itertools.combinations(range(len(self._nodes)), used)
        for chosen in map(list, itertools.islice(some, _MOST_SUBSETS)):
            found.setdefault(correlations.lag_bound(self._nodes[chosen]), chosen)
        return list(found.values())

    def _compile_rest(
        self, windows: Num[np.ndarray, "W M n"], chosen: list[int]
    ) -> None:
        """Compile programs that only some signals need, for 1 to W windows of nodes."""
        sides = self._room.sides
        nodes = self._nodes[chosen] - np.append(self._room.origin, 0.0)
        cloud = posterior.spread_evenly(sides[:2], votes.RESOLUTION)
        padded = [votes.pad(window, nodes, sides) for window in windows]
        for count in range(1, len(windows) + 1):
            some, mask = padded[:count], votes.nodes_of(padded)[1]
            fusion.weigh_amplitudes(cloud, cloud.points[:1], some, votes.HEIGHT)
            clocks.find_late(votes.signals_of(some), mask, mask, np.ones(len(mask)))
            doubts.is_coherent(windows[:count])

    def _check(self, block: ArrayLike) -> np.ndarray:
        """Check a block, before anything is changed."""
        block, count = recordings.to_array(block), len(self._nodes)
        if block.ndim != 2 or len(block) != count:
            exchanged = block.ndim == 2 and block.shape[1] == count
            fix = (
                "the axes are exchanged: give block.T" if exchanged else "give as many"
            )
            raise batches.RecordingError(
                f"block has shape {block.shape}, and the stream has {count} nodes: it must "
                f"be [{count}, n]; {fix}"
            )
        if not block.shape[1]:
            return block
        if self._ring is not None and block.dtype != self._ring.dtype:
            raise batches.RecordingError(
                f"block is {block.dtype}, and earlier ones were {self._ring.dtype}; convert "
                "all to one type and scale"
            )
        for number, samples in enumerate(block):  # One by one, for memory.
            if not np.isfinite(samples).all():
                raise batches.RecordingError(
                    f"block of node {number} holds NaN or infinity; correct it, or give "
                    "zeros"
                )
        return block

    def _start(self, number: int) -> int:
        """Compute where a window begins, in samples."""
        return round(number * self._hop)

    def _store(self, block: np.ndarray) -> None:
        """Write samples over the oldest of the ring buffer."""
        if self._ring is None:
            self._ring = np.zeros((len(self._nodes), self._length), block.dtype)
        self._received += block.shape[1]
        last = block[:, -self._length :]
        at = np.arange(self._received - last.shape[1], self._received)
        self._ring[:, at % self._length] = last

    def _localize_last(self, count: int) -> Answer:
        """Localize the newest samples."""
        begin, self._answered = self._received - count, self._received
        at = np.arange(begin, self._received) % self._length
        found = self._localize(self._ring[:, at])
        return Answer(begin / self._rate, self._received / self._rate, found)

    def _localize(self, signals: np.ndarray) -> answers.Localization:
        return localize.localize(
            signals,
            self._rate,
            self._nodes,
            self._room_size,
            source_height=self._source_height,
        )


def _check_nodes(node_positions, sample_rate, source_height) -> np.ndarray:
    """Check all that is known before any sample; return the positions with heights."""
    num_nodes = len(node_positions) if hasattr(node_positions, "__len__") else 1
    if not num_nodes:
        raise batches.RecordingError(
            "node_positions is empty; give (x, y, z) in meters for each node"
        )
    silence = np.broadcast_to(0.0, (num_nodes, _LONG_ENOUGH))
    return recordings.check(silence, sample_rate, node_positions, source_height)


def _check_seconds(
    name: str, value: int | float, least: float, most: int | float
) -> None:
    """Raise unless a window or hop can be used."""
    if not isinstance(value, numbers.Real) or not least <= value <= most:
        longest = "the window" if name == "hop" else "the longest"
        raise batches.RecordingError(
            f"{name} is {value!r}; give seconds from {least:g} to {most:g}, {longest}"
        )
