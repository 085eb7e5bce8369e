"""Training as a whole: check, prepare, lock the folder, train and test (Sec. 3.3)."""

import contextlib
import math
import pathlib
from typing import Any

import jax

from uld_jax import config as config_lib
from uld_jax.datasets import held, loader
from uld_jax.datasets import prepare as prepare_lib
from uld_jax.networks import speech_mask, step_shapes
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import distributed, jax_setup, profiling, progress, stopping
from uld_jax.storage import checkpoints, run_folder
from uld_jax.storage import settings as settings_lib
from uld_jax.training import initialization, loop, reporting, speech_masks
from uld_jax.training import run as run_lib


def train_and_evaluate(
    config: config_lib.ConfigDict,
    workdir: str | pathlib.Path,
    seconds: float | None = None,
    profile: bool = False,
    prepare: bool = True,
) -> dict[str, Any]:
    """Train a network, test its best epoch, and return the run's record.

    An unfinished run with the same settings is resumed, to the same result as without
    the interruption. The record of a finished one is returned as it is.

    All devices are used, including those of the processes that `distributed.join` has
    joined. Only the first process needs the folder.

    A script calls this below `if __name__ == "__main__":`, because the worker processes
    that prepare a missing data set import the script again.

    >>> import uld_jax
    >>> config = uld_jax.load_config("ad1:tiny", **{"train.epochs": 1})
    >>> record = uld_jax.train_and_evaluate(config, "runs/tiny")  # doctest: +SKIP
    >>> print(f"{record['test']['mae']:.1f} m")  # doctest: +SKIP
    1.6 m

    Args:
        config: Settings of `load_config`, or of `initialization.settle` to start from
            another run's network.
        workdir: Folder for the record, checkpoints, predictions and TensorBoard.
        seconds: Save the state and stop after this time, preparation not counted.
        profile: Whether to trace some steps into the folder `profile` of the run.
        prepare: Whether to prepare a missing data set.

    Returns:
        The record, as `record.json` holds it. Its `status` is "done", or "diverged"
        or "collapsed" with a `reason`; `test` has MAE and median in meters, ACC as a fraction.

    Raises:
        errors.LockedError: If another process runs in the folder.
        stopping.Stopped: If the time is up, a signal to stop came, or another process
            of the run has ended; the state is saved.
        run_folder.RunConflictError: If the folder is another run's, or cannot be one.
        files.DatasetError: If the data set cannot be used.
        checkpoints.CheckpointError: If no saved state is good, or it does not fit.
        distributed.DeviceError: If several processes cannot share a batch, or one of
            them had an error.
    """
    if config.model.name == speech_mask.NAME:
        return speech_masks.train_and_evaluate(config, workdir, seconds)
    jax_setup.configure()
    folder = run_folder.RunFolder(workdir)
    with distributed.stopping_together(), contextlib.ExitStack() as stack:
        record = distributed.call_in_first(lambda: _check_folder(config, folder))
        if record and record["status"] != "running":
            return record
        splits = loader.needed_splits(config)
        prepare_lib.ensure_prepared(config, allowed=prepare, splits=splits)
        # After preparation, whose processes need the accelerator's memory.
        devices = devices_lib.Devices(_divisible_size(config))
        devices.log()
        if programs := jax_setup.keep_programs():
            progress.log(f"Compiled programs are kept in {programs}")
        # The time limit counts from here: loading and compiling are part of it.
        stop_flag = stack.enter_context(stopping.StopFlag(seconds))
        place = distributed.call_in_first(lambda: _place_before(folder))
        run = run_lib.Run(config, folder, devices, stop_flag, place)
        if record and record["data"] != run.data.origin:
            raise run_folder.RunConflictError(
                f"{str(folder)!r} holds a run on other data: "
                f"{record['data']} -> {run.data.origin}"
            )
        distributed.check_same(_shared_facts(run))
        # Not before: settings and data that cannot be used leave no folder behind.
        saved = distributed.call_in_first(lambda: _lock(run, stack), share=False)
        if distributed.broadcast(saved is None and distributed.is_first()):
            return distributed.call_in_first(folder.read_record)
        run.resume(saved)
        trace = profile and distributed.is_first()
        profiler = profiling.Profiler(folder.path / profiling.FOLDER if trace else None)
        with reporting.Reporter(run) as reporter, profiler:
            return loop.Training(run, reporter, profiler).complete()


def _divisible_size(config) -> int:
    """Compute a number of examples that devices which divide it can share at each step."""
    shapes = step_shapes.parse(config.train.step_shapes)
    sizes = [shape.num_examples for shape in shapes]
    return math.gcd(config.train.batch_size, *sizes)


def _shared_facts(run: run_lib.Run) -> dict[str, Any]:
    """Collect what all processes of a run must have in common."""
    rules = run.config.train
    return settings_lib.identity(config_lib.to_dict(run.config)) | {
        "--debug_nans": bool(jax.config.jax_debug_nans),
        "train.checkpoint_steps": rules.checkpoint_steps,
        "train.evaluation_batch_size": rules.evaluation_batch_size,
        "data": run.data.origin,
        "versions": run.environment["versions"],
    }


def _check_folder(config, folder: run_folder.RunFolder) -> dict[str, Any] | None:
    """Check that a folder is free or holds this run; read the record if there is one."""
    folder.check(config_lib.to_dict(config))
    record = folder.read_record()
    if record:
        initialization.check_same_start(record, config, folder)
        if record["status"] != "running":
            progress.log(f"{folder}: this run is {record['status']} already")
    return record


def _place_before(folder: run_folder.RunFolder) -> str | None:
    """Read where an interrupted run held its signals: see `held.choose`."""
    settings = folder.read_settings() or {"data": {}}
    place = settings["data"].get("held_on")
    return place if place in held.PLACES else None


def _lock(
    run: run_lib.Run, stack: contextlib.ExitStack
) -> checkpoints.Checkpoints | None:
    """Lock a run's folder, write its settings and open its checkpoints.

    None if another process has finished the run meanwhile.
    """
    config, folder = run.config, run.folder
    stack.enter_context(folder.lock())
    # Again, because another process may have written before the folder was locked.
    record = _check_folder(config, folder)
    if record and record["status"] != "running":
        return None
    saved = stack.enter_context(folder.open_checkpoints())
    # A run killed in its first epoch may have a record and no state.
    if record and len(record["epochs"]) > 1 and not saved.steps("last"):
        raise checkpoints.CheckpointError(
            f"{str(folder.path / 'last')!r} holds no state, though the run has "
            f"finished {len(record['epochs'])} epochs; copy it again from an undamaged "
            "copy, or train from scratch in another --workdir"
        )
    settings = config_lib.to_dict(config)
    if run.data.place in held.PLACES:
        settings["data"]["held_on"] = run.data.place
    folder.write_settings(settings)
    return saved
