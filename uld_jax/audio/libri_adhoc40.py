"""Libri-adhoc40: positions of its nodes and loudspeakers, and of each talker.

S. Guan et al., "Libri-adhoc40: A dataset collected from synchronized ad-hoc microphone
arrays," APSIPA ASC 2021 (reference 19 of the paper). Three parts, in two layouts: 40
nodes and 9 loudspeaker positions in `train`; 40 others and 4 positions each in `dev`
and `test`. Nodes of one layout and positions of another were never in the room at
once. Each talker speaks at one position.

The axes are those of the corpus: the origin is a corner of the main rectangle, x goes
along the wall with the corridor, y away from it.
"""

import dataclasses
import functools
import importlib.resources
import json
from typing import Any

import numpy as np

PARTS = ("train", "dev", "test")
NUM_NODES = 40
ROOM = "libri_adhoc40"  # Name of the room and its twins in metadata.

_FILE = "libri_adhoc40.json"


@dataclasses.dataclass(frozen=True)
class Part:
    """Positions in one part of the corpus.

    Attributes:
        name: One of `PARTS`.
        nodes: [40, 3], of microphones 1 to 40, in meters.
        positions: [3] of a loudspeaker, in meters, by the number of the position.
        position_of: Number of the position at which each talker speaks.
    """

    name: str
    nodes: np.ndarray
    positions: dict[int, np.ndarray]
    position_of: dict[str, int]

    @property
    def floor_positions(self) -> list[list[float]]:
        """Positions (x, y) of the loudspeaker, in meters."""
        return [[float(x), float(y)] for x, y, _ in self.positions.values()]


@functools.cache
def _facts() -> dict[str, Any]:
    return json.loads(
        importlib.resources.files("uld_jax.audio").joinpath(_FILE).read_text()
    )


def room_size() -> np.ndarray:
    """Get the sides [3] of the room's main rectangle, in meters.

    The paper does not say that the corridor beyond it is left out; the quantization
    errors of its Table 4 do.
    """
    return np.array(_facts()["room_size"])


def t60() -> float:
    """Get the room's approximate reverberation time, in seconds."""
    return _facts()["t60"]


@functools.cache
def part(name: str) -> Part:
    """Get the positions in a part of the corpus.

    Raises:
        ValueError: If there is no such part.
    """
    if name not in PARTS:
        raise ValueError(f"no part {name!r} of Libri-adhoc40; there are {PARTS}")
    facts = _facts()
    own = facts["parts"][name]
    layout = facts["layouts"][own["layout"]]

    def at_height(positions, height):
        return np.array([[x, y, height] for x, y in positions])

    nodes = at_height(layout["microphones"], facts["microphone_height"])
    positions = [layout["loudspeakers"][str(number)] for number in own["positions"]]
    talkers = {
        talker: int(number.rstrip("ud"))  # 9u and 9d: two ways to face.
        for number, names in layout["talkers"].items()
        for talker in names
    }
    return Part(
        name=name,
        nodes=nodes,
        positions=dict(
            zip(
                own["positions"],
                at_height(positions, facts["loudspeaker_height"]),
                strict=True,
            )
        ),
        position_of={t: n for t, n in talkers.items() if n in own["positions"]},
    )
