"""AdamW, the learning rate over the epochs, and the plateau rule (Sec. 3.3)."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import optax


def adamw(
    learning_rate: float,
    weight_decay: float,
    clip_norm: float | None = None,
    warmup_steps: int = 0,
) -> optax.GradientTransformation:
    """Make AdamW with the learning rate and the warm-up in its state, to be changed.

    The paper does not say what weight decay it uses; we take PyTorch's default of
    0.01, applied to all parameters as there.

    Args:
        learning_rate: Learning rate.
        weight_decay: Weight decay.
        clip_norm: Largest norm of the whole gradient; None for any.
        warmup_steps: Steps over which the rate rises to its value, linearly.
    """

    def make(learning_rate, weight_decay, warmup_steps):
        def rise(count):
            return jnp.minimum(1.0, (count + 1) / jnp.maximum(warmup_steps, 1.0))

        parts = [
            optax.adamw(learning_rate, weight_decay=weight_decay),
            optax.scale_by_schedule(rise),
        ]
        if clip_norm is not None:
            parts = [optax.clip_by_global_norm(clip_norm), *parts]
        return optax.chain(*parts)

    return optax.inject_hyperparams(make)(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_steps=float(warmup_steps),
    )


def with_rate(opt_state: Any, learning_rate: float, warmup_steps: int) -> Any:
    """Set the learning rate in an optimizer state; the step is not compiled again.

    Args:
        opt_state: State of `adamw`.
        learning_rate: The rate.
        warmup_steps: Steps of warm-up, counted from when the state was made.
    """
    hyperparams = dict(opt_state.hyperparams)
    changed = {"learning_rate": learning_rate, "warmup_steps": warmup_steps}
    for key, value in changed.items():
        hyperparams[key] = jnp.asarray(value, hyperparams[key].dtype)
    return opt_state._replace(hyperparams=hyperparams)


def rate_factor(
    schedule: str, epoch: int, epochs: int, lowered: bool, plateau_factor: float
) -> float:
    """Compute the factor of the learning rate in the next epoch.

    Args:
        schedule: "plateau" or "paper", or "cosine" (Loshchilov and Hutter, 2017,
            without restarts), which reaches zero after any number of epochs.
        epoch: Epochs done.
        epochs: Epochs in all.
        lowered: Whether the plateau rule has lowered the rate.
        plateau_factor: Its factor.
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    return plateau_factor if lowered else 1.0


@dataclasses.dataclass(frozen=True)
class Plateau:
    """The plateau rule: lower the rate once, then stop early (Sec. 3.3).

    The rate is lowered after `patience` epochs without a lower validation loss, and
    training ends after `stop_patience` such epochs. The paper does not say how small a
    decrease counts; here any does. It does not say whether the third or the fourth
    epoch without one lowers the rate; here the third does.

    Attributes:
        best: Least validation loss so far; None before the first epoch.
        epochs_since_best: Epochs since that loss.
        lowered: Whether the learning rate has been lowered.
    """

    best: float | None = None
    epochs_since_best: int = 0
    lowered: bool = False

    def update(self, loss: float, patience: int) -> "Plateau":
        """Apply the rule to the validation loss of one more epoch."""
        # NaN is no progress: it compares false.
        if loss < (math.inf if self.best is None else self.best):
            return Plateau(loss, 0, self.lowered)
        since = self.epochs_since_best + 1
        return Plateau(self.best, since, self.lowered or since >= patience)

    def stops(self, stop_patience: int) -> bool:
        """Check whether the loss has not fallen for that many epochs."""
        return self.epochs_since_best >= stop_patience
