"""The runs of an experiment for several schemes, resolutions and seeds."""

import functools
import itertools
import pathlib
import runpy
import subprocess
import sys
from collections.abc import Callable, Container, Sequence
from typing import Any

from uld_jax import config as config_lib
from uld_jax.labels import schemes as schemes_lib
from uld_jax.runtime import errors, progress, stopping
from uld_jax.storage import run_folder
from uld_jax.training import initialization, workers

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
) -> dict[str, tuple[dict[str, Any], config_lib.ConfigDict]]:
    """Plan a sweep: the overrides and settings of each run, by the folder's name.

    Args:
        base: Settings before `config.resolve`.
        experiment: Path of the experiment's file.
        schemes: Label schemes; if empty, the experiment's own.
        resolutions: Cells per axis, as text; if empty, the experiment's own.
        seeds: Seeds, as text; if empty, the one of the settings.
        given: Settings, by dotted key, that the command line sets for all runs.
        init_from: Folder of runs of the same names to start from; None for none.
        init_partial: Whether to initialize what does not fit.

    Raises:
        config_lib.ConfigError: If a run has a bad setting, or if the sweep varies one
            that is given for all runs.
        initialization.InitError: If a run to start from does not exist or fit.
    """
    file, _, _ = experiment.partition(":")
    cells = list(runpy.run_path(file).get("sweep", lambda: [{}])())
    if schemes:
        cells = _with_schemes(cells, schemes)
    if resolutions:
        cells = _with_resolutions(cells, _integers("resolution", resolutions), base)
    if not cells:
        raise config_lib.ConfigError("no run is left in the sweep")
    runs = {}
    for overrides, seed in itertools.product(cells, _integers("seed", seeds)):
        overrides = overrides | ({} if seed is None else {"seed": seed})
        _check_not_given(overrides, given)
        config = config_lib.copy(base)
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


def _check_not_given(overrides: dict[str, Any], given: Container[str]) -> None:
    """Check that no run overrides a setting that is given for all runs."""
    for key in overrides:
        if key in given:
            flag = key.rpartition(".")[2]
            remedy = f"pass --{flag}=VALUE instead" if key in _NAMED else "leave it out"
            raise config_lib.ConfigError(
                f"--config.{key} is given, and the sweep varies it; {remedy}"
            )


def _with_schemes(
    cells: list[dict[str, Any]], schemes: list[str]
) -> list[dict[str, Any]]:
    """Select an experiment's cells of some schemes; add cells for those it lacks."""
    found = []
    for scheme in schemes:
        own = [cell for cell in cells if cell.get("label.scheme") == scheme]
        found += own or [{"label.scheme": scheme}]
    return found


def _with_resolutions(
    cells: list[dict[str, Any]], resolutions: list[int], base
) -> list[dict[str, Any]]:
    """Replace the resolutions of cells; leave out schemes that need two cells at I = 1."""
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
        progress.log(
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
    """Read the status of the run in a folder; None if there is none.

    Raises:
        run_folder.RunConflictError: If it has started from another network.
    """
    try:
        record = run_folder.RunFolder(workdir).read_record()
    except ValueError:
        return "unreadable"
    if record is None:
        return None
    initialization.check_same_start(record, config, workdir)
    return record["status"]


def _command(
    workdir: pathlib.Path,
    settings: dict[str, Any],
    init,
    words: Sequence[str],
    seconds: float | None,
) -> list[str]:
    """Write the command line of one run."""
    words = [
        *words,  # --config comes before its settings.
        *(f"--config.{key}={value}" for key, value in settings.items()),
        f"--workdir={workdir}",
        "--noprepare",
    ]
    if seconds is not None:
        words.append(f"--minutes={seconds / 60}")
    if init.folder is not None:
        words += [f"--init_from={init.folder}", f"--init_partial={init.partial}"]
    return [sys.executable, "-m", "uld_jax.main", *words]


def _run(command: Callable[[float | None], list[str]], seconds: float | None) -> int:
    """Run one configuration in a process of its own; return its exit code."""
    with stopping.StopFlag() as stop_flag:
        # In a session of its own: otherwise Ctrl-C would reach it from the terminal,
        # and a second signal, from here, would end it before it has saved.
        process = subprocess.Popen(command(seconds), start_new_session=True)
        while True:
            try:
                return process.wait(timeout=_SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                if stop_flag.reason():
                    process.terminate()  # It saves its state and exits.
                    process.wait()
                    return errors.EXIT_STOPPED


def runs_for_workers(
    base: pathlib.Path,
    runs: dict[str, tuple[dict[str, Any], config_lib.ConfigDict]],
    experiment: str,
    given: dict[str, Any],
    words: Sequence[str],
) -> dict[str, workers.Run]:
    """Turn a plan into runs for `workers.work_off`.

    Args:
        base: Folder of the runs.
        runs: The plan.
        experiment: Path of the experiment's file.
        given: Settings that are given for all runs, by dotted key.
        words: Further arguments of each run.
    """

    def command(workdir, overrides, init):
        return functools.partial(
            _command,
            workdir,
            given | overrides,
            init,
            [f"--config={experiment}", *words],
        )

    return {
        name: workers.Run(
            base / name,
            functools.partial(_status, base / name, config),
            functools.partial(_run, command(base / name, overrides, config.init)),
        )
        for name, (overrides, config) in runs.items()
    }
