"""Compact arrays among nodes: which nodes belong together."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from uld_jax.localization import batches, planning

NEAR = 0.5  # Meters between neighbors in an array.
LEAST_ARRAYS = 2
_FLAT = 1e-3  # Meters: an array is linear if its nodes are no farther from a line.


@dataclasses.dataclass(frozen=True)
class CompactArray:
    """One compact array: plain numbers, so that programs are compiled once for each.

    Attributes:
        nodes: Numbers of its nodes, in order.
        center: (x, y), the mean of its nodes in meters.
        offsets: (x, y) of its nodes from there, in meters.
        facing: The unit vector (x, y) away from its line, to the side that it is taken
            to listen to; None unless it is linear.
    """

    nodes: tuple[int, ...]
    center: tuple[float, float]
    offsets: tuple[tuple[float, float], ...]
    facing: tuple[float, float] | None

    def faces(self, azimuths: Float[Array, " G"]) -> Bool[Array, " G"]:
        """Check which directions, in rad, are on the side that it listens to."""
        if self.facing is None:
            return jnp.ones(azimuths.shape, bool)
        ways = jnp.stack([jnp.cos(azimuths), jnp.sin(azimuths)], axis=-1)
        return ways @ jnp.asarray(self.facing, ways.dtype) >= -1e-6


def find(node_positions: ArrayLike, room_size: ArrayLike) -> tuple[CompactArray, ...]:
    """Divide nodes into compact arrays: those that are near one another, in a chain.

    The paper does not say how large a compact array may be; neighbors are at most 0.5 m
    apart. Nodes on a line cannot tell its two sides apart: they are taken to listen to
    the side of the middle of the room.

    Args:
        node_positions: Node positions in meters, [M, 3].
        room_size: Sides along x and y in meters, and more or not.

    Returns:
        The arrays, in the order of their first nodes.

    Raises:
        RecordingError: If a node stands alone, there is one array alone, or the nodes of
            one are all at one place of the plan.
    """
    nodes = np.asarray(node_positions, np.float64)
    apart = np.linalg.norm(nodes[:, None] - nodes, axis=-1)
    _, number_of = scipy.sparse.csgraph.connected_components(apart <= NEAR)
    found = []
    for number in dict.fromkeys(number_of.tolist()):
        (members,) = np.nonzero(number_of == number)
        if len(members) < 2:
            nearest = np.sort(apart[members[0]])[1] if len(nodes) > 1 else np.inf
            raise batches.RecordingError(
                f"node {members[0]} is {nearest:.2g} m from the nearest other; this "
                f"method needs compact arrays, of nodes at most {NEAR} m apart: use "
                "srp_phat, or leave the node out"
            )
        found.append(_describe(nodes, members, np.asarray(room_size, np.float64)))
    if len(found) < LEAST_ARRAYS:
        raise batches.RecordingError(
            f"the nodes are {len(found)} compact array; this method needs at least "
            f"{LEAST_ARRAYS}, each more than {NEAR} m from the others: use srp_phat"
        )
    return tuple(found)


def find_in_batch(
    node_positions: ArrayLike, room_size: ArrayLike, mask: ArrayLike | None
) -> tuple[CompactArray, ...]:
    """Divide the nodes of a batch, which are at the same places in every recording.

    Args:
        node_positions: Node positions in meters, [B, M, 3]; not traced by JAX.
        room_size: Sides in meters, [B, 3].
        mask: True where there is a node, [B, M]; None for everywhere.

    Raises:
        RecordingError: As `find`, or if recordings differ in their nodes or rooms.
    """
    positions, rooms = np.asarray(node_positions), np.asarray(room_size)
    present = np.ones(positions.shape[:2], bool) if mask is None else np.asarray(mask)
    kept = np.where(present[..., None], positions, 0.0)
    for name, values in (("nodes", kept), ("room_size", rooms), ("mask", present)):
        differ = (values != values[:1]).reshape(len(values), -1).any(axis=1)
        if differ.any():
            raise batches.RecordingError(
                f"{name} of recording {int(differ.argmax())} differ from those of the "
                "first; this method needs arrays that are at the same places in all: "
                "localize them in calls of their own"
            )
    (there,) = np.nonzero(present[0])
    found = find(positions[0, there], rooms[0])
    return tuple(
        dataclasses.replace(one, nodes=tuple(there[list(one.nodes)].tolist()))
        for one in found
    )


def centers(arrays: Sequence[CompactArray]) -> Float[np.ndarray, "A 2"]:
    """Stack the centers of arrays."""
    return np.stack([one.center for one in arrays]).astype(np.float32)


def radius(covariance: Float[Array, "*B 2 2"]) -> Float[Array, "*B"]:
    """Compute the radius in meters that holds 90 % of normal distributions."""
    return planning.normal_radius(covariance, 0.9)


def _describe(nodes, members, room_size) -> CompactArray:
    center = nodes[members, :2].mean(axis=0)
    offsets = nodes[members, :2] - center
    _, spreads, axes = np.linalg.svd(offsets, full_matrices=True)
    if spreads[0] < _FLAT:
        raise batches.RecordingError(
            f"nodes {members.tolist()} are at one place of the plan; an array needs "
            "nodes at several: leave all but one out, or correct their positions"
        )
    facing = None
    if len(members) == 2 or spreads[-1] < _FLAT:
        facing = axes[1] if axes[1] @ (room_size[:2] / 2 - center) >= 0 else -axes[1]
    return CompactArray(
        tuple(members.tolist()),
        tuple(center.tolist()),
        tuple(map(tuple, offsets.tolist())),
        None if facing is None else tuple(facing.tolist()),
    )
