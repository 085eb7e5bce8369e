"""Whoever says where sources are: trained networks and baselines, used alike.

Each is an `evaluate.Step`: a batch in, by example what was predicted out.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

import uld_jax
from uld_jax.evaluation import evaluate, metrics
from uld_jax.labels import schemes
from uld_jax.localization import methods
from uld_jax.networks import build
from uld_jax.runtime import errors
from uld_jax.simulation import recipes
from uld_jax.training import initialization


class LocalizerError(errors.InputError):
    """A network or a baseline that cannot be had, with the reason."""


def law(run: dict) -> dict[str, Any]:
    """Return the law of the data that a run was trained on: nodes, sources, samples.

    Records of anechoic data name none; there is one.
    """
    data = run["data"]
    return data.get("rendering", data).get("law") or dataclasses.asdict(recipes.L1)


def network(
    run: dict, num_nodes: int, num_sources: int, at_once: bool = False
) -> evaluate.Step:
    """Return the network that a run was tested with: that of its best epoch.

    Args:
        run: Its record, or that of its shared weights.
        num_nodes: Nodes of the data it was trained on.
        num_sources: Sources of the data it is to be tested on.
        at_once: See `evaluate.make_eval_step`.

    Raises:
        LocalizerError: If the run has saved none, or for another number of sources, or
            if it cannot be built.
        CheckpointError: If it is damaged.
        WeightsError: If shared weights are.
    """
    folder, settings = run["folder"], run["settings"]
    arrays = initialization.arrays_of(run)
    if arrays is None:
        raise LocalizerError(
            f"{folder!r} holds no network of epoch {run['best_epoch']}, its best; only "
            "its record was kept"
        )
    try:
        label = schemes.Label(
            settings["label"]["scheme"], settings["label"]["resolution"]
        )
        # Shapes alone: its own parameters would be drawn only to be replaced.
        model = nnx.eval_shape(
            lambda: build.for_label(
                settings["model"], label, num_nodes, num_sources, seed=0
            )
        )
    except (TypeError, ValueError) as error:
        raise LocalizerError(
            f"the network in {folder!r} cannot be built by uld_jax "
            f"{uld_jax.__version__}: {error}; it was made by "
            f"{run.get('versions', {}).get('uld-jax')}"
        ) from None
    graph, *parts = nnx.split(model, nnx.Param, ...)
    like = dict(
        zip(("params", "statistics"), map(nnx.to_pure_dict, parts), strict=True)
    )
    items, lines, left = initialization.put(like, arrays)
    if lines := lines + [f"{name}: not in this network" for name in left]:
        raise LocalizerError(
            f"the network in {folder!r} does not fit {num_sources} sources and its "
            f"settings in {len(lines)} arrays, as {lines[0]}"
        )
    invariant = settings["train"]["permutation_invariant"]
    evaluate_batch = evaluate.make_eval_step(graph, label, invariant, at_once=at_once)
    return functools.partial(evaluate_batch, items["params"], items["statistics"])


def baseline(name: str, num_sources: int, resolution: int) -> evaluate.Step:
    """Return a baseline, one of `methods.BASELINES`.

    Args:
        name: Which.
        num_sources: How many sources it is to find.
        resolution: Cells per axis by which its accuracy is told.

    Raises:
        LocalizerError: If there is no such baseline, or it finds fewer sources.
    """
    if name not in methods.BASELINES:
        raise LocalizerError(
            f"no baseline {name!r}; there are {', '.join(methods.BASELINES)}"
        )
    if num_sources > methods.MOST_SOURCES.get(name, num_sources):
        raise LocalizerError(f"{name} finds fewer than {num_sources} sources")
    localize = methods.BASELINES[name]

    def one_example(predicted, positions, room_size):
        order = metrics.best_permutation(predicted, positions)
        judged = evaluate.judge(predicted[order], positions, room_size, resolution)
        return judged | {"correct": judged["cell_correct"]}

    judge = jax.jit(jax.vmap(one_example))

    def step(batch):
        predicted = localize(
            batch["audio"].astype("float32"),
            np.asarray(batch["node_positions"]),
            np.asarray(batch["room_size"]),
            batch.get("node_mask"),
            num_sources,
        )
        positions = batch["source_positions"][..., :2]
        return judge(predicted, positions, batch["room_size"][:, :2])

    return step
