"""Steered responses of many windows: how well sounds from points fit all nodes at once.

The correlations of windows, where their peaks are made as wide as points are apart, so
that no peak is between points.
"""

from collections.abc import Sequence

import jax
import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float

from uld_jax.acoustics import constants
from uld_jax.localization import alignment, answers, recordings

LAGS_PER_SECOND = constants.SAMPLE_RATE // 2  # Of `alignment.correlate`.
SPACING = 0.08  # Meters: of points for which peaks are wide by one lag.
_HEIGHTS = (1.0, 1.3, 1.6)  # Meters.
_MOST_POINTS = 20_000
# Entries of the correlations of a window that are kept, for all windows.
_MOST_PAIRS = 2_000
_correlate = jax.jit(alignment.correlate)


class SteeredWindows:
    """The correlations of W windows, by which of M nodes, and points of the room.

    Attributes:
        envelopes: Of each window, [M, M, 4000], see `alignment.correlate`.
        wide: The same, with wide peaks.
        usable: Nodes of each window, [W, M].
        nodes: Their positions in meters, [M, 3].
        points: In meters, [P, 3].
    """

    def __init__(
        self,
        windows: Sequence[np.ndarray],
        found: Sequence[answers.Localization],
        late: Float[np.ndarray, "K M"] | None = None,
        spacing: float = SPACING,
    ):
        """Correlate some of the windows, from the first to the last.

        Args:
            windows: Of 2 s at 16 kHz, [M, N] each.
            found: What `localize` found in each.
            late: Seconds by which each node is known to be late in each; None for 0.
            spacing: Of points in meters; more in large rooms.
        """
        self.nodes = found[0].node_positions
        kept = max(1, _MOST_PAIRS // len(self.nodes) ** 2)
        chosen = np.unique(np.linspace(0, len(windows) - 1, kept).astype(int))
        self.usable = np.array([found[k].node_weights > 0 for k in chosen])
        late = np.zeros((len(windows), len(self.nodes))) if late is None else late
        self.envelopes = [
            _correlate_one(windows[k], own, late[k])
            for k, own in zip(chosen, self.usable, strict=True)
        ]
        area = float(np.prod(found[0].room_size)) * len(_HEIGHTS)
        spacing = max(spacing, (area / _MOST_POINTS) ** 0.5)
        self.points = _make_points(found[0], spacing)
        size = 2 * round(spacing / SPACING) + 1
        self.wide = [
            scipy.ndimage.maximum_filter1d(one, size, axis=-1, mode="wrap")
            for one in self.envelopes
        ]


def _correlate_one(
    window: np.ndarray, usable: Bool[np.ndarray, " M"], late: Float[np.ndarray, " M"]
) -> np.ndarray:
    moved = recordings.advance(window, late, constants.SAMPLE_RATE)
    moved = np.float32(moved / max(np.abs(moved).max(), 1e-9))
    return np.asarray(_correlate(moved[None], usable))


def _make_points(found: answers.Localization, spacing: float) -> np.ndarray:
    """Make points throughout the room, at some heights of a talker."""
    x, y = (np.arange(spacing / 2, side, spacing) for side in found.room_size)
    grid = np.meshgrid(
        x + found.origin[0], y + found.origin[1], _HEIGHTS, indexing="ij"
    )
    return np.stack(grid, axis=-1).reshape(-1, 3)


def find_delays(
    points: Float[np.ndarray, "P 3"], nodes: Float[np.ndarray, "M 3"]
) -> Float[np.ndarray, "P M"]:
    """Compute in lags when sound of points reaches nodes."""
    paths = np.linalg.norm(points[:, None] - nodes, axis=-1)
    return LAGS_PER_SECOND / constants.SPEED_OF_SOUND * paths


def respond(
    envelopes: np.ndarray,
    delays: Float[np.ndarray, "P M"],
    nodes: Sequence[int],
    finer: bool = False,
) -> Float[np.ndarray, " P"]:
    """Sum the correlations of all pairs of some nodes.

    Args:
        envelopes: Of a window, [M, M, 4000].
        delays: In lags at which sound of each point reaches the nodes.
        nodes: Numbers of nodes.
        finer: Whether to read between lags.
    """
    total = np.zeros(len(delays))
    for number, one in enumerate(nodes):
        for other in nodes[:number]:
            apart = delays[:, one] - delays[:, other]
            total += read(envelopes[one, other], apart, finer)
    return total


def read(row: np.ndarray, lags: np.ndarray, finer: bool = False) -> np.ndarray:
    """Read a correlation at lags: the nearest sample, or between two.

    >>> read(np.arange(4000.0), np.array([2.75, -1.0])).tolist()
    [3.0, 3999.0]
    >>> read(np.arange(4000.0), np.array([2.75]), finer=True).tolist()
    [2.75]
    """
    if not finer:
        return row[np.rint(lags).astype(int) % alignment.NUM_LAGS]
    whole = np.floor(lags)
    part, first = lags - whole, whole.astype(int) % alignment.NUM_LAGS
    return (1 - part) * row[first] + part * row[(first + 1) % alignment.NUM_LAGS]
