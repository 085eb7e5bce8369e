"""What a run trains, validates and tests on, from wherever its examples come."""

import functools
from collections.abc import Iterator

import numpy as np

from uld_jax.datasets import perturbations, pipeline, sources
from uld_jax.runtime import devices as devices_lib

_SPLITS = ("train", "validation", "test")


def needed_splits(config) -> tuple[str, ...]:
    """Return the splits of a run: without epochs, the test split alone."""
    return _SPLITS if config.train.epochs else ("test",)


class RunData:
    """The data of one run: opened at once, loaded by `load`.

    Args:
        config: Settings, as `config.resolve` returns them.
        splits: What is needed; the training split may be fresh rooms.
        devices: What batches are divided among; by default one device.

    Attributes:
        origin: Where the data come from, for the record.
        num_nodes: Nodes M of an example.
        num_sources: Sources S.
        num_samples: Samples N of a signal.
        steps_per_epoch: Training batches in an epoch; 0 without a training split.
        held_out: The validation and test data by split, once loaded.

    Raises:
        input_pipeline.DatasetError: If the data set cannot be used.
        CorpusError: If fresh rooms lack a corpus.
        perturbations.PerturbationError: If more nodes are to be heard than there are.
    """

    def __init__(
        self,
        config,
        splits: tuple[str, ...] = _SPLITS,
        devices: devices_lib.Devices | None = None,
    ):
        self._config, self._devices = config, devices or devices_lib.one()
        self._perturbation = perturbations.Perturbation(
            config.data.nodes_in_training,
            config.data.clock_offset,
            config.data.position_error,
        )
        self._fresh = self._train = None
        is_fresh = config.data.source == "fresh"
        self._splits = {
            name: sources.open_split(config, name)
            for name in splits
            if not (is_fresh and name == "train")
        }
        test = self._splits["test"]
        self.num_nodes, self.num_sources = test.num_nodes, test.num_sources
        self.num_samples = test.num_samples
        self._perturbation.check(self.num_nodes)
        self.origin = sources.describe(config)
        self.held_out = {}
        self.steps_per_epoch = 0
        if "train" not in splits:
            return
        if is_fresh:
            self._fresh = sources.open_fresh(config)
            examples = sources.examples_per_epoch(config)
            facts = self._fresh.describe() | {"examples_per_epoch": examples}
            self.origin["training"] = facts
            self.steps_per_epoch = examples // config.train.batch_size
        else:
            self.steps_per_epoch = len(self._order(epoch=0))

    def load(self) -> None:
        """Load what is held on the device.

        Raises:
            input_pipeline.DatasetError: If there is no room for it.
        """
        here = self._devices.here
        if self._config.data.on_device:
            pipeline.check_fits(self._splits.values())
        opened = {
            name: sources.open_data(self._config, split, here)
            for name, split in self._splits.items()
        }
        if self._fresh:
            rows = self._devices.rows(self._config.train.batch_size)
            pairs = zip(here, rows, strict=True)
            self._train = [self._fresh.on(*pair) for pair in pairs]
        else:
            self._train = opened.pop("train", None)
        self.held_out = {
            name: Divided(parts, self._devices) for name, parts in opened.items()
        }

    def facts(self, split: str) -> pipeline.Batch:
        """Return where everything is in a split's examples, and T60 and SNR."""
        return self._splits[split].facts()

    def _order(self, epoch: int) -> pipeline.Order:
        return pipeline.epoch_order(
            len(self._splits["train"]),
            self._config.train.batch_size,
            seed=self._config.seed,
            epoch=epoch,
        )

    def example_ids(self, epoch: int, step: int) -> list:
        """Return what the rows of a training batch are, for who looks for the cause.

        Indices in the training split; of fresh rooms the streams they are drawn by.
        """
        if self._fresh:
            number = epoch * self.steps_per_epoch + step
            return [
                [self._config.seed, number, row]
                for row in range(self._config.train.batch_size)
            ]
        return np.asarray(self._order(epoch)[step]).tolist()

    def training_batches(self, epoch: int, first: int) -> Iterator[pipeline.Batch]:
        """Yield the training batches of an epoch from a step on, perturbed."""
        rows = self._devices.rows(self._config.train.batch_size)
        parts = [
            self._training_part(data, mine, epoch, first)
            for data, mine in zip(self._train, rows, strict=True)
        ]
        yield from map(self._devices.assemble, zip(*parts, strict=True))

    def _training_part(
        self, data, rows: range, epoch: int, first: int
    ) -> Iterator[pipeline.Batch]:
        """Yield the rows of one device."""
        law, start = self._perturbation, epoch * self.steps_per_epoch

        @functools.lru_cache(maxsize=1)  # The nodes of a step are asked for first.
        def draws(step: int) -> perturbations.Draws:
            seed, number = self._config.seed, start + step
            return law.draw([(seed, number, row) for row in rows], self.num_nodes)

        def nodes(step: int, _: int) -> np.ndarray | None:
            return None if law.num_nodes is None else draws(step).nodes

        if self._fresh:
            steps = range(start + first, start + self.steps_per_epoch)
            batches = data.batches(steps, lambda step, B: nodes(step - start, B))
        else:
            order = pipeline.rows_of(self._order(epoch), rows)
            chosen = (nodes,) if self._config.data.source == "compact" else ()
            batches = data.batches(order, first, *chosen)
        for step, batch in enumerate(batches, first):
            yield perturbations.apply(law, batch, draws(step)) if law else batch


class Divided:
    """A split whose batches are divided among devices.

    Args:
        parts: Its data, for each device of this process.
        devices: The devices.
    """

    def __init__(self, parts: list, devices: devices_lib.Devices):
        self._parts, self._devices = parts, devices

    def __len__(self) -> int:
        return len(self._parts[0])

    def batches(self, order: pipeline.Order, **changes) -> Iterator[pipeline.Batch]:
        """Yield the batches of an order, of `changes` that the data can be had with."""
        rows = self._devices.rows(len(order[0]))
        parts = [
            data.batches(pipeline.rows_of(order, mine), **changes)
            for data, mine in zip(self._parts, rows, strict=True)
        ]
        yield from map(self._devices.assemble, zip(*parts, strict=True))
