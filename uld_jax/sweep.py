r"""Run an experiment for several schemes, resolutions and seeds.

    python -m uld_jax.sweep --config=experiments/l1.py --workdir=runs/l1 \
        --scheme=one_hot,heat_map,refined_grid,uld --resolution=4,8 --seed=0,1,2

Each run is a process of its own in a folder of its own, so that a bad one does
not lose the others. Finished runs are left alone, interrupted ones gone on with.
What --scheme or --resolution do not say, the experiment's `sweep` does. With
--init_from=FOLDER each run begins from the network of the run of its name in that folder.

The same command may be started many times, on one machine or on many that see one
folder. These workers share the runs: each takes the first that is free, passes over
what another is at work on, and looks at that again later.
"""

import functools
import itertools
import math
import pathlib
import runpy
import subprocess
import sys
import time
from collections.abc import Container

from absl import flags
from ml_collections import config_flags

from uld_jax import (
    commands,
    datasets,
    elastic,
    initialization,
    progress,
    records,
    run_data,
    stopping,
    workdirs,
)
from uld_jax import config as config_lib
from uld_jax import schemes as schemes_lib

_CONFIG = commands.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
_SCHEME = flags.DEFINE_list("scheme", [], "Label schemes; all of the experiment's.")
_RESOLUTION = flags.DEFINE_list(
    "resolution", [], "Cells per axis I; those of the experiment."
)
_SEED = flags.DEFINE_list("seed", [], "Seeds; the configuration's by default.")
_PREPARE = flags.DEFINE_bool("prepare", True, "Prepare a missing data set.")
_MINUTES = flags.DEFINE_float("minutes", None, "Stop after so long altogether.", 0.0)
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Folder of runs of the same names, to begin from their networks."
)
_INIT_PARTIAL = flags.DEFINE_bool(
    "init_partial", False, "Take what fits of their parameters; the rest begins anew."
)
_WAIT = flags.DEFINE_bool(
    "wait", False, "Stay until runs at work elsewhere are over; take up what is left."
)
_DEBUG_NANS = flags.DEFINE_bool("debug_nans", False, "As of uld_jax.main, of each run.")
_PROFILE = flags.DEFINE_bool("profile", False, "As of uld_jax.main, of each run.")

_SECONDS_BETWEEN_LOOKS = 0.5
_NAMED = frozenset({"label.scheme", "label.resolution", "seed"})


def plan(
    base: config_lib.ConfigDict,
    experiment: str,
    schemes: list[str],
    resolutions: list[str],
    seeds: list[str],
    given: Container[str] = (),
    init_from: str | None = None,
    init_partial: bool = False,
) -> dict[str, tuple[dict, config_lib.ConfigDict]]:
    """Return the overrides and settings of all runs by the name of their folder.

    Args:
        base: Settings before they are resolved.
        experiment: Path of the experiment's file.
        schemes: Label schemes; none for the experiment's own.
        resolutions: Cells per axis, in figures; none for the experiment's own.
        seeds: Seeds, in figures; none for the one in the settings.
        given: Settings, by dotted key, that were said for all runs.
        init_from: Folder of the runs to begin from, each by its name; None for none.
        init_partial: Whether what does not fit begins anew.

    Raises:
        config_lib.ConfigError: If one of the runs could not be made, or if what was
            said for all runs is varied.
        initialization.InitError: If there is no run to begin from, or it does not fit.
    """
    file, _, _ = experiment.partition(":")
    cells = list(runpy.run_path(file).get("sweep", lambda: [{}])())
    if schemes:
        cells = _with_schemes(cells, schemes)
    if resolutions:
        cells = _with_resolutions(cells, _integers("resolution", resolutions), base)
    if not cells:
        raise config_lib.ConfigError("no run is left of the sweep")
    runs = {}
    for overrides, seed in itertools.product(cells, _integers("seed", seeds)):
        overrides = overrides | ({} if seed is None else {"seed": seed})
        _check_not_given(overrides, given)
        config = base.copy_and_resolve_references()
        config.update_from_flattened_dict(overrides)
        unsettled, config = config, config_lib.resolve(config)
        name = f"{config.label.scheme}_I{config.label.resolution}_seed{config.seed}"
        for key in sorted(overrides.keys() - _NAMED):
            name += f"_{key.rpartition('.')[2]}{overrides[key]}"
        if name in runs:
            raise config_lib.ConfigError(f"the sweep has two runs called {name}")
        folder = None if init_from is None else str(pathlib.Path(init_from) / name)
        config = initialization.settle(unsettled, folder, init_partial)
        runs[name] = overrides, config
    return runs


def _check_not_given(overrides: dict, given: Container[str]) -> None:
    """Raise if a run has another value of what was said for all runs."""
    for key in overrides:
        if key in given:
            flag = key.rpartition(".")[2]
            remedy = (
                f"say --{flag}=VALUE in its place" if key in _NAMED else "leave it out"
            )
            raise config_lib.ConfigError(
                f"--config.{key} is given, and the sweep varies it; {remedy}"
            )


