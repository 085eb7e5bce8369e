"""Measure the signals of a split once, and keep the results on disk or in memory.

What a network of votes needs of the signals (`NetworkSpec.measure`) depends neither on
the label nor on the run. It takes longer to render and measure than to train on, so it
is measured once for all runs, in parts: an interrupted measurement resumes, and a part
that is damaged is measured again. Kept and measured evidence are the same, bit for bit.
The signals themselves can be kept in the same way.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from uld_jax.acoustics import correlations
from uld_jax.datasets import files, pipeline, splits
from uld_jax.datasets.splits import Batch
from uld_jax.networks import evidence
from uld_jax.runtime import distributed, progress
from uld_jax.storage import atomic, checksums, locking

FOLDER = "evidence"  # Beside the builders' folders.
_EXAMPLES_PER_PART = 400  # Each part is an open file.
_BATCH = 10  # Examples rendered at once.
_BATCH_OF_SIGNALS = 128  # On an accelerator, where nothing is measured.
_NOISIER_DB = (-10.0, 20.0)  # SNR of the noisier copies, uniform.
_STREAM = 8  # Random stream of their SNR.

Measure = Callable[[Batch], dict[str, jax.Array]]


class KeptData:
    """Kept examples of a split and its noisier copies: a `pipeline.Source`.

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

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`."""
        if changes is not None:
            raise files.DatasetError(
                f"{changes}: kept evidence cannot be rendered otherwise; open signals"
            )
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
        num_nodes = batch["node_positions"].shape[1]
        if nodes is None:
            nodes = np.repeat(np.arange(num_nodes)[None], len(rows), axis=0)
        batch["node_positions"] = np.take_along_axis(
            batch["node_positions"], nodes[..., None], axis=1
        )
        for field in self._parts[0].dtype.names:
            batch[field] = np.stack(
                [
                    one[field][_chosen(field, num_nodes, some)]
                    for one, some in zip(examples, nodes, strict=True)
                ]
            )
        return jax.device_put(batch, self._device)


class MeasuredData:
    """Evidence of a source, measured batch by batch: a `pipeline.Source`.

    Args:
        source: Signals.
        measure: The network's, from its specification, jitted.
        whole: Whether to render all nodes before some are chosen. Examples are then
            those of `KeptData`, bit for bit.
    """

    def __init__(self, source: pipeline.Source, measure: Measure, whole: bool = True):
        self._source, self._measure, self._whole = source, measure, whole

    def __len__(self) -> int:
        return len(self._source)

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`."""
        first = None if self._whole else nodes
        source = self._source.batches(order, first_step, nodes=first, changes=changes)
        nodes = nodes if self._whole else None
        for step, batch in enumerate(source, first_step):
            found = self._measure(batch)
            batch = jax.device_put({k: v for k, v in batch.items() if k != "audio"})
            batch = found | batch
            if nodes:
                batch = _pick(batch, found, nodes(step))
            yield pipeline.finished(batch)


def _pick(batch: Batch, fields: Iterable[str], nodes: np.ndarray) -> Batch:
    """Keep the evidence of some nodes and of their pairs."""
    num_nodes = batch["node_positions"].shape[1]
    rows = np.arange(len(nodes))[:, None]
    picked = {}
    for key in ("node_positions", *fields):
        chosen = [_chosen(key, num_nodes, some) for some in nodes]
        picked[key] = batch[key][rows, np.stack(chosen)]
    return batch | picked


def _chosen(field: str, num_nodes: int, nodes: np.ndarray) -> np.ndarray:
    """Find the entries of a field that belong to some nodes, or to their pairs."""
    return pair_numbers(num_nodes, nodes) if field == "envelopes" else nodes


def pair_numbers(num_nodes: int, nodes: np.ndarray) -> np.ndarray:
    """Find the pairs of some nodes, in ascending order, among those of all."""
    one, other = (nodes[part] for part in correlations.node_pairs(len(nodes)))
    return one * num_nodes - one * (one + 1) // 2 + other - one - 1


def signals(batch: Batch) -> dict[str, jax.Array]:
    """Measure the signals themselves: what they are, as int16."""
    return {"audio": batch["audio"].astype(np.int16)}


def at_once(measure: Measure = signals) -> int:
    """Choose the number of examples that are rendered at once."""
    on_cpu = jax.default_backend() == "cpu"
    return _BATCH if on_cpu or measure is not signals else _BATCH_OF_SIGNALS


def render_in_memory(source: pipeline.Source, split: splits.Split) -> KeptData:
    """Render the signals of a split, and keep them in this process's memory.

    Args:
        source: Renders it.
        split: The split.
    """
    layout, rows = _layout(signals, split), range(len(split))
    with progress.Progress(_title(split, signals), len(split), "examples") as bar:
        part = _measure_part(source, signals, layout, 0, rows, bar)
    return KeptData([part], split.geometry())


def is_kept(
    split: splits.Split,
    measure: Measure,
    data_dir: str | pathlib.Path,
    facts: dict[str, Any],
) -> bool:
    """Check whether a split is kept on disk as a whole, without reading it."""
    folder = _folder(data_dir, split, measure, facts)
    plan = _plan(len(split))
    return all(_path(folder, split, *one).exists() for one in plan)


def open_kept(
    open_signals: Callable[[], pipeline.Source],
    split: splits.Split,
    measure: Measure,
    data_dir: str | pathlib.Path,
    facts: dict[str, Any],
    copies: int = 0,
) -> KeptData:
    """Open the kept evidence of a split; measure what is missing first.

    Args:
        open_signals: Opens the split's signals, where some have to be measured.
        split: The split.
        measure: The network's, from its specification.
        data_dir: Folder of data sets; evidence goes below it.
        facts: All that the signals depend on: see `sources.describe`.
        copies: Noisier renderings of each example to add, of SNR -10 to 20 dB.

    Raises:
        files.DatasetError: If the disk is too small, or a part cannot be read.
    """
    folder = _folder(data_dir, split, measure, facts)
    plan = _plan(len(split), copies)
    paths = [_path(folder, split, *one) for one in plan]
    parts = [_open(path) for path in paths]
    if any(part is None for part in parts):
        folder.mkdir(parents=True, exist_ok=True)
        with locking.hold(folder / ".lock", wait=True):
            # Another process may have measured them meanwhile.
            parts = [
                part if part is not None else _open(path)
                for path, part in zip(paths, parts, strict=True)
            ]
            jobs = [
                (*one, path)
                for one, path, part in zip(plan, paths, parts, strict=True)
                if part is None
            ]
            if jobs:
                _measure_parts(open_signals(), split, measure, jobs)
    for number, path in enumerate(paths):
        if parts[number] is None:
            parts[number] = _open(path)
        if parts[number] is None:
            raise files.DatasetError(
                f"{str(path)!r} was written and cannot be read as it was: check the disk"
            )
    return KeptData(parts, split.geometry())


def _plan(num_examples: int, copies: int = 0) -> list[tuple[int, range]]:
    """List the parts: number of the copy, and examples."""
    return [
        (copy, range(first, min(first + _EXAMPLES_PER_PART, num_examples)))
        for copy in range(copies + 1)
        for first in range(0, num_examples, _EXAMPLES_PER_PART)
    ]


def _path(
    folder: pathlib.Path, split: splits.Split, copy: int, rows: range
) -> pathlib.Path:
    return folder / f"{split.name}-{copy}-{rows.start}.npy"


def _folder(
    data_dir: str | pathlib.Path,
    split: splits.Split,
    measure: Measure,
    facts: dict[str, Any],
) -> pathlib.Path:
    """Name the folder of a split's evidence by all that its bits depend on."""
    sums = split.path / checksums.FILE_NAME
    facts = facts | {
        "format": evidence.FORMAT,
        "split": split.name,
        "noisier": _NOISIER_DB,
        "measure": f"{measure.__module__}.{measure.__qualname__}",
        "sums": hashlib.sha256(sums.read_bytes()).hexdigest() if sums.exists() else "",
        "backend": jax.default_backend(),
        "jax": jax.__version__,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    name = facts["name"].replace("/", "_").replace(":", "_")
    return pathlib.Path(data_dir).expanduser() / FOLDER / f"{name}_{digest[:12]}"


def _measure_parts(
    source, split: splits.Split, measure: Measure, jobs: list[Any]
) -> None:
    """Measure parts of a split and write each when it is done."""
    layout = _layout(measure, split)
    total = sum(len(rows) for _, rows, _ in jobs)
    size = total * layout.itemsize
    folder = jobs[0][2].parent
    what = "signals" if measure is signals else "evidence"
    if shutil.disk_usage(folder).free < size:
        instead = "--config.data.keep_evidence=False"
        if measure is signals:
            instead = "--config.data.held_on=auto"
        raise files.DatasetError(
            f"no room for {what} of {split.name}, {size / 1e9:.2f} GB, in "
            f"{str(folder)!r}: choose another --config.data.dir, or pass {instead}"
        )
    progress.log(f"Keeping {what} of {split.name}, {size / 1e9:.2f} GB, in {folder}")
    with progress.Progress(_title(split, measure), total, "examples") as bar:
        for copy, rows, path in jobs:
            _write(path, _measure_part(source, measure, layout, copy, rows, bar))


def _title(split: splits.Split, measure: Measure) -> str:
    if measure is signals:
        return f"Rendering {split.name}"
    return f"Measuring evidence of {split.name}"


def _measure_part(
    source: pipeline.Source,
    measure: Measure,
    layout: np.dtype,
    copy: int,
    rows: range,
    bar: progress.Progress,
) -> np.ndarray:
    """Measure some examples, one record each."""
    jitted = jax.jit(measure)
    part = np.empty(len(rows), layout)
    done = 0
    for batch in _batches(source, rows, copy, at_once(measure)):
        found = jax.device_get(jitted(batch))
        count = min(len(batch["room_size"]), len(rows) - done)
        for field in layout.names:
            part[field][done : done + count] = found[field][:count]
        done += count
        bar.update(count)
        distributed.check_stop()
    return part


def _batches(source, rows: range, copy: int, size: int) -> Iterator[Batch]:
    order = pipeline.in_order(len(rows), min(size, len(rows)))
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


def _layout(measure: Measure, split: splits.Split) -> np.dtype:
    """Describe an example's evidence as a record of NumPy."""
    signals = (1, split.num_nodes, split.num_samples)
    batch = {"audio": jax.ShapeDtypeStruct(signals, np.float32)}
    shapes = jax.eval_shape(measure, batch)
    return np.dtype(
        [
            (key, np.dtype(shape.dtype), shape.shape[1:])
            for key, shape in sorted(shapes.items())
        ]
    )


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
