"""How a collapsed training shows, and what is done about it.

A training collapses when what all examples have in common drowns what tells them apart:
gradients grow, the loss rises, and the answer ignores the input. It seldom recovers. A
run then goes back to its best state, with a lower rate and a longer warm-up. The paper
does not say that any training did; it leaves out those that "did not converge".
"""

from typing import Any

import numpy as np
from jaxtyping import Real

# Mean gradient norm, relative to its least so far, while the loss is above its best.
GRADIENT_GROWTH = 5.0
# Rise of the training loss above its best, as a share of what it had fallen, and at
# least of the best itself. Losses are those above the label's entropy.
LOSS_RISE = 0.2
LEAST_RISE = 0.05
# Validation MAE, relative to that of the position that ignores the input.
NOT_BETTER = 0.95
# Training loss, relative to the first epoch's, where nothing was learned.
NOT_FALLEN = 0.9
# Steps after the warm-up before anything is judged.
LEAST_STEPS = 100

# A rollback multiplies the rate by the first, and warms up for twice as many steps as
# before, at least for the second, and at most for half of the steps that are left.
RATE_FACTOR = 0.4
LEAST_WARMUP = 400

# A run has converged if the last validation MAE is at most this share of the input-free
# position's, and the best of the last epochs is not this much worse than the best of all.
BETTER = 0.85
LAST_EPOCHS = 3
NO_WORSE = 1.5


class Collapsed(Exception):
    """A training that has collapsed as often as it was allowed to, with the reason."""


def input_free_mae(
    source_positions: Real[np.ndarray, "N S 3"], room_size: Real[np.ndarray, "N 3"]
) -> float:
    """Compute the MAE in meters of what a network answers that ignores its input.

    One position for all examples, as shares of the sides of their rooms: the mean of
    those given, the validation split's. Of two sources, two positions on either side of
    it, as far apart and in the direction that serve best, each source by its nearer one
    in the better assignment.
    """
    plans = np.asarray(source_positions, np.float64)[..., :2]
    sides = np.asarray(room_size, np.float64)[:, None, :2]
    mean = (plans / sides).mean(axis=(0, 1))
    if plans.shape[1] == 1:
        return float(np.linalg.norm(plans - mean * sides, axis=-1).mean())
    directions = np.array([[1, 0], [0, 1], [1, 1], [1, -1]])
    return min(
        _assigned(plans, (mean + length * np.stack([-direction, direction])) * sides)
        for direction in directions
        for length in np.linspace(0, 0.4, 9)
    )


def _assigned(plans: np.ndarray, places: np.ndarray) -> float:
    """Compute the MAE of two places [N, 2, 2] for two sources, in the better order."""
    errors = [
        np.linalg.norm(plans - order, axis=-1).mean(axis=1)
        for order in (places, places[:, ::-1])
    ]
    return float(np.minimum(*errors).mean())


def find(epochs: list[dict[str, Any]], steps: int, input_free: float) -> str | None:
    """Find out whether a training has collapsed, and say how it shows.

    Any one of: gradients grown while the loss is above its best; the loss risen; from
    the second epoch on, a validation MAE no better than the input-free position's while
    the training loss has hardly fallen.

    Args:
        epochs: The record's entries since the start, or since the last rollback.
        steps: Training steps in these epochs, after the warm-up.
        input_free: MAE of the position that ignores the input, in meters.

    Returns:
        A sentence, or None.
    """
    if len(epochs) < 2 or steps < LEAST_STEPS:
        return None
    *before, last = (epoch["train"] for epoch in epochs)
    losses = [epoch["kl"] for epoch in before]
    norms = [epoch["grad_norm"] for epoch in before]
    best, loss, norm = min(losses), last["kl"], last["grad_norm"]
    if norm > GRADIENT_GROWTH * min(norms) and loss > best:
        return (
            f"the mean gradient norm is {norm:.3g}, {norm / min(norms):.1f} times its "
            "least, and the training loss is above its best"
        )
    if loss > best + max(LOSS_RISE * (losses[0] - best), LEAST_RISE * best):
        return f"the training loss has risen from {best:.3f} to {loss:.3f}"
    mae = epochs[-1]["validation"]["mae"]
    if mae > NOT_BETTER * input_free and loss > NOT_FALLEN * losses[0]:
        return (
            f"the validation MAE is {mae:.2f} m, and {input_free:.2f} m that of a "
            "position that ignores the input"
        )
    return None


def converged(maes: list[float], input_free: float) -> bool:
    """Check whether a finished training has converged.

    The paper does not say when a training "did not converge". Here one did if its last
    validation MAE is at most 0.85 times that of the position that ignores the input,
    and one of its last three is at most 1.5 times the best.

    Args:
        maes: Validation MAE after each epoch, in meters, at least one.
        input_free: MAE of the position that ignores the input, in meters.
    """
    learned = maes[-1] <= BETTER * input_free
    return learned and min(maes[-LAST_EPOCHS:]) <= NO_WORSE * min(maes)


def lower(rate: float, warmup_steps: int, steps_left: int) -> tuple[float, int]:
    """Give the learning rate and the steps of warm-up after a rollback.

    Args:
        rate: The rate before.
        warmup_steps: Steps of warm-up before.
        steps_left: Training steps that are left.
    """
    longer = max(LEAST_WARMUP, 2 * warmup_steps)
    return RATE_FACTOR * rate, min(longer, steps_left // 2)
