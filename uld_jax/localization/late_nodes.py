"""Find nodes whose clocks, or positions, are off in several windows of a recording.

Where most nodes share a clock, times confirm positions without those that do not, and tell
how late these are. A node's wrong position makes it late by another time at each place of
the talker, and a wrong peak by another in each window; a clock's offset stays.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from uld_jax.localization import answers, same_places

_AGREE = 0.0003  # Seconds around the middle of those that agree.
_LEAST_WINDOWS, _LEAST_SHARE = 3, 1 / 3  # That agree, of those where it is known.
_SURE = 0.3  # Meters: the radius of positions that tell how late a node is.
_LEAST_LATE = 0.001  # Seconds: less is the position's error.
# A node fits nowhere if it is off by so many standard errors, and seconds, in so many of
# the windows. Of 40 sessions without a fault, with 5 and 8 nodes, none has such a node.
_MISFIT, _LEAST_MISFIT, _MISFIT_SHARE = 3.5, 0.0005, 0.75
# A wall behind a node makes it late, never early, at one place or two.
_LEAST_PLACES = 3
_SURE_OF_MISFITS = 0.5  # Meters, as `_SURE`: a wrong node makes the radius larger.


def find(found: Sequence[answers.Localization]) -> Float[np.ndarray, " M"]:
    """Find by how much nodes are late in all windows.

    Args:
        found: What was found in the windows of a recording, by the same nodes.

    Returns:
        Seconds, [M]; zero for nodes that are in time, or of which it is not known.
    """
    late = np.zeros(len(found[0].node_offsets))
    sure = _select(found, _SURE)
    if len(sure) < _LEAST_WINDOWS:
        return late
    offsets = np.array([one.node_offsets for one in sure])
    places = np.array([one.position for one in sure])
    for node, own in enumerate(offsets.T):
        known = np.flatnonzero(np.isfinite(own))
        if len(known) < _LEAST_WINDOWS:
            continue
        alike = np.abs(own[known, None] - own[known]) <= _AGREE
        middle = int(alike.sum(axis=1).argmax())
        agree = known[alike[middle]]
        least = max(_LEAST_WINDOWS, _LEAST_SHARE * len(known))
        apart = np.linalg.norm(places[agree] - places[agree[0]], axis=1).max()
        offset = float(np.median(own[agree]))
        if (
            len(agree) >= least
            and apart > same_places.APART
            and abs(offset) > _LEAST_LATE
        ):
            late[node] = offset
    return late


def describe(late: float) -> str:
    """Describe by how much a node is late.

    >>> describe(0.0123), describe(-0.01)
    ('12.3 ms late', '10.0 ms early')
    """
    return f"{1000 * abs(late):.1f} ms {'late' if late > 0 else 'early'}"


def find_misfits(found: Sequence[answers.Localization]) -> Float[np.ndarray, " M"]:
    """Find nodes that do not fit the others in nearly all windows.

    Args:
        found: What was found in the windows of a recording, by the same nodes.

    Returns:
        The most by which each is late or early, in seconds, [M]; zero for nodes that fit,
        or of which it is not known.
    """
    misfits = np.zeros(len(found[0].node_offsets))
    sure = _select(found, _SURE_OF_MISFITS)
    if len(sure) < _LEAST_WINDOWS:
        return misfits
    late = np.array([one.node_offsets for one in sure])
    places = np.array([one.position for one in sure])
    offsets = np.abs(late)
    errors = np.array([one.node_offset_errors for one in sure])
    known = np.isfinite(offsets)
    with np.errstate(invalid="ignore"):
        off = offsets > np.maximum(_LEAST_MISFIT, _MISFIT * errors)
    least = np.maximum(_LEAST_WINDOWS, len(sure) / 2)
    wrong = (known.sum(axis=0) >= least) & (
        off.sum(axis=0) >= _MISFIT_SHARE * known.sum(axis=0)
    )
    for node in np.flatnonzero(wrong):
        own = off[:, node]
        early = own & (late[:, node] < 0)
        wrong[node] = (
            early.any() or same_places.count_apart(places[own]) >= _LEAST_PLACES
        )
    misfits[wrong] = np.nanmax(offsets[:, wrong], axis=0)
    return misfits


def _select(
    found: Sequence[answers.Localization], radius: float
) -> list[answers.Localization]:
    """Select the answers that are determined within a radius in meters."""
    return [one for one in found if one.determined and one.radius_90 < radius]
