"""Prepared data to batches: from disk by Grain, or held on the device.

Both ways give the same batches: the order of an epoch is a function of the seed
and the epoch, and any step of it can be the first.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from uld_jax.acoustics import stft
from uld_jax.datasets import files
from uld_jax.labels import codes
from uld_jax.runtime import progress

FIELDS = ("audio", "node_positions", "source_positions", "room_size")
_ROOM_FACTS = ("t60", "snr_db")

Batch = dict[str, Any]
Order = grain.MapDataset  # Of batches of example indices, each a [B] array.

_READ_AT_ONCE = 500


# From the number of a step in an order to the nodes of each example, [B, k].
ChooseNodes = Callable[[int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Changes:
    """How to render examples otherwise than they were drawn.

    Attributes:
        snr_db: SNR of all examples, in dB; None for each one's own.
        late: Late field, one of `rooms.LATE_FIELDS`; None for the split's own.
    """

    snr_db: float | None = None
    late: str | None = None


@runtime_checkable
class Source(Protocol):
    """Examples that are read or rendered batch by batch."""

    def __len__(self) -> int:
        """Count the examples, of an epoch where they never end."""

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
            first_step: Number in the order of the first batch.
            nodes: Which nodes each example keeps, by the number of the step in the
                order; by default all.
            changes: How to render otherwise than was drawn; compact data alone can.

        Raises:
            DatasetError: If the data is damaged, or cannot be changed so.
        """


def refuse(changes: Changes | None) -> None:
    """Raise for changes of data that are not rendered from a compact data set.

    Raises:
        DatasetError: If there are any.
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


def _with_nodes(
    batches: Iterable[Batch], first_step: int, nodes: ChooseNodes | None
) -> Iterator[Batch]:
    for step, batch in enumerate(batches, first_step):
        yield pick_nodes(batch, nodes(step)) if nodes else batch


class Split:
    """One split of a prepared data set, example by example, without its builder.

    Args:
        path: Folder of the data set.
        name: Which split.
        fields: What to read of each example, the signals first.

    Raises:
        DatasetError: If the data set or the split is not there, is damaged or empty,
            or holds no such fields, or none of a layout or sample rate that is read.
    """

    def __init__(self, path: pathlib.Path, name: str, fields: tuple[str, ...] = FIELDS):
        self._source = source = files.Records(path, name)
        self._features = features = source.features
        if missing := [field for field in fields if field not in features]:
            raise files.DatasetError(
                f"{str(path)!r} does not hold {', '.join(missing)}; a compact data set "
                "is named without its ending and read with --config.data.source=compact"
            )
        self.path, self.name, self.fields = path, name, fields
        self.metadata = source.metadata
        files.check_sample_rate(path, self.metadata)
        _check_layout(path, {field: features[field] for field in fields})
        self.shape = features[fields[0]].shape  # Of an example's signals: [M, N].
        self.num_nodes = features["node_positions"].shape[0]
        self.num_sources = features["source_positions"].shape[0]
        self.num_samples = (
            features["audio"].shape[1]
            if "audio" in features
            else self.metadata["law"]["num_samples"]
        )
        _check_length(path, self.num_samples)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Batch:
        """Return one example.

        Raises:
            DatasetError: If it is damaged, with its place.
        """
        example = self._source[index]
        return {field: example[field] for field in self.fields}

    def facts(self) -> Batch:
        """Return where everything is in all examples, and T60 and SNR if they have any.

        Raises:
            DatasetError: As `load`.
        """
        known = FIELDS[1:] + tuple(f for f in _ROOM_FACTS if f in self._features)
        return Split(self.path, self.name, known).load()

    def load(self) -> Batch:
        """Return all examples, stacked by field; texts are an array of objects.

        Raises:
            DatasetError: If an example is damaged, or a position lies outside its
                room.
        """
        arrays = {}
        with progress.Progress(f"Loading {self.name}", len(self), "examples") as bar:
            for first in range(0, len(self), _READ_AT_ONCE):
                indices = range(first, min(first + _READ_AT_ONCE, len(self)))
                examples = self._source.__getitems__(indices)
                for field, part in _stack(examples, self.fields).items():
                    if first == 0:
                        shape = (len(self), *part.shape[1:])
                        arrays[field] = np.empty(shape, part.dtype)
                    arrays[field][indices.start : indices.stop] = part
                bar.update(len(indices))
        check_geometry(self.name, arrays)
        return arrays


def _check_layout(path: pathlib.Path, features: dict[str, Any]) -> None:
    """Raise unless a data set's fields are arrays as they are read here."""
    nodes = features["node_positions"].shape[:1]
    needed = {
        "audio": ("[M, N] int16", 2, nodes, np.int16),
        "node_positions": ("[M, 3] float32", 2, nodes, np.float32),
        "source_positions": ("[S, 3] float32", 2, (), np.float32),
        "room_size": ("[3] float32", 1, (3,), np.float32),
    }
    for field in features.keys() & needed.keys():
        layout, rank, first, kind = needed[field]
        shape, dtype = features[field].shape, features[field].np_dtype
        right = len(shape) == rank and shape[: len(first)] == first and dtype == kind
        if not right or None in shape or ("positions" in field and shape[1] != 3):
            raise files.DatasetError(
                f"{field} of {str(path)!r} is {list(shape)} {np.dtype(dtype).name}, "
                f"and read is {layout}; prepare it anew so"
            )


