"""Training of several runs in one program: their folders, locks, and what is in them."""

import contextlib
import json
import pathlib
from collections.abc import Iterable

import jax
import tensorboardX

from uld_jax import config as config_lib
from uld_jax import devices as devices_lib
from uld_jax import (
    errors,
    locking,
    models,
    profiling,
    progress,
    run_data,
    stopping,
    together_loop,
    together_program,
    train,
    training_run,
    workdirs,
)


def groups(
    configs: dict[str, config_lib.ConfigDict], most: int | None = None
) -> list[list[str]]:
    """Return the names of runs that can be trained in one program, by group.

    They differ in seed and, where the network allows it, in resolution.

    Args:
        configs: Settings by name.
        most: How many a group can have; None for any number.
    """
    found: dict[str, list[str]] = {}
    for name, config in configs.items():
        found.setdefault(_kind(config), []).append(name)
    parts = []
    for names in found.values():
        names.sort(key=lambda name: configs[name].seed)  # These hear the same.
        size = most or len(names)
        parts += [names[first : first + size] for first in range(0, len(names), size)]
    return parts


def check_names(names: Iterable[str]) -> None:
    """Raise unless each name can be that of a folder.

    Raises:
        config_lib.ConfigError: With the one that cannot.
    """
    for name in names:
        if pathlib.PurePath(name).name != name or name in ("", ".."):
            raise config_lib.ConfigError(
                f"--runs: {name!r} cannot be the name of a folder in --workdir; name "
                "runs as in uld_I4_seed0"
            )


def _kind(config) -> str:
    """Return the settings that runs in one program have in common."""
    settings = config_lib.to_dict(config)
    del settings["seed"]
    # Each begins from the network of its name.
    settings["init"] = settings["init"]["folder"] is not None
    if config.model.name in models.ANY_RESOLUTION:
        settings["label"] = settings["label"]["scheme"]
    return json.dumps(settings, sort_keys=True)


def train_and_evaluate(
    configs: dict[str, config_lib.ConfigDict],
    base: pathlib.Path,
    seconds: float | None = None,
    profile: bool = False,
) -> dict[str, dict | Exception]:
    """Train networks in one program, test the best of each, and return their records.

    Each run has a folder as `train.train_and_evaluate` makes it, and may be gone on
    with by that, or by this what that has begun. The first device is used.

    Args:
        configs: Settings of the runs by name, as `config.resolve` returns them.
        base: Folder of their folders.
        seconds: Stop after so much time with the states saved.
        profile: Whether to trace some steps, into the folder `profile` of one of them.

    Returns:
        The record of each run by name; or the error that it has met with, which
        others are not concerned by: `locking.LockedError` if it is at work elsewhere,
        else what is wrong with its folder or with the network that it begins from.

    Raises:
        config_lib.ConfigError: If they differ in more than one program can.
        stopping.Stopped, workdirs.RunConflictError, input_pipeline.DatasetError: As
            `train.train_and_evaluate`, before anything is done.
    """
    if len(groups(configs)) > 1:
        raise config_lib.ConfigError(
            f"{', '.join(configs)} cannot be trained in one program: they may differ in "
            "seed and, of the networks "
            f"{', '.join(sorted(models.ANY_RESOLUTION))}, in resolution alone"
        )
    configs = dict(sorted(configs.items(), key=lambda item: item[1].seed))
    devices = devices_lib.one()
    if len(jax.devices()) > 1:
        progress.say(
            f"One of {len(jax.devices())} devices is used; start the same sweep once "
            "for each, with --together=N, N the number of runs over that of devices "
            "(docs/together.md)"
        )
    with stopping.StopFlag(seconds) as stop_flag, contextlib.ExitStack() as held:
        begun = {
            name: train.begun(config, base / name) for name, config in configs.items()
        }
        over = {
            name: record
            for name, record in begun.items()
            if record and record["status"] != "running"
        }
        left = {name: configs[name] for name in configs if name not in over}
        outcomes: dict[str, dict | Exception] = {}
        runs = _open(left, base, devices, stop_flag, outcomes)
        for name, run in runs.items():
            train.check_data(begun[name], run)
        members = _hold(runs, held, outcomes)
        profile = profile and bool(members)
        folder = members[0].run.workdir / profiling.FOLDER if profile else None
        with profiling.Profiler(folder) as profiler:
            together = together_loop.Together(members, stop_flag, profiler)
            return over | outcomes | together.complete()


def _open(
    configs: dict,
    base: pathlib.Path,
    devices,
    stop_flag: stopping.StopFlag,
    outcomes: dict[str, dict | Exception],
) -> dict[str, training_run.Run]:
    """Return the runs, with data that are loaded once.

    One whose network cannot be made is left out, with its error in the outcomes.
    """
    data: dict[int, run_data.RunData] = {}
    runs = {}
    for name, config in configs.items():
        if config.seed not in data:
            data[config.seed] = (
                next(iter(data.values())).of_seed(config)
                if data
                else run_data.RunData(config, run_data.needed_splits(config), devices)
            )
        try:
            run = training_run.Run(
                config, base / name, devices, stop_flag, data[config.seed]
            )
        except errors.InputError as error:
            _leave_out(name, error, outcomes)
            continue
        runs[name] = run
    for one in data.values():
        one.load()
    return runs


def _leave_out(name: str, error: Exception, outcomes: dict) -> None:
    progress.say(f"{name} is left out: {error}")
    outcomes[name] = error


def _hold(
    runs: dict,
    held: contextlib.ExitStack,
    outcomes: dict[str, dict | Exception],
) -> list:
    """Lock the folders of runs; return those that could be.

    Of the others the outcomes have the error, or the record if they are over by now.
    """
    members = []
    for name, run in runs.items():
        try:
            saved = train.hold(run.config, run.workdir, held)
        except errors.InputError as error:
            _leave_out(name, error, outcomes)
            continue
        if saved is None:
            outcomes[name] = workdirs.read_record(run.workdir)
            continue
        board = tensorboardX.SummaryWriter(str(run.workdir / "tensorboard"))
        members.append(together_program.Member(run, saved, held.enter_context(board)))
    return members


def unfinished(outcomes: dict[str, dict | Exception]) -> Iterable[tuple[str, str]]:
    """Yield the name of each run that is not done, and why."""
    for name, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            if not isinstance(outcome, locking.LockedError):
                yield name, str(outcome)
        elif outcome["status"] != "done":
            reason = outcome.get("reason")
            yield name, outcome["status"] + (f": {reason}" if reason else "")


def at_work_elsewhere(outcomes: dict[str, dict | Exception]) -> list[str]:
    """Return the names of the runs that were left out, since others are at them."""
    return [
        name
        for name, outcome in outcomes.items()
        if isinstance(outcome, locking.LockedError)
    ]
