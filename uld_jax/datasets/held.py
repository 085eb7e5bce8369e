"""Examples held where there is room: on the device, in memory, or on disk.

Compact data are rendered once, in batches that suit the renderer, and held; later
epochs render nothing. A held example has the same bits wherever it is, and those of an
example that is rendered for each batch.
"""

import pathlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from uld_jax.datasets import files, kept, pipeline, splits
from uld_jax.datasets.splits import Batch
from uld_jax.runtime import distributed, memory, progress
from uld_jax.storage import atomic

PLACES = ("device", "host", "disk")
AUTO = "auto"
NOWHERE = "nowhere"  # Rendered for each batch.


def num_bytes(opened: Collection[splits.Split]) -> int:
    """Count the bytes of all signals of some splits, as int16."""
    return sum(2 * len(s) * s.num_nodes * s.num_samples for s in opened)


def choose(
    asked: str,
    needed: int,
    data_dir: str | pathlib.Path,
    on_disk_already: bool,
    devices: Sequence[jax.Device],
    before: str | None = None,
) -> str:
    """Choose the place where so many bytes of examples are held.

    Args:
        asked: `data.held_on`: one of the places, or "auto" for the first with room.
        needed: Bytes that they need.
        data_dir: Folder of data sets.
        on_disk_already: Whether they need no further room on disk.
        devices: Devices that hold a copy each.
        before: Where an interrupted run held them: with "auto" again, if there is room.

    Returns:
        One of `PLACES`; or `NOWHERE` if "auto" finds no room.

    Raises:
        files.DatasetError: If the place asked for has too little room.
    """
    device = memory.free_on_device(devices[0])
    if device is not None and devices[0].platform == "cpu":
        device //= len(devices)  # They share one memory.
    room = {
        "device": device,
        "host": memory.free_on_host(),
        "disk": None
        if on_disk_already
        else shutil.disk_usage(atomic.nearest_existing(data_dir)).free,
    }
    if asked == AUTO:
        places = [
            place for place in PLACES if room[place] is None or needed <= room[place]
        ] + [NOWHERE]
        if before in places:
            return before
        if before:
            progress.log(
                f"There is no room on the {before} any more, where this run held its "
                "signals: the last bits of its results may differ"
            )
        return places[0]
    if room[asked] is not None and needed > room[asked]:
        raise files.DatasetError(
            f"the signals need {needed / 1e9:.3g} GB, and only {room[asked] / 1e9:.3g} GB "
            f"of the {asked} is free for them; set --config.data.held_on to another of "
            f"{', '.join(PLACES)}, or to {AUTO}"
        )
    return asked


def describe(opened: Collection[splits.Split], place: str, rendered: bool) -> str:
    """Say where the signals of some splits are held.

    Args:
        opened: The splits.
        place: Where.
        rendered: Whether they have to be rendered.
    """
    count, size = sum(map(len, opened)), num_bytes(opened) / 1e9
    where = {
        "device": "held on the device",
        "host": "held in memory",
        "disk": "kept on disk" if rendered else "read from disk",
        NOWHERE: "rendered for each batch: there is no room to hold them",
    }
    return f"Signals of {count:,} examples, {size:.3g} GB, are {where[place]}"


