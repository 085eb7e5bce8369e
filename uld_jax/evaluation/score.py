"""Score predicted positions against the true ones (Sec. 3.4).

The permutation with the least summed distance decides, whatever the loss takes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from uld_jax.evaluation import metrics
from uld_jax.labels import codes, schemes
from uld_jax.networks import objective
from uld_jax.pretrained import uncertainty


def score_positions(
    predicted: Float[Array, "S 2"],
    positions: Float[Array, "S 2"],
    room_size: Float[Array, "2"],
    resolution: int,
) -> dict[str, Array]:
    """Score one example's predictions, which are in the order of the true positions.

    Returns:
        `cell_correct`, whether each prediction is in the cell of its source, [S], and
        the `quantization_error` of the true positions in meters, [S].
    """
    cell = jax.vmap(codes.locate_cell, (0, None, None))
    same_cell = cell(predicted, room_size, resolution) == cell(
        positions, room_size, resolution
    )
    return {
        "cell_correct": same_cell.all(axis=-1),
        "quantization_error": jax.vmap(metrics.quantization_error, (0, None, None))(
            positions, room_size, resolution
        ),
    }


def score_region(
    distribution: Float[Array, "K K"],
    target: Float[Array, "K K"],
    room_size: Float[Array, "2"],
) -> dict[str, Array]:
    """Score the region that holds 90 % of a predicted distribution.

    Returns:
        `coverage`, the share of the target code inside; `area` in square meters.
    """
    inside = metrics.highest_density_region(distribution)
    return {
        "coverage": (inside * target).sum(),
        "area": inside.mean() * room_size.prod(),
    }


def score_method(
    predicted: Float[Array, "B S 2"],
    positions: Float[Array, "B S 2"],
    radii: Float[Array, "B S"] | None = None,
) -> dict[str, Array]:
    """Order the predictions of a method, which has neither classes nor a loss.

    Args:
        predicted: In meters.
        positions: The true ones.
        radii: In meters around the predicted ones, that hold 90 %; or None.

    Returns:
        `predicted`, in the best order, and `positions`; with radii also `coverage`,
        whether each position is within its circle, and the circle's `area` in square
        meters, [B, S].
    """
    orders = jax.vmap(metrics.best_permutation)(predicted, positions)
    reorder = jax.vmap(lambda one, order: one[order])
    predicted = reorder(predicted, orders)
    results = {"predicted": predicted, "positions": positions}
    if radii is not None:
        radii = reorder(radii, orders)
        away = jnp.sqrt(((predicted - positions) ** 2).sum(axis=-1))
        results["coverage"] = (away <= radii).astype(jnp.float32)
        results["area"] = jnp.pi * radii**2
    return results


def score_network(
    label: schemes.Label,
    outputs: Float[Array, "B S D"],
    predicted: Float[Array, "B S 2"],
    batch: dict[str, Any],
    permutation_invariant: bool = True,
) -> dict[str, Array]:
    """Score a network's outputs and the positions decoded from them.

    Args:
        label: Scheme and resolution.
        outputs: Outputs for the batch.
        predicted: The decoded outputs, positions in meters.
        batch: The batch, with its true positions.
        permutation_invariant: See `objective.losses`.

    Returns:
        As `score_method` and `score_positions`, and `correct`, whether each source's
        class was found, [B, S]; the `spread` of each distribution in meters, [B, S];
        the `loss` and the `kl` above its floor, [B]; for labels that are distributions
        also `score_region`'s results, [B, S].
    """
    loss, kl = objective.losses(label, outputs, batch, permutation_invariant)

    def one_example(predicted, outputs, target, positions, room_size):
        order = metrics.best_permutation(predicted, positions)
        predicted, scores = predicted[order], jax.vmap(label.scores)(outputs[order])
        draw = jax.vmap(label.plane, (0, None))
        planes = draw(scores, room_size)
        spreads = jax.vmap(
            lambda plane, at: uncertainty.spread(label, plane, at, room_size)
        )(planes, predicted)
        regions = {}
        if label.is_distribution:
            regions = jax.vmap(score_region, (0, 0, None))(
                planes, draw(target, room_size), room_size
            )
        return {
            **regions,
            "predicted": predicted,
            "positions": positions,
            **score_positions(predicted, positions, room_size, label.resolution),
            "spread": spreads,
            "correct": jax.vmap(label.same_class)(scores, target),
        }

    results = jax.vmap(one_example)(
        predicted,
        outputs,
        objective.targets(label, batch),
        batch["source_positions"][..., :2],
        batch["room_size"][:, :2],
    )
    return results | {"loss": loss, "kl": kl}
