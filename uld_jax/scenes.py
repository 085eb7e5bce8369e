"""Scenes: a room, its nodes and its sources, drawn at random (Sec. 3.1)."""

import dataclasses

import numpy as np

HEIGHT = 4.2
NODE_HEIGHT = 0.9
SOURCE_HEIGHT = 0.95

L1_SIDE = 6.0
L1_WALL_DISTANCE = 0.1
L1_SPACING = 0.08
L1_NODES_PER_ARRAY = 4


@dataclasses.dataclass(frozen=True)
class Scene:
    """Where everything is, in meters, in float32 as it is stored.

    Attributes:
        room_size: [3], sides along x, y, z.
        node_positions: [M, 3].
        source_positions: [S, 3].
    """

    room_size: np.ndarray
    node_positions: np.ndarray
    source_positions: np.ndarray

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name).astype(np.float32)
            object.__setattr__(self, field.name, value)


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
