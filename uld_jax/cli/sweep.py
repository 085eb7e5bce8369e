r"""Train a network for each label, resolution and seed of an experiment.

    uld_jax sweep --config=l1 --workdir=runs/l1 \
        --scheme=one_hot,heat_map,refined_grid,uld --resolution=4,8 --seed=0,1,2

Each run is a process of its own in a folder of its own, so that one failure does not
lose the others. Finished runs are skipped and interrupted ones resumed. Without
--scheme or --resolution, the experiment's own `sweep` decides. With --init_from=FOLDER
each run starts from the network of the run of the same name in that folder.

Runs are trained one after the other. With --ray, as many at once as this machine has
devices; with --ray=HOST:PORT, or --ray=auto within one, as a cluster of Ray has.
"""

import math
import pathlib
import time
from typing import Any

from uld_jax.cli.flags import (
    CONFIG,
    DEBUG_NANS,
    INIT_FROM,
    INIT_PARTIAL,
    MINUTES,
    PREPARE,
    PROFILE,
    WORKDIR_OF_RUNS,
    Flag,
)

FLAGS = (
    CONFIG,
    WORKDIR_OF_RUNS,
    Flag("scheme", "list", "Label schemes; by default the experiment's.", default=[]),
    Flag(
        "resolution",
        "list",
        "Cells per axis I; by default the experiment's.",
        default=[],
    ),
    Flag("seed", "list", "Seeds; by default the configuration's.", default=[]),
    INIT_FROM,
    INIT_PARTIAL,
    PREPARE,
    MINUTES,
    Flag(
        "ray",
        "string",
        "Train on all devices of this machine, or of the cluster of Ray at an address.",
        bare="local",
    ),
    DEBUG_NANS,
    PROFILE,
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Run what is missing; report what failed or runs elsewhere."""
    from ml_collections import config_flags

    from uld_jax import config as config_lib
    from uld_jax.datasets import loader, prepare
    from uld_jax.storage import run_folder
    from uld_jax.training import cluster, sweep, workers

    if values.ray is not None:
        cluster.check_installed()
    experiment = config_flags.get_config_filename(values["config"])
    given = config_flags.get_override_values(values["config"])
    runs = sweep.plan(
        values.config,
        experiment,
        values.scheme,
        values.resolution,
        values.seed,
        given,
        values.init_from,
        values.init_partial,
    )
    base = pathlib.Path(values.workdir).expanduser()
    run_folder.RunFolder(base).check_for_runs()
    for name, (_, config) in runs.items():
        run_folder.RunFolder(base / name).check(config_lib.to_dict(config))
    deadline = math.inf
    if values.minutes is not None:
        deadline = time.monotonic() + 60 * values.minutes
    config = config_lib.resolve(values.config)
    splits = loader.needed_splits(config)
    prepare.ensure_prepared(config, allowed=values.prepare, splits=splits)
    words = [f"--{name}" for name in ("debug_nans", "profile") if values[name].value]
    planned = sweep.runs_for_workers(base, runs, experiment, given, words)
    if values.ray is None:
        workers.report(workers.work_off(planned, deadline))
        return
    configs = {name: config for name, (_, config) in runs.items()}
    found = cluster.work_off(
        planned, configs, values.ray, deadline, values.debug_nans, values.profile
    )
    _print_table([base / name for name, outcome in found.items() if outcome == "done"])
    workers.report(found)


def _print_table(folders: list[pathlib.Path]) -> None:
    from uld_jax.report import groups, markdown, tables

    if folders:
        found, _ = groups.read(list(map(str, folders)))
        print(markdown.markdown(tables.make(found, [tables.SUMMARY])))
