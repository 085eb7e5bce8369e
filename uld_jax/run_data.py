"""What a run trains, validates and tests on, from wherever its examples come."""

import functools
from collections.abc import Iterator

import numpy as np

from uld_jax import datasets, input_pipeline, perturbations

_SPLITS = ("train", "validation", "test")


def needed_splits(config) -> tuple[str, ...]:
    """Return the splits of a run: without epochs, the test split alone."""
    return _SPLITS if config.train.epochs else ("test",)


class RunData:
    """The data of one run: opened at once, loaded by `load`.

    Args:
        config: Settings, as `config.resolve` returns them.
        splits: What is needed; the training split may be fresh rooms.

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

    def __init__(self, config, splits: tuple[str, ...] = _SPLITS):
        self._config = config
        self._perturbation = perturbations.Perturbation(
            config.data.nodes_in_training,
            config.data.clock_offset,
            config.data.position_error,
        )
        self._fresh = self._train = None
        is_fresh = config.data.source == "fresh"
        self._splits = {
            name: datasets.open_split(config, name)
            for name in splits
            if not (is_fresh and name == "train")
        }
        test = self._splits["test"]
        self.num_nodes, self.num_sources = test.num_nodes, test.num_sources
        self.num_samples = test.num_samples
        self._perturbation.check(self.num_nodes)
        self.origin = datasets.describe(config)
        self.held_out = {}
        self.steps_per_epoch = 0
        if "train" not in splits:
            return
        if is_fresh:
            self._fresh = datasets.open_fresh(config)
            examples = datasets.examples_per_epoch(config)
            self.origin["training"] = self._fresh.describe() | {
                "examples_per_epoch": examples
            }
            self.steps_per_epoch = examples // config.train.batch_size
        else:
            self.steps_per_epoch = len(self._order(epoch=0))

    def load(self) -> None:
        """Load what is held on the device.

        Raises:
            input_pipeline.DatasetError: If there is no room for it.
        """
        if self._config.data.on_device:
            input_pipeline.check_fits(self._splits.values())
        opened = {
            name: datasets.open_data(self._config, split)
            for name, split in self._splits.items()
        }
        self._train = opened.pop("train", None)
        self.held_out = opened

    def facts(self, split: str) -> input_pipeline.Batch:
        """Return where everything is in a split's examples, and T60 and SNR."""
        return self._splits[split].facts()

    def _order(self, epoch: int) -> input_pipeline.Order:
        return input_pipeline.epoch_order(
            len(self._splits["train"]),
            self._config.train.batch_size,
            seed=self._config.seed,
            epoch=epoch,
        )

    def training_batches(
        self, epoch: int, first: int
    ) -> Iterator[input_pipeline.Batch]:
        """Yield the training batches of an epoch from a step on, perturbed."""
        law, start = self._perturbation, epoch * self.steps_per_epoch
        size = self._config.train.batch_size

        @functools.lru_cache(maxsize=1)  # The nodes of a step are asked for first.
        def draws(step: int) -> perturbations.Draws:
            seed, number = self._config.seed, start + step
            return law.draw(
                [(seed, number, row) for row in range(size)], self.num_nodes
            )

        def nodes(step: int, _: int) -> np.ndarray | None:
            return None if law.num_nodes is None else draws(step).nodes

        if self._fresh:
            steps = range(start + first, start + self.steps_per_epoch)
            batches = self._fresh.batches(steps, lambda step, B: nodes(step - start, B))
        elif self._config.data.source == "compact":
            batches = self._train.batches(self._order(epoch), first, nodes)
        else:
            batches = self._train.batches(self._order(epoch), first)
        for step, batch in enumerate(batches, first):
            yield perturbations.apply(law, batch, draws(step)) if law else batch