def _check_length(path: pathlib.Path, num_samples: int) -> None:
    """Raise if signals are too short to be heard."""
    try:
        stft.num_frames(num_samples)
    except ValueError as error:
        raise files.DatasetError(
            f"{str(path)!r}: {error}; prepare longer ones"
        ) from None


def _stack(examples: list[Batch], fields: Iterable[str]) -> Batch:
    batch = {}
    for field in fields:
        values = [example[field] for example in examples]
        text = isinstance(values[0], bytes)
        batch[field] = np.array(values, object) if text else np.stack(values)
    return batch


def check_geometry(name: str, arrays: Batch) -> None:
    """Raise unless every example has nodes, all of them in the room, as its sources.

    Args:
        name: Of the split, for the message.
        arrays: Examples, stacked by field; `node_mask`, if there, says which nodes
            an example has. Where the others are does not matter.

    Raises:
        DatasetError: With the first thing that is wrong.
    """
    floors = arrays["room_size"][:, None, :2]
    places = {
        field: arrays[field][..., :2]
        for field in ("source_positions", "node_positions")
    }
    if not places["node_positions"].shape[1]:
        raise files.DatasetError(f"the examples of split {name!r} have no nodes")
    present = arrays.get("node_mask")
    if present is not None:
        if not present.any(axis=1).all():
            first = int(np.argmin(present.any(axis=1)))
            raise files.DatasetError(
                f"example {first} of split {name!r} has all its nodes masked; leave it "
                "out, or give it at least one node"
            )
        places["node_positions"] = np.where(
            present[..., None], places["node_positions"], 0.0
        )
    for field, positions in places.items():
        missing = np.argwhere(np.isnan(positions).any(axis=-1))
        if len(missing):
            example, number = missing[0]
            raise files.DatasetError(
                f"{field} of split {name!r}: number {number} of example {example} has "
                "no position; mask it (node_mask), or leave the example out"
            )
        try:
            codes.check_positions(positions, floors)
        except ValueError as error:
            raise files.DatasetError(f"{field} of split {name!r}: {error}") from None


def finished(batch: Batch) -> Batch:
    """Return a rendered batch, on a CPU no sooner than it is there.

    Where dispatch is asynchronous, the training step would otherwise run beside the
    renderer, and Fourier transforms of two programs can block each other forever.
    """
    return jax.block_until_ready(batch) if jax.default_backend() == "cpu" else batch


def epoch_order(num_examples: int, batch_size: int, *, seed: int, epoch: int) -> Order:
    """Return an epoch's batches of example indices, each a [B] array.

    Every example comes at most once; a last batch that is not full is left out.
    The paper does not say what becomes of those examples.

    Args:
        num_examples: Size of the split.
        batch_size: Examples a step, over all devices and processes.
        seed: Seed of the run.
        epoch: Number of the epoch; each has an order of its own.

    Raises:
        DatasetError: If a batch is larger than the split.
    """
    if batch_size > num_examples:
        raise files.DatasetError(
            f"batch size {batch_size} is larger than the {num_examples} training "
            "examples; lower --config.train.batch_size"
        )
    order_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    order = grain.MapDataset.range(num_examples).seed(order_seed).shuffle()
    steps = num_examples // batch_size
    return order[: steps * batch_size].batch(batch_size)


