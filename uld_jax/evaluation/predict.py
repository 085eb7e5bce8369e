"""Predict positions with networks and with methods that need no training.

A predictor takes a batch and returns positions. It needs no true position: `score`
compares the two.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from uld_jax.labels import schemes
from uld_jax.localization import methods
from uld_jax.pretrained import loading
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import errors

Batch = dict[str, Any]
Predictor = Callable[[Batch], Float[Array, "B S 2"]]  # Positions in meters.


class PredictorError(errors.InputError):
    """A network or a method that cannot localize the data, with the reason."""


def distributions(
    graph: nnx.GraphDef,
    label: schemes.Label,
    params: dict[str, Any],
    statistics: dict[str, Any],
    batch: Batch,
    devices: devices_lib.Devices | None = None,
) -> np.ndarray:
    """Compute the predicted planes [B, S, K, K] of a batch, rows y, for figures."""
    devices = devices or devices_lib.one()

    def predict(params, statistics, batch):
        outputs = loading.compute_outputs(
            graph, label, params, statistics, batch, devices.by_rows
        )
        return loading.planes(label, outputs, batch)

    return np.asarray(devices.jit(predict)(params, statistics, batch))


def network_predictor(
    run: dict[str, Any], num_nodes: int, num_sources: int
) -> Predictor:
    """Make a predictor of a run's network, as `loading.restore_network` loads it."""
    graph, params, statistics, label = loading.restore_network(
        run, num_nodes, num_sources
    )

    @jax.jit
    def predict(params, statistics, batch):
        outputs = loading.compute_outputs(graph, label, params, statistics, batch)
        return loading.decode(label, outputs, batch)

    return lambda batch: predict(params, statistics, batch)


def check_method(name: str, num_sources: int, run: str | None = None) -> methods.Method:
    """Look up a method that can find so many sources.

    Args:
        name: One of `methods.METHODS`.
        num_sources: How many sources it is to find.
        run: Folder of the run whose networks it is to use; None for none.

    Raises:
        PredictorError: If there is no such method, it finds fewer sources, or it needs
            the run of a network and has none, or the other way round.
    """
    if name not in methods.METHODS:
        raise PredictorError(
            f"no method {name!r}; there are {', '.join(methods.METHODS)}"
        )
    method = methods.METHODS[name]
    if method.max_sources is not None and num_sources > method.max_sources:
        raise PredictorError(f"{name} finds fewer than {num_sources} sources")
    if method.needs_run and run is None:
        raise PredictorError(
            f"{name} needs trained networks: give uld_jax baseline their run, as in "
            "--run=runs/l1/azimuth_I36_seed0 of --config=l1_azimuth"
        )
    if run is not None and not method.needs_run:
        raise PredictorError(f"--run is {run!r}; {name} uses no network: remove it")
    return method


def method_predictor(name: str, num_sources: int) -> Predictor:
    """Make a predictor of a method that needs no training: see `method_answers`."""
    answer = method_answers(name, num_sources)
    return lambda batch: answer(batch)[0]


def method_answers(
    name: str,
    num_sources: int,
    run: str | None = None,
    num_nodes: int | None = None,
) -> Callable[[Batch], tuple[Float[Array, "B S 2"], Float[Array, "B S"] | None]]:
    """Make a function from a batch to a method's positions and radii.

    Args:
        name: One of `methods.METHODS`.
        num_sources: How many sources it is to find.
        run: Folder of the run whose networks it uses; None for none.
        num_nodes: Nodes of the recordings, for such a method.

    Returns:
        From a batch to positions in meters, and the radii that hold 90 %, or None if the
        method gives none.

    Raises:
        PredictorError: As `check_method`.
        InputError: If the run cannot be used.
    """
    method = check_method(name, num_sources, run)
    localize = method.localize
    if method.needs_run:
        localize = method.localize(run, num_nodes)

    def predict(batch):
        found = localize(
            batch["audio"].astype("float32"),
            np.asarray(batch["node_positions"]),
            np.asarray(batch["room_size"]),
            batch.get("node_mask"),
            num_sources,
        )
        return found if method.gives_radii else (found, None)

    return predict
