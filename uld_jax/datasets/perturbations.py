"""Perturbations of the nodes: fewer of them, clocks that are off, wrong positions.

In training, the network receives a random half of the nodes (Sec. 3.3). The other
perturbations are ours, for training and for tests of robustness.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from uld_jax.acoustics import constants
from uld_jax.datasets.splits import Batch
from uld_jax.runtime import errors

_STREAM = 6  # Random stream; `on_the_fly` has those before.


class PerturbationError(errors.InputError):
    """A perturbation that the data does not allow."""


class Draws(NamedTuple):
    """Random draws for the nodes of B examples.

    Attributes:
        nodes: Nodes that are kept, [B, k], all different, in ascending order.
        shifts: Delay of each one's signal in samples, [B, k].
        position_errors: What is added to its position on the plan, [B, k, 2] in
            meters.
    """

    nodes: np.ndarray
    shifts: np.ndarray
    position_errors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """Distribution of the perturbations; false if it changes nothing.

    Attributes:
        num_nodes: Nodes that are kept, drawn for each example; None for all.
        clock_offset: Standard deviation of each node's clock, in seconds, rounded
            to whole samples. Signals are shifted in a circle, so that no silence at
            an end gives the offset away.
        position_error: Standard deviation of a node's believed position, along x and
            y, in meters. Believed positions stay in the room.
    """

    num_nodes: int | None = None
    clock_offset: float = 0.0
    position_error: float = 0.0

    def __bool__(self) -> bool:
        return self != Perturbation()

    def check(self, num_nodes: int) -> None:
        """Raise if data has fewer nodes than are to be kept.

        Raises:
            PerturbationError: With both numbers.
        """
        if self.num_nodes is not None and self.num_nodes > num_nodes:
            raise PerturbationError(
                f"--config.data.nodes_in_training is {self.num_nodes}; the data set has "
                f"{num_nodes} nodes"
            )

    def draw(self, streams: Iterable[Sequence[int]], num_nodes: int) -> Draws:
        """Draw the perturbations of examples, each from its own random stream.

        Args:
            streams: For each example, the run's seed and whole numbers that identify
                the example.
            num_nodes: Nodes M of an example.
        """
        drawn = [self._draw(stream, num_nodes) for stream in streams]
        return Draws(*(np.stack(part) for part in zip(*drawn, strict=True)))

    def _draw(self, stream: Sequence[int], num_nodes: int) -> Draws:
        seed, *numbers = stream
        rng = np.random.default_rng([seed, _STREAM, *numbers])
        # For all nodes, so that a node's draw does not depend on how many are kept.
        order = rng.permutation(num_nodes)
        offsets = rng.normal(size=num_nodes) * self.clock_offset
        position_errors = rng.normal(size=(num_nodes, 2)) * self.position_error
        if self.num_nodes is None:
            nodes = np.arange(num_nodes)
        else:
            nodes = np.sort(order[: self.num_nodes])
        return Draws(
            nodes.astype(np.int32),
            np.round(offsets * constants.SAMPLE_RATE).astype(np.int32)[nodes],
            position_errors.astype(np.float32)[nodes],
        )


def apply(perturbation: Perturbation, batch: Batch, draws: Draws) -> Batch:
    """Shift the signals of a batch's nodes and move their believed positions.

    Args:
        perturbation: The distribution.
        batch: A batch of the nodes drawn, and no others.
        draws: What was drawn for it.
    """
    audio, positions = _disturb(
        batch["audio"],
        batch["node_positions"],
        batch["room_size"],
        draws.shifts,
        draws.position_errors,
        late=perturbation.clock_offset > 0,
        misplaced=perturbation.position_error > 0,
    )
    return batch | {"audio": audio, "node_positions": positions}


@functools.partial(jax.jit, static_argnames=("late", "misplaced"))
def _disturb(
    audio: Array,
    node_positions: Float[Array, "B k 3"],
    room_size: Float[Array, "B 3"],
    shifts: Int[Array, "B k"],
    position_errors: Float[Array, "B k 2"],
    *,
    late: bool,
    misplaced: bool,
) -> tuple[Array, Float[Array, "B k 3"]]:
    if late:
        roll = jax.vmap(jax.vmap(jnp.roll))
        audio = roll(audio, shifts)
    if misplaced:
        plan = node_positions[..., :2] + position_errors
        plan = jnp.clip(plan, 0.0, room_size[:, None, :2])
        node_positions = jnp.concatenate([plan, node_positions[..., 2:]], axis=-1)
    return audio, node_positions
