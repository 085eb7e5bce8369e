"""Predict positions with networks and with methods that need no training.

A predictor takes a batch and returns positions. It needs no true position: `score`
compares the two.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

import uld_jax
from uld_jax.labels import schemes
from uld_jax.localization import methods
from uld_jax.networks import build, objective
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import errors
from uld_jax.simulation import recipes
from uld_jax.training import initialization

Batch = dict[str, Any]
Predictor = Callable[[Batch], Float[Array, "B S 2"]]  # Positions in meters.


class PredictorError(errors.InputError):
    """A network or a method that cannot localize the data, with the reason."""


def network_outputs(
    graph: nnx.GraphDef,
    label: schemes.Label,
    params: dict,
    statistics: dict,
    batch: Batch,
    by_rows: Callable = lambda function: function,
) -> Float[Array, "B S D"]:
    """Compute a network's outputs for a batch, without dropout.

    Args:
        graph: Graph of the network.
        label: Scheme and resolution.
        params: Parameters.
        statistics: Running means.
        batch: A batch.
        by_rows: See `objective.network_inputs`.
    """
    model = nnx.merge(graph, params, statistics)
    model.eval()
    return model(*objective.network_inputs(label, batch, by_rows))


def decode(
    label: schemes.Label, outputs: Float[Array, "B S D"], batch: Batch
) -> Float[Array, "B S 2"]:
    """Decode a network's outputs for a batch to positions in meters."""
    sources = jax.vmap(label.decode, (0, None))
    return jax.vmap(sources)(outputs, batch["room_size"][:, :2])


def distributions(
    graph: nnx.GraphDef,
    label: schemes.Label,
    params: dict,
    statistics: dict,
    batch: Batch,
    devices: devices_lib.Devices | None = None,
) -> np.ndarray:
    """Compute the predicted planes [B, S, K, K] of a batch, rows y, for figures."""
    devices = devices or devices_lib.one()

    def planes(params, statistics, batch):
        outputs = network_outputs(
            graph, label, params, statistics, batch, devices.by_rows
        )
        plane = jax.vmap(jax.vmap(lambda one: label.plane(label.scores(one))))
        return plane(outputs)

    return np.asarray(devices.jit(planes)(params, statistics, batch))


def recipe(run: dict) -> dict[str, Any]:
    """Look up the recipe of a run's training data: nodes, sources, samples.

    Records of anechoic data name none; there is only one.
    """
    data = run["data"]
    return data.get("rendering", data).get("law") or dataclasses.asdict(recipes.L1)


def restore_network(
    run: dict, num_nodes: int, num_sources: int
) -> tuple[nnx.GraphDef, dict, dict, schemes.Label]:
    """Load the network of a run's best epoch.

    Args:
        run: Its record, or that of its shared weights.
        num_nodes: Nodes of the data it was trained on.
        num_sources: Sources of the data it is to be tested on.

    Returns:
        Its graph, parameters, running means and label.

    Raises:
        PredictorError: If the run has saved none, or for another number of sources, or
            if it cannot be built.
        CheckpointError: If it is damaged.
        WeightsError: If shared weights are.
    """
    folder, settings = run["folder"], run["settings"]
    arrays = initialization.arrays_of(run)
    if arrays is None:
        raise PredictorError(
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
        raise PredictorError(
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
        raise PredictorError(
            f"the network in {folder!r} does not fit {num_sources} sources and its "
            f"settings in {len(lines)} arrays, as {lines[0]}"
        )
    return graph, items["params"], items["statistics"], label


def network_predictor(run: dict, num_nodes: int, num_sources: int) -> Predictor:
    """Make a predictor of a run's network, as `restore_network` loads it."""
    graph, params, statistics, label = restore_network(run, num_nodes, num_sources)

    @jax.jit
    def predict(params, statistics, batch):
        outputs = network_outputs(graph, label, params, statistics, batch)
        return decode(label, outputs, batch)

    return lambda batch: predict(params, statistics, batch)


def method_predictor(name: str, num_sources: int) -> Predictor:
    """Make a predictor of a method that needs no training.

    Args:
        name: One of `methods.METHODS`.
        num_sources: How many sources it is to find.

    Raises:
        PredictorError: If there is no such method, or it finds fewer sources.
    """
    if name not in methods.METHODS:
        raise PredictorError(
            f"no method {name!r}; there are {', '.join(methods.METHODS)}"
        )
    method = methods.METHODS[name]
    if method.max_sources is not None and num_sources > method.max_sources:
        raise PredictorError(f"{name} finds fewer than {num_sources} sources")

    def predict(batch):
        return method.localize(
            batch["audio"].astype("float32"),
            np.asarray(batch["node_positions"]),
            np.asarray(batch["room_size"]),
            batch.get("node_mask"),
            num_sources,
        )

    return predict
