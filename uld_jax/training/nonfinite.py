"""Notes on training steps skipped because their loss or gradient was not finite."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from uld_jax.runtime import progress
from uld_jax.storage import atomic
from uld_jax.training import step as step_lib

FILE_NAME = "skipped_steps.json"


class Diverged(Exception):
    """A training that cannot continue, with the reason."""


class SkippedSteps:
    """Writes skipped batches to a run's folder, and ends a run with too many in a row.

    Args:
        workdir: Folder of the run; None if another process writes.
        seed: Seed of the run.
        steps_per_epoch: Steps in an epoch.
        example_ids: From an epoch and a step in it to the batch's examples.
    """

    def __init__(
        self,
        workdir: pathlib.Path | None,
        seed: int,
        steps_per_epoch: int,
        example_ids: Callable[[int, int], list[Any]],
    ):
        self._workdir, self._seed = workdir, seed
        self._steps_per_epoch, self._example_ids = steps_per_epoch, example_ids
        self._num_noted = 0

    def resume(self, skipped: dict[str, np.ndarray]) -> None:
        """Count what a restored state has skipped as noted already."""
        self._num_noted = int(skipped["total"])

    def look(self, skipped: dict[str, np.ndarray]) -> None:
        """Note the steps skipped since the last look.

        Args:
            skipped: The training state's `skipped`, on the host.

        Raises:
            Diverged: If too many steps in a row were skipped.
        """
        total = int(skipped["total"])
        first = max(self._num_noted, total - step_lib.NOTED_STEPS)
        for number in range(first, total):
            place = number % step_lib.NOTED_STEPS
            self.note(
                int(skipped["steps"][place]),
                float(skipped["losses"].view(np.float32)[place]),
                float(skipped["grad_norms"].view(np.float32)[place]),
            )
        self._num_noted = total
        if (count := int(skipped["in_a_row"])) >= step_lib.MAX_SKIPPED_IN_A_ROW:
            raise Diverged(
                f"{count} steps in a row had a loss or gradient that is not finite and "
                f"were skipped; their examples are in {FILE_NAME}. Look at these, lower "
                "--config.train.learning_rate, or find the first bad value with "
                "--debug_nans, in another --workdir"
            )

    def note(self, step: int, loss: float, grad_norm: float) -> None:
        """Log and store one skipped step.

        Args:
            step: Number of steps before it in the run.
            loss: Its loss.
            grad_norm: Norm of its gradient.
        """
        epoch, step_in_epoch = divmod(step, self._steps_per_epoch)
        progress.log(
            f"Epoch {epoch + 1}: step {step_in_epoch + 1} is skipped: its loss is "
            f"{loss}, the norm of its gradient {grad_norm}"
        )
        if self._workdir is None:
            return
        path = self._workdir / FILE_NAME
        noted = json.loads(path.read_text()) if path.exists() else {}
        noted[str(step)] = {
            "epoch": epoch + 1,
            "step": step_in_epoch + 1,
            "seed": self._seed,
            "loss": str(loss),
            "grad_norm": str(grad_norm),
            "examples": self._example_ids(epoch, step_in_epoch),
        }
        atomic.write_json(path, noted)
