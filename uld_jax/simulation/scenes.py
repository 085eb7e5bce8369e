"""Scenes: a room, its nodes and its sources, drawn at random (Sec. 3.1)."""

import dataclasses
import math

import numpy as np

from uld_jax.audio import libri_adhoc40
from uld_jax.runtime import errors

HEIGHT = 4.2
NODE_HEIGHT = 0.9
SOURCE_HEIGHT = 0.95

L1_SIDE = 6.0
L1_WALL_DISTANCE = 0.1
L1_SPACING = 0.08
L1_NODES_PER_ARRAY = 4

ADHOC_SIDES = (4.0, 10.0)
ADHOC_T60 = (0.2, 1.2)
ADHOC_NODES = 30
ADHOC_CELLS = 16  # Per axis; nodes, sources and noise have one each.
MOST_POSITIONS = 64  # More training positions than these are not listed.
LEVEL_RANGE_DB = 2.5  # Of a second talker against the first.
TRAIN_SNR_DB = (0.0, 50.0)
TEST_SNR_DB = (10.0, 20.0)  # Also of validation.

# Any session.
ANY_SIDES = (3.0, 12.0)
ANY_HEIGHTS = (2.3, 4.5)
ANY_VOLUME = 300.0  # Largest, in cubic meters: a thinned late field has its bounds.
ANY_NODE_HEIGHTS = (0.4, 2.3)
ANY_SOURCE_HEIGHTS = (0.8, 1.9)
ANY_SNR_DB = (-10.0, 30.0)
_LEAST_DISTANCE = 0.1  # From a source to a node.

TWIN_SNR_DB = (30.0, 50.0)
# By part: the layout of the nodes and the positions of the sources, each taken from a
# part of Libri-adhoc40; sources may also be anywhere on the floor.
ANYWHERE = "anywhere"
TWINS = {
    "twin": {
        "train": ("train", "train"),
        "dev": ("dev", "dev"),
        "test": ("test", "test"),
    },
    "twin_dev": {
        "train": ("dev", "dev"),
        "dev": ("dev", "dev"),
        "test": ("test", "test"),
    },
    "twin_anywhere": {
        "train": ("train", ANYWHERE),
        "dev": ("dev", "dev"),
        "test": ("test", "test"),
    },
}

# Rooms of a pool, with fixed nodes and reverberation. Of the test, each group is in rooms
# of one part and has speech of one part: "held_out" is other speech of training's talkers.
POOL = "pool:"  # The number of rooms of each part follows, as in "pool:200".
POOL_GROUPS = {
    "seen_rooms_seen_talkers": ("train", "held_out"),
    "seen_rooms_new_talkers": ("train", "test"),
    "new_rooms_seen_talkers": ("test", "held_out"),
    "new_rooms_new_talkers": ("test", "test"),
}
_POOL_PARTS = ("train", "dev", "test")
_POOL_SEED = 2026


