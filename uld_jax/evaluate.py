"""A split and a network's parameters to metrics and predictions (Sec. 3.4)."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from uld_jax import labels, metrics, objective, progress, schemes


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a network makes of a split of n examples.

    Attributes:
        loss: Mean loss.
        kl: Mean loss above its floor.
        metrics: ACC, cell accuracy, distances and quantization error.
        positions: True positions [n, S, 2] in meters.
        predicted: Predicted positions [n, S, 2], in the best permutation.
    """

    loss: float
    kl: float
    metrics: dict[str, float]
    positions: np.ndarray
    predicted: np.ndarray


def make_eval_step(
    graph: nnx.GraphDef, label: schemes.Label, permutation_invariant: bool = True
) -> Callable:
    """Return a jitted function (params, statistics, batch) to per-example results.

    The permutation of least distance decides metrics, whatever the loss takes.
    """

    def one_example(logits, target, positions, room_size):
        predicted = jax.vmap(label.decode, (0, None))(logits, room_size)
        order = metrics.best_permutation(predicted, positions)
        predicted, logits = predicted[order], logits[order]
        cell = jax.vmap(labels.locate_cell, (0, None, None))
        same_cell = cell(predicted, room_size, label.resolution) == cell(
            positions, room_size, label.resolution
        )
        return {
            "predicted": predicted,
            "correct": jax.vmap(label.classify)(jax.vmap(label.scores)(logits))
            == jax.vmap(label.classify)(target),
            "cell_correct": same_cell.all(axis=-1),
            "quantization_error": jax.vmap(metrics.quantization_error, (0, None, None))(
                positions, room_size, label.resolution
            ),
        }

    @jax.jit
    def eval_step(params, statistics, batch):
        model = nnx.merge(graph, params, statistics)
        model.eval()
        logits = model(*objective.network_inputs(label, batch))
        loss, kl = objective.losses(label, logits, batch, permutation_invariant)
        positions = batch["source_positions"][..., :2]
        results = jax.vmap(one_example)(
            logits,
            objective.targets(label, batch),
            positions,
            batch["room_size"][:, :2],
        )
        return results | {"loss": loss, "kl": kl, "positions": positions}

    return eval_step


def evaluate(
    eval_step: Callable,
    params: dict,
    statistics: dict,
    batches: Iterable[dict],
    num_examples: int,
    title: str,
) -> Evaluation:
    """Return what a network makes of all examples; padding at the end is dropped.

    Raises:
        FloatingPointError: If a loss or a prediction is not finite.
    """
    parts = []
    with progress.Progress(title, num_examples, "examples") as bar:
        for batch in batches:
            parts.append(jax.device_get(eval_step(params, statistics, batch)))
            bar.update(min(len(batch["audio"]), bar.left))
    results = {
        key: np.concatenate([part[key] for part in parts])[:num_examples]
        for key in parts[0]
    }
    if not np.isfinite(results["loss"] + results["predicted"].sum((1, 2))).all():
        raise FloatingPointError(f"{title}: an output of the network is not finite")
    errors = metrics.distances(
        jnp.asarray(results["predicted"]), jnp.asarray(results["positions"])
    )
    statistics_of = {"accuracy": "correct", "cell_accuracy": "cell_correct"}
    return Evaluation(
        loss=float(results["loss"].mean(dtype=np.float64)),
        kl=float(results["kl"].mean(dtype=np.float64)),
        metrics={
            **metrics.error_statistics(errors.ravel()),
            **{
                name: metrics.accuracy(jnp.asarray(results[key]).ravel())
                for name, key in statistics_of.items()
            },
            "quantization_error": float(results["quantization_error"].mean()),
        },
        positions=results["positions"],
        predicted=results["predicted"],
    )


def distributions(
    graph: nnx.GraphDef, label: schemes.Label, params: dict, statistics: dict, batch
) -> np.ndarray:
    """Return the predicted planes [B, S, K, K] of a batch, rows y, for figures."""
    model = nnx.merge(graph, params, statistics)
    model.eval()
    logits = model(*objective.network_inputs(label, batch))
    return np.asarray(
        jax.vmap(jax.vmap(lambda one: label.plane(label.scores(one))))(logits)
    )
