"""One split of a prepared data set, example by example, and checks of its content."""

import math
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from uld_jax.acoustics import stft
from uld_jax.datasets import files
from uld_jax.labels import boxes
from uld_jax.runtime import progress

FIELDS = ("audio", "node_positions", "source_positions", "room_size")
_ROOM_FIELDS = ("t60", "snr_db")  # Not of recordings, nor of rooms without either.

Batch = dict[str, Any]

# Enough for ArrayRecord to read ahead, few enough to hold three times.
_READ_AT_ONCE = 50
# What JAX needs to use an array in place where the device is the host; else it copies.
_ALIGNMENT = 64


class Split:
    """One split of a prepared data set, read without its builder.

    Args:
        path: Folder of the data set.
        name: Which split.
        fields: What to read of each example, the signals first.

    Attributes:
        metadata: What the data set records about its origin.
        shape: Shape of an example's signals, [M, N].
        num_nodes: Nodes M of an example.
        num_sources: Sources S.
        num_samples: Samples N of a node's signal.

    Raises:
        files.DatasetError: If the data set or the split is missing, damaged or empty,
            or if its fields, their layout or the sample rate are not as expected.
    """

    def __init__(self, path: pathlib.Path, name: str, fields: tuple[str, ...] = FIELDS):
        self._source = source = files.Records(path, name)
        self._features = features = source.features
        if missing := [field for field in fields if field not in features]:
            raise files.DatasetError(
                f"{str(path)!r} does not hold {', '.join(missing)}; a compact data set "
                "is named without its ending and read with --config.data.source=compact"
            )
        self.path: pathlib.Path = path
        self.name: str = name
        self.fields: tuple[str, ...] = fields
        self.metadata: dict[str, Any] = source.metadata
        files.check_sample_rate(path, self.metadata)
        _check_layout(path, {field: features[field] for field in fields})
        self.shape: tuple[int, ...] = features[fields[0]].shape
        self.num_nodes: int = features["node_positions"].shape[0]
        self.num_sources: int = features["source_positions"].shape[0]
        self.num_samples: int = (
            features["audio"].shape[1]
            if "audio" in features
            else self.metadata["law"]["num_samples"]
        )
        try:
            stft.num_frames(self.num_samples)
        except ValueError as error:
            raise files.DatasetError(
                f"{str(path)!r}: {error}; prepare longer signals"
            ) from None

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Batch:
        """Read one example.

        Raises:
            files.DatasetError: If it is damaged, with its file and record.
        """
        example = self._source[index]
        return {field: example[field] for field in self.fields}

    def geometry(self) -> Batch:
        """Load the positions and room sizes of all examples, with T60 and SNR if any.

        Raises:
            files.DatasetError: As `load`.
        """
        return Split(self.path, self.name, self.geometry_fields).load()

    @property
    def geometry_fields(self) -> tuple[str, ...]:
        """Names of the fields of `geometry`."""
        return FIELDS[1:] + tuple(f for f in _ROOM_FIELDS if f in self._features)

    def load(self) -> Batch:
        """Load all examples, stacked by field; texts are an array of objects.

        Raises:
            files.DatasetError: If an example is damaged, or a position lies outside
                its room.
        """
        arrays = {}
        with progress.Progress(f"Loading {self.name}", len(self), "examples") as bar:
            for first in range(0, len(self), _READ_AT_ONCE):
                indices = range(first, min(first + _READ_AT_ONCE, len(self)))
                examples = self._source.__getitems__(indices)
                for field, part in stack(examples, self.fields).items():
                    if first == 0:
                        shape = (len(self), *part.shape[1:])
                        arrays[field] = _empty(shape, part.dtype)
                    arrays[field][indices.start : indices.stop] = part
                bar.update(len(indices))
        check_geometry(self.name, arrays)
        return arrays


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Make an array that JAX can use in place on a CPU."""
    if dtype.hasobject:
        return np.empty(shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)


def stack(examples: list[Batch], fields: Iterable[str]) -> Batch:
    """Stack examples by field; texts become an array of objects."""
    batch = {}
    for field in fields:
        values = [example[field] for example in examples]
        text = isinstance(values[0], bytes)
        batch[field] = np.array(values, object) if text else np.stack(values)
    return batch


def _check_layout(path: pathlib.Path, features: dict[str, Any]) -> None:
    """Raise unless a data set's fields have the expected shapes and types."""
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
                f"{field} of {str(path)!r} is {list(shape)} {np.dtype(dtype).name}; "
                f"expected {layout}. Prepare it again in this layout"
            )


def check_geometry(name: str, arrays: Batch) -> None:
    """Raise unless every example has nodes, and nodes and sources are in its room.

    Args:
        name: Name of the split, for the message.
        arrays: Examples, stacked by field. `node_mask`, if there, marks the nodes that
            an example has; the positions of the others are not checked.

    Raises:
        files.DatasetError: With the first example that is wrong.
    """
    floors = arrays["room_size"][:, None, :2]
    plans = {
        field: arrays[field][..., :2]
        for field in ("source_positions", "node_positions")
    }
    if not plans["node_positions"].shape[1]:
        raise files.DatasetError(f"the examples of split {name!r} have no nodes")
    present = arrays.get("node_mask")
    if present is not None:
        if not present.any(axis=1).all():
            first = int(np.argmin(present.any(axis=1)))
            raise files.DatasetError(
                f"example {first} of split {name!r} has all its nodes masked; leave it "
                "out, or give it at least one node"
            )
        # In the room wherever it is.
        plans["node_positions"] = np.where(
            present[..., None], plans["node_positions"], 0.0
        )
    for field, positions in plans.items():
        missing = np.argwhere(np.isnan(positions).any(axis=-1))
        if len(missing):
            example, number = missing[0]
            raise files.DatasetError(
                f"{field} of split {name!r}: number {number} of example {example} has "
                "no position; mask it (node_mask), or leave the example out"
            )
        try:
            boxes.check_positions(positions, floors)
        except ValueError as error:
            raise files.DatasetError(f"{field} of split {name!r}: {error}") from None
