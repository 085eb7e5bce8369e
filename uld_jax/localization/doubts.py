"""Say why an answer of the localizer cannot be trusted, and what is wrong with nodes."""

import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from uld_jax.acoustics import constants, envelopes
from uld_jax.localization import posterior, votes

# An answer is determined if its mode holds this mass, within this radius in meters.
SURE_MASS, SURE_RADIUS = 0.8, 1.0
# Much of the posterior so near to a wall, in cells, is doubtful.
_WALL_CELLS, _WALL_MASS = 1.5, 0.3
# Nodes and windows that show whether signals have anything in common, at most; and how
# far their correlations must stand out, in standard errors.
_MOST_CHECKED, _LEAST_CONTRAST = 10, 4.0
# Seconds at which a node is named as late, and the most that are named.
_LATE, _MOST_NAMED = 0.015, 3
# Standard errors by which clocks are off, when that is said.
_OFF = 2.0
NOT_COHERENT = (
    "The nodes' signals have nothing in common within 60 ms: silence, noise of each "
    "node's own, or clocks that are farther off"
)
NOTHING_FITS = (
    "Levels do not fit, and times confirm no position: nodes are few, or their clocks and "
    "gains or their positions are far off, or there is noise alone"
)


def find_doubts(
    modes: tuple[posterior.Mode, ...],
    within: float,
    cloud: posterior.Cloud,
    plan: np.ndarray,
    origin: np.ndarray,
) -> list[str]:
    """Say why an answer cannot be trusted, if it cannot.

    Args:
        modes: Of the posterior.
        within: Radius in meters that holds 90 % of it.
        cloud: The posterior.
        plan: Sides of the room in meters.
        origin: Its corner.
    """
    if modes[0].mass < SURE_MASS:
        places = [
            f"({x:.2f}, {y:.2f}) m with {mode.mass:.0%}"
            for mode in modes
            for x, y in [mode.position + origin]
        ]
        return [f"{len(places)} places fit: {', '.join(places)}"]
    if within > SURE_RADIUS:
        return [f"90 % of the posterior needs {within:.1f} m around the position"]
    reach = _WALL_CELLS * plan / votes.RESOLUTION
    near = (np.minimum(cloud.points, plan - cloud.points) < reach).any(axis=1)
    # What times confirm has no extent, and may be near a wall.
    near &= (cloud.variances > 0).any(axis=1)
    if cloud.masses[near].sum() > _WALL_MASS:
        return [
            "Much of the posterior is at a wall: the talker may be outside of the room"
        ]
    return []


def without_doubts(reasons: Sequence[str]) -> tuple[str, ...]:
    """Leave what there is to know of nodes, without why an answer cannot be trusted.

    >>> without_doubts([NOT_COHERENT, "Node 1 is clipped; it was used"])
    ('Node 1 is clipped; it was used',)
    """
    doubtful = (
        r"\d+ places fit: |90 % of the posterior needs|Much of the posterior is at a wall|"
        rf"Times confirm another|{re.escape(NOT_COHERENT)}|{re.escape(NOTHING_FITS)}"
    )
    return tuple(one for one in reasons if not re.match(doubtful, one))


def is_coherent(windows: np.ndarray) -> bool:
    """Check whether signals of different nodes have anything in common.

    The peaks of their correlations are compared with those of the same signals, moved
    against each other by longer than any sound takes.
    """
    length = windows.shape[-1]
    some = windows
    for axis in (0, 1):
        most = min(some.shape[axis], _MOST_CHECKED)
        chosen = np.linspace(0, some.shape[axis] - 1, most).astype(int)
        some = some.take(chosen, axis)
    step = length // some.shape[1]
    if step < 2 * envelopes.LARGEST_LAG:  # Too short to be moved that far.
        some = some[:, : max(2, length // (2 * envelopes.LARGEST_LAG))]
        step = length // some.shape[1]
    moved = np.stack(
        [np.roll(some[:, m], m * step, axis=-1) for m in range(some.shape[1])], axis=1
    )
    real, chance = (np.asarray(_peaks(signals)) for signals in (some, moved))
    error = math.sqrt(chance.var() / chance.size + real.var() / real.size)
    return bool(real.mean() - chance.mean() > _LEAST_CONTRAST * max(error, 1e-3))


@jax.jit
def _peaks(windows: Float[Array, "W M N"]) -> Float[Array, "W Q"]:
    """Find the highest log envelope of each pair."""

    def one(signals):
        return envelopes.to_log(envelopes.pair_envelopes(signals))[0].max(axis=-1)

    return jax.lax.map(one, windows)


def describe_clocks(
    offsets: Float[np.ndarray, " M"], errors: Float[np.ndarray, " M"]
) -> list[str]:
    """Say how far clocks are off altogether, if they are.

    Args:
        offsets: Seconds by which nodes are late; NaN where it is not known.
        errors: Their standard errors.
    """
    known = np.isfinite(offsets)
    if not known.any():
        return []
    spread = 1.4826 * np.median(np.abs(offsets[known]))
    if spread < _OFF * np.median(errors[known]):
        return []
    return [
        f"Clocks or node positions are off: by {1000 * spread:.1f} ms, or "
        f"{spread * constants.SPEED_OF_SOUND:.2f} m (standard deviation)"
    ]


def describe_nodes(
    offsets: Float[np.ndarray, " M"],
    numbers: Int[np.ndarray, " M"],
    exchanged: Int[np.ndarray, "E 2"],
) -> list[str]:
    """Say which nodes are late or early, and which are exchanged.

    Args:
        offsets: Seconds by which nodes are late; NaN where it is not known.
        numbers: Of the nodes.
        exchanged: Pairs of nodes of which each is where the other should be.
    """
    notes = [
        f"Nodes {one} and {other} seem to be exchanged: each fits the other's position"
        for one, other in exchanged
    ]
    late = np.flatnonzero(np.abs(offsets) > _LATE)
    if len(late) > _MOST_NAMED:
        count = len(late)
        notes.append(f"{count} nodes are more than {1000 * _LATE:.0f} ms late or early")
        return notes
    for number in late:
        word = "late" if offsets[number] > 0 else "early"
        milliseconds = 1000 * abs(offsets[number])
        notes.append(
            f"Node {numbers[number]} is {milliseconds:.1f} ms {word}: its clock or "
            "position is off"
        )
    return notes


def with_names(reasons: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Write names in place of nodes' numbers in sentences about them.

    >>> from uld_jax.localization import doubts
    >>> doubts.with_names(["Node 1 is clipped; it was used"], ["desk", "door"])
    ('Node door is clipped; it was used',)
    """

    def name(match):
        return re.sub(r"\d+", lambda number: names[int(number[0])], match[0])

    return tuple(re.sub(r"^Nodes? \d+( and \d+)?\b", name, one) for one in reasons)
