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
ADHOC_CELLS = 16  # Per axis, to keep what is placed apart.
MOST_PLACES = 64  # That are told one by one.
LEVEL_RANGE_DB = 2.5  # Of a second talker against the first (PROTOCOL 7).
TRAIN_SNR_DB = (0.0, 50.0)
TEST_SNR_DB = (10.0, 20.0)  # Of validation, too.

TWIN_SNR_DB = (30.0, 50.0)
# Layout of the nodes and places of the sources of each split: of which part of
# Libri-adhoc40, or anywhere on the floor.
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


class SceneError(errors.InputError):
    """A scene that cannot be drawn, with the reason."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """Where everything is and how it sounds; all in float32 as it is stored.

    Attributes:
        room_size: [3], sides along x, y, z, in meters.
        node_positions: [M, 3], in meters.
        source_positions: [S, 3], in meters.
        t60: Reverberation time in seconds; 0 without reflections.
        noise_position: [3], of the point source of noise, in meters; None without.
        snr_db: Level of the speech above the noise at the nodes; infinite without.
    """

    room_size: np.ndarray
    node_positions: np.ndarray
    source_positions: np.ndarray
    t60: float = 0.0
    noise_position: np.ndarray | None = None
    snr_db: float = math.inf

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, value.astype(np.float32))
            elif value is not None:
                object.__setattr__(self, field.name, float(np.float32(value)))


def linear_array(
    center: tuple[float, float], axis: int, num_nodes: int, spacing: float
) -> np.ndarray:
    """Return the positions [M, 3] of a line of nodes along axis 0 (x) or 1 (y)."""
    positions = np.tile([*center, NODE_HEIGHT], (num_nodes, 1))
    positions[:, axis] += (np.arange(num_nodes) - (num_nodes - 1) / 2) * spacing
    return positions


def l1_nodes() -> np.ndarray:
    """Return the 8 node positions [8, 3] of L-1: left wall first, then bottom.

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

    Each node, each source and the noise have a cell of their own, of 16 x 16 over
    the floor. The paper does not say where in it they are; we draw the place
    uniformly, the only choice that gives the quantization errors of Tables 2 and 3.
    So neighbors can be close; their heights keep a source 0.05 m from any node.
    The paper does not say where its noise comes from; we take one point, at the
    sources' height.

    Args:
        rng: The scene's random stream.
        num_sources: How many sources S.
        snr_range: Least and largest SNR, in dB.
        num_nodes: How many nodes M.

    Raises:
        SceneError: If there are fewer cells than nodes, sources and noise, or no
            node or source, or the range of the SNR is none.
    """
    least, largest = snr_range
    if not -math.inf < least <= largest < math.inf:
        raise SceneError(f"SNR range {snr_range} is not (least, largest) in dB")
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
    places = (corners + rng.uniform(size=corners.shape)) / ADHOC_CELLS
    positions[:, :2] = places * sides
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


def draw_twin(
    rng: np.random.Generator,
    rooms: str,
    split: str,
    num_sources: int,
    *,
    num_nodes: int = ADHOC_NODES,
) -> Scene:
    """Draw a scene of the twin of the room of Libri-adhoc40 (Sec. 3.1, Ad-r1, Ad-r2).

    Its size, T60, nodes and loudspeaker positions are the real ones: some of the 40
    nodes, and sources at different positions of the same part. The paper does not say
    how little noise "negligible" is; we take 30 to 50 dB below the speech, from one
    point anywhere at the sources' height.

    Args:
        rng: The scene's random stream.
        rooms: Which positions are trained on, a key of `TWINS`.
        split: "train", "dev" or "test".
        num_sources: How many sources S.
        num_nodes: How many nodes M.

    Raises:
        SceneError: If there are fewer nodes or positions.
    """
    layout, places = TWINS[rooms][split]
    part = libri_adhoc40.part(layout)
    if not 1 <= num_nodes <= len(part.nodes):
        raise SceneError(f"{num_nodes} nodes of a layout that has {len(part.nodes)}")
    room_size, snr_db = libri_adhoc40.room_size(), rng.uniform(*TWIN_SNR_DB)
    nodes = rng.choice(len(part.nodes), size=num_nodes, replace=False)
    floor = [*room_size[:2], 0.0]
    noise_position = rng.uniform(size=3) * floor + [0.0, 0.0, SOURCE_HEIGHT]
    if places == ANYWHERE:
        sources = rng.uniform(size=(num_sources, 3)) * floor
        sources[:, 2] = SOURCE_HEIGHT
    else:
        known = np.stack(list(libri_adhoc40.part(places).positions.values()))
        if not 1 <= num_sources <= len(known):
            raise SceneError(f"{num_sources} sources at {len(known)} positions")
        sources = known[rng.choice(len(known), size=num_sources, replace=False)]
    return Scene(
        room_size=room_size,
        node_positions=part.nodes[nodes],
        source_positions=sources,
        t60=libri_adhoc40.t60(),
        noise_position=noise_position,
        snr_db=snr_db,
    )


def training_places(rooms: str) -> list[list[float]]:
    """Return the places [(x, y)] that training sources of a twin always stand at.

    None of them where they stand anywhere.
    """
    _, places = TWINS[rooms]["train"]
    if places == ANYWHERE:
        return []
    return libri_adhoc40.part(places).places
