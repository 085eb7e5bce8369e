"""Find how late recorders are that were started after others, which share a clock.

A recorder that was started later is moved by its levels, to some tens of milliseconds.
The nodes that started together say where the talker may be in each window: the steered
response of their correlations has its highest values at the talker and at some other
points. Each of these says when a late node should have received the sound. By its right
offset, some point fits in every window, wherever the talker is; by another, in few. So
responses are summed over windows, for each offset.

It takes no determined position. What it finds is to be confirmed by positions that are
determined with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from uld_jax.localization import answers, drifts, late_nodes, same_places
from uld_jax.localization import steered_windows as steered

LEAST_TOGETHER = 3  # Nodes whose clock is the reference.
_LEAST_WINDOWS = 3
# Windows that are determined with the clocks that were found, of all, and more than before.
# Where nodes that started together did not share a clock, a tenth were, at most.
_CONFIRMED, _MORE = 1 / 3, 1 / 6
_LEAST_SAID = 0.001  # Seconds.
_REACH = 200  # Lags to either side: 25 ms.
_TOP = 200  # Points of the highest response in each window.
_SWEEPS = 2
# Then finer: around some of them, at parts of lags.
_TOP_FINER, _REACH_FINER, _PARTS = 10, 16, 8
_AROUND = np.array([-0.04, -0.02, 0.0, 0.02, 0.04])  # Meters.
_ABOVE = np.array([-0.15, 0.0, 0.15])


class Clocks(NamedTuple):
    """Clocks of M nodes.

    Attributes:
        late: Seconds by which each is late at the time `reference`, [M].
        drifts: Seconds a second, [M].
        reference: In seconds.
    """

    late: Float[np.ndarray, " M"]
    drifts: Float[np.ndarray, " M"]
    reference: float = 0.0

    def describe(self, names: Sequence[str]) -> dict[str, str]:
        """Describe how clocks of nodes are off, by name, in what follows the name.

        >>> clocks = Clocks(np.array([0.0, -0.01]), np.array([2e-5, 0.0]))
        >>> clocks.describe(["desk", "door"])
        {'desk': 'drifts by 20 ppm', 'door': 'is 10.0 ms early'}
        """
        said = {}
        for name, late, drift in zip(names, self.late, self.drifts, strict=True):
            facts = []
            if abs(late) > _LEAST_SAID:
                facts.append(f"is {late_nodes.describe(late)}")
            if drift:
                facts.append(f"drifts by {1e6 * drift:.0f} ppm")
            if facts:
                said[name] = " and ".join(facts)
        return said

    def late_at(self, time: float) -> Float[np.ndarray, " M"]:
        """Compute by how many seconds each node is late at a time in seconds."""
        return self.late + (time - self.reference) * self.drifts


def find(
    windows: Sequence[np.ndarray],
    times: Float[np.ndarray, " K"],
    found: Sequence[answers.Localization],
    together: Bool[np.ndarray, " M"],
) -> Clocks:
    """Find the clocks of nodes that were started late, relative to the others.

    Args:
        windows: Of 2 s at 16 kHz, [M, N] each.
        times: At which each is halfway, in seconds.
        found: What `localize` found in each.
        together: Which nodes started together, three or more.
    """
    rates = drifts.find(np.stack(windows), times).sure
    made = steered.SteeredWindows(windows, found, np.outer(times, rates))
    lags = _Search(made).find(together & made.usable.any(axis=0))
    return Clocks(lags / steered.LAGS_PER_SECOND, rates)


def started_together(
    starts: Int[np.ndarray, " M"], usable: Bool[np.ndarray, " M"]
) -> Bool[np.ndarray, " M"]:
    """Find the nodes whose recorders started at the time at which most did.

    Args:
        starts: When each started, as its levels show.
        usable: Of which it is known.

    >>> started_together(np.array([0, 30, 0, 12, 0]), np.array([True] * 4 + [False]))
    array([ True, False,  True, False, False])
    """
    values, counts = np.unique(starts[usable], return_counts=True)
    if not len(values):
        return np.zeros(len(starts), bool)
    return usable & (starts == values[counts.argmax()])


def is_worth_trying(
    found: Sequence[answers.Localization],
    together: Bool[np.ndarray, " M"],
    usable: Bool[np.ndarray, " M"],
) -> bool:
    """Check whether few windows are determined, and some nodes started late.

    Args:
        found: Of each window, what `localize` found.
        together: From `started_together`.
        usable: Nodes with a known start.
    """
    few = 2 * _count(found) < len(found) and len(found) >= _LEAST_WINDOWS
    late = usable & ~together
    return bool(few and late.any() and together.sum() >= LEAST_TOGETHER)


def are_confirmed(
    found: Sequence[answers.Localization], again: Sequence[answers.Localization]
) -> bool:
    """Check whether positions confirm clocks, at two places or more.

    Args:
        found: Of each window, what `localize` found without the clocks,
        again: and with them.
    """
    least = max(_CONFIRMED * len(again), _count(found) + _MORE * len(again))
    sure = np.array([one.position for one in again if one.determined])
    if len(sure) < max(least, _LEAST_WINDOWS):
        return False
    apart = np.linalg.norm(sure[:, None] - sure, axis=-1)
    return bool(apart.max() > same_places.APART)


def _count(found) -> int:
    return sum(one.determined for one in found)


class _Search:
    """The lags [M] of clocks that are looked for."""

    def __init__(self, made: steered.SteeredWindows):
        self.made, self.lags = made, np.zeros(len(made.nodes))

    def find(self, together: Bool[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
        """Find the lags of all nodes but those that started together."""
        known = np.flatnonzero(together).tolist()
        late = ~together & self.made.usable.any(axis=0)
        others = left = np.flatnonzero(late).tolist()
        reach = np.arange(-_REACH, _REACH + 1.0)
        points = [self.made.points] * len(self.made.wide)
        while left:  # The surest first.
            summed = {node: self._sum(points, node, known, reach) for node in left}
            surest = max(left, key=lambda node: _stand_out(summed[node]))
            self.lags[surest] = reach[summed[surest].argmax()]
            known.append(surest)
            left = [node for node in left if node != surest]
        self._sweep(points, others, known, reach)
        points = self._find_finer_points(known)
        for _ in range(_SWEEPS):
            finer = np.arange(-_REACH_FINER, _REACH_FINER + 1) / _PARTS
            self._sweep(points, others, known, finer, finer=True)
        return self.lags

    def _sweep(self, points, others, known, reach, finer=False) -> None:
        """Find the lag of each late node in turn, from all others."""
        for node in others:
            rest = [other for other in known if other != node]
            tried = reach + self.lags[node] if finer else reach
            summed = self._sum(points, node, rest, tried, finer)
            self.lags[node] = tried[summed.argmax()]

    def _find_finer_points(self, nodes: list[int]) -> list[np.ndarray]:
        """Make points around those of the highest responses of each window."""
        x, y, z = np.meshgrid(_AROUND, _AROUND, _ABOVE, indexing="ij")
        around = np.stack([x, y, z], axis=-1).reshape(-1, 3)
        points, found = self.made.points, []
        delays = steered.find_delays(points, self.made.nodes) + self.lags
        for wide, usable in zip(self.made.wide, self.made.usable, strict=True):
            own = [node for node in nodes if usable[node]]
            top = _highest(steered.respond(wide, delays, own), _TOP_FINER)
            found.append((points[top][:, None] + around).reshape(-1, 3))
        return found

    def _sum(
        self,
        points: list[np.ndarray],
        node: int,
        known: list[int],
        tried: Float[np.ndarray, " L"],
        finer: bool = False,
    ) -> Float[np.ndarray, " L"]:
        """Sum the highest responses of windows for each lag of a node that is tried."""
        total, made = np.zeros(len(tried)), self.made
        envelopes = made.envelopes if finer else made.wide
        for one, where, usable in zip(envelopes, points, made.usable, strict=True):
            own = [other for other in known if usable[other]]
            if not usable[node] or len(own) < LEAST_TOGETHER:
                continue
            delays = steered.find_delays(where, made.nodes)
            response = steered.respond(one, delays + self.lags, own, finer)
            top = _highest(response, _TOP)
            added = np.repeat(response[top, None], len(tried), axis=1)
            for other in own:
                apart = delays[top, node] - delays[top, other] - self.lags[other]
                added += steered.read(one[node, other], apart[:, None] + tried, finer)
            total += added.max(axis=0)
        return total


def _highest(response: np.ndarray, count: int) -> np.ndarray:
    """Find the points of the highest responses."""
    count = min(count, len(response))
    return np.argpartition(-response, count - 1)[:count]


def _stand_out(summed: np.ndarray) -> float:
    """Compute by how many deviations the highest of some sums stands out."""
    away = summed - np.median(summed)
    return float(away.max() / max(np.median(np.abs(away)), 1e-9))
