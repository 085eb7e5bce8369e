"""What is known of a run besides its state: the note beside a checkpoint."""

import dataclasses
import datetime

from uld_jax.training import optimizer


@dataclasses.dataclass
class History:
    """How a training went so far.

    Attributes:
        epoch: Number of finished epochs.
        plateau: State of the plateau rule.
        best_mae: Least validation MAE so far; None before the first epoch.
        best_epoch: Number of the epoch, from 1, that had it.
        best_step: Step its state was saved under.
        epochs: What the record says of each finished epoch.
        seconds: Time spent on them.
        epoch_seconds: Time spent on the steps of the epoch that is going on.
    """

    epoch: int = 0
    plateau: optimizer.Plateau = dataclasses.field(default_factory=optimizer.Plateau)
    best_mae: float | None = None
    best_epoch: int = 0
    best_step: int = 0
    epochs: list[dict] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    epoch_seconds: float = 0.0

    @classmethod
    def from_note(cls, note: dict) -> "History":
        """Return the history that `note` has made JSON of."""
        return cls(**note | {"plateau": optimizer.Plateau(**note["plateau"])})

    def note(self) -> dict:
        """Return it as JSON holds it."""
        return dataclasses.asdict(self)

    def end_epoch(
        self,
        learning_rate: float,
        train: dict[str, float],
        validation: dict[str, float | None],
        seconds_after: float,
    ) -> dict:
        """Note an epoch that is done, and return what the record says of it.

        Args:
            learning_rate: It was done at.
            train: Means over its steps.
            validation: Loss and metrics after it.
            seconds_after: Time spent since its last step.
        """
        self.epoch += 1
        noted = {
            "epoch": self.epoch,
            "learning_rate": learning_rate,
            "train": train,
            "validation": validation,
            "seconds": self.epoch_seconds,
        }
        self.epochs.append(noted)
        self.seconds += self.epoch_seconds + seconds_after
        self.epoch_seconds = 0.0
        return noted

    def times(self, examples_per_epoch: int) -> dict:
        """Return the record's part on time; the first epoch also compiles."""
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

    def converged(self, num_classes: int) -> bool | None:
        """Return whether the network does better than chance; None before it is seen.

        The paper does not say when a training "did not converge". We say so of one
        whose best epoch's validation ACC is below twice that of guessing.
        """
        if not self.best_epoch:
            return None
        best = self.epochs[self.best_epoch - 1]
        return best["validation"]["accuracy"] >= 2 / num_classes
