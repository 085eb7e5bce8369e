"""The data of a run: what it trains, validates and tests on."""

import dataclasses
import functools
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from uld_jax.datasets import held, kept, perturbations, pipeline, sources, splits
from uld_jax.datasets.splits import Batch
from uld_jax.networks import build, step_shapes
from uld_jax.runtime import devices as devices_lib

_SPLITS = ("train", "validation", "test")


def needed_splits(config: Any) -> tuple[str, ...]:
    """List the splits that a run needs: without epochs, the test split alone."""
    return _SPLITS if config.train.epochs else ("test",)


def used_splits(config) -> tuple[str, ...]:
    """List the splits that a run uses: those it needs, and validation if there is one.

    Where a network is tested as it is, its errors there show how sure it is.

    Raises:
        files.DatasetError: If the data set is not there or damaged.
    """
    needed = needed_splits(config)
    if "validation" in needed:
        return needed
    sizes = sources.describe(config).get("sizes", {})
    return ("validation", *needed) if sizes.get("validation") else needed


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
        place: Where signals are held, once loaded: see `held.choose`.

    Raises:
        files.DatasetError: If the data set cannot be used.
        CorpusError: If rooms rendered on the fly lack a corpus.
        perturbations.PerturbationError: If examples have too few nodes.
    """

    def __init__(
        self,
        config: Any,
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
        self.num_nodes: int = test.num_nodes
        self.num_sources: int = test.num_sources
        self.num_samples: int = test.num_samples
        self._perturbation.check(self.num_nodes)
        self._check_steps(trained="train" in splits)
        self.origin: dict[str, Any] = sources.describe(config)
        self.held_out: dict[str, ShardedData] = {}
        self.place: str | None = None
        self.steps_per_epoch: int = 0
        if "train" not in splits:
            return
        if on_the_fly:
            self._rooms = sources.open_on_the_fly(config)
            self.origin["training"] = self._rooms.describe()
        self.steps_per_epoch = len(self._order(epoch=0))

    def load(self, before: str | None = None) -> None:
        """Load what is to be held on the devices.

        Args:
            before: Where an interrupted run held its signals.

        Raises:
            files.DatasetError: If it does not fit, or is damaged.
            stopping.Stopped: If it is to be rendered first, and a signal to stop came.
        """
        keeps = self._measure is not None and self._config.data.keep_evidence
        config, here, opened = self._config, self._devices.here, self._splits
        facts = sources.describe(config)
        if keeps:
            loaded = {name: self._keep(split, facts) for name, split in opened.items()}
        else:
            place = sources.choose_place(config, opened.values(), here, facts, before)
            self.place = place
            loaded = {
                name: self._measured(
                    sources.hold(config, split, here, place, facts), whole=True
                )
                for name, split in opened.items()
            }
        if self._rooms:
            rooms = [self._rooms.on(device) for device in here]
            loaded["train"] = self._measured(rooms, whole=False)
        self._train = loaded.pop("train", None)
        self.held_out = {
            name: ShardedData(parts, self._devices) for name, parts in loaded.items()
        }

    def _measured(
        self, parts: list[pipeline.Source], whole: bool
    ) -> list[pipeline.Source]:
        """Measure what the network needs of signals, if it does not need them."""
        if not self._measure:
            return parts
        measure = jax.jit(self._measure)
        return [kept.MeasuredData(part, measure, whole) for part in parts]

    def _keep(self, split: splits.Split, facts: dict[str, Any]) -> list[kept.KeptData]:
        """Open the kept evidence of a split for each of this process's devices."""
        data = kept.open_kept(
            lambda: sources.open_data(self._config, split, [None])[0],
            split,
            self._measure,
            self._config.data.dir,
            sources.facts_of(self._config, split, facts),
            self._copies(split.name),
        )
        return [data.on(device) for device in self._devices.here]

    def _copies(self, split: str) -> int:
        return self._config.data.noisier_copies if split == "train" else 0

    def shape(self, step: int) -> step_shapes.StepShape | None:
        """Draw the shape of a training step, by its number; None if all are alike."""
        if not self._shapes:
            return None
        return step_shapes.draw(self._shapes, self._config.seed, step)

    def _check_steps(self, trained: bool) -> None:
        """Raise unless data and batch have enough for each step, and noise to raise.

        Raises:
            perturbations.PerturbationError: With the setting to change.
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
        noisy = "snr_db" in self._splits["test"].geometry_fields
        if trained and self._config.data.noisier_copies and not noisy:
            raise perturbations.PerturbationError(
                f"--config.data.noisier_copies is "
                f"{self._config.data.noisier_copies}; this data set has no noise: set it "
                "to 0"
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

    @property
    def examples_per_step(self) -> float:
        """Examples of a training step; the mean over its shapes."""
        sizes = [shape.num_examples for shape in self._shapes]
        return float(statistics.mean(sizes or [self._config.train.batch_size]))

    def example_ids(self, epoch: int, step: int) -> list[Any]:
        """Identify the examples of a training batch, to report or reproduce them.

        By their indices in the training split; on the fly, by their random streams. A
        step of a smaller shape leaves the last of them out.
        """
        numbers = np.asarray(self._order(epoch)[step]).tolist()
        if not self._rooms:
            return numbers
        batch_size = self._config.train.batch_size
        return [[self._config.seed, *divmod(k, batch_size)] for k in numbers]

    @property
    def resident(self) -> Batch | None:
        """Training examples by field, if one device holds them and steps are alike."""
        data = self._train[0] if self._train else None
        data = data.held if isinstance(data, held.RenderedData) else data
        alone = self._devices.num == 1 and not self._shapes
        return data.arrays if alone and isinstance(data, held.DeviceData) else None

    def training_block(self, epoch: int, steps: Sequence[int]) -> "Block":
        """Draw what makes batches of resident examples, for some steps of an epoch."""
        order, size = self._order(epoch), self._config.train.batch_size
        rows = np.stack([order[step] for step in steps]).astype(np.int32)
        draws = None
        if self._perturbation:
            start = epoch * self.steps_per_epoch
            drawn = [
                self._perturbation.draw_step(
                    self._config.seed, start + step, range(size), self.num_nodes
                )
                for step in steps
            ]
            draws = perturbations.Draws(*map(np.stack, zip(*drawn, strict=True)))
        return Block(rows, draws)

    def batch_of(self, examples: Batch, block: "Block") -> Batch:
        """Make the batch of one step of a block, in JAX alone."""
        nodes = None
        if self._perturbation.num_nodes is not None:
            nodes = block.draws.nodes
        batch = held.take(examples, block.rows, nodes)
        if self._perturbation:
            batch = perturbations.apply(self._perturbation, batch, block.draws)
        return batch

    def training_batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the training batches of an epoch, from a step on, perturbed."""
        parts = [
            self._training_part(data, number, epoch, first)
            for number, data in enumerate(self._train)
        ]
        yield from map(self._devices.assemble, zip(*parts, strict=True))

    def _training_part(
        self, data: pipeline.Source, device: int, epoch: int, first: int
    ) -> Iterator[Batch]:
        """Yield the rows of the training batches that belong to one device."""
        perturbation, start = self._perturbation, epoch * self.steps_per_epoch

        def rows(step: int) -> range:
            shape = self.shape(start + step)
            size = shape.num_examples if shape else self._config.train.batch_size
            return self._devices.rows(size)[device]

        @functools.lru_cache  # Of the nodes, some steps ahead; later of the rest.
        def draws(step: int) -> perturbations.Draws:
            some = perturbation
            if shape := self.shape(start + step):
                some = dataclasses.replace(some, num_nodes=shape.num_nodes)
            seed, number = self._config.seed, start + step
            return some.draw_step(seed, number, rows(step), self.num_nodes)

        def nodes(step: int) -> np.ndarray:
            return draws(step).nodes

        order = self._order(epoch).map_with_index(
            lambda step, indices: indices[rows(step).start : rows(step).stop]
        )
        fewer = nodes if perturbation.num_nodes is not None or self._shapes else None
        for step, batch in enumerate(data.batches(order, first, nodes=fewer), first):
            if perturbation:
                batch = perturbations.apply(perturbation, batch, draws(step))
            yield batch


class Block(NamedTuple):
    """Rows and perturbations of the batches of T steps.

    Attributes:
        rows: Numbers of the examples, [T, B].
        draws: Perturbations, each array with a leading axis T; None for none.
    """

    rows: np.ndarray
    draws: perturbations.Draws | None


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

    def batches(
        self,
        order: pipeline.Order,
        first_step: int = 0,
        *,
        nodes: pipeline.ChooseNodes | None = None,
        changes: pipeline.Changes | None = None,
    ) -> Iterator[Batch]:
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
