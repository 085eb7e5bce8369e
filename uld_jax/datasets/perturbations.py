"""Perturbations of the nodes: fewer, with clocks, positions, gains or bands that are off.

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

from uld_jax.acoustics import constants, levels
from uld_jax.datasets.splits import Batch
from uld_jax.networks import evidence
from uld_jax.runtime import errors

_STREAM = 6  # Random stream; `on_the_fly` has those before.
# Where spreads are drawn: the share of examples that have any error of a kind.
_SHARES = {"clock": 0.6, "position": 0.5, "gain": 0.5, "coloring": 0.5}
_LEAST_CLOCK = 1 / 500  # Of the largest spread of clocks; log-uniform in between.
_RIPPLES = 4  # Cosines over the bands, of which a smooth coloring is made.


class PerturbationError(errors.InputError):
    """A perturbation that the data does not allow."""


class Draws(NamedTuple):
    """Random draws for the nodes of B examples.

    Attributes:
        nodes: Nodes that are kept, [B, k], all different, in ascending order.
        delays: Delay of each one's signal in samples, [B, k].
        position_errors: What is added to its position on the plan, [B, k, 2] in
            meters.
        gains_db: What is added to its levels in each mel band, [B, k, 24] in dB.
    """

    nodes: np.ndarray
    delays: np.ndarray
    position_errors: np.ndarray
    gains_db: np.ndarray


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """Distribution of the perturbations; false if it changes nothing.

    Attributes:
        num_nodes: Nodes that are kept, drawn for each example; None for all.
        clock_offset: Standard deviation of each node's clock, in seconds. Signals are
            shifted by whole samples in a circle, so that no silence at an end gives
            the offset away; evidence that was kept is shifted by fractions.
        position_error: Standard deviation of a node's believed position, along x and
            y, in meters. Believed positions stay in the room.
        gain_error: Standard deviation of a node's gain, in dB.
        coloring: Standard deviation of a node's gain in each band beyond that, smooth
            over the bands, in dB; for networks with evidence of levels alone.
        drawn: Whether each example draws spreads of its own, with those above as the
            largest: none in part of the examples, else log-uniform from a five
            hundredth for clocks, and uniform from zero for the others.
        late_node: Seconds by which the first of the nodes that are kept is late besides.
    """

    num_nodes: int | None = None
    clock_offset: float = 0.0
    position_error: float = 0.0
    gain_error: float = 0.0
    coloring: float = 0.0
    drawn: bool = False
    late_node: float = 0.0

    def __bool__(self) -> bool:
        return self != Perturbation(drawn=self.drawn)

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
        drawn = [_raw_of_example(stream, num_nodes) for stream in streams]
        return self._scale(_Raw(*map(np.stack, zip(*drawn, strict=True))))

    def draw_step(self, seed: int, step: int, rows: range, num_nodes: int) -> Draws:
        """Draw the perturbations of some rows of a training step.

        A row's draws depend on seed, step and row alone. Many rows take hardly longer
        than one.

        Args:
            seed: Seed of the run.
            step: Number of the step.
            rows: Rows of its batch.
            num_nodes: Nodes M of an example.
        """
        some = slice(rows.start, rows.stop)
        errors_too = bool(dataclasses.replace(self, num_nodes=None))
        raw = _raw_of_step(seed, step, rows.stop, num_nodes, errors_too)
        return self._scale(_Raw(*(part[some] for part in raw)))

    def _scale(self, raw: "_Raw") -> Draws:
        num_nodes = raw.order.shape[1]
        clock, position, gain, coloring = self._spreads(raw).T[..., None]
        if self.num_nodes is None:
            nodes = np.broadcast_to(np.arange(num_nodes), raw.order.shape)
        else:
            nodes = np.sort(raw.order[:, : self.num_nodes], axis=1)
        bands = coloring[..., None] * raw.ripples @ _ripples()

        def keep(values: np.ndarray) -> np.ndarray:
            values = values.astype(np.float32)
            rows = np.arange(len(values))[:, None]
            return values if self.num_nodes is None else values[rows, nodes]

        delays = keep(raw.offsets * clock * constants.SAMPLE_RATE)
        delays[:, 0] += self.late_node * constants.SAMPLE_RATE
        return Draws(
            nodes.astype(np.int32),
            delays,
            keep(raw.position_errors * position[..., None]),
            keep(raw.gains * gain[..., None] + bands),
        )

    def _spreads(self, raw: "_Raw") -> np.ndarray:
        """Give each example's spreads of clocks, positions, gains and colorings."""
        largest = np.array(
            [self.clock_offset, self.position_error, self.gain_error, self.coloring]
        )
        if not self.drawn:
            return np.broadcast_to(largest, raw.sizes.shape)
        sizes = raw.sizes.copy()
        sizes[:, 0] = _LEAST_CLOCK ** sizes[:, 0]
        return largest * (raw.happens < list(_SHARES.values())) * sizes


