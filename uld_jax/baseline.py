r"""Test a method that needs no training, as if it were a run.

    python -m uld_jax.baseline --config=experiments/ad1.py --method=srp_phat \
        --workdir=runs/ad1/srp_phat

Its record and predictions lie beside those of networks, in the same tables.
"""

import pathlib
import time

from absl import flags

from uld_jax import (
    baselines,
    commands,
    datasets,
    evaluate,
    input_pipeline,
    localizers,
    locking,
    metrics,
    places,
    progress,
    records,
    run_data,
    workdirs,
)
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_METHOD = flags.DEFINE_enum(
    "method", None, list(baselines.BASELINES), "Baseline.", required=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_PREPARE = flags.DEFINE_bool("prepare", True, "Prepare a missing data set.")

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
        localizers.LocalizerError: If the baseline cannot find so many sources.
    """
    settings = settings_of(config, method)
    workdirs.check(workdir, settings)
    if record := workdirs.read_record(workdir):
        return record
    data = run_data.RunData(config, splits=("test",))
    localize = localizers.baseline(method, data.num_sources, _RESOLUTIONS[-1])
    data.load()
    test = data.held_out["test"]
    order = input_pipeline.in_order(len(test), min(_BATCH_SIZE, len(test)))
    with locking.hold(workdir / locking.FILE_NAME):
        records.write_json(workdir / workdirs.SETTINGS_FILE, settings)
        started = time.monotonic()
        result = evaluate.evaluate(
            localize, test.batches(order), len(test), f"Testing {method}"
        )
        seconds = time.monotonic() - started
        facts = data.facts("test")
        evaluate.write_predictions(workdir, result, facts)
        distances = {key: result.metrics[key] for key in metrics.ERROR_STATISTICS}
        record = {
            "status": "done",
            "method": method,
            "settings": records.without_places(settings),
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
            | places.tell(result, [] if data.origin.get("room") else None, False),
            "times": {"seconds": seconds, "examples_per_second": len(test) / seconds},
            **evaluate.environment(),
        }
        records.write_json(workdir / records.FILE_NAME, record)
    return record


def main(_) -> None:
    """Test the baseline, or say what it gave."""
    config = config_lib.resolve_for_testing(_CONFIG.value)
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    workdirs.check(workdir, settings_of(config, _METHOD.value))
    if num_sources := datasets.planned_sources(config):
        localizers.baseline(_METHOD.value, num_sources, _RESOLUTIONS[-1])
    datasets.ensure_prepared(config, allowed=_PREPARE.value, splits=("test",))
    test = test_baseline(config, _METHOD.value, workdir)["test"]
    progress.say(
        f"Test: MAE {test['mae']:.3f} m, median {test['median']:.3f} m, 90th "
        f"percentile {test['p90']:.3f} m"
    )


if __name__ == "__main__":
    commands.run(main)