def _with_schemes(cells: list[dict], schemes: list[str]) -> list[dict]:
    """Return an experiment's cells of some schemes; new ones for those it has not."""
    found = []
    for scheme in schemes:
        own = [cell for cell in cells if cell.get("label.scheme") == scheme]
        found += own or [{"label.scheme": scheme}]
    return found


def _with_resolutions(cells: list[dict], resolutions: list[int], base) -> list[dict]:
    """Return cells at some resolutions in place of their own, where they can be."""
    kinds = []
    for cell in cells:
        kind = {key: value for key, value in cell.items() if key != "label.resolution"}
        if kind not in kinds:
            kinds.append(kind)
    every = [
        kind | {"label.resolution": i}
        for kind, i in itertools.product(kinds, resolutions)
    ]
    try:
        found = [
            cell
            for cell in every
            if cell["label.resolution"] != 1
            or schemes_lib.is_feasible(cell.get("label.scheme", base.label.scheme), 1)
        ]
    except ValueError as error:
        raise config_lib.ConfigError(f"--scheme: {error}") from None
    left_out = [
        cell.get("label.scheme", base.label.scheme)
        for cell in every
        if cell not in found
    ]
    if left_out:
        progress.say(
            f"Left out at I = 1: {', '.join(left_out)}; with one cell there is nothing "
            "to choose"
        )
    return found


def _integers(flag: str, values: list[str]) -> list[int | None]:
    try:
        return [int(value) for value in values] or [None]
    except ValueError:
        raise config_lib.ConfigError(
            f"--{flag} is {','.join(values)!r}; it must be whole numbers, as in 1,2,4"
        ) from None


def _status(workdir: pathlib.Path, config) -> str | None:
    """Return the status of the run in a folder, or None where there is none.

    Raises:
        workdirs.RunConflictError: If it has begun from another network.
    """
    path = workdir / records.FILE_NAME
    if not path.exists():
        return None
    try:
        (record,) = records.read([path])
    except ValueError:
        return "unreadable"
    initialization.check_begun_from(record, config, workdir)
    return record["status"]


def _command(
    workdir: pathlib.Path, overrides: dict, init, seconds: float | None
) -> list[str]:
    """Return the command line of one run."""
    experiment = config_flags.get_config_filename(flags.FLAGS["config"])
    given = config_flags.get_override_values(flags.FLAGS["config"])
    words = [f"--config.{key}={value}" for key, value in (given | overrides).items()]
    if seconds is not None:
        words.append(f"--minutes={seconds / 60}")
    if init.folder is not None:
        words += [f"--init_from={init.folder}", f"--init_partial={init.partial}"]
    words += [f"--{flag.name}" for flag in (_DEBUG_NANS, _PROFILE) if flag.value]
    command = [sys.executable, "-m", "uld_jax.main", f"--config={experiment}"]
    return [*command, *words, f"--workdir={workdir}", "--noprepare"]


def _run(workdir: pathlib.Path, overrides: dict, init, seconds: float | None) -> int:
    """Run one configuration in a process of its own; return its exit code."""
    with stopping.StopFlag() as stop_flag:
        # In a session of its own, so that Ctrl-C reaches it through us, and once.
        process = subprocess.Popen(
            _command(workdir, overrides, init, seconds), start_new_session=True
        )
        while True:
            try:
                return process.wait(timeout=_SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                if stop_flag.reason():
                    process.terminate()  # It saves its state, then exits.
                    process.wait()
                    return commands.EXIT_STOPPED


def main(_) -> None:
    """Run what is missing and free; report what failed or is at work elsewhere."""
    experiment = config_flags.get_config_filename(flags.FLAGS["config"])
    runs = plan(
        _CONFIG.value,
        experiment,
        _SCHEME.value,
        _RESOLUTION.value,
        _SEED.value,
        config_flags.get_override_values(flags.FLAGS["config"]),
        _INIT_FROM.value,
        _INIT_PARTIAL.value,
    )
    base = pathlib.Path(_WORKDIR.value).expanduser()
    workdirs.check_for_many(base)
    for name, (_, config) in runs.items():
        workdirs.check(base / name, config_lib.to_dict(config))
    deadline = math.inf
    if _MINUTES.value is not None:
        deadline = time.monotonic() + 60 * _MINUTES.value
    config = config_lib.resolve(_CONFIG.value)
    splits = run_data.needed_splits(config)
    datasets.ensure_prepared(config, allowed=_PREPARE.value, splits=splits)
    shared = {
        name: elastic.Run(
            base / name,
            functools.partial(_status, base / name, config),
            functools.partial(_run, base / name, overrides, config.init),
        )
        for name, (overrides, config) in runs.items()
    }
    elastic.tell(elastic.work_off(shared, deadline, _WAIT.value))


if __name__ == "__main__":
    commands.run(main)
