"""Find how late each node is, given where the talker is.

A node is late if its clock is, or if it stands farther away than was measured: one
position of a talker cannot tell these apart.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from uld_jax.acoustics import constants
from uld_jax.localization import alignment, times

# Correlation of a node with the sum of others, relative to its root mean square, at which
# its sound was found.
_STANDS_OUT = 7.0
AGREES = 0.04  # Meters of path by which a time that agrees is off, at most.
_LEAST_SWAP = 0.3  # Meters between the paths of nodes that may be exchanged.
_find = jax.jit(alignment.find_late)


def find_late(
    signals: Float[np.ndarray, "W M N"],
    mask: Bool[np.ndarray, " M"],
    agrees: Bool[np.ndarray, " M"],
    paths: Float[np.ndarray, " M"],
) -> Float[np.ndarray, " M"]:
    """Find by how many seconds each node is later than a position says, up to 0.25.

    Args:
        signals: Windows at 16 kHz.
        mask: True where there is a node.
        agrees: Which nodes' times agree with the position.
        paths: Meters from it to each node.

    Returns:
        Seconds, relative to the nodes that agree; NaN where the sound was not found.
    """
    delays = np.float32(paths / constants.SPEED_OF_SOUND)
    late, contrast = map(np.asarray, _find(signals, mask, agrees, delays))
    late = np.where(contrast > _STANDS_OUT, late, np.nan)
    agreeing = late[agrees & (contrast > _STANDS_OUT)]
    return late - (np.median(agreeing) if len(agreeing) else np.nan)


def find_exchanged(
    late: Float[np.ndarray, " M"], paths: Float[np.ndarray, " M"]
) -> Int[np.ndarray, "E 2"]:
    """Find pairs of nodes of which each receives what the other should.

    Args:
        late: Seconds by which nodes are late, from `find_late`.
        paths: Meters from the talker to each node.
    """
    one, other = np.triu_indices(len(late), 1)
    swapped = paths[other] - paths[one]
    residuals = constants.SPEED_OF_SOUND * late
    fits = np.abs(residuals[one] - swapped) < AGREES
    fits &= np.abs(residuals[other] + swapped) < AGREES
    fits &= np.abs(swapped) > _LEAST_SWAP
    pairs = np.stack([one[fits], other[fits]], axis=1)
    # Of many displaced nodes, some fit by chance: each must fit one other alone.
    numbers, counts = np.unique(pairs, return_counts=True)
    return pairs[np.isin(pairs, numbers[counts == 1]).all(axis=1)]


def subtract_paths(
    delays: Float[np.ndarray, " M"],
    node_positions: Float[np.ndarray, "M 3"],
    position: Float[np.ndarray, "3"],
) -> Float[np.ndarray, " M"]:
    """Compute by how many seconds aligned nodes are later than a position says.

    Args:
        delays: In seconds, on the circle of `alignment`; NaN where unknown.
        node_positions: In meters.
        position: In meters.

    Returns:
        Seconds, relative to their median.
    """
    paths = np.linalg.norm(node_positions - position, axis=1)
    late = delays - paths / constants.SPEED_OF_SOUND
    circle = 2 * alignment.NUM_LAGS / constants.SAMPLE_RATE

    def wrap(seconds):
        return (seconds + circle / 2) % circle - circle / 2

    # Around their mean on the circle, so that there is a median.
    angles = 2 * np.pi * late / circle
    late = wrap(late - circle * np.angle(np.nansum(np.exp(1j * angles))) / (2 * np.pi))
    return wrap(late - np.nanmedian(late))


def standard_errors(
    node_positions: Float[np.ndarray, "M 3"],
    position: Float[np.ndarray, "3"],
    covariance: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, " M"]:
    """Compute the standard errors of offsets in seconds from that of a position.

    Args:
        node_positions: In meters.
        position: In meters.
        covariance: Of the position, in square meters.
    """
    # An error that moves all nodes alike is no offset.
    directions = _directions(node_positions, position)
    variances = np.einsum("ma,ab,mb->m", directions, covariance, directions)
    return np.sqrt(variances + times.LEAST_ERROR**2) / constants.SPEED_OF_SOUND


def position_covariance(
    node_positions: Float[np.ndarray, "M 3"],
    position: Float[np.ndarray, "3"],
    covariance: Float[np.ndarray, "M M"],
) -> Float[np.ndarray, "2 2"]:
    """Compute by how much errors of clocks move a position that they were used for.

    Args:
        node_positions: In meters; of nodes whose clocks are known.
        position: In meters.
        covariance: Of the errors of the nodes' clocks, in square seconds.

    Returns:
        The covariance of (x, y) in square meters.
    """
    # An error that moves all nodes alike moves no position.
    slopes = _directions(node_positions, position)[:, :2]
    moved = constants.SPEED_OF_SOUND * np.linalg.pinv(slopes, rcond=1e-3)
    return moved @ covariance @ moved.T


def _directions(
    node_positions: Float[np.ndarray, "M 3"], position: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "M 3"]:
    """Compute unit vectors from the nodes to a position, less their mean."""
    away = position - node_positions
    directions = away / np.maximum(np.linalg.norm(away, axis=1), 1e-3)[:, None]
    return directions - directions.mean(axis=0)