class SceneError(errors.InputError):
    """A scene that cannot be drawn, with the reason."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """Positions and acoustics of one example, in float32 as they are stored.

    Attributes:
        room_size: [3], sides along x, y, z in meters.
        node_positions: [M, 3] in meters.
        source_positions: [S, 3] in meters.
        t60: Reverberation time in seconds; 0 without reflections.
        noise_position: [3], of the noise's point source in meters; None without noise.
        snr_db: Level of the speech above the noise at the nodes; infinite without
            noise.
    """

    room_size: np.ndarray
    node_positions: np.ndarray
    source_positions: np.ndarray
    t60: float = 0.0
    noise_position: np.ndarray | None = None
    snr_db: float = math.inf

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, value.astype(np.float32))
            elif value is not None:
                object.__setattr__(self, field.name, float(np.float32(value)))


def linear_array(
    center: tuple[float, float], axis: int, num_nodes: int, spacing: float
) -> np.ndarray:
    """Place M nodes [M, 3] on a line along axis 0 (x) or 1 (y)."""
    positions = np.tile([*center, NODE_HEIGHT], (num_nodes, 1))
    positions[:, axis] += (np.arange(num_nodes) - (num_nodes - 1) / 2) * spacing
    return positions


def l1_nodes() -> np.ndarray:
    """Place the 8 nodes [8, 3] of L-1: left wall first, then bottom.

    The paper does not say where the two arrays are; we put them 0.1 m from the
    middle of the left (x = 0) and the bottom (y = 0) wall, spaced by 0.08 m.
    """
    middle = L1_SIDE / 2
    left = (L1_WALL_DISTANCE, middle)
    bottom = (middle, L1_WALL_DISTANCE)
    return np.concatenate(
        [
            linear_array(left, 1, L1_NODES_PER_ARRAY, L1_SPACING),
            linear_array(bottom, 0, L1_NODES_PER_ARRAY, L1_SPACING),
        ]
    )


def draw_l1(rng: np.random.Generator) -> Scene:
    """Draw a scene of L-1: one source, uniform over the whole floor (Sec. 3.1).

    The paper does not say how large the room is; its quantization error of
    0.381 m at 6 x 6 cells is that of a room of 6 m by 6 m, without a margin.
    """
    x, y = rng.uniform(0.0, L1_SIDE, size=2)
    return Scene(
        room_size=np.array([L1_SIDE, L1_SIDE, HEIGHT]),
        node_positions=l1_nodes(),
        source_positions=np.array([[x, y, SOURCE_HEIGHT]]),
    )


def draw_adhoc(
    rng: np.random.Generator,
    num_sources: int,
    snr_range: tuple[float, float],
    *,
    num_nodes: int = ADHOC_NODES,
) -> Scene:
    """Draw a scene of Ad-1 (one source) or Ad-2 (two): Sec. 3.1.

    Each node, each source and the noise have a cell of their own, of 16 x 16 over the
    floor. The paper does not say where in its cell each one is; we draw a uniform
    position, the only choice that gives the quantization errors of Tables 2 and 3. So
    neighbors can be close; their heights keep a source 0.05 m from any node. The paper
    does not say where its noise comes from; we take one point, at the sources' height.

    Args:
        rng: The scene's random stream.
        num_sources: Number of sources S.
        snr_range: Least and largest SNR, in dB.
        num_nodes: Number of nodes M.

    Raises:
        SceneError: If there are fewer cells than nodes, sources and noise, or no
            node or source, or the SNR range is not finite and ordered.
    """
    least, largest = snr_range
    if not -math.inf < least <= largest < math.inf:
        raise SceneError(f"snr_range is {snr_range}; give (least, largest) in dB")
    num_placed = num_nodes + num_sources + 1
    if num_nodes < 1 or num_sources < 1 or num_placed > ADHOC_CELLS**2:
        raise SceneError(
            f"{num_nodes} nodes, {num_sources} sources and the noise cannot each have "
            f"one of {ADHOC_CELLS} x {ADHOC_CELLS} cells; give at least one of each, "
            f"and at most {ADHOC_CELLS**2} in all"
        )
    sides = rng.uniform(*ADHOC_SIDES, size=2)
    t60 = rng.uniform(*ADHOC_T60)
    snr_db = rng.uniform(least, largest)
    cells = rng.choice(ADHOC_CELLS**2, size=num_placed, replace=False)
    positions = np.empty((num_placed, 3))
    corners = np.stack(np.divmod(cells, ADHOC_CELLS), axis=-1)
    relative = (corners + rng.uniform(size=corners.shape)) / ADHOC_CELLS
    positions[:, :2] = relative * sides
    positions[:num_nodes, 2] = NODE_HEIGHT
    positions[num_nodes:, 2] = SOURCE_HEIGHT
    return Scene(
        room_size=np.array([*sides, HEIGHT]),
        node_positions=positions[:num_nodes],
        source_positions=positions[num_nodes:-1],
        t60=t60,
        noise_position=positions[-1],
        snr_db=snr_db,
    )


def draw_any(
    rng: np.random.Generator, num_sources: int, *, num_nodes: int = ADHOC_NODES
) -> Scene:
    """Draw a scene of any session: rooms, heights and noise of every kind.

    As `draw_adhoc`, with other sides and heights. The noise may be at any height of
    nodes or talkers. Nodes are at least 0.1 m from a source.

    Args:
        rng: The scene's random stream.
        num_sources: Number of sources S.
        num_nodes: Number of nodes M.

    Raises:
        SceneError: As `draw_adhoc`.
    """
    size = np.full(3, np.inf)
    while size.prod() > ANY_VOLUME:
        size[:2] = rng.uniform(*ANY_SIDES, size=2)
        size[2] = rng.uniform(*ANY_HEIGHTS)
    while True:
        scene = draw_adhoc(rng, num_sources, ANY_SNR_DB, num_nodes=num_nodes)
        scale = np.array([*size[:2] / scene.room_size[:2], 1.0])
        nodes, sources = scene.node_positions * scale, scene.source_positions * scale
        noise = scene.noise_position * scale
        # Nodes may stand just below a low ceiling.
        highest = size[2] - 0.1
        nodes[:, 2] = rng.uniform(*ANY_NODE_HEIGHTS, size=num_nodes).clip(max=highest)
        sources[:, 2] = rng.uniform(*ANY_SOURCE_HEIGHTS, size=num_sources)
        noise[2] = min(rng.uniform(*ANY_NODE_HEIGHTS), highest)
        loud = np.concatenate([sources, noise[None]])
        apart = np.linalg.norm(loud[:, None] - nodes, axis=-1)
        if apart.min() >= _LEAST_DISTANCE:
            return dataclasses.replace(
                scene,
                room_size=size,
                node_positions=nodes,
                source_positions=sources,
                noise_position=noise,
            )


def draw_pooled(
    rng: np.random.Generator,
    part: str,
    num_rooms: int,
    num_sources: int,
    snr_range: tuple[float, float],
    *,
    num_nodes: int = ADHOC_NODES,
) -> Scene:
    """Draw a scene in one of a pool of rooms of Ad-1, each with nodes and T60 of its own.

    Sources and noise have cells without a node; only they and the SNR differ from scene
    to scene of a room.

    Args:
        rng: The scene's random stream.
        part: Part of the rooms: "train", "dev" or "test"; each has rooms of its own.
        num_rooms: Number of rooms of the part.
        num_sources: Number of sources S.
        snr_range: Least and largest SNR, in dB.
        num_nodes: Number of nodes M.

    Raises:
        SceneError: As `draw_adhoc`, or if there is no room.
    """
    if num_rooms < 1:
        raise SceneError(f"a pool has {num_rooms} rooms; give at least 1")
    room = int(rng.integers(num_rooms))
    stream = np.random.default_rng([_POOL_SEED, _POOL_PARTS.index(part), room])
    fixed = draw_adhoc(stream, num_sources, snr_range, num_nodes=num_nodes)
    sides = fixed.room_size[:2].astype(np.float64)
    columns = np.floor(fixed.node_positions[:, :2] / sides * ADHOC_CELLS)
    taken = columns.clip(0, ADHOC_CELLS - 1) @ [ADHOC_CELLS, 1]
    free = np.setdiff1d(np.arange(ADHOC_CELLS**2), taken.astype(int))
    cells = rng.choice(free, size=num_sources + 1, replace=False)
    corners = np.stack(np.divmod(cells, ADHOC_CELLS), axis=-1)
    placed = np.full((num_sources + 1, 3), SOURCE_HEIGHT)
    placed[:, :2] = (corners + rng.uniform(size=corners.shape)) / ADHOC_CELLS * sides
    return dataclasses.replace(
        fixed,
        source_positions=placed[:-1],
        noise_position=placed[-1],
        snr_db=rng.uniform(*snr_range),
    )


def draw_twin(
    rng: np.random.Generator,
    rooms: str,
    part: str,
    num_sources: int,
    *,
    num_nodes: int = ADHOC_NODES,
) -> Scene:
    """Draw a scene in the simulated twin of Libri-adhoc40's room (Sec. 3.1, Ad-r1, Ad-r2).

    Room, T60, node and loudspeaker positions are the real ones: some of the 40 nodes,
    and sources at different positions of the same part. The paper does not say how
    little noise "negligible" is; we take 30 to 50 dB below the speech, from one point
    anywhere at the sources' height.

    Args:
        rng: The scene's random stream.
        rooms: A key of `TWINS`; chooses the positions trained on.
        part: "train", "dev" or "test".
        num_sources: Number of sources S.
        num_nodes: Number of nodes M.

    Raises:
        SceneError: If there are fewer nodes or positions.
    """
    layout, positions = TWINS[rooms][part]
    all_nodes = libri_adhoc40.part(layout).nodes
    if not 1 <= num_nodes <= len(all_nodes):
        raise SceneError(f"num_nodes is {num_nodes}; give 1 to {len(all_nodes)}")
    room_size, snr_db = libri_adhoc40.room_size(), rng.uniform(*TWIN_SNR_DB)
    nodes = rng.choice(len(all_nodes), size=num_nodes, replace=False)
    floor = [*room_size[:2], 0.0]
    noise_position = rng.uniform(size=3) * floor + [0.0, 0.0, SOURCE_HEIGHT]
    if positions == ANYWHERE:
        sources = rng.uniform(size=(num_sources, 3)) * floor
        sources[:, 2] = SOURCE_HEIGHT
    else:
        known = np.stack(list(libri_adhoc40.part(positions).positions.values()))
        if not 1 <= num_sources <= len(known):
            raise SceneError(f"num_sources is {num_sources}; give 1 to {len(known)}")
        sources = known[rng.choice(len(known), size=num_sources, replace=False)]
    return Scene(
        room_size=room_size,
        node_positions=all_nodes[nodes],
        source_positions=sources,
        t60=libri_adhoc40.t60(),
        noise_position=noise_position,
        snr_db=snr_db,
    )


def training_positions(rooms: str) -> list[list[float]]:
    """List the fixed positions [(x, y)] of a twin's training sources; none if anywhere."""
    _, positions = TWINS[rooms]["train"]
    if positions == ANYWHERE:
        return []
    return libri_adhoc40.part(positions).floor_positions