class DeviceData:
    """A split held on a device, its audio as int16: a `pipeline.Source`.

    Args:
        arrays: All examples of the split, by field.
        device: Where; by default the first.

    Attributes:
        arrays: The same, on the device.
    """

    def __init__(self, arrays: Batch, device: jax.Device | None = None):
        self.arrays: Batch = jax.device_put(arrays, device)
        self._take = jax.jit(take)

    def __len__(self) -> int:
        return len(self.arrays["room_size"])

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`."""
        pipeline.refuse(changes)
        return (
            self._take(self.arrays, order[step], nodes(step) if nodes else None)
            for step in range(first_step, len(order))
        )


def take(arrays: Batch, rows: jax.Array, nodes: jax.Array | None = None) -> Batch:
    """Take a batch out of arrays of examples.

    Args:
        arrays: Examples by field.
        rows: Which, [B].
        nodes: The nodes that each keeps, [B, k]; by default all.
    """
    of_nodes = ("audio", "node_positions") if nodes is not None else ()
    return {
        key: values[rows[:, None], nodes] if key in of_nodes else values[rows]
        for key, values in arrays.items()
    }


class RenderedData:
    """A held split that can be rendered otherwise, too: a `pipeline.Source`.

    Args:
        held: The split as it was drawn.
        renderer: Renders it batch by batch.

    Attributes:
        held: The same.
    """

    def __init__(self, held: pipeline.Source, renderer: pipeline.Source):
        self.held: pipeline.Source = held
        self._renderer = renderer

    def __len__(self) -> int:
        return len(self.held)

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the batches of an order: see `pipeline.Source`."""
        source = self.held if changes is None else self._renderer
        return source.batches(order, first_step, nodes=nodes, changes=changes)


def hold(
    renderers: Sequence[pipeline.Source],
    split: splits.Split,
    place: str,
    data_dir: str | pathlib.Path,
    facts: dict[str, Any],
    devices: Sequence[jax.Device | None],
) -> list[pipeline.Source]:
    """Render a split and hold it, for each of some devices.

    Args:
        renderers: Render it batch by batch, one on each device.
        split: The split.
        place: As `choose` returns it.
        data_dir: Folder of data sets; what is held on disk goes below it.
        facts: All that the signals depend on: see `sources.describe`.
        devices: The devices.

    Raises:
        files.DatasetError: If data is damaged, or the disk is too small.
    """
    if place == NOWHERE:
        return [_WholeScenes(renderer) for renderer in renderers]
    renderer = renderers[0]
    if place == "device":
        geometry = split.geometry()
        arrays = {key: geometry[key] for key in splits.FIELDS[1:]}
        arrays["audio"] = _render(renderer, split, devices[0])
        held = [DeviceData(arrays, device) for device in devices]
    else:
        if place == "host":
            data = kept.render_in_memory(renderer, split)
        else:
            data = kept.open_kept(
                lambda: renderer, split, kept.signals, data_dir, facts
            )
        held = [data.on(device) for device in devices]
    return [RenderedData(*parts) for parts in zip(held, renderers, strict=True)]


class _WholeScenes:
    """Examples rendered at all nodes, some of which are kept: a `pipeline.Source`.

    So they are those that are held elsewhere: gain and SNR are of the whole scene.
    """

    def __init__(self, renderer: pipeline.Source):
        self._renderer = renderer

    def __len__(self) -> int:
        return len(self._renderer)

    def batches(self, order, first_step=0, *, nodes=None, changes=None):
        """Iterate over the batches of an order: see `pipeline.Source`."""
        if changes is not None:
            return self._renderer.batches(
                order, first_step, nodes=nodes, changes=changes
            )
        batches = self._renderer.batches(order, first_step)
        return pipeline.with_nodes(batches, first_step, nodes)


def _render(
    renderer: pipeline.Source, split: splits.Split, device: jax.Device | None
) -> jax.Array:
    """Render a split onto a device: [n, M, N] int16."""
    put = jax.jit(
        lambda held, rows, values: held.at[rows].set(values), donate_argnums=0
    )
    shape = (len(split), split.num_nodes, split.num_samples)
    with jax.default_device(device):
        held = jnp.zeros(shape, jnp.int16)
    order = pipeline.in_order(len(split), min(kept.at_once(), len(split)))
    title = f"Rendering {split.name}"
    with progress.Progress(title, len(split), "examples") as bar:
        for step, batch in enumerate(renderer.batches(order)):
            rows = np.asarray(order[step])
            held = put(held, rows, batch["audio"])
            bar.update(len(np.unique(rows)))
            distributed.check_stop()
    return held
