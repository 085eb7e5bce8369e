"""Test a method to compare networks with as if it were a run.

Its record and predictions lie beside those of networks and appear in the same tables.
"""

import functools
import os
import pathlib
import time
from typing import Any

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax.datasets import loader, pipeline
from uld_jax.datasets import prepare as prepare_lib
from uld_jax.evaluation import evaluate, metrics, predict, score, seen_positions
from uld_jax.localization import compact_arrays
from uld_jax.runtime import devices, progress
from uld_jax.storage import environment
from uld_jax.storage import settings as settings_lib
from uld_jax.storage.run_folder import RunFolder

# Settings of the data that the test split depends on.
_TEST_DATA = (
    "name",
    "dir",
    "recordings",
    "speech",
    "noise",
    "noise_field",
    "engine",
)
_BATCH_SIZE = 8
_RESOLUTIONS = (1, 2, 4, 8, 16, 32)


def settings_of(
    config: config_lib.ConfigDict,
    method: str,
    run: str | None,
    workdir: str | pathlib.Path,
) -> dict[str, Any]:
    """Select the settings that a method depends on: those of the test split.

    Args:
        config: Settings.
        method: One of `methods.METHODS`.
        run: Folder of the run whose networks it uses, which is noted relative to the
            workdir; None for none.
        workdir: Folder of the method's own run.
    """
    data = config_lib.to_dict(config.data)
    networks = {} if run is None else {"run": os.path.relpath(run, workdir)}
    kept = {key: data[key] for key in _TEST_DATA}
    return {"method": method, "data": kept, **networks}


def test_method(
    config: config_lib.ConfigDict,
    method: str,
    workdir: str | pathlib.Path,
    prepare: bool = True,
    run: str | None = None,
) -> dict[str, Any]:
    """Test a method on an experiment's test split.

    Args:
        config: Settings, as `config.resolve_for_testing` returns them.
        method: One of `methods.METHODS`.
        workdir: Folder of the run. If the test is done there, nothing is computed.
        prepare: Whether a missing data set may be prepared.
        run: Folder of the run whose networks the method uses; None for none.

    Returns:
        The record.

    Raises:
        RunConflictError: If the folder is another run's, or cannot be one.
        PredictorError: As `predict.check_method`.
        RecordingError: If the method needs compact arrays, and nodes are not in any.
        DatasetError: If the data set is missing, or cannot be used.
    """
    run = None if run is None else str(pathlib.Path(run).expanduser())
    settings = settings_of(config, method, run, workdir)
    folder = RunFolder(workdir)
    folder.check(settings)
    if record := folder.read_record():
        progress.log(f"{folder}: this run is {record['status']} already")
        return record
    # Hours of preparation should not end with this error.
    found = predict.check_method(method, prepare_lib.planned_sources(config) or 1, run)
    if found.needs_arrays and (scene := prepare_lib.planned_scene(config)):
        compact_arrays.find(scene.node_positions, scene.room_size)
    prepare_lib.ensure_prepared(config, allowed=prepare, splits=("test",))
    data = loader.RunData(config, splits=("test",), signals=True)
    step = evaluate.method_step(method, data.num_sources, run, data.num_nodes)
    facts = data.geometry("test")
    if found.needs_arrays:
        places = facts["node_positions"], facts["room_size"]
        compact_arrays.find_in_batch(*places, None)
    data.load()
    test = data.held_out["test"]
    order = pipeline.in_order(len(test), min(_BATCH_SIZE, len(test)))
    with folder.lock():
        folder.write_settings(settings)
        started = time.monotonic()
        result = evaluate.evaluate(
            step, test.batches(order), len(test), f"Testing {method}"
        )
        seconds = time.monotonic() - started
        evaluate.write_predictions(folder.predictions, result, facts)
        trained = [] if data.origin.get("room") else None
        record = {
            "status": "done",
            "method": method,
            "settings": settings_lib.without_paths(settings),
            "data": data.origin,
            "test": {
                **result.metrics,
                "by_resolution": _by_resolution(result, facts["room_size"][:, :2]),
                **seen_positions.score_by_position(result, trained),
            },
            "times": {"seconds": seconds, "examples_per_second": len(test) / seconds},
            **environment.collect(devices.describe()),
        }
        folder.write_record(record)
    return record


def _by_resolution(
    result: evaluate.Evaluation, room_size: np.ndarray
) -> dict[str, dict[str, float]]:
    """Compute the cell accuracy and quantization error at each resolution.

    A method knows no cells; this compares it with the networks, which do.
    """
    results = {}
    for resolution in _RESOLUTIONS:
        score_all = jax.vmap(
            functools.partial(score.score_positions, resolution=resolution)
        )
        scored = score_all(result.predicted, result.positions, room_size)
        results[str(resolution)] = {
            "cell_accuracy": metrics.accuracy(scored["cell_correct"]),
            "quantization_error": float(scored["quantization_error"].mean()),
        }
    return results