def endless_order(num_examples: int, batch_size: int, *, epoch: int) -> Order:
    """Return an epoch's batches of numbers of examples that never come again.

    Args:
        num_examples: Examples called an epoch.
        batch_size: Examples a step, over all devices and processes.
        epoch: Number of the epoch.
    """
    size = num_examples // batch_size * batch_size
    numbers = grain.MapDataset.range(epoch * size, (epoch + 1) * size)
    return numbers.batch(batch_size)


def rows_of(order: Order, rows: range) -> Order:
    """Return an order of which one device has some of each batch's rows."""
    return order.map(lambda indices: indices[rows.start : rows.stop])


class DeviceData:
    """A split held on the device, its audio as int16.

    Args:
        split: What to hold.
        device: Where; by default on the first.
        arrays: Its examples, where they are loaded already.
    """

    def __init__(
        self,
        split: Split,
        device: jax.Device | None = None,
        arrays: Batch | None = None,
    ):
        self._arrays = jax.device_put(arrays or split.load(), device)
        self._take = jax.jit(
            lambda arrays, rows: {k: v[rows] for k, v in arrays.items()}
        )
        self._size = len(split)

    def __len__(self) -> int:
        return self._size

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
        steps = range(first_step, len(order))
        batches = (self._take(self._arrays, order[step]) for step in steps)
        return _with_nodes(batches, first_step, nodes)


def check_fits(splits: Iterable[Split]) -> None:
    """Raise unless the device has the memory to hold all splits.

    Raises:
        DatasetError: If not; where a device does not say, nothing is checked.
    """
    needed = sum(len(split) * int(np.prod(split.shape)) * 2 for split in splits)
    if not fits(needed):
        limit = jax.local_devices()[0].memory_stats()["bytes_limit"]
        raise files.DatasetError(
            f"the data set needs {needed / 1e9:.3g} GB and the device has "
            f"{limit / 1e9:.3g} GB; set --config.data.on_device=False"
        )


def fits(num_bytes: int) -> bool:
    """Return whether the device has so much memory, as far as it says."""
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return not limit or num_bytes <= 0.8 * (limit - stats.get("bytes_in_use", 0))


class DiskData:
    """A split read by Grain, a few batches ahead of the device.

    Args:
        split: What to read.
        prefetch_batches: Batches held in memory ahead.
        read_threads: Threads that read.
        device: Where batches go; by default to the first.
    """

    def __init__(
        self,
        split: Split,
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
        batch = _stack(examples, self._split.fields)
        check_geometry(self._split.name, batch)
        return batch

    def on_host(self, order: Order, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an order from a step on, in NumPy."""
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
        return _with_nodes(self._on_device(order, first_step), first_step, nodes)

    def _on_device(self, order: Order, first_step: int) -> Iterator[Batch]:
        on_device = collections.deque()
        for batch in self.on_host(order, first_step):
            on_device.append(jax.device_put(batch, self._device))
            if len(on_device) > 1:
                yield on_device.popleft()
        yield from on_device


def open_data(
    split: Split, data_config, devices: Sequence[jax.Device | None]
) -> list[DeviceData | DiskData]:
    """Return a split for each of some devices, in the way the settings ask for."""
    if data_config.on_device:
        arrays = split.load()
        return [DeviceData(split, device, arrays) for device in devices]
    return [
        DiskData(
            split,
            prefetch_batches=data_config.prefetch_batches,
            read_threads=max(1, data_config.read_threads // len(devices)),
            device=device,
        )
        for device in devices
    ]


def in_order(num_examples: int, batch_size: int) -> Order:
    """Return all indices in batches of one size; the last one repeats the last index.

    Whoever reads the batches drops what exceeds `num_examples`.
    """
    steps = -(-num_examples // batch_size)
    padded = grain.MapDataset.range(steps * batch_size)
    return padded.map(lambda index: min(index, num_examples - 1)).batch(batch_size)
