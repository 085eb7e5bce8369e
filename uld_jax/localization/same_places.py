"""Find windows in which the talker was at one place, by their times of arrival.

Clocks are fitted to places. Windows at one place have the same times, right or wrong ones:
counted one by one, they would confirm each other, and clocks that are wrong.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse.csgraph
from jaxtyping import Float, Int

from uld_jax.acoustics import constants
from uld_jax.localization import answers, clocks

APART = 0.5  # Meters between places.
_LEAST_NODES = 4  # Of which times agree at one place,
_LEAST_SHARE = 2 / 3  # and their share of those that both windows have.
_LEAST_WINDOWS = 0.5  # Share of a place's windows in which a node has a time.


class Places(NamedTuple):
    """Places of a talker, each seen in one window or more.

    Attributes:
        of_window: The number of each window's place, [K].
        arrivals: Meters of path at which sound arrived from each place, up to a common
            part, [P, M]: medians over its windows; NaN where fewer than half have any.
    """

    of_window: Int[np.ndarray, " K"]
    arrivals: Float[np.ndarray, "P M"]


def read_arrivals(
    found: Sequence[answers.Localization],
    node_positions: Float[np.ndarray, "M 3"],
    height: float,
) -> tuple[Float[np.ndarray, "K 3"], Float[np.ndarray, "K M"]]:
    """Read when sound arrived in windows from what was found in them.

    Args:
        found: Windows.
        node_positions: Of their nodes, in meters.
        height: Of a talker in meters, where it was not found.

    Returns:
        Where the talker was found, in meters; and the meters of path at which sound
        arrived, up to a common part; NaN where unknown.
    """
    places = np.array([[*one.position, one.height] for one in found])
    places[:, 2] = np.nan_to_num(places[:, 2], nan=height)
    paths = np.linalg.norm(places[:, None] - node_positions, axis=-1)
    late = np.array([one.node_offsets for one in found])
    return places, constants.SPEED_OF_SOUND * late + paths


def find_surest(
    found: Sequence[answers.Localization], of_window: Int[np.ndarray, " K"]
) -> Int[np.ndarray, " P"]:
    """Find the number of the surest window of each place."""
    radii = np.array([one.radius_90 for one in found])
    places = range(of_window.max() + 1)
    of_place = [np.flatnonzero(of_window == place) for place in places]
    return np.array([some[radii[some].argmin()] for some in of_place])


def count_apart(
    positions: Float[np.ndarray, "K 2"], radii: Float[np.ndarray, " K"] | None = None
) -> int:
    """Count positions that are apart from each other.

    Args:
        positions: In meters.
        radii: Around them, which must not meet either; None for 0.

    >>> count_apart(np.array([[0.0, 0.0], [0.3, 0.0], [0.6, 0.0]]))
    2
    """
    radii = np.zeros(len(positions)) if radii is None else radii
    apart: list[tuple[np.ndarray, float]] = []
    for position, radius in zip(positions, radii, strict=True):
        if all(
            np.linalg.norm(position - other) > max(APART, radius + its)
            for other, its in apart
        ):
            apart.append((position, radius))
    return len(apart)


def find(
    arrivals: Float[np.ndarray, "K M"], before: Int[np.ndarray, " K"] | None = None
) -> Places:
    """Find the windows whose times of arrival agree at two thirds of the nodes or more.

    Args:
        arrivals: Meters of path at which sound arrived in each window, up to a common
            part; NaN where unknown.
        before: Places that were found by other clocks: windows of one stay together.

    >>> arrivals = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0],
    ...                      [6.0, 7.0, 8.0, 9.01]])
    >>> find(arrivals).of_window.tolist()
    [0, 1, 0]
    """
    members: list[list[int]] = []
    of_window = np.zeros(len(arrivals), int)
    for number, one in enumerate(arrivals):
        for place in reversed(range(len(members))):  # The latest first.
            if _agree(one, _combine(arrivals[members[place]])):
                members[place].append(number)
                break
        else:
            place = len(members)
            members.append([number])
        of_window[number] = place
    if before is not None:
        together = of_window[:, None] == of_window
        together |= before[:, None] == before
        _, of_window = scipy.sparse.csgraph.connected_components(together)
    combined = [
        _combine(arrivals[of_window == place]) for place in range(of_window.max() + 1)
    ]
    return Places(of_window.astype(int), np.array(combined))


def _agree(one: Float[np.ndarray, " M"], other: Float[np.ndarray, " M"]) -> bool:
    """Whether two thirds of the times agree, up to a common part."""
    apart = one - other
    apart = apart[np.isfinite(apart)]
    if len(apart) < _LEAST_NODES:
        return False
    # The part that is common to those that agree is near the difference of each.
    within = np.abs(apart - apart[:, None]) < clocks.AGREES
    least = max(_LEAST_NODES, _LEAST_SHARE * len(apart))
    return bool(within.sum(axis=1).max() >= least)


def _combine(some: Float[np.ndarray, "W M"]) -> Float[np.ndarray, " M"]:
    """Compute the medians of windows at one place, without their common parts."""
    order = np.argsort(-np.isfinite(some).sum(axis=1), kind="stable")
    aligned = some[order[:1]]
    for one in some[order[1:]]:
        apart = one - _medians(aligned, 0.0)
        if np.isfinite(apart).any():
            aligned = np.vstack([aligned, one - np.nanmedian(apart)])
    return _medians(aligned, _LEAST_WINDOWS)


def _medians(
    aligned: Float[np.ndarray, "W M"], share: float
) -> Float[np.ndarray, " M"]:
    """Compute the medians of nodes with a time in at least a share of the windows."""
    seen = np.isfinite(aligned)
    enough = seen.any(axis=0) & (seen.mean(axis=0) >= share)
    medians = np.full(aligned.shape[1], np.nan)
    medians[enough] = np.nanmedian(aligned[:, enough], axis=0)
    return medians
