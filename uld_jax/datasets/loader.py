"""The data of a run: what it trains, validates and tests on."""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import numpy as np

from uld_jax.datasets import kept, perturbations, pipeline, sources
from uld_jax.datasets.splits import Batch
from uld_jax.networks import build, step_shapes
from uld_jax.runtime import devices as devices_lib

_SPLITS = ("train", "validation", "test")


def needed_splits(config) -> tuple[str, ...]:
    """List the splits that a run needs: without epochs, the test split alone."""
    return _SPLITS if config.train.epochs else ("test",)


class RunData:
    """The data of one run, opened here and loaded by `load`.

    Args:
        config: Settings, as `config.resolve` returns them.
        splits: Splits that are needed, the test split among them.
        devices: Devices that share each batch; by default one device.
        signals: Whether batches have signals, even if the network of the settings needs
            only what is measured in them.

    Attributes:
        origin: Where the data comes from, for the record.
        num_nodes: Nodes M of an example.
        num_sources: Sources S.
        num_samples: Samples N of a signal.
        steps_per_epoch: Training batches in an epoch; 0 without a training split.
        held_out: The validation and test data by split, once loaded.

    Raises:
        files.DatasetError: If the data set cannot be used.
        CorpusError: If rooms rendered on the fly lack a corpus.
        perturbations.PerturbationError: If examples have too few nodes.
    """

    def __init__(
        self,
        config,
        splits: tuple[str, ...] = _SPLITS,
        devices: devices_lib.Devices | None = None,
        signals: bool = False,
    ):
        self._config, self._devices = config, devices or devices_lib.one()
        self._perturbation = perturbations.Perturbation(
            config.data.nodes_in_training,
            config.data.clock_offset,
            config.data.position_error,
            config.data.gain_error,
            config.data.coloring,
            config.data.drawn_errors,
        )
        self._shapes = step_shapes.parse(config.train.step_shapes)
        self._measure = None
        if not signals:
            self._measure = build.get_spec(config.model.name).measure
        self._rooms = self._train = None
        on_the_fly = config.data.source == "fresh"
        self._splits = {
            name: sources.open_split(config, name)
            for name in splits
            if not (on_the_fly and name == "train")
        }
        test = self._splits["test"]
        self.num_nodes, self.num_sources = test.num_nodes, test.num_sources
        self.num_samples = test.num_samples
        self._perturbation.check(self.num_nodes)
        self._check_shapes()
        self.origin = sources.describe(config)
        self.held_out = {}
        self.steps_per_epoch = 0
        if "train" not in splits:
            return
        if on_the_fly:
            self._rooms = sources.open_on_the_fly(config)
            self.origin["training"] = self._rooms.describe()
        self.steps_per_epoch = len(self._order(epoch=0))

    def load(self) -> None:
        """Load what is to be held on the devices.

        Raises:
            files.DatasetError: If it does not fit, or is damaged.
        """
        here = self._devices.here
        if self._config.data.on_device:
            pipeline.check_fits(self._splits.values())
        opened = {
            name: sources.open_data(self._config, split, here)
            for name, split in self._splits.items()
        }
        if self._rooms:
            opened["train"] = [self._rooms.on(device) for device in here]
        if self._measure:
            opened = {
                name: self._measured(name, parts, here)
                for name, parts in opened.items()
            }
        self._train = opened.pop("train", None)
        self.held_out = {
            name: ShardedData(parts, self._devices) for name, parts in opened.items()
        }

    def _measured(self, split: str, parts: list, devices) -> list[pipeline.Source]:
        """Open what the network needs of a split, for each of some devices."""
        if not (self._config.data.keep_evidence and split in self._splits):
            measure = jax.jit(self._measure)
            return [kept.MeasuredData(part, measure) for part in parts]
        data = kept.open_kept(
            parts[0],
            self._splits[split],
            self._measure,
            self._config.data.dir,
            sources.describe(self._config),
            self._copies(split),
        )
        return [data.on(device) for device in devices]

    def _copies(self, split: str) -> int:
        return self._config.data.noisier_copies if split == "train" else 0

    def shape(self, step: int) -> step_shapes.StepShape | None:
        """Draw the shape of a training step, by its number; None if all are alike."""
        if not self._shapes:
            return None
        return step_shapes.draw(self._shapes, self._config.seed, step)

    def _check_shapes(self) -> None:
        """Raise unless the data and the batch have enough for each step's shape.

        Raises:
            perturbations.PerturbationError: With both numbers.
        """
        for shape in self._shapes:
            for what, value, most in (
                ("nodes", shape.num_nodes, self.num_nodes),
                ("examples", shape.num_examples, self._config.train.batch_size),
            ):
                if value > most:
                    raise perturbations.PerturbationError(
                        f"--config.train.step_shapes has steps of {value} {what}; there "
                        f"are {most}"
                    )

    def geometry(self, split: str) -> Batch:
        """Load the positions and room sizes of a split, with T60 and SNR if any."""
        return self._splits[split].geometry()

    def _order(self, epoch: int) -> pipeline.Order:
        batch_size, seed = self._config.train.batch_size, self._config.seed
        if self._rooms:
            return pipeline.endless_order(len(self._rooms), batch_size, epoch=epoch)
        size = len(self._splits["train"]) * (1 + self._copies("train"))
        return pipeline.epoch_order(size, batch_size, seed=seed, epoch=epoch)

    def example_ids(self, epoch: int, step: int) -> list:
        """Identify the examples of a training batch, to report or reproduce them.

        By their indices in the training split; on the fly, by their random streams. A
        step of a smaller shape leaves the last of them out.
        """
        numbers = np.asarray(self._order(epoch)[step]).tolist()
        if not self._rooms:
            return numbers
        batch_size = self._config.train.batch_size
        return [[self._config.seed, *divmod(k, batch_size)] for k in numbers]

    def training_batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the training batches of an epoch, from a step on, perturbed."""
        rows = self._devices.rows(self._config.train.batch_size)
        parts = [
            self._training_part(data, mine, epoch, first)
            for data, mine in zip(self._train, rows, strict=True)
        ]
        yield from map(self._devices.assemble, zip(*parts, strict=True))

    def _training_part(
        self, data: pipeline.Source, rows: range, epoch: int, first: int
    ) -> Iterator[Batch]:
        """Yield some rows of the training batches, those of one device."""
        perturbation, start = self._perturbation, epoch * self.steps_per_epoch

        @functools.lru_cache(maxsize=1)  # Once for the nodes, once for the rest.
        def draws(step: int) -> perturbations.Draws:
            shape = self.shape(start + step)
            used = rows
            if shape:
                used = _share(rows, shape.num_examples / self._config.train.batch_size)
            some = perturbation
            if shape:
                some = dataclasses.replace(some, num_nodes=shape.num_nodes)
            streams = [(self._config.seed, start + step, row) for row in used]
            return some.draw(streams, self.num_nodes)

        def nodes(step: int) -> np.ndarray:
            return draws(step).nodes

        order = pipeline.rows_of(self._order(epoch), rows)
        if self._shapes:
            order = order.map_with_index(
                lambda step, indices: indices[: len(draws(step).nodes)]
            )
        fewer = nodes if perturbation.num_nodes is not None or self._shapes else None
        for step, batch in enumerate(data.batches(order, first, nodes=fewer), first):
            if perturbation:
                batch = perturbations.apply(perturbation, batch, draws(step))
            yield batch


def _share(rows: range, part: float) -> range:
    """Take the first rows of a device, as many as its share of a smaller step."""
    return rows[: max(1, round(len(rows) * part))]


class ShardedData:
    """A split whose batches several devices share: a `pipeline.Source`.

    Args:
        parts: Its data, for each device of this process.
        devices: The devices.
    """

    def __init__(self, parts: list[pipeline.Source], devices: devices_lib.Devices):
        self._parts, self._devices = parts, devices

    def __len__(self) -> int:
        return len(self._parts[0])

    def batches(self, order, first_step=0, *, nodes=None, changes=None):
        """Iterate over the batches of an order: see `pipeline.Source`."""
        parts = []
        rows_of_each = self._devices.rows(len(order[0]))
        for data, rows in zip(self._parts, rows_of_each, strict=True):
            mine = nodes and (
                lambda step, rows=rows: nodes(step)[rows.start : rows.stop]
            )
            part = pipeline.rows_of(order, rows)
            parts.append(data.batches(part, first_step, nodes=mine, changes=changes))
        return map(self._devices.assemble, zip(*parts, strict=True))
