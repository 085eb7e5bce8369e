"""Find how fast clocks drift apart, from the times of arrival in many windows.

While a talker stays, differences of times of arrival change by drifts alone: nothing has
to be known of the place, of nodes or of offsets, nor which windows are of one place. Of
two nodes, all pairs of windows of one place agree on one slope; where a talker moved or a
time is wrong, changes are anything.
"""

import numpy as np
from jaxtyping import Float

from uld_jax.acoustics import constants

_LARGEST, _STEP = 1e-4, 1e-6  # Of what is tried, in seconds a second.
_SPREAD = 0.01  # Meters of path by which changes of two nodes that agree differ,
_AGREES = 0.04  # and most.
_LONGEST = 25.0  # Seconds from window to window: talkers seldom stay longer.
_LEAST_PAIRS = 15  # Of windows that agree: six of one place, or more places.
# Standard deviation of what a drift is before anything is known, and of its error above
# which it is not.
_BEFORE, _VAGUE = 2e-5, 3e-6
_LEAST = 5e-6  # Less is the error of times within 10 s.


def find(
    arrivals: Float[np.ndarray, "K M"], times: Float[np.ndarray, " K"]
) -> Float[np.ndarray, " M"]:
    """Find the drift of each clock, relative to their median.

    Args:
        arrivals: Meters of path at which sound arrived in each window, up to a common
            part; NaN where unknown.
        times: Of the windows, in seconds.

    Returns:
        Seconds a second, [M]; 0 where nothing is known, or less than 5e-6.

    >>> times = np.arange(0.0, 20.0, 2.0)
    >>> later = 343.0 * 1e-5 * times[:, None] * [0.0, 0.0, 0.0, 2.0]
    >>> find(later + [1.0, 3.0, 2.0, 5.0], times).round(7).tolist()
    [0.0, 0.0, 0.0, 2e-05]
    """
    num_nodes = arrivals.shape[1]
    first, second = np.triu_indices(len(arrivals), 1)
    since = times[second] - times[first]
    near = (since > 0) & (since <= _LONGEST)
    first, second, since = first[near], second[near], since[near]
    moved = arrivals[second] - arrivals[first]
    one, other = np.triu_indices(num_nodes, 1)
    measured = [
        _find_slope(moved[:, a] - moved[:, b], since)
        for a, b in zip(one, other, strict=True)
    ]
    slopes, precisions = np.array(measured).reshape(-1, 2).T
    design = np.zeros((len(one), num_nodes))
    rows = np.arange(len(one))
    design[rows, one], design[rows, other] = 1.0, -1.0
    weighted = design * precisions[:, None]
    normal = weighted.T @ design + np.eye(num_nodes) / _BEFORE**2
    found = np.linalg.solve(normal, weighted.T @ slopes)
    found -= np.median(found)
    # A node that no other node confirms has no slope.
    sure = np.array(
        [precisions[(one == node) | (other == node)].max() for node in range(num_nodes)]
    )
    return np.where((sure > _VAGUE**-2) & (np.abs(found) > _LEAST), found, 0.0)


def _find_slope(
    moved: Float[np.ndarray, " P"], since: Float[np.ndarray, " P"]
) -> tuple[float, float]:
    """Find the slope that most pairs of windows agree on, and its precision."""
    known = np.isfinite(moved)
    moved, since = moved[known], since[known]
    if len(moved) < _LEAST_PAIRS:
        return 0.0, 0.0
    count = round(_LARGEST / _STEP)
    slopes = _STEP * np.arange(-count, count + 1)
    misfits = moved[:, None] - constants.SPEED_OF_SOUND * np.outer(since, slopes)
    scores = (1 / (1 + (misfits / _SPREAD) ** 2)).sum(axis=0)
    best = int(scores.argmax())
    right = np.abs(misfits[:, best]) < _AGREES
    if right.sum() < _LEAST_PAIRS:
        return 0.0, 0.0
    # Of n windows, n (n - 1) / 2 pairs have the evidence of n - 1.
    windows = (1 + np.sqrt(1 + 8 * right.sum())) / 2
    spread = _SPREAD / constants.SPEED_OF_SOUND
    return float(slopes[best]), float(
        (since[right] ** 2).sum() * 2 / (windows * spread**2)
    )
