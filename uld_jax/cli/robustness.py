"""Test finished runs, networks and baselines alike, under worse conditions.

    uld_jax robustness --config=ad1 --workdir=runs/ad1

The examples are the test split of the experiment's compact data set. Each finished run
at or below --workdir gets a `conditions.json`. An interrupted test resumes, and runs
that came later are added, with the same --examples. Each condition is tested in bare rooms,
and in furnished ones: echoes are off by 0.1 m, gains by 1 dB.
"""

import pathlib
from typing import Any

from uld_jax.cli.flags import CONFIG, PREPARE, WORKDIR_OF_RUNS, Flag
from uld_jax.runtime import progress

FLAGS = (
    CONFIG,
    WORKDIR_OF_RUNS,
    Flag("examples", "integer", "Test examples to use; by default all.", least=1),
    Flag(
        "conditions", "list", "Which to test, as in clock_offset,snr_db; all if empty."
    ),
    Flag("rooms", "list", "Of bare and furnished, those to test in; both if empty."),
    PREPARE,
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Test the runs under the conditions that they lack."""
    from uld_jax import config as config_lib
    from uld_jax.datasets import loader, prepare
    from uld_jax.evaluation import conditions, robustness
    from uld_jax.runtime import jax_setup
    from uld_jax.storage import records

    jax_setup.configure()
    only = robustness.check_names(values.conditions or [])
    rooms = robustness.check_rooms(values.rooms or conditions.ROOMS)
    config = config_lib.resolve_for_testing(values.config, source="compact")
    runs, _ = records.read_finished([pathlib.Path(values.workdir).expanduser()])
    for run in runs:
        robustness.check_data_set(run, config)
    prepare.ensure_prepared(config, allowed=values.prepare)
    data = loader.RunData(config, splits=("test",), signals=True)
    data.load()
    size = len(data.held_out["test"])
    count = min(values.examples or size, size)
    robustness.test_runs(runs, data, count, only=only, rooms=rooms)
    progress.log(f"{len(runs)} runs have their {records.CONDITIONS_FILE}")
