"""Find two nodes that are exchanged, where no position is determined.

With all nodes where they are, sounds of one point fit them better than if any two are
exchanged. If two are exchanged in the table, one exchange fits better than all others, in
nearly all windows.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from uld_jax.localization import answers
from uld_jax.localization import steered_windows as steered

_SPACING = 0.16  # Meters.
MOST_WINDOWS = 8
_MOST_NODES = 16  # Time grows with their fourth power; with more, most fit anyway.
_LEAST_NODES = 5
# By which responses are higher than as the table says, and than by other exchanges: of
# healthy sessions, exchanges lower them, and of exchanged ones, the right one makes them
# higher by a fifth, all others by 2 %.
_BETTER = 1.07
_LEAST_SHARE = 0.75  # Of windows in which it is better.


def find(
    windows: Sequence[np.ndarray], found: Sequence[answers.Localization]
) -> tuple[int, int] | None:
    """Find the numbers of two nodes that are exchanged, if there are.

    Args:
        windows: Of 2 s at 16 kHz, [M, N] each, by nodes with one clock; `MOST_WINDOWS`
            are enough.
        found: What `localize` found in each.
    """
    made = steered.SteeredWindows(windows, found, spacing=_SPACING)
    nodes = np.flatnonzero(made.usable.any(axis=0))
    if not _LEAST_NODES <= len(nodes) <= _MOST_NODES:
        return None
    delays = steered.find_delays(made.points, made.nodes)
    given = _score(made, delays)
    scores = {}
    for pair in itertools.combinations(nodes.tolist(), 2):
        order = np.arange(len(made.nodes))
        order[list(pair)] = order[list(pair[::-1])]
        scores[pair] = _score(made, delays[:, order])
    best, second = sorted(scores, key=lambda pair: -scores[pair].sum())[:2]
    others = max(given.sum(), scores[second].sum())
    better = np.mean(scores[best] > given)
    if scores[best].sum() > _BETTER * others and better >= _LEAST_SHARE:
        return best
    return None


def _score(made: steered.SteeredWindows, delays: np.ndarray) -> np.ndarray:
    """Compute the highest response of each window."""
    return np.array(
        [
            steered.respond(one, delays, np.flatnonzero(own).tolist()).max()
            for one, own in zip(made.wide, made.usable, strict=True)
        ]
    )
