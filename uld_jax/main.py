r"""Train and test one network.

python -m uld_jax.main --config=experiments/l1.py --workdir=runs/l1_uld
python -m uld_jax.main --config=experiments/ad_r1.py --workdir=runs/ad_r1_uld \
    --init_from=runs/ad1_uld

The second begins from the network of the first's like; with --config.train.epochs=0 it
tests that as it is. All devices of the process are used; with --distributed, or with
--coordinator, --num_processes and --process_id, those of several processes.
"""

import contextlib

import jax
from absl import flags

from uld_jax import (
    commands,
    datasets,
    devices,
    initialization,
    progress,
    run_data,
    train,
    workdirs,
)
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_PREPARE = flags.DEFINE_bool("prepare", True, "Prepare a missing data set.")
_MINUTES = flags.DEFINE_float(
    "minutes", None, "Save and stop after so long; start again to go on.", 0.0
)
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Folder of a finished run whose network to begin from."
)
_INIT_PARTIAL = flags.DEFINE_bool(
    "init_partial", False, "Take what fits of its parameters, and begin the rest anew."
)
_DEBUG_NANS = flags.DEFINE_bool(
    "debug_nans", False, "End with a traceback where the first NaN or infinity arises."
)
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Trace steps 10 to 20 into the folder profile in --workdir."
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Train in several processes, which the cluster tells of."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, where no cluster tells of it."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.", 1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this one.", 0)


def main(_) -> None:
    """Run the configuration, or go on with it."""
    processes = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    if _DISTRIBUTED.value or any(value is not None for value in processes):
        devices.join_processes(*processes)
    with contextlib.ExitStack() as settings:
        if _DEBUG_NANS.value:
            settings.enter_context(jax.debug_nans(True))
            settings.enter_context(jax.debug_infs(True))
        _main()


def _main() -> None:
    config = initialization.settle(_CONFIG.value, _INIT_FROM.value, _INIT_PARTIAL.value)
    if not devices.is_one_of_many() or jax.process_index() == 0:
        workdirs.check(_WORKDIR.value, config_lib.to_dict(config))
    splits = run_data.needed_splits(config)
    datasets.ensure_prepared(config, allowed=_PREPARE.value, splits=splits)
    seconds = None if _MINUTES.value is None else 60 * _MINUTES.value
    record = train.train_and_evaluate(
        config, _WORKDIR.value, seconds, profile=_PROFILE.value
    )
    if record["status"] != "done":
        reason = f": {record['reason']}" if record.get("reason") else ""
        raise commands.Failed(
            f"the run has {record['status']}: {_WORKDIR.value}{reason}"
        )
    if record.get("converged") is False:  # Of old records it is not known.
        progress.say(
            "The run did not converge: its validation ACC is below twice that of "
            'guessing. Tables have "/" for it.'
        )
    test = record["test"]
    progress.say(
        f"Test: MAE {test['mae']:.3f} m, ACC {100 * test['accuracy']:.2f} %, median "
        f"{test['median']:.3f} m; quantization error {test['quantization_error']:.3f} m"
    )


if __name__ == "__main__":
    commands.run(main)
