"""Batches of examples: the `Source` of all, and prepared data read as one.

A prepared split is held on the device or read from disk by Grain. Both give the same
batches: the order of an epoch depends on seed and epoch alone, and any of its steps
can be the first, so that a resumed run reads what an unbroken one would have read.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from uld_jax.datasets import files, splits
from uld_jax.datasets.splits import Batch

Order = grain.MapDataset  # Of batches of example indices, each a [B] array.

# From the number of a step in an order to the nodes of each example, [B, k].
ChooseNodes = Callable[[int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Changes:
    """How to render examples otherwise than they were drawn.

    Attributes:
        snr_db: SNR of all examples, in dB, or a function of an example's index; None
            for each one's own.
        late: Late field, one of `rooms.LATE_FIELDS`; None for the split's own.
        furnishing: What is in the rooms, one of `furniture.FURNISHINGS`; None for the
            split's own.
    """

    snr_db: float | Callable[[int], float] | None = None
    late: str | None = None
    furnishing: str | None = None


@runtime_checkable
class Source(Protocol):
    """Examples that are read or rendered batch by batch."""

    def __len__(self) -> int:
        """Count the examples; on the fly, those called an epoch."""

    def batches(
        self,
        order: Order,
        first_step: int = 0,
        *,
        nodes: ChooseNodes | None = None,
        changes: Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order.

        Args:
            order: Batches of example indices.
            first_step: Number of the first batch in the order.
            nodes: Gives the nodes that each example keeps, by the number of the step
                in the order; by default all.
            changes: How to render otherwise than was drawn; for compact data alone.

        Raises:
            files.DatasetError: If the data is damaged, or cannot be changed so.
        """


def refuse(changes: Changes | None) -> None:
    """Raise for any changes, in a source that cannot make them.

    Raises:
        files.DatasetError: With the changes.
    """
    if changes is not None:
        raise files.DatasetError(
            f"{changes}: only compact data can be rendered otherwise; pass "
            "--config.data.source=compact"
        )


@jax.jit
def _pick(audio, node_positions, nodes):
    rows = jnp.arange(len(nodes))[:, None]
    return audio[rows, nodes], node_positions[rows, nodes]


def pick_nodes(batch: Batch, nodes: Int[np.ndarray, "B k"]) -> Batch:
    """Keep some nodes of each example, in the order given."""
    audio, positions = _pick(batch["audio"], batch["node_positions"], nodes)
    return batch | {"audio": audio, "node_positions": positions}


def with_nodes(
    batches: Iterable[Batch], first_step: int, nodes: ChooseNodes | None
) -> Iterator[Batch]:
    """Keep the chosen nodes of batches, the first of which is that of a step."""
    for step, batch in enumerate(batches, first_step):
        yield pick_nodes(batch, nodes(step)) if nodes else batch


def finished(batch: Batch) -> Batch:
    """Wait for a rendered batch on CPUs, and return it.

    Where dispatch is asynchronous, the training step would otherwise run beside the
    renderer, and Fourier transforms of two programs can wait for each other forever.
    """
    return jax.block_until_ready(batch) if jax.default_backend() == "cpu" else batch


def epoch_order(num_examples: int, batch_size: int, *, seed: int, epoch: int) -> Order:
    """Shuffle the examples of an epoch into batches of indices.

    Every example comes at most once; a last batch that is not full is left out.
    The paper does not say what becomes of those examples.

    Args:
        num_examples: Size of the split.
        batch_size: Examples a step, over all devices and processes.
        seed: Seed of the run.
        epoch: Number of the epoch; each has an order of its own.

    Raises:
        files.DatasetError: If a batch is larger than the split.
    """
    if batch_size > num_examples:
        raise files.DatasetError(
            f"batch size {batch_size} is larger than the {num_examples} training "
            "examples; lower --config.train.batch_size"
        )
    order = np.random.default_rng([seed, epoch]).permutation(num_examples)
    return _in_batches(order, batch_size)


def endless_order(num_examples: int, batch_size: int, *, epoch: int) -> Order:
    """Count the examples of an epoch up in batches, from where the last epoch ended.

    Args:
        num_examples: Examples called an epoch.
        batch_size: Examples a step, over all devices and processes.
        epoch: Number of the epoch.
    """
    size = num_examples // batch_size * batch_size
    return _in_batches(np.arange(epoch * size, (epoch + 1) * size), batch_size)


def in_order(num_examples: int, batch_size: int) -> Order:
    """Put all indices into batches of one size; the last one repeats the last index.

    With one size, one compiled program serves all batches. The caller drops what
    exceeds `num_examples`.
    """
    steps = -(-num_examples // batch_size)
    indices = np.minimum(np.arange(steps * batch_size), num_examples - 1)
    return _in_batches(indices, batch_size)


def _in_batches(indices: np.ndarray, batch_size: int) -> Order:
    """Cut indices into batches; what does not fill one is left out."""
    steps = len(indices) // batch_size
    return grain.MapDataset.source(
        _Rows(indices[: steps * batch_size].reshape(steps, batch_size))
    )


class _Rows:
    """The batches of an order, each made at once: Grain's own take a millisecond."""

    def __init__(self, rows: Int[np.ndarray, "T B"]):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, step: int) -> Int[np.ndarray, " B"]:
        return self._rows[step]


def rows_of(order: Order, rows: range) -> Order:
    """Restrict an order to some rows of each batch, those of one device."""
    return order.map(lambda indices: indices[rows.start : rows.stop])


class DiskData:
    """A split read by Grain, a few batches ahead of the device: a `Source`.

    Args:
        split: What to read.
        prefetch_batches: Batches held in memory ahead.
        read_threads: Threads that read.
        device: Where batches go; by default to the first.
    """

    def __init__(
        self,
        split: splits.Split,
        *,
        prefetch_batches: int,
        read_threads: int,
        device: jax.Device | None = None,
    ):
        self._split, self._device = split, device
        self._options = grain.ReadOptions(
            num_threads=read_threads, prefetch_buffer_size=prefetch_batches
        )

    def __len__(self) -> int:
        return len(self._split)

    def _read(self, indices: np.ndarray) -> Batch:
        examples = [self._split[int(index)] for index in indices]
        batch = splits.stack(examples, self._split.fields)
        splits.check_geometry(self._split.name, batch)
        return batch

    def on_host(self, order: Order, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an order, from a step on, as NumPy arrays."""
        left = order[first_step:].map(self._read)
        yield from left.to_iter_dataset(self._options)

    def batches(
        self,
        order: Order,
        first_step: int = 0,
        *,
        nodes: ChooseNodes | None = None,
        changes: Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order: see `Source`."""
        refuse(changes)
        return with_nodes(self._on_device(order, first_step), first_step, nodes)

    def _on_device(self, order: Order, first_step: int) -> Iterator[Batch]:
        # One batch ahead: it is copied to the device while the last one is in use.
        on_device = collections.deque()
        for batch in self.on_host(order, first_step):
            on_device.append(jax.device_put(batch, self._device))
            if len(on_device) > 1:
                yield on_device.popleft()
        yield from on_device


def open_data(
    split: splits.Split, data_config: Any, devices: Sequence[jax.Device | None]
) -> list[DiskData]:
    """Open a split for each of some devices, as the settings' `data` asks for."""
    return [
        DiskData(
            split,
            prefetch_batches=data_config.prefetch_batches,
            read_threads=max(1, data_config.read_threads // len(devices)),
            device=device,
        )
        for device in devices
    ]
