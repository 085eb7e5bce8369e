"""Training: a run's folder, its lock, and what is in it already (Sec. 3.3)."""

import contextlib
import pathlib

import jax

from uld_jax import config as config_lib
from uld_jax.runtime import devices as devices_lib
from uld_jax.runtime import distributed, jax_setup, profiling, progress, stopping
from uld_jax.storage import checkpoints, run_folder
from uld_jax.storage import settings as settings_lib
from uld_jax.training import initialization, loop, reporting
from uld_jax.training import run as run_lib


def train_and_evaluate(
    config: config_lib.ConfigDict,
    workdir: str | pathlib.Path,
    seconds: float | None = None,
    profile: bool = False,
) -> dict:
    """Train a network, test the best one, and return the run's record.

    A folder with an unfinished run of the same settings is gone on with: same
    parameters and record as without the break. A finished one is returned.

    All devices are used, of all processes that `distributed.join` has joined;
    the first process alone needs the folder.

    Args:
        config: Settings, as `config.resolve` returns them.
        workdir: Folder for checkpoints, record, predictions and TensorBoard.
        seconds: Stop after so much time with the state saved.
        profile: Whether to trace some steps, into the folder `profile` in it.

    Raises:
        errors.LockedError: If another process runs in the folder.
        stopping.Stopped: If the time was up, a signal to stop came, or another process
            of the run has ended; a state is saved.
        workdirs.RunConflictError: If the folder is another run's, or cannot be one.
        files.DatasetError: If the data set cannot be used.
        checkpoints.CheckpointError: If no saved state is good, or it does not fit.
        distributed.DeviceError: If several processes cannot share a batch, or one of them
            had an error.
    """
    jax_setup.configure()
    folder = run_folder.RunFolder(workdir)
    devices = devices_lib.Devices(config.train.batch_size)
    devices.log()
    # The time limit counts from here: loading and compiling are part of it.
    with (
        distributed.stopping_together(),
        stopping.StopFlag(seconds) as stop_flag,
        contextlib.ExitStack() as held,
    ):
        record = distributed.call_in_first(lambda: _check_folder(config, folder))
        if record and record["status"] != "running":
            return record
        run = run_lib.Run(config, folder.path, devices, stop_flag)
        if record and record["data"] != run.data.origin:
            raise run_folder.RunConflictError(
                f"{str(folder)!r} holds a run on other data: "
                f"{record['data']} -> {run.data.origin}"
            )
        distributed.check_same(_meant(config, run))
        # Only now: what cannot be run leaves no folder behind.
        saved = distributed.call_in_first(
            lambda: _lock(config, folder, held), share=False
        )
        if distributed.broadcast(saved is None and distributed.is_first()):
            return distributed.call_in_first(folder.read_record)
        run.resume(saved)
        profile = profile and distributed.is_first()
        profiler = profiling.Profiler(
            folder.path / profiling.FOLDER if profile else None
        )
        with reporting.Reporter(run) as reporter, profiler:
            return loop.Training(run, reporter, profiler).complete()


def _meant(config, run: run_lib.Run) -> dict:
    """Return what all processes of a run have to have in common."""
    rules = config.train
    return settings_lib.identity(config_lib.to_dict(config)) | {
        "--debug_nans": bool(jax.config.jax_debug_nans),
        "train.checkpoint_steps": rules.checkpoint_steps,
        "train.evaluation_batch_size": rules.evaluation_batch_size,
        "data": run.data.origin,
        "versions": run.environment["versions"],
    }


def _check_folder(config, folder: run_folder.RunFolder) -> dict | None:
    """Check that a folder is free or holds this run; read its record if it has one."""
    folder.check(config_lib.to_dict(config))
    record = folder.read_record()
    if record:
        initialization.check_same_start(record, config, folder)
        if record["status"] != "running":
            progress.log(f"{folder}: this run is {record['status']} already")
    return record


def _lock(
    config, folder: run_folder.RunFolder, held: contextlib.ExitStack
) -> checkpoints.Checkpoints | None:
    """Lock a run's folder, write its settings and open its checkpoints.

    None if another process has finished the run meanwhile.
    """
    held.enter_context(folder.lock())
    # Again, because another process may have written before the folder was locked.
    record = _check_folder(config, folder)
    if record and record["status"] != "running":
        return None
    saved = held.enter_context(folder.open_checkpoints())
    # A run killed in its first epoch may have a record and no state.
    if record and len(record["epochs"]) > 1 and not saved.steps("last"):
        raise checkpoints.CheckpointError(
            f"{str(folder.path / 'last')!r} holds no state, though the run has "
            f"finished {len(record['epochs'])} epochs; copy it again from where it is "
            "whole, or train from scratch in another --workdir"
        )
    folder.write_settings(config_lib.to_dict(config))
    return saved
