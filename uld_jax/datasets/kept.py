"""Evidence of a split, kept on disk or measured batch by batch.

What a network of votes needs of the signals (`NetworkSpec.measure`) depends neither on
the label nor on the run. It takes longer to render and measure than to train on, so it
is measured once for all runs, in parts: an interrupted measurement resumes, and a part
that is damaged is measured again. Kept and measured evidence are the same, bit for bit.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from uld_jax.acoustics import correlations
from uld_jax.datasets import files, pipeline, splits
from uld_jax.datasets.splits import Batch
from uld_jax.networks import evidence
from uld_jax.runtime import progress
from uld_jax.storage import atomic, locking

FOLDER = "evidence"  # Beside the builders' folders.
FORMAT = 2  # Changes with what is measured.
_EXAMPLES_PER_PART = 100
_BATCH = 10  # Examples measured at once.
_NOISIER_DB = (-10.0, 20.0)  # SNR of the noisier copies, uniform.
_STREAM = 8  # Random stream of their SNR.

Measure = Callable[[Batch], dict[str, jax.Array]]


class KeptData:
    """Kept evidence of a split and its noisier copies: a `pipeline.Source`.

    Example i of n is the split's; n + i is its first copy.

    Args:
        parts: Arrays of examples, one after the other, as `open_kept` opens them.
        geometry: Positions and room sizes of the split's own examples.
        device: Where batches go; by default to the first.
    """

    def __init__(
        self,
        parts: list[np.ndarray],
        geometry: Batch,
        device: jax.Device | None = None,
    ):
        self._parts, self._device = parts, device
        self._geometry = {key: geometry[key] for key in splits.FIELDS[1:]}
        self._size = sum(map(len, parts))
        self._parts_per_copy = len(parts) * len(geometry["room_size"]) // self._size

    def __len__(self) -> int:
        return self._size

    def on(self, device: jax.Device | None) -> "KeptData":
        """Give the same data for another device."""
        return KeptData(self._parts, self._geometry, device)

    def batches(self, order, first_step=0, *, nodes=None, changes=None):
        """Iterate over the batches of an order: see `pipeline.Source`."""
        pipeline.refuse(changes)
        for step in range(first_step, len(order)):
            rows = np.asarray(order[step])
            yield self._batch(rows, nodes(step) if nodes else None)

    def _batch(self, rows: np.ndarray, nodes: np.ndarray | None) -> Batch:
        copies, own = np.divmod(rows, len(self._geometry["room_size"]))
        batch = {key: values[own] for key, values in self._geometry.items()}
        # A copy's last part may be shorter than the others.
        numbers, places = np.divmod(own, len(self._parts[0]))
        numbers += copies * self._parts_per_copy
        examples = [
            self._parts[number][place]
            for number, place in zip(numbers, places, strict=True)
        ]
        if nodes is None:
            nodes = np.arange(batch["node_positions"].shape[1])[None]
            nodes = np.repeat(nodes, len(rows), axis=0)
        batch["node_positions"] = np.take_along_axis(
            batch["node_positions"], nodes[..., None], axis=1
        )
        for field in ("levels", "active"):
            batch[field] = np.stack(
                [one[field][some] for one, some in zip(examples, nodes, strict=True)]
            )
        batch["envelopes"] = np.stack(
            [
                one["envelopes"][pair_numbers(len(one["active"]), some)]
                for one, some in zip(examples, nodes, strict=True)
            ]
        )
        return jax.device_put(batch, self._device)


class MeasuredData:
    """Evidence of a source, measured batch by batch: a `pipeline.Source`.

    All nodes are rendered, so that examples are those of `KeptData`, bit for bit.

    Args:
        source: Signals.
        measure: The network's, from its specification, jitted.
    """

    def __init__(self, source: pipeline.Source, measure: Measure):
        self._source, self._measure = source, measure

    def __len__(self) -> int:
        return len(self._source)

    def batches(self, order, first_step=0, *, nodes=None, changes=None):
        """Iterate over the batches of an order: see `pipeline.Source`."""
        source = self._source.batches(order, first_step, changes=changes)
        for step, batch in enumerate(source, first_step):
            found = self._measure(batch)
            batch = jax.device_put({k: v for k, v in batch.items() if k != "audio"})
            batch = found | batch
            yield pipeline.finished(_pick(batch, nodes(step)) if nodes else batch)


def _pick(batch: Batch, nodes: np.ndarray) -> Batch:
    """Keep the evidence of some nodes and of their pairs."""
    num_nodes = batch["levels"].shape[1]
    pairs = np.stack([pair_numbers(num_nodes, some) for some in nodes])
    rows = np.arange(len(nodes))[:, None]
    picked = {
        key: batch[key][rows, nodes] for key in ("node_positions", "levels", "active")
    }
    return batch | picked | {"envelopes": batch["envelopes"][rows, pairs]}


def pair_numbers(num_nodes: int, nodes: np.ndarray) -> np.ndarray:
    """Find the pairs of some nodes, in ascending order, among those of all."""
    one, other = (nodes[part] for part in correlations.node_pairs(len(nodes)))
    return one * num_nodes - one * (one + 1) // 2 + other - one - 1


def open_kept(
    source: pipeline.Source,
    split: splits.Split,
    measure: Measure,
    data_dir: str | pathlib.Path,
    facts: dict[str, Any],
    copies: int = 0,
) -> KeptData:
    """Open the kept evidence of a split; measure what is missing first.

    Args:
        source: The split's signals.
        split: The split.
        measure: The network's, from its specification.
        data_dir: Folder of data sets; evidence goes below it.
        facts: All that the signals depend on: see `sources.describe`.
        copies: Noisier renderings of each example to add, of SNR -10 to 20 dB.

    Raises:
        files.DatasetError: If the disk is too small, or signals cannot be rendered with
            more noise.
    """
    facts = facts | {"format": FORMAT, "split": split.name, "noisier": _NOISIER_DB}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    name = facts["name"].replace("/", "_").replace(":", "_")
    folder = pathlib.Path(data_dir).expanduser() / FOLDER / f"{name}_{digest[:12]}"
    geometry = split.geometry()
    plan = [
        (copy, range(first, min(first + _EXAMPLES_PER_PART, len(split))))
        for copy in range(copies + 1)
        for first in range(0, len(split), _EXAMPLES_PER_PART)
    ]
    paths = [folder / f"{split.name}-{copy}-{rows.start}.npy" for copy, rows in plan]
    missing = [number for number, path in enumerate(paths) if _open(path) is None]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with locking.hold(folder / ".lock", wait=True):
            # Another process may have measured them meanwhile.
            missing = [number for number in missing if _open(paths[number]) is None]
            jobs = [(*plan[number], paths[number]) for number in missing]
            _measure_parts(source, split, jax.jit(measure), jobs)
    parts = [_open(path) for path in paths]
    if lost := [str(p) for p, part in zip(paths, parts, strict=True) if part is None]:
        raise files.DatasetError(
            f"{lost[0]!r} was written and is damaged: check the disk, then start again"
        )
    return KeptData(parts, geometry)


def _measure_parts(source, split: splits.Split, measure: Measure, jobs: list) -> None:
    """Measure parts of a split and write each when it is done."""
    if not jobs:
        return
    total = sum(len(rows) for _, rows, _ in jobs)
    size = total * _dtype(split.num_nodes).itemsize
    folder = jobs[0][2].parent
    if shutil.disk_usage(folder).free < size:
        raise files.DatasetError(
            f"evidence of {split.name} needs {size / 1e9:.2f} GB, more than is free in "
            f"{str(folder)!r}: choose another --config.data.dir, or pass "
            "--config.data.keep_evidence=False"
        )
    title = f"Measuring evidence of {split.name}, {size / 1e9:.2f} GB in {folder}"
    with progress.Progress(title, total, "examples") as bar:
        for copy, rows, path in jobs:
            part = np.empty(len(rows), _dtype(split.num_nodes))
            done = 0
            for batch in _batches(source, rows, copy):
                found = jax.device_get(measure(batch))
                count = min(len(found["active"]), len(rows) - done)
                for field in evidence.FIELDS:
                    part[field][done : done + count] = found[field][:count]
                done += count
                bar.update(count)
            _write(path, part)


def _batches(source, rows: range, copy: int) -> Iterator[Batch]:
    order = pipeline.in_order(len(rows), min(_BATCH, len(rows)))
    order = order.map(lambda indices: indices + rows.start)
    changes = None
    if copy:
        changes = pipeline.Changes(snr_db=NoisierSnr(copy))
    return source.batches(order, changes=changes)


@dataclasses.dataclass(frozen=True)
class NoisierSnr:
    """SNR in dB of an example of a noisier copy, by its index.

    Attributes:
        copy: Number of the copy.
    """

    copy: int

    def __call__(self, index: int) -> float:
        """Draw it, from a random stream of its own."""
        rng = np.random.default_rng([_STREAM, self.copy, index])
        return rng.uniform(*_NOISIER_DB)


def _dtype(num_nodes: int) -> np.dtype:
    """Give the layout of an example's evidence."""
    shapes = jax.eval_shape(
        evidence.measure,
        {"audio": jax.ShapeDtypeStruct((1, num_nodes, 16_000), np.float32)},
    )
    fields = [
        (key, np.dtype(shapes[key].dtype), shapes[key].shape[1:])
        for key in evidence.FIELDS
    ]
    return np.dtype(fields)


def _write(path: pathlib.Path, part: np.ndarray) -> None:
    with atomic.replace(path) as partial, partial.open("wb") as file:
        np.save(file, part, allow_pickle=False)
    atomic.write_json(path.with_suffix(".json"), {"crc32": _sum(path)})


def _open(path: pathlib.Path) -> np.ndarray | None:
    """Open a part; None if it is missing, damaged or not finished."""
    try:
        written = json.loads(path.with_suffix(".json").read_text())["crc32"]
        if _sum(path) != written:
            return None
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sum(path: pathlib.Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(2**24):
            total = zlib.crc32(block, total)
    return total


def size_in_bytes(num_examples: int, num_nodes: int) -> int:
    """Compute the size of the evidence of so many examples."""
    return math.prod((num_examples, _dtype(num_nodes).itemsize))
