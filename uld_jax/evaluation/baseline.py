r"""Test a method that needs no training, as if it were a run.

    uld_jax baseline --config=experiments/ad1.py --method=srp_phat \
        --workdir=runs/ad1/srp_phat

Its record and predictions lie beside those of networks, in the same tables.
"""

import pathlib
import time

from uld_jax import config as config_lib
from uld_jax.datasets import loader, pipeline
from uld_jax.datasets import prepare as prepare_lib
from uld_jax.evaluation import evaluate, metrics, predict, seen_positions
from uld_jax.runtime import devices, progress
from uld_jax.storage import environment
from uld_jax.storage import settings as settings_lib
from uld_jax.storage.run_folder import RunFolder

_OF_TEST_DATA = ("name", "dir", "recordings", "speech", "noise", "noise_field")
_OF_TEST_DATA += ("engine",)
_BATCH_SIZE = 8
_RESOLUTIONS = (1, 2, 4, 8, 16, 32)


def settings_of(config, method: str) -> dict:
    """Return what of an experiment's settings a baseline depends on: the test split."""
    data = config_lib.to_dict(config.data)
    return {"method": method, "data": {key: data[key] for key in _OF_TEST_DATA}}


def test_baseline(config, method: str, workdir: pathlib.Path) -> dict:
    """Test a baseline on an experiment's test split and return the record.

    Of a folder where that is done already, the record is returned.

    Raises:
        workdirs.RunConflictError: If the folder is another run's, or cannot be one.
        PredictorError: If the baseline cannot find so many sources.
    """
    settings = settings_of(config, method)
    folder = RunFolder(workdir)
    folder.check(settings)
    if record := folder.read_record():
        progress.log(f"{folder}: this run is {record['status']} already")
        return record
    data = loader.RunData(config, splits=("test",))
    step = evaluate.method_step(method, data.num_sources, _RESOLUTIONS[-1])
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
        distances = {key: result.metrics[key] for key in metrics.ERROR_STATISTICS}
        record = {
            "status": "done",
            "method": method,
            "settings": settings_lib.without_paths(settings),
            "data": data.origin,
            "test": distances
            | {
                "by_resolution": evaluate.at_resolutions(
                    result.predicted,
                    result.positions,
                    facts["room_size"][:, :2],
                    _RESOLUTIONS,
                )
            }
            | seen_positions.score_by_position(
                result, [] if data.origin.get("room") else None
            ),
            "times": {"seconds": seconds, "examples_per_second": len(test) / seconds},
            **environment.collect(devices.describe()),
        }
        folder.write_record(record)
    return record


def prepare_and_test(
    config, method: str, workdir: pathlib.Path, prepare: bool = True
) -> dict:
    """Prepare an experiment's test data and test a baseline on them.

    Args:
        config: Settings, as `config.resolve_for_testing` returns them.
        method: Name of the baseline.
        workdir: Folder of the run.
        prepare: Whether a missing data set may be prepared.

    Returns:
        The record.
    """
    RunFolder(workdir).check(settings_of(config, method))
    if num_sources := prepare_lib.planned_sources(config):
        predict.method_predictor(method, num_sources)
    prepare_lib.ensure_prepared(config, allowed=prepare, splits=("test",))
    return test_baseline(config, method, workdir)
