"""Runs that many workers share: each takes what is free, and nothing schedules them."""

import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Sequence

from uld_jax import commands, locking, progress, stopping

CLAIM_FILE = "claim"  # In a run's folder.
_DONE, _ELSEWHERE = "done", "at work elsewhere"
_SECONDS_BETWEEN_PASSES = 5.0
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as a worker sees it.

    Attributes:
        workdir: Its folder.
        status: Returns its record's status; None where there is no record.
        start: Runs it in a process of its own, for so many seconds at most, and returns
            the exit code.
    """

    workdir: pathlib.Path
    status: Callable[[], str | None]
    start: Callable[[float | None], int]


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that one process can do together.

    Attributes:
        names: Their names.
        start: Runs those of some names in a process, for so many seconds at most, and
            returns the exit code.
    """

    names: Sequence[str]
    start: Callable[[Sequence[str], float | None], int]


def work_off(
    runs: dict[str, Run],
    deadline: float = math.inf,
    wait: bool = False,
    groups: Sequence[Group] = (),
) -> dict[str, str]:
    """Do what is free, one after the other, until nothing is.

    A run that fails is not tried again here; another worker may. What a group's
    process leaves, by an error, is done run by run.

    Args:
        runs: The runs by name.
        deadline: When to stop, in seconds of the monotonic clock.
        wait: Whether to stay until what is at work elsewhere is over, and to take up
            what is left there.
        groups: Which of them to do together; by default each is done alone.

    Returns:
        What became of each run by name: "done", "at work elsewhere", or how it failed.

    Raises:
        stopping.Stopped: If the time is up or a signal to stop came.
    """
    found: dict[str, str] = {}
    told = False
    in_group = {name for group in groups for name in group.names}
    alone = [name for name in runs if name not in in_group]
    units = [*groups, *(Group([name], _one_at_a_time(runs)) for name in alone)]
    while True:
        any_here = _pass(runs, units, found, deadline)
        if _ELSEWHERE not in found.values() or not (any_here or wait):
            return found
        if not any_here:
            if not told:
                progress.say("Waiting for the runs that are at work elsewhere")
            told = True
            _pause(deadline)


def _one_at_a_time(runs: dict[str, Run]) -> Callable:
    """Return a group's `start` that does one run, as the run does it."""
    return lambda names, seconds: runs[names[0]].start(seconds)


def _pass(
    runs: dict[str, Run],
    units: Sequence[Group],
    found: dict[str, str],
    deadline: float,
) -> bool:
    """Go through what is not over yet, note what became of it; return if one ran here.

    Raises:
        stopping.Stopped: If the time is up or a signal to stop came.
    """
    any_here = False
    numbers = {name: number for number, name in enumerate(runs, start=1)}
    for unit in units:
        before = dict(found)
        waiting = [n for n in unit.names if before.get(n) in (None, _ELSEWHERE)]
        titles = {name: f"[{numbers[name]}/{len(runs)}] {name}" for name in waiting}
        with contextlib.ExitStack() as claims:
            free = []
            for name in waiting:
                found[name], note = _claim(runs[name], claims)
                if note is None:
                    free.append(name)
                elif found[name] != before.get(name):
                    progress.say(f"{titles[name]}: {note}")
            if free:
                title = ", ".join(titles[name] for name in free)
                found |= _start(runs, unit, free, title, deadline)
            for name in free:
                any_here |= found[name] != _ELSEWHERE
                if found[name] == _ELSEWHERE != before.get(name):
                    note = "it began there at the same time"
                    progress.say(f"{titles[name]}: {_ELSEWHERE}; {note}")
    return any_here


def _claim(run: Run, claims: contextlib.ExitStack) -> tuple[str, str | None]:
    """Claim a run unless it is over or at work elsewhere.

    The worker holds the run's claim from before it looks until the run has ended, so
    that of many that come by at once one alone starts it. The run's own lock tells of
    one that was started by hand, or that goes on though its worker was killed.

    Returns:
        What became of it, and what there is to say of it; None where it is free.
    """
    try:
        if (status := run.status()) in (None, "running"):
            with contextlib.ExitStack() as claim:
                claim.enter_context(locking.hold(run.workdir / CLAIM_FILE))
                with locking.hold(run.workdir / locking.FILE_NAME):
                    status = run.status()  # It may have ended since we looked.
                if status in (None, "running"):
                    claims.enter_context(claim.pop_all())
                    return "", None
    except locking.LockedError as error:
        return _ELSEWHERE, f"{_ELSEWHERE}; {error}"
    return status, f"{status} already"


def _start(
    runs: dict[str, Run], unit: Group, names: list[str], title: str, deadline: float
) -> dict[str, str]:
    """Do runs that are free; return what became of each.

    Raises:
        stopping.Stopped: If the time is up, or a run was stopped.
    """
    if len(names) == 1:
        unit = Group(names, _one_at_a_time(runs))
    left = deadline - time.monotonic()
    if left <= 0:
        raise stopping.Stopped("the time given is up")
    progress.say(title)
    code = unit.start(names, left if math.isfinite(left) else None)
    if code == commands.EXIT_STOPPED:
        raise stopping.Stopped("the run was stopped")
    if len(names) == 1:
        return {names[0]: _outcome(code)}
    over, left_over = {}, []
    for name in names:
        status = runs[name].status()
        if status in (None, "running"):
            left_over.append(name)
        else:
            over[name] = status
    if code in (0, commands.EXIT_LOCKED):
        return over | dict.fromkeys(left_over, _ELSEWHERE)
    if left_over:
        progress.say(f"exit code {code} of {len(names)} runs together; now one by one")
    for name in left_over:
        over |= _start(runs, unit, [name], name, deadline)
    return over


def _outcome(code: int) -> str:
    """Return what became of a run, by the exit code of its process."""
    if code == commands.EXIT_LOCKED:
        return _ELSEWHERE
    return f"exit code {code}" if code else _DONE


def _pause(deadline: float) -> None:
    """Let some time pass between two passes.

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


def tell(found: dict[str, str]) -> None:
    """Say which runs are still at work elsewhere.

    Raises:
        commands.Failed: If some have failed.
    """
    elsewhere = [name for name, outcome in found.items() if outcome == _ELSEWHERE]
    if elsewhere:
        progress.say(
            f"{len(elsewhere)} of {len(found)} runs are still at work elsewhere: "
            f"{', '.join(elsewhere)}; the same command looks again, with --wait until "
            "they are over"
        )
    failed = [
        f"{name} ({outcome})"
        for name, outcome in found.items()
        if outcome not in (_DONE, _ELSEWHERE)
    ]
    if failed:
        all_told = elsewhere or len(failed) == len(found)
        others = "" if all_told else "; the others are done"
        raise commands.Failed(
            f"{len(failed)} of {len(found)} runs failed: {', '.join(failed)}{others}"
        )
