"""The runs of a sweep as tasks of Ray, each with a device of its own.

On the devices of one machine or of many that share a folder. A task whose worker dies
is started again, elsewhere if need be, and resumes from its last checkpoint.
"""

import contextlib
import math
import os
import pathlib
import time
from typing import Any

from uld_jax import config as config_lib
from uld_jax.runtime import errors, progress, stopping
from uld_jax.storage import run_folder
from uld_jax.training import workers

LOCAL = "local"  # In place of an address: the devices of this machine.
_RETRIES = 20  # Of a task whose worker has died; preempted ones die often.
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_SAVE = 600.0
# A file system may hold the locks of a dead host for a while.
_SECONDS_FOR_A_LOCK, _SECONDS_BETWEEN_TRIES = 180.0, 10.0
_STOPPED = "stopped"


def work_off(
    runs: dict[str, workers.Run],
    configs: dict[str, config_lib.ConfigDict],
    address: str,
    deadline: float = math.inf,
    debug_nans: bool = False,
    profile: bool = False,
) -> dict[str, str]:
    """Do the runs that are not over, as many at once as there are devices.

    A device is a GPU or a TPU chip; without either, a whole machine.

    Args:
        runs: The runs by name.
        configs: Their settings.
        address: Of a cluster of Ray: "local", "auto", or HOST:PORT of its head.
        deadline: When to stop, in seconds of the monotonic clock.
        debug_nans: Whether a run ends where the first NaN arises.
        profile: Whether each run traces some of its steps.

    Returns:
        The outcome of each run by name: see `workers.work_off`.

    Raises:
        errors.InputError: If Ray is missing, or no cluster answers.
        stopping.Stopped: If the time is up or a signal to stop came; runs are saved.
    """
    ray = _connect(address)
    try:
        return _work_off(ray, runs, configs, deadline, debug_nans, profile)
    finally:
        ray.shutdown()


def check_installed() -> None:
    """Import Ray.

    Raises:
        errors.InputError: If it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise errors.InputError(
            "--ray needs Ray, which is not installed: pip install 'uld_jax[cluster]'"
        ) from None
    return ray


def _connect(address: str):
    """Connect to a cluster, or start one here."""
    ray = check_installed()
    # Workers print what a single run prints; one line here stands for all.
    options = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address == LOCAL:
            raise errors.InputError(
                f"--ray: Ray does not start here ({describe(error)})"
            ) from None
        raise errors.InputError(
            f"--ray is {address!r}; no cluster of Ray answers there "
            f"({describe(error)}). Start one with: ray start --head"
        ) from None
    return ray


def _work_off(ray, runs, configs, deadline, debug_nans, profile) -> dict[str, str]:
    found = {name: run.status() for name, run in runs.items()}
    found = {name: status for name, status in found.items() if workers.is_over(status)}
    for name, status in found.items():
        progress.log(f"{name}: {status} already")
    # A process for each task, so that its device's memory is free for the next.
    task = ray.remote(max_calls=1, max_retries=_RETRIES, **_device(ray))(_train)

    def submit(name: str):
        return task.options(name=name).remote(
            configs[name],
            runs[name].workdir.resolve(),
            pathlib.Path.cwd(),
            debug_nans,
            profile,
        )

    left = [name for name in runs if name not in found]
    if not left:
        return found
    names = {submit(name): name for name in left}
    waiting, tries = list(names), dict.fromkeys(left, 0)
    epochs = sum(configs[name].train.epochs for name in left)
    title = f"Training {len(left)} runs"
    with (
        stopping.StopFlag(deadline - time.monotonic()) as stop_flag,
        progress.Progress(title, epochs, "epochs", _epochs(runs, left)) as bar,
    ):
        while waiting:
            over, waiting = ray.wait(waiting, timeout=_SECONDS_BETWEEN_LOOKS)
            reason = stop_flag.reason()
            for one in over:
                name = names[one]
                found[name] = _outcome(ray, one)
                tries[name] += 1
                # Its machine is about to be taken away.
                if found[name] == _STOPPED and not reason and tries[name] <= _RETRIES:
                    names[again := submit(name)] = name
                    waiting.append(again)
                progress.log(f"{name}: {found[name]}")
            bar.update(
                _epochs(runs, left) - (epochs - bar.left), f"{len(waiting)} left"
            )
            if reason and (waiting or _STOPPED in found.values()):
                _stop(ray, waiting)
                raise stopping.Stopped(reason)
    return {name: found[name] for name in runs}


def _device(ray) -> dict[str, Any]:
    """Ask for a device of the kind that the cluster has."""
    there = ray.cluster_resources()
    if there.get("GPU"):
        return {"num_gpus": 1}
    if there.get("TPU"):
        return {"resources": {"TPU": 1}}
    cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    return {"num_cpus": max(1, min(filter(None, cores), default=1))}


def _train(
    config,
    workdir: pathlib.Path,
    current: pathlib.Path,
    debug_nans: bool,
    profile: bool,
) -> str:
    """Train and test one network, in a worker; return the status of its record."""
    import jax

    from uld_jax.runtime import jax_setup
    from uld_jax.training import train

    os.chdir(current)  # Paths of data are relative to it.
    jax_setup.configure()
    with contextlib.ExitStack() as stack:
        if debug_nans:
            stack.enter_context(jax.debug_nans(True))
            stack.enter_context(jax.debug_infs(True))
        until = time.monotonic() + _SECONDS_FOR_A_LOCK
        while True:
            try:
                record = train.train_and_evaluate(
                    config, workdir, profile=profile, prepare=False
                )
                return record["status"]
            except errors.LockedError:
                if time.monotonic() > until:
                    return workers.ELSEWHERE
                time.sleep(_SECONDS_BETWEEN_TRIES)
            except stopping.Stopped:
                return _STOPPED


def _outcome(ray, task) -> str:
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        return describe(error.cause)
    except ray.exceptions.RayError as error:
        return describe(error)


def describe(error: BaseException) -> str:
    """Describe an error in one line: its kind, and the last line of its message."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[-1:]])


def _epochs(runs: dict[str, workers.Run], names: list[str]) -> int:
    """Count the epochs that the records of runs hold."""
    count = 0
    for name in names:
        record = run_folder.RunFolder(runs[name].workdir).read_record()
        count += len(record["epochs"]) if record else 0
    return count


def _stop(ray, tasks: list[Any]) -> None:
    """Let runs save and end, as Ctrl-C does; wait for them."""
    for task in tasks:
        ray.cancel(task, force=False)
    ray.wait(tasks, num_returns=len(tasks), timeout=_SECONDS_TO_SAVE)
