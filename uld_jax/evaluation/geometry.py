"""Check that the places of a session's nodes can determine positions, and look right."""

from collections.abc import Sequence

import numpy as np

from uld_jax.audio import diagnosis, places, sessions
from uld_jax.audio import signals as signals_lib
from uld_jax.localization import localize, placement

_TOO_LARGE = 10.0  # Of their extent: a longer side of the room is doubtful.
# Heights in meters: between zero and the first, they are in another unit; above the
# second, in feet where the room's height is not known.
_LOW, _HIGH = 0.01, 3.2


def check(whole: sessions.Session, faults: Sequence[str]) -> list[diagnosis.Remark]:
    """Check the places of the nodes with sound, and those of all.

    Args:
        whole: The session.
        faults: Of its nodes in one of its recordings, one of `signals.FAULTS`, or empty.
    """
    usable = [signals_lib.is_usable(fault) for fault in faults]
    plan = whole.node_positions[usable, :2]
    if remarks := _check_number(plan):
        return remarks
    remarks = _check_heights(whole)
    if lost := _find_lost_nodes(whole):  # All others would be on a line with one.
        return remarks + lost
    if placement.are_on_line(plan):
        what = "Nodes are on a line: a talker and the mirror image cannot be told apart"
        remarks.append(_remark("line", what, "Move a node away from the line"))
    elif len(plan) == localize.LEAST_NODES:
        what = f"{len(plan)} nodes can be used, so that no position has a check"
        remarks.append(
            _remark("three", what, "Add recorders: eight or more are better")
        )
    return remarks + _check_extent(whole)


def _remark(kind, what, fix, level=diagnosis.REMARK, node=None) -> diagnosis.Remark:
    return diagnosis.Remark(node, level, kind, what, fix)


def _check_number(plan: np.ndarray) -> list[diagnosis.Remark]:
    """Check that there are enough nodes at different places."""
    count, least = len(np.unique(plan, axis=0)), localize.LEAST_NODES
    if count >= least:
        return []
    what = f"{len(plan)} node{'s'[: len(plan) - 1]} can be used, and {least} are needed"
    fix = "Add recorders, or mend those that are silent"
    if len(plan) >= least:
        what = (
            f"{len(plan)} nodes are at {count} place{'s'[: count - 1]} in the plan, and "
            f"{least} are needed"
        )
        fix = "Correct x and y, or move them apart"
    return [_remark("few", what, fix, diagnosis.UNUSABLE)]


def _check_heights(whole: sessions.Session) -> list[diagnosis.Remark]:
    """Find heights that are in another unit, or not measured."""
    if whole.node_positions.shape[1] < 3:
        return []
    heights = whole.node_positions[:, 2]
    if (heights == 0).all():
        fix = "Measure heights, or leave the column z out"
        return [_remark("height", "All nodes are on the floor: z is 0", fix)]
    remarks = []
    for name, height in zip(whole.nodes, heights, strict=True):
        if 0 < height < _LOW:
            what = f"is {1000 * height:.2g} mm high"
            fix = "Give z in meters, or name the column by its unit"
            remarks.append(_remark("height", what, fix, node=name))
    room = whole.room_size
    if (room is None or len(room) < 3) and np.median(heights) > _HIGH:
        what = f"Nodes are {np.median(heights):.1f} m high in the median"
        fix = "Name the column z_ft if these are feet; if not, give the height of the room"
        remarks.append(_remark("height", what, fix))
    return remarks


def _find_lost_nodes(whole: sessions.Session) -> list[diagnosis.Remark]:
    """Find nodes far from all others."""
    remarks = []
    nearest_others = places.find_nearest(whole.node_positions[:, :2])
    for name, nearest in zip(whole.nodes, nearest_others, strict=True):
        if nearest > places.FARTHEST:
            what = f"is {nearest:.0f} m from the nearest other"
            fix = "Correct its place, or put it where the others are"
            remarks.append(_remark("far", what, fix, node=name))
    return remarks


def _check_extent(whole: sessions.Session) -> list[diagnosis.Remark]:
    """Find a room that is much larger than the extent of the nodes."""
    extent = np.ptp(whole.node_positions[:, :2], axis=0).max()
    if whole.room_size is None or whole.room_size.max() <= _TOO_LARGE * extent:
        return []
    what = (
        f"The room has sides of {whole.room_size.tolist()} m, and nodes are within "
        f"{extent:.2g} m"
    )
    fix = "Check their units, or put nodes around the talkers"
    return [_remark("extent", what, fix)]
