"""Furnished rooms: what makes a shoebox less kind, and recipes that draw it; in NumPy.

Of a bare shoebox, every image is where geometry says. In a furnished one, echoes are
displaced and lost, walls differ, a talker faces a direction, and nodes have gains and
clocks of their own. The direct sound stays where it is.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from uld_jax.acoustics import absorption as absorption_lib
from uld_jax.simulation import scenes, walls

BEHIND_DB = 6.0  # By which speech is weaker behind a talker, above 1 kHz.
_STREAM = 9  # Random stream: a scene's own must stay as it was.


class Furniture(NamedTuple):
    """Furniture: the facts that set B rooms apart from bare ones.

    Zeros are nothing; the fields after `loss` may be None, too. The leading axis B is
    missing for one room.

    Attributes:
        displacement: [B], standard deviation along each axis of the images of order 1 and
            above, in meters. An echo that would come before the direct sound comes
            with it.
        loss: [B], probability that such an image is lost.
        absorption: [B, 6], shares of the energy that the walls x = 0, x = Lx, y = 0,
            y = Ly, floor and ceiling absorb at the lowest frequencies. None for walls
            alike, that have the T60 by Sabine's formula.
        poles: [B, 6], of the walls' one-pole low-passes, from 0 to 1, with `absorption`.
        facing: [B, S, 3], unit vectors where the sources face; None for sources that
            radiate alike in all directions.
        behind_db: [B], by how much they are weaker behind above 1 kHz, with `facing`.
        gains_db: [B, M], gains of the nodes.
        drifts_ppm: [B, M], by how many millionths the nodes' clocks are slow.
        offsets: [B, M], by how many samples, at most one, their recordings start late.
        side_errors: [B, 3], errors in meters of the sides that a localizer is given.

    >>> import uld_jax
    >>> uld_jax.Furniture(displacement=[0.1], loss=[0.2], gains_db=[[0.5, -1.0]]).loss
    [0.2]
    """

    displacement: ArrayLike
    loss: ArrayLike
    absorption: ArrayLike | None = None
    poles: ArrayLike | None = None
    facing: ArrayLike | None = None
    behind_db: ArrayLike | None = None
    gains_db: ArrayLike | None = None
    drifts_ppm: ArrayLike | None = None
    offsets: ArrayLike | None = None
    side_errors: ArrayLike | None = None

    @classmethod
    def of(cls, each: Sequence["Furniture"]) -> "Furniture":
        """Stack the furniture of rooms that were drawn alike."""
        return cls(
            *(
                None if parts[0] is None else np.stack(parts)
                for parts in zip(*each, strict=True)
            )
        )

    def at(self, nodes: np.ndarray) -> "Furniture":
        """Select some of one room's nodes, in the order given."""
        chosen = {
            name: np.asarray(value)[nodes]
            for name in ("gains_db", "drifts_ppm", "offsets")
            if (value := getattr(self, name)) is not None
        }
        return self._replace(**chosen)

    def believed(self, scene: scenes.Scene) -> np.ndarray:
        """Give the sides [3] that a localizer is given, in meters.

        They never leave a node or a source outside.
        """
        if self.side_errors is None:
            return scene.room_size
        inside = np.concatenate([scene.node_positions, scene.source_positions])
        sides = scene.room_size + np.asarray(self.side_errors, np.float32)
        return np.maximum(sides, inside.max(axis=0))


@dataclasses.dataclass(frozen=True)
class Column:
    """The fixed furniture of tests: one more column of each table of conditions.

    Attributes:
        displacement: Standard deviation of the displacement of images, in meters.
        gain_db: Standard deviation of the nodes' gains.
    """

    displacement: float = 0.1
    gain_db: float = 1.0

    def draw(self, seed: int, scene: scenes.Scene) -> Furniture:
        """Draw the furniture of a scene from the seed of its rendering alone."""
        rng = np.random.default_rng([_STREAM, seed])
        gains = self.gain_db * rng.normal(size=len(scene.node_positions))
        return Furniture(np.float32(self.displacement), np.float32(0.0), gains_db=gains)


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Furniture for training: each room draws how much of each kind it has.

    Spreads are uniform from zero to the values here.

    Attributes:
        share: Share of the rooms that are furnished; the others are bare.
        displacement: Standard deviation of the displacement of images, in meters.
        loss: Probability that an image is lost.
        absorption_ratio: A wall absorbs this much more or less than the mean, at most.
        damping: Pole of a wall's filter over its absorption.
        behind_db: Weakness of talkers behind them above 1 kHz, in dB: not drawn. They
            face any way, level.
        gain_db: Standard deviation of the nodes' gains.
        side_error: Standard deviation of the errors of sides, in meters.
        drift_ppm: Largest drift of a node's clock either way.
        offset: Largest offset of a recording's start either way, in samples.
    """

    share: float = 0.6
    displacement: float = 0.25
    loss: float = 0.4
    absorption_ratio: float = 2.0
    damping: float = 0.5
    behind_db: float = BEHIND_DB
    gain_db: float = 4.0
    side_error: float = 0.1
    drift_ppm: float = 100.0
    offset: float = 0.5

    def draw(self, seed: int, scene: scenes.Scene) -> Furniture:
        """Draw the furniture of a scene from the seed of its rendering alone.

        Unequal walls absorb so that responses decay with the scene's T60, as
        `walls.reverberation_time` has it; in a bare room it is that of Sabine's formula.
        """
        rng = np.random.default_rng([_STREAM, seed])
        num_nodes, num_sources = len(scene.node_positions), len(scene.source_positions)
        furnished = rng.uniform() < self.share
        sizes = rng.uniform(size=5) * furnished
        ratios = self.absorption_ratio ** rng.uniform(-1, 1, size=6)
        damping = rng.uniform(0, self.damping, size=6)
        azimuth = rng.uniform(0, 2 * np.pi, size=num_sources)
        gains, side_errors = rng.normal(size=num_nodes), rng.normal(size=3)
        drifts, offsets = rng.uniform(-1, 1, size=(2, num_nodes))
        if not scene.t60:
            absorption, poles = np.full(6, 0.5), np.zeros(6)  # Nothing reflects.
        elif furnished:
            absorption, poles = walls.absorptions_for(
                scene.room_size, scene.t60, ratios, damping
            )
        else:
            alike = absorption_lib.sabine_absorption(scene.room_size, scene.t60)
            absorption, poles = np.full(6, alike), np.zeros(6)
        level = np.zeros(num_sources)
        return Furniture(
            displacement=np.float32(self.displacement * sizes[0]),
            loss=np.float32(self.loss * sizes[1]),
            absorption=absorption,
            poles=poles,
            facing=np.stack([np.cos(azimuth), np.sin(azimuth), level], axis=-1),
            behind_db=np.float32(self.behind_db * furnished),
            gains_db=self.gain_db * sizes[2] * gains,
            drifts_ppm=self.drift_ppm * sizes[3] * drifts,
            offsets=self.offset * furnished * offsets,
            side_errors=self.side_error * sizes[4] * side_errors,
        )


BARE = "bare"
# By name: the rooms of data and tests.
FURNISHINGS = {BARE: None, "furnished": Column(), "any": Ranges()}
