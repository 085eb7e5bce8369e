"""Test a method that needs no training as if it were a run.

Its record and predictions lie beside those of networks and appear in the same tables.
"""

import functools
import pathlib
import time
from typing import Any

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax.datasets import loader, pipeline
from uld_jax.datasets import prepare as prepare_lib
from uld_jax.evaluation import evaluate, metrics, predict, score, seen_positions
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


def settings_of(config: config_lib.ConfigDict, method: str) -> dict[str, Any]:
    """Select the settings that a method depends on: those of the test split."""
    data = config_lib.to_dict(config.data)
    return {"method": method, "data": {key: data[key] for key in _TEST_DATA}}


def test_method(
    config: config_lib.ConfigDict,
    method: str,
    workdir: str | pathlib.Path,
    prepare: bool = True,
) -> dict[str, Any]:
    """Test a method on an experiment's test split.

    Args:
        config: Settings, as `config.resolve_for_testing` returns them.
        method: One of `methods.METHODS`.
        workdir: Folder of the run. If the test is done there, nothing is computed.
        prepare: Whether a missing data set may be prepared.

    Returns:
        The record.

    Raises:
        RunConflictError: If the folder is another run's, or cannot be one.
        PredictorError: If the method cannot find so many sources.
        DatasetError: If the data set is missing, or cannot be used.
    """
    settings, folder = settings_of(config, method), RunFolder(workdir)
    folder.check(settings)
    if record := folder.read_record():
        progress.log(f"{folder}: this run is {record['status']} already")
        return record
    # Hours of preparation should not end with this error.
    predict.method_predictor(method, prepare_lib.planned_sources(config) or 1)
    prepare_lib.ensure_prepared(config, allowed=prepare, splits=("test",))
    data = loader.RunData(config, splits=("test",), signals=True)
    step = evaluate.method_step(method, data.num_sources)
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
        facts = data.geometry("test")
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
