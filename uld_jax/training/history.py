"""The history of a run: what a checkpoint's note and the record hold."""

import dataclasses
import datetime
from typing import Any

from uld_jax.training import collapse, optimizer

# What differs, in the entry of an epoch, where the same run is done again.
TIMES = ("seconds", "device_busy")


@dataclasses.dataclass
class History:
    """The course of a training so far.

    Attributes:
        epoch: Number of finished epochs.
        plateau: State of the plateau rule.
        best_mae: Least validation MAE so far, in meters; None before the first epoch.
        best_epoch: Number of that epoch, from 1.
        best_step: Step that its state was saved under.
        epochs: The record's entry for each finished epoch.
        seconds: Time spent on them.
        epoch_seconds: Time spent on the steps of the current epoch.
        rollbacks: For each: the `epoch` after which it came, the `reason`, the epoch
            that the run went `back_to`, 0 for the start, and from then on the
            `learning_rate` before its schedule and the `warmup_steps`.
    """

    epoch: int = 0
    plateau: optimizer.Plateau = dataclasses.field(default_factory=optimizer.Plateau)
    best_mae: float | None = None
    best_epoch: int = 0
    best_step: int = 0
    epochs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    rollbacks: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> "History":
        """Load a history from a checkpoint's note."""
        return cls(**note | {"plateau": optimizer.Plateau(**note["plateau"])})

    def note(self) -> dict[str, Any]:
        """Convert it to the note of a checkpoint, as JSON holds it."""
        return dataclasses.asdict(self)

    def end_epoch(
        self,
        learning_rate: float,
        train: dict[str, float],
        validation: dict[str, float | None],
        seconds_after: float,
        device_busy: float | None,
    ) -> None:
        """Add a finished epoch.

        Args:
            learning_rate: Its learning rate.
            train: Means over its steps, the largest gradient norm, and how many steps
                were skipped.
            validation: Loss and metrics after it.
            seconds_after: Time since its last step.
            device_busy: Share of its time in which devices computed steps, if known.
        """
        self.epoch += 1
        self.epochs.append(
            {
                "epoch": self.epoch,
                "learning_rate": learning_rate,
                "train": train,
                "validation": validation,
                "seconds": self.epoch_seconds,
                "device_busy": device_busy,
            }
        )
        self.seconds += self.epoch_seconds + seconds_after
        self.epoch_seconds = 0.0

    def update_best(self, mae: float, step: int) -> bool:
        """Note the epoch that has just ended if it is the best; return whether it is.

        Args:
            mae: Its validation MAE in meters.
            step: Steps done.
        """
        is_best = self.best_mae is None or mae < self.best_mae
        if is_best:
            self.best_mae, self.best_epoch, self.best_step = mae, self.epoch, step
        return is_best

    def times(self, examples_per_epoch: int) -> dict[str, Any]:
        """Compute the record's part on time.

        The first epoch also compiles, so it does not count for examples per second.
        """
        later = [epoch["seconds"] for epoch in self.epochs[1:]]
        return {
            "written": datetime.datetime.now(datetime.UTC).isoformat(
                timespec="seconds"
            ),
            "seconds": self.seconds,
            "training_seconds": sum(epoch["seconds"] for epoch in self.epochs),
            "examples_per_second": (
                examples_per_epoch * len(later) / sum(later) if later else None
            ),
        }

    @property
    def since_rollback(self) -> list[dict[str, Any]]:
        """The entries of the epochs since the last rollback, or since the start."""
        first = self.rollbacks[-1]["epoch"] if self.rollbacks else 0
        return self.epochs[first:]

    def converged(self, input_free: float | None) -> bool | None:
        """Check whether training converged; None before the first epoch.

        Args:
            input_free: See `collapse.converged`; None where nothing was trained.
        """
        maes = [epoch["validation"]["mae"] for epoch in self.epochs]
        return collapse.converged(maes, input_free) if maes else None
