"""Map where in the room the places of a session's nodes can determine a position."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float

from uld_jax.audio import diagnosis, sessions
from uld_jax.audio import signals as signals_lib
from uld_jax.localization import doubts, localize, placement, recordings

_MOST = 0.5  # Of the room: nodes are somewhere else if more of it is undetermined.
_NEAR_WALL = 0.25  # Of a side.


@dataclasses.dataclass(frozen=True, eq=False)
class RadiusMap:
    """The expected 90 % radius over the plan, with nodes that share a clock.

    Attributes:
        area: Opposite corners of the room, or of the area that is searched, in meters.
        places: (x, y) of cell centers in meters, rows y.
        radii: Expected there, in meters.
        counts: Where a talker can be: not at a wall.
        nodes: Names of the nodes that are used.
        node_positions: (x, y) of these in meters.
    """

    area: Float[np.ndarray, "2 2"]
    places: Float[np.ndarray, "R C 2"]
    radii: Float[np.ndarray, "R C"]
    counts: Bool[np.ndarray, "R C"]
    nodes: tuple[str, ...]
    node_positions: Float[np.ndarray, "M 2"]

    @property
    def lost(self) -> Bool[np.ndarray, "R C"]:
        """Where a position cannot be determined: the radius is above the limit."""
        return (self.radii > doubts.SURE_RADIUS) & self.counts

    @property
    def share_lost(self) -> float:
        """Share of the places of a talker where a position cannot be determined."""
        return float(self.lost.sum() / self.counts.sum())

    def describe(self) -> str:
        """Describe in a sentence where a position can be determined."""
        if not self.lost.any():
            known = self.radii[self.counts]
            return (
                "Places of nodes determine a position in the whole room, if clocks agree: "
                f"90 % within {np.median(known):.2f} m in the median, and "
                f"{known.max():.2f} m at worst"
            )
        said = (
            "Places of nodes cannot determine a position in "
            f"{max(1, round(100 * self.share_lost))} % of the room"
        )
        return said if self.share_lost > _MOST else f"{said}: {self._where()}"

    def _where(self) -> str:
        """Describe where the largest of the areas is that are lost."""
        numbers, _ = scipy.ndimage.label(self.lost)
        largest = numbers == np.bincount(numbers[numbers > 0]).argmax()
        center = self.places[largest].mean(axis=0)
        apart = np.linalg.norm(self.node_positions - center, axis=1)
        share = (center - self.area[0]) / (self.area[1] - self.area[0])
        walls = int((np.abs(share - 0.5) > 0.5 - _NEAR_WALL).sum())
        words = ("in the middle", "at the wall", "in the corner")[walls]
        x, y = center
        return (
            f"{words} around ({x:.1f}, {y:.1f}) m, by node {self.nodes[apart.argmin()]}"
        )


def make(whole: sessions.Session, faults: Sequence[str]) -> RadiusMap | None:
    """Map the radius with the nodes that can be used.

    Args:
        whole: The session.
        faults: Of its nodes in one of its recordings, one of `signals.FAULTS`, or empty.

    Returns:
        The map; None with fewer nodes than any position needs.
    """
    usable = np.flatnonzero([signals_lib.is_usable(fault) for fault in faults])
    nodes = whole.node_positions[usable]
    if len(np.unique(nodes[:, :2], axis=0)) < localize.LEAST_NODES:
        return None
    if nodes.shape[1] < 3:
        heights = np.full((len(nodes), 1), recordings.NODE_HEIGHT)
        nodes = np.append(nodes, heights, axis=1)
    room = recordings.Room.around(nodes, whole.room_size)
    moved = nodes - np.append(room.origin, 0.0)
    places, radii, counts = placement.map_radii(moved, room.sides)
    return RadiusMap(
        np.stack([room.origin, room.origin + room.sides[:2]]),
        places + room.origin,
        np.float64(radii),
        counts,
        tuple(whole.nodes[number] for number in usable),
        nodes[:, :2],
    )


def check(made: RadiusMap) -> list[diagnosis.Remark]:
    """Find nodes that cannot determine a position in most of the room."""
    if made.share_lost <= _MOST:
        return []
    fix = "Put nodes around the talkers: uld_jax plan proposes places"
    return [diagnosis.Remark(None, diagnosis.REMARK, "geometry", made.describe(), fix)]
