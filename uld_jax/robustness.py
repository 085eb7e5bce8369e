"""Test finished runs, networks and baselines alike, under worse conditions.

    python -m uld_jax.robustness --config=experiments/ad1.py --workdir=runs/ad1

On the test split of the experiment's compact data set. Of all finished runs at or
below `--workdir`, each gets a `conditions.json`; what is interrupted goes on, and runs
that came later are added, with the same `--examples`.
"""

import pathlib

from absl import flags

from uld_jax import commands, conditions, datasets, progress, records, run_data
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of runs.", required=True)
_EXAMPLES = flags.DEFINE_integer(
    "examples", None, "Test examples to use; all by default.", 1
)
_PREPARE = flags.DEFINE_bool("prepare", True, "Prepare a missing data set.")


def main(_) -> None:
    """Test the runs under the conditions that they lack."""
    config = config_lib.resolve_for_testing(_CONFIG.value, source="compact")
    runs, _ = records.read_finished([pathlib.Path(_WORKDIR.value).expanduser()])
    for run in runs:
        conditions.check_name(run, config)
    datasets.ensure_prepared(config, allowed=_PREPARE.value)
    data = run_data.RunData(config, splits=("test",))
    data.load()
    size = len(data.held_out["test"])
    conditions.test_runs(runs, data, min(_EXAMPLES.value or size, size))
    progress.say(f"{len(runs)} runs have their {records.CONDITIONS_FILE}")


if __name__ == "__main__":
    commands.run(main)
