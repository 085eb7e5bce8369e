"""Do the runs of a sweep on this machine, one after the other."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

from uld_jax.runtime import errors, progress, stopping

DONE, ELSEWHERE = "done", "at work elsewhere"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of a sweep.

    Attributes:
        workdir: Its folder.
        status: Reads its record's status; None if there is no record.
        start: Runs it in a process of its own, for at most the given seconds, and
            returns the exit code.
    """

    workdir: pathlib.Path
    status: Callable[[], str | None]
    start: Callable[[float | None], int]


def work_off(runs: dict[str, Run], deadline: float = math.inf) -> dict[str, str]:
    """Do the runs that are not over, one after the other.

    Args:
        runs: The runs by name.
        deadline: When to stop, in seconds of the monotonic clock.

    Returns:
        The outcome of each run by name: "done", "at work elsewhere", or how it failed.

    Raises:
        stopping.Stopped: If the time is up or a signal to stop came.
    """
    found = {}
    for number, (name, run) in enumerate(runs.items(), start=1):
        title = f"[{number}/{len(runs)}] {name}"
        if is_over(status := run.status()):
            found[name] = status
            progress.log(f"{title}: {status} already")
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            raise stopping.Stopped("the time limit is reached")
        progress.log(title)
        code = run.start(left if math.isfinite(left) else None)
        if code == errors.EXIT_STOPPED:
            raise stopping.Stopped("the run was stopped")
        found[name] = {0: DONE, errors.EXIT_LOCKED: ELSEWHERE}.get(
            code, f"exit code {code}"
        )
    return found


def is_over(status: str | None) -> bool:
    """Check by the status of its record whether a run has nothing left to do."""
    return status not in (None, "running")


def report(found: dict[str, str]) -> None:
    """Log which runs are at work elsewhere.

    Raises:
        errors.Failed: If some have failed.
    """
    elsewhere = [name for name, outcome in found.items() if outcome == ELSEWHERE]
    if elsewhere:
        progress.log(
            f"{len(elsewhere)} of {len(found)} runs are at work elsewhere: "
            f"{', '.join(elsewhere)}; run the same command again to look at them"
        )
    failed = [
        f"{name} ({outcome})"
        for name, outcome in found.items()
        if outcome not in (DONE, ELSEWHERE)
    ]
    if failed:
        none_done = elsewhere or len(failed) == len(found)
        others = "" if none_done else "; the others are done"
        raise errors.Failed(
            f"{len(failed)} of {len(found)} runs failed: {', '.join(failed)}{others}"
        )
