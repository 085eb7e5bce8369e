"""Several runs in one program: their states on the device, and what is done to all."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import tensorboardX

from uld_jax import (
    checkpoints,
    evaluate,
    padding,
    together_step,
    training_run,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A run of a group, and what it writes to.

    Attributes:
        run: The run.
        saved: Its checkpoints.
        board: Its TensorBoard's writer.
    """

    run: training_run.Run
    saved: checkpoints.Checkpoints
    board: tensorboardX.SummaryWriter


class Program:
    """The steps of some runs, and their states on the device, stacked.

    Args:
        members: The runs, those of one seed together.

    Attributes:
        members: The same.
        runs: Their runs alone.
        data: What they train on, by seed.
        title: How many they are, where that is to be told.
    """

    def __init__(self, members: Sequence[Member]):
        self.members, self.runs = list(members), [member.run for member in members]
        self.group = together_step.Group(
            tuple(run.label for run in self.runs),
            tuple(run.config.seed for run in self.runs),
        )
        first = self.runs[0]
        invariant = first.config.train.permutation_invariant
        self.graph = max(self.runs, key=lambda run: run.label.num_outputs).graph
        self._train_step = together_step.make_train_step(
            self.graph, first.adamw, self.group, invariant
        )
        self._eval_step = together_step.make_eval_step(
            self.graph, self.group, invariant
        )
        of_seed = {run.config.seed: run.data for run in self.runs}
        self.data = [of_seed[seed] for seed in self.group.distinct_seeds]
        many = len(self.runs) > 1
        self.title = f", {len(self.runs)} runs" if many else ""  # In what is said.
        self._state = None

    def load(self) -> None:
        """Put the states on the device; the runs keep them on the host."""
        for run in self.runs:
            run.state = jax.device_get(run.state)
        self._state = self._put([run.state for run in self.runs])

    def _put(self, trees: list) -> Any:
        return jax.device_put(padding.stack(trees), self.runs[0].devices.here[0])

    def step(self, batches: Sequence[dict]) -> None:
        """Do a training step, on a batch for each seed."""
        self._state = self._train_step(self._state, batches)

    def look(self) -> None:
        """Bring what counts steps to the runs."""
        told = jax.device_get((self._state.sums, self._state.skipped))
        for number, run in enumerate(self.runs):
            sums, skipped = jax.tree.map(lambda leaf, n=number: np.array(leaf[n]), told)
            run.state = run.state._replace(sums=sums, skipped=skipped)

    def fetch(self) -> None:
        """Bring the states to the runs."""
        states = padding.unstack(self._state, [run.state for run in self.runs])
        for run, state in zip(self.runs, states, strict=True):
            run.state = state

    def turn(self) -> None:
        """Take the runs' new rates, and begin new sums."""
        rates = self._put([run.state.opt_state.hyperparams for run in self.runs])
        opt_state = self._state.opt_state._replace(hyperparams=rates)
        sums = self._put([run.state.sums for run in self.runs])
        self._state = self._state._replace(opt_state=opt_state, sums=sums)

    def evaluate(
        self, split: str, items: list[dict] | None = None
    ) -> list[evaluate.Evaluation | FloatingPointError]:
        """Return what the networks make of a split.

        Args:
            split: Its name.
            items: Other networks than those in training.
        """
        if items is None:
            networks = self._state.params, self._state.statistics
        else:
            stacked = self._put(items)
            networks = stacked["params"], stacked["statistics"]
        step = functools.partial(self._eval_step, *networks)
        batches, num_examples = self.runs[0].batches_of(split)
        title = f"Evaluating {split}{self.title}"
        return evaluate.evaluate_together(step, batches, num_examples, title)

    def distributions(self, items: list[dict]) -> list:
        """Return what networks say of the examples that are shown."""
        batch = self.runs[0].shown_batch()
        stacked = self._put(items)
        return together_step.distributions(
            self.graph, self.group, **stacked, batch=batch
        )
