"""Find nodes whose clocks, or positions, are off in several windows of a recording.

Where most nodes share a clock, times confirm positions without those that do not, and tell
how late these are. A node's wrong position makes it late by another time at each place of
the talker, and a wrong peak by another in each window; a clock's offset stays. A wall near
a node makes it late, too, never early, and by about the same time at some places: what the
path of a reflection explains (`reflections`) is no evidence by itself.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from uld_jax.localization import answers, reflections, same_places

_AGREE = 0.0003  # Seconds around the middle of those that agree.
_LEAST_WINDOWS, _LEAST_SHARE = 3, 1 / 3  # That agree, of those where it is known.
_SURE = 0.3  # Meters: the radius of positions that tell how late a node is.
_LEAST_LATE = 0.001  # Seconds: less is the position's error.
# A node is off by so many standard errors, and seconds,
_MISFIT, _LEAST_MISFIT = 3.5, 0.0005
# in some of the windows, or nearly all: see `find_misfits`. Of 340 recordings of talkers at
# two, three or six places, parts of twenty sessions of eight nodes without a fault, none has
# a misfit; of a node that is 1 m elsewhere, 64, 79 and 95 % are found.
_SOME, _NEARLY_ALL = 0.5, 0.75
_LEAST_PLACES = 3  # At which it is late, if walls are not known.
_SURE_OF_MISFITS = 0.5  # Meters, as `_SURE`: a wrong node makes the radius larger.


def find(
    found: Sequence[answers.Localization],
    room_size: Float[np.ndarray, " D"] | None = None,
) -> Float[np.ndarray, " M"]:
    """Find by how much nodes are late in all windows.

    Args:
        found: What was found in the windows of a recording, by the same nodes.
        room_size: Sides of the room in meters, as far as they are known.

    Returns:
        Seconds, [M]; zero for nodes that are in time, or of which it is not known.
    """
    late = np.zeros(len(found[0].node_offsets))
    sure = _select(found, _SURE)
    if len(sure) < _LEAST_WINDOWS:
        return late
    offsets = np.array([one.node_offsets for one in sure])
    places = np.array([one.position for one in sure])
    fits = np.abs(offsets) <= _tolerances(sure, _AGREE)
    reflected = reflections.explain(sure, room_size)
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
            and len(agree) >= 2 * fits[:, node].sum()
            and apart > same_places.APART
            and abs(offset) > _LEAST_LATE
            and not reflected[agree, node].all()
        ):
            late[node] = offset
    return late


def describe(late: float) -> str:
    """Describe by how much a node is late.

    >>> describe(0.0123), describe(-0.01)
    ('12.3 ms late', '10.0 ms early')
    """
    return f"{1000 * abs(late):.1f} ms {'late' if late > 0 else 'early'}"


def find_misfits(
    found: Sequence[answers.Localization],
    room_size: Float[np.ndarray, " D"] | None = None,
) -> Float[np.ndarray, " M"]:
    """Find nodes that do not fit the others.

    Such a node is off in half of the windows, and early in one, or late at two places by
    what no reflection explains; or it is off in nearly all windows, at two places, at one
    of which no reflection explains it. In an unknown room, late at three places is enough.

    Args:
        found: What was found in the windows of a recording, by the same nodes.
        room_size: Sides of the room in meters, as far as they are known.

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
    known = np.isfinite(late)
    off = np.abs(late) > _tolerances(sure, _LEAST_MISFIT)
    unexplained = off & ~reflections.explain(sure, room_size)
    walls_known = room_size is not None
    enough = known.sum(axis=0) >= max(_LEAST_WINDOWS, len(sure) / 2)
    for node in np.flatnonzero(enough):
        share = off[:, node].sum() / known[:, node].sum()
        anywhere = same_places.count_apart(places[off[:, node]])
        elsewhere = same_places.count_apart(places[unexplained[:, node]])
        early = (off[:, node] & (late[:, node] < 0)).any()
        several = elsewhere >= (2 if walls_known else _LEAST_PLACES)
        all_over = walls_known and anywhere > 1 and elsewhere > 0
        if (share >= _SOME and (early or several)) or (
            share >= _NEARLY_ALL and all_over
        ):
            misfits[node] = np.abs(late[known[:, node], node]).max()
    return misfits


def _tolerances(
    found: Sequence[answers.Localization], least: float
) -> Float[np.ndarray, "W M"]:
    """Compute by how many seconds nodes that fit may be off."""
    errors = np.array([one.node_offset_errors for one in found])
    return np.fmax(least, _MISFIT * errors)


def _select(
    found: Sequence[answers.Localization], radius: float
) -> list[answers.Localization]:
    """Select the answers that are determined within a radius in meters."""
    return [one for one in found if one.determined and one.radius_90 < radius]
