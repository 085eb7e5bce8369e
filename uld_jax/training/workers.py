"""Workers that share runs: each takes a free one; there is no scheduler."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

from uld_jax.runtime import errors, progress, stopping
from uld_jax.storage import locking, run_folder

CLAIM_FILE = "claim"  # In a run's folder.
_DONE, _ELSEWHERE = "done", "at work elsewhere"
_SECONDS_BETWEEN_PASSES = 5.0
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclasses.dataclass(frozen=True)
class Run:
    """A run for a worker.

    Attributes:
        workdir: Its folder.
        status: Reads its record's status; None if there is no record.
        start: Runs it in a process of its own, for at most the given seconds, and
            returns the exit code.
    """

    workdir: pathlib.Path
    status: Callable[[], str | None]
    start: Callable[[float | None], int]


def work_off(
    runs: dict[str, Run], deadline: float = math.inf, wait: bool = False
) -> dict[str, str]:
    """Do free runs, one after the other, until there are none.

    A run that fails is not tried again by this worker; another one may.

    Args:
        runs: The runs by name.
        deadline: When to stop, in seconds of the monotonic clock.
        wait: Whether to wait for runs at work elsewhere, and to resume those that their
            workers leave.

    Returns:
        The outcome of each run by name: "done", "at work elsewhere", or how it failed.

    Raises:
        stopping.Stopped: If the time is up or a signal to stop came.
    """
    found: dict[str, str] = {}
    is_logged = False
    while True:
        any_here = _pass(runs, found, deadline)
        if _ELSEWHERE not in found.values() or not (any_here or wait):
            return found
        if not any_here:
            if not is_logged:
                progress.log("Waiting for the runs at work elsewhere")
            is_logged = True
            _pause(deadline)


def _pass(runs: dict[str, Run], found: dict[str, str], deadline: float) -> bool:
    """Try each run that is not over, and note its outcome; return whether one ran here.

    Raises:
        stopping.Stopped: If the time is up or a signal to stop came.
    """
    any_here = False
    for number, (name, run) in enumerate(runs.items(), start=1):
        before = found.get(name)
        if before not in (None, _ELSEWHERE):
            continue
        title = f"[{number}/{len(runs)}] {name}"
        found[name], note = _take(run, title, deadline)
        any_here |= note is None
        if note is not None and found[name] != before:
            progress.log(f"{title}: {note}")
    return any_here


def _take(run: Run, title: str, deadline: float) -> tuple[str, str | None]:
    """Do a run unless it is over or at work elsewhere.

    The worker holds the run's claim from before it looks until the run has ended, so
    that only one of several workers starts it. The run's own lock shows whether it was
    started by hand, or continues although its worker was killed.

    Returns:
        The outcome, and a line for the log; None if it ran here.

    Raises:
        stopping.Stopped: If the time is up, or the run was stopped.
    """
    try:
        if (status := run.status()) in (None, "running"):
            with locking.hold(run.workdir / CLAIM_FILE):
                with run_folder.RunFolder(run.workdir).lock():
                    status = run.status()  # It may have ended since we looked.
                if status in (None, "running"):
                    return _start(run, title, deadline)
    except errors.LockedError as error:
        return _ELSEWHERE, f"{_ELSEWHERE}; {error}"
    return status, f"{status} already"


def _start(run: Run, title: str, deadline: float) -> tuple[str, str | None]:
    """Do a free run; return as `_take`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise stopping.Stopped("the time limit is reached")
    progress.log(title)
    code = run.start(left if math.isfinite(left) else None)
    if code == errors.EXIT_STOPPED:
        raise stopping.Stopped("the run was stopped")
    if code == errors.EXIT_LOCKED:
        return _ELSEWHERE, f"{_ELSEWHERE}; it started there at the same time"
    return (f"exit code {code}" if code else _DONE), None


def _pause(deadline: float) -> None:
    """Sleep between two passes.

    Raises:
        stopping.Stopped: If the time is up or a signal to stop came.
    """
    over = time.monotonic() + _SECONDS_BETWEEN_PASSES
    with stopping.StopFlag(deadline - time.monotonic()) as stop_flag:
        while True:
            if reason := stop_flag.reason():
                raise stopping.Stopped(reason)
            if time.monotonic() > over:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def report(found: dict[str, str]) -> None:
    """Log which runs are still at work elsewhere.

    Raises:
        errors.Failed: If some have failed.
    """
    elsewhere = [name for name, outcome in found.items() if outcome == _ELSEWHERE]
    if elsewhere:
        progress.log(
            f"{len(elsewhere)} of {len(found)} runs are still at work elsewhere: "
            f"{', '.join(elsewhere)}; run the same command again to look at them, or "
            "with --wait to wait for them"
        )
    failed = [
        f"{name} ({outcome})"
        for name, outcome in found.items()
        if outcome not in (_DONE, _ELSEWHERE)
    ]
    if failed:
        none_done = elsewhere or len(failed) == len(found)
        others = "" if none_done else "; the others are done"
        raise errors.Failed(
            f"{len(failed)} of {len(found)} runs failed: {', '.join(failed)}{others}"
        )
