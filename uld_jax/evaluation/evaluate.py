"""Evaluate networks and methods on a split: metrics and predictions (Sec. 3.4)."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from uld_jax.evaluation import metrics as metrics_lib
from uld_jax.evaluation import predict, score
from uld_jax.labels import schemes
from uld_jax.pretrained import loading
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import progress

_AT_ONCE = 8  # Examples that a network computes together.
_LEAST_GROUPS = 2  # A single group compiles to no loop, and to other last bits.
ROWS = _AT_ONCE * _LEAST_GROUPS  # Batches of a multiple per device waste no work.


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Metrics and predictions on a split of n examples.

    Attributes:
        metrics: Error statistics; of a network also ACC, cell accuracy, quantization
            error. Coverage and mean area of 90 % regions, where there are any.
        positions: True positions [n, S, 2] in meters.
        predicted: Predicted positions [n, S, 2], in the best permutation.
        loss: Mean loss; None for a method, which has none.
        kl: Mean loss above its floor; or None.
        correct: Whether the class of each source was found, [n, S]; or None.
        cell_correct: Whether the cell of each source was found, [n, S]; or None.
        spread: How far each distribution is spread in meters, [n, S]; or None.
    """

    metrics: dict[str, float]
    positions: np.ndarray
    predicted: np.ndarray
    loss: float | None = None
    kl: float | None = None
    correct: np.ndarray | None = None
    cell_correct: np.ndarray | None = None
    spread: np.ndarray | None = None

    @property
    def errors(self) -> np.ndarray:
        """Distances of the predicted to the true positions in meters, [n, S]."""
        away = np.asarray(self.predicted, np.float64) - self.positions
        return np.sqrt((away**2).sum(axis=-1))


Step = Callable[
    [dict[str, Any]], dict[str, jax.Array]
]  # From a batch to scores by example.


def make_eval_step(
    graph: nnx.GraphDef,
    label: schemes.Label,
    permutation_invariant: bool = True,
    devices: devices_lib.Devices | None = None,
) -> Callable[..., Any]:
    """Make a jitted function (params, statistics, batch) to `score_network`'s results.

    Prediction and scores are one program.

    Args:
        graph: Graph of the network.
        label: Scheme and resolution.
        permutation_invariant: See `objective.losses`.
        devices: What a batch is divided among; by default one device.
    """
    devices = devices or devices_lib.one()

    def some_rows(params, statistics, batch):
        outputs = loading.compute_outputs(graph, label, params, statistics, batch)
        predicted = loading.decode(label, outputs, batch)
        return score.score_network(
            label, outputs, predicted, batch, permutation_invariant
        )

    def eval_step(params, statistics, batch):
        score_rows = functools.partial(some_rows, params, statistics)
        return devices.by_rows(functools.partial(_in_groups, score_rows))(batch)

    return devices.jit(eval_step)


def network_step(run: dict[str, Any], num_nodes: int, num_sources: int) -> Step:
    """Make an evaluation step of a run's network: see `loading.restore_network`."""
    graph, *arrays, label = loading.restore_network(run, num_nodes, num_sources)
    invariant = run["settings"]["train"]["permutation_invariant"]
    return functools.partial(make_eval_step(graph, label, invariant), *arrays)


def method_step(
    name: str,
    num_sources: int,
    run: str | None = None,
    num_nodes: int | None = None,
) -> Step:
    """Make an evaluation step of a method: see `predict.method_answers`."""
    answer = predict.method_answers(name, num_sources, run, num_nodes)
    # A program of its own: a method has to be called from outside of one.
    score_batch = jax.jit(score.score_method)

    def step(batch):
        predicted, radii = answer(batch)
        return score_batch(predicted, batch["source_positions"][..., :2], radii)

    return step


def _in_groups(function: Callable[..., Any], batch: dict[str, Any]) -> dict[str, Any]:
    """Compute a function of a batch for a few rows at a time."""
    # Always the same number of rows, so that an example's last bits do not depend on
    # the size of its batch. The last row fills up the last group.
    num_rows = len(batch["room_size"])
    num_groups = max(-(-num_rows // _AT_ONCE), _LEAST_GROUPS)
    rows = np.minimum(np.arange(num_groups * _AT_ONCE), num_rows - 1)
    groups = jax.tree.map(
        lambda array: array[rows].reshape(-1, _AT_ONCE, *array.shape[1:]), batch
    )
    results = jax.lax.map(function, groups)
    return jax.tree.map(
        lambda array: array.reshape(-1, *array.shape[2:])[:num_rows], results
    )


def evaluate(
    step: Step, batches: Iterable[dict[str, Any]], num_examples: int, title: str
) -> Evaluation:
    """Evaluate all examples, without the padding at the end.

    Args:
        step: From a batch to scores by example, as `score_network` or `score_method`.
        batches: The batches.
        num_examples: How many of their examples count.
        title: Title of the progress bar.

    Raises:
        FloatingPointError: If a loss or a prediction is not finite.
    """
    (result,) = evaluate_all([step], batches, num_examples, title)
    return result


def evaluate_all(
    steps: Sequence[Step],
    batches: Iterable[dict[str, Any]],
    num_examples: int,
    title: str,
) -> list[Evaluation]:
    """Evaluate several methods on the same batches: see `evaluate`."""
    parts = [[] for _ in steps]
    with progress.Progress(title, num_examples, "examples") as bar:
        for batch in batches:
            # All are dispatched before the first is waited for.
            found = jax.device_get([step(batch) for step in steps])
            for scores, one in zip(parts, found, strict=True):
                scores.append(one)
            bar.update(min(len(batch["room_size"]), bar.left))
    return [_summarize(scores, num_examples, title) for scores in parts]


def _summarize(
    parts: list[dict[str, Any]], num_examples: int, title: str
) -> Evaluation:
    results = {
        key: np.concatenate([part[key] for part in parts])[:num_examples]
        for key in parts[0]
    }
    outputs = results["predicted"].sum((1, 2)) + results.get("loss", 0.0)
    if not np.isfinite(outputs).all():
        raise FloatingPointError(f"{title}: an output is not finite")
    errors = metrics_lib.distances(results["predicted"], results["positions"])
    metrics = metrics_lib.error_statistics(errors.ravel())
    means = {
        key: float(results.pop(key).mean(dtype=np.float64))
        for key in ("loss", "kl", "quantization_error", "coverage", "area")
        if key in results
    }
    for key in metrics_lib.REGION.keys() & means.keys():
        metrics[metrics_lib.REGION[key]] = means.pop(key)
    if "loss" not in means:
        return Evaluation(metrics, **results)
    metrics |= {
        "accuracy": metrics_lib.accuracy(results["correct"]),
        "cell_accuracy": metrics_lib.accuracy(results["cell_correct"]),
        "quantization_error": means.pop("quantization_error"),
    }
    return Evaluation(metrics, **results, **means)


def write_predictions(
    path: pathlib.Path, result: Evaluation, facts: dict[str, Any], **more: Any
) -> None:
    """Write the predictions for a split, and the geometry of its examples, for figures.

    Args:
        path: The file.
        result: Evaluation of the split.
        facts: Geometry, T60 and SNR of all examples.
        **more: Further arrays.
    """
    facts = {key: value for key, value in facts.items() if key != "source_positions"}
    np.savez_compressed(
        path,
        positions=result.positions,
        predicted=result.predicted,
        **facts,
        **more,
    )