class _Raw(NamedTuple):
    """Random numbers for B examples, or one, before they are scaled.

    For all nodes, so that a node's draw does not depend on how many are kept. The order
    is a permutation, the last two are uniform, and the others normal.
    """

    order: np.ndarray  # [B, M]
    offsets: np.ndarray  # [B, M]
    position_errors: np.ndarray  # [B, M, 2]
    gains: np.ndarray  # [B, M, 1]
    ripples: np.ndarray  # [B, M, 4]
    happens: np.ndarray  # [B, 4]
    sizes: np.ndarray  # [B, 4]


def _raw_of_example(stream: Sequence[int], num_nodes: int) -> _Raw:
    seed, *numbers = stream
    rng = np.random.default_rng([seed, _STREAM, *numbers])
    return _Raw(
        rng.permutation(num_nodes),
        rng.normal(size=num_nodes),
        rng.normal(size=(num_nodes, 2)),
        rng.normal(size=(num_nodes, 1)),
        rng.normal(size=(num_nodes, _RIPPLES)),
        rng.uniform(size=4),
        rng.uniform(size=4),
    )


def _raw_of_step(
    seed: int, step: int, num_rows: int, num_nodes: int, errors_too: bool
) -> _Raw:
    # Row after row, each kind from a stream of its own: a row does not depend on how
    # many come after it.
    normal, uniform = (
        np.random.default_rng([seed, _STREAM, step, kind]) for kind in (0, 1)
    )
    size = (num_rows, num_nodes, 4 + _RIPPLES)
    normals = normal.normal(size=size) if errors_too else np.zeros(size)
    uniforms = uniform.uniform(size=(num_rows, num_nodes + 8))
    offsets, position_errors, gains, ripples = np.split(normals, (1, 3, 4), axis=-1)
    order, happens, sizes = np.split(uniforms, (num_nodes, num_nodes + 4), axis=-1)
    return _Raw(
        np.argsort(order, axis=-1),
        offsets[..., 0],
        position_errors,
        gains,
        ripples,
        happens,
        sizes,
    )


@functools.cache
def _ripples() -> np.ndarray:
    """Make smooth curves [4, 24] over the bands, of unit mean square in all."""
    bands = (np.arange(levels.NUM_BANDS) + 0.5) / levels.NUM_BANDS
    waves = np.cos(np.pi * np.arange(1, _RIPPLES + 1)[:, None] * bands)
    return np.sqrt(2 / _RIPPLES) * waves


def apply(perturbation: Perturbation, batch: Batch, draws: Draws) -> Batch:
    """Disturb a batch's nodes: signals, or the evidence in them, and positions.

    Args:
        perturbation: The distribution.
        batch: A batch of the nodes drawn, and no others.
        draws: What was drawn for it.
    """
    changed = {}
    if perturbation.position_error > 0:
        changed["node_positions"] = _move(
            batch["node_positions"], batch["room_size"], draws.position_errors
        )
    has_gains = perturbation.gain_error > 0 or perturbation.coloring > 0
    has_delays = perturbation.clock_offset > 0 or perturbation.late_node != 0
    if "envelopes" in batch:
        if has_delays:
            changed[evidence.CLOCK_OFFSETS] = jnp.asarray(draws.delays)
        if has_gains:
            changed[evidence.GAINS] = jnp.asarray(draws.gains_db)
        return batch | changed
    audio = batch["audio"]
    if has_delays:
        audio = _roll(audio, jnp.round(draws.delays).astype(jnp.int32))
    if has_gains:
        audio = _amplify(audio, draws.gains_db.mean(axis=-1))
    return batch | changed | {"audio": audio}


@jax.jit
def _roll(audio: Array, shifts: Int[Array, "B k"]) -> Array:
    return jax.vmap(jax.vmap(jnp.roll))(audio, shifts)


@jax.jit
def _amplify(audio: Array, gains_db: Float[Array, "B k"]) -> Float[Array, "B k N"]:
    return audio * 10 ** (gains_db[..., None] / 20)


@jax.jit
def _move(
    node_positions: Float[Array, "B k 3"],
    room_size: Float[Array, "B 3"],
    position_errors: Float[Array, "B k 2"],
) -> Float[Array, "B k 3"]:
    plan = node_positions[..., :2] + position_errors
    plan = jnp.clip(plan, 0.0, room_size[:, None, :2])
    return jnp.concatenate([plan, node_positions[..., 2:]], axis=-1)
