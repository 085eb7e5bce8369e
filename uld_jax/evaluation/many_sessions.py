"""Locate many sessions, each by itself: in processes of this machine, or by Apache Beam.

A session is located by a function that the caller gives. Its outcome is written
beside its outputs: results come by the file system, from processes and from Beam alike.
"""

import dataclasses
import functools
import os
import pathlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from uld_jax.audio import session_folders, sessions
from uld_jax.evaluation import locate
from uld_jax.runtime import beam_runs, errors, memory, stopping, worker_processes
from uld_jax.storage import located_sessions

# Takes a session and the path of the table to write, beside which it writes page and
# record. Returns what it found, and what was left out, in sentences.
LocateOne = Callable[
    [sessions.Session, pathlib.Path], tuple[Sequence[locate.Located], Sequence[str]]
]

_MEMORY = 1.5 * 2**30  # Bytes of a process: 30 nodes and an hour take less.


@dataclasses.dataclass(frozen=True)
class Task:
    """A session to locate.

    Attributes:
        name: Of its outputs.
        folder: Of the session.
    """

    name: str
    folder: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Work:
    """The part of the work that is the same for all sessions, sent to workers.

    Attributes:
        out: Folder of all outputs.
        attempt: From `located_sessions.begin`.
        settings: Of the command, as they are compared.
        locate_one: Locates one session.
    """

    out: pathlib.Path
    attempt: str
    settings: Mapping[str, Any]
    locate_one: LocateOne

    def do(self, task: Task) -> located_sessions.Outcome:
        """Locate one session; write and return its outcome, a failure too.

        Raises:
            located_sessions.OutputError: If the folder is not this attempt's.
        """
        located_sessions.check_attempt(self.out, self.attempt)
        folder = self.out / task.name
        outcome = located_sessions.Outcome(
            located_sessions.FAILED, self.attempt, dict(self.settings)
        )
        try:
            session = sessions.open_session(task.folder)
            stamps = session_folders.stamp(session)
            outcome = dataclasses.replace(outcome, stamps=stamps)
            write = functools.partial(self._write, session)
            return located_sessions.fill(folder, outcome, write)
        except (errors.InputError, errors.Failed, OSError) as error:
            return self.fail(task, str(error))
        except Exception as error:  # One session's failure is no other's.
            reason = traceback.format_exception_only(error)[-1].strip()
            return self.fail(task, reason, traceback.format_exc())

    def _write(self, session, folder):
        found, left_out = self.locate_one(session, folder / located_sessions.TABLE)
        return summarize(found), left_out

    def fail(
        self, task: Task, reason: str, trace: str = ""
    ) -> located_sessions.Outcome:
        """Write and return that a session could not be located.

        Args:
            task: The session.
            reason: For the user.
            trace: Where it failed, if nobody foresaw it.
        """
        folder = self.out / task.name
        outcome = located_sessions.Outcome(
            located_sessions.FAILED,
            self.attempt,
            dict(self.settings),
            reason=reason,
            trace=trace,
        )
        located_sessions.clear(folder)
        located_sessions.write_outcome(folder, outcome)
        return outcome


def find_tasks(
    out: pathlib.Path,
    sessions: Mapping[str, pathlib.Path],
    settings: Mapping[str, Any],
) -> list[Task]:
    """List the sessions that are not done with these settings and unchanged files.

    Removes what a killed run of the command left half-written.

    Args:
        out: Folder of all outputs.
        sessions: Folders of the sessions by name.
        settings: Of the command.
    """
    tasks = []
    for name, folder in sessions.items():
        located_sessions.sweep_up(out / name)
        same = functools.partial(session_folders.is_unchanged, folder)
        if not located_sessions.is_done(out / name, settings, same):
            tasks.append(Task(name, folder))
    return tasks


def list_outcomes(
    out: pathlib.Path,
    sessions: Mapping[str, pathlib.Path],
    tasks: Sequence[Task],
    attempt: str,
) -> list[dict[str, Any]]:
    """List the outcomes of sessions, as `report.sessions_page` describes them.

    Args:
        out: Folder of all outputs.
        sessions: Folders of the sessions by name.
        tasks: Those that were not done before.
        attempt: In which they are located.
    """
    new = {task.name for task in tasks}
    listed = []
    for name, folder in sessions.items():
        outcome = located_sessions.read_outcome(out / name)
        old = outcome is None or (name in new and outcome.attempt != attempt)
        status = None if old else outcome.status
        located = status == located_sessions.LOCATED
        known = located or status == located_sessions.FAILED
        listed.append(
            {
                "name": name,
                "folder": located_sessions.relative(folder, out),
                "status": status if known else "waiting",
                "page": f"{name}/{located_sessions.PAGE}" if located else None,
                **(outcome.summary if located else {}),
                "left_out": list(outcome.left_out) if located else [],
                "reason": outcome.reason if known else "",
            }
        )
    return listed


def summarize(found: Sequence[locate.Located]) -> dict[str, Any]:
    """Summarize the positions found in a session in a few numbers.

    Args:
        found: In each of its recordings.

    Returns:
        Counts of `recordings`, `windows` and `remarks`; of `determined` windows and of
        `turns`, or None if it is not known how sure positions are.
    """
    sure = bool(found) and all(one.details is not None for one in found)
    return {
        "recordings": len(found),
        "windows": sum(len(one.starts) for one in found),
        "determined": sum(d.determined for one in found for d in one.details)
        if sure
        else None,
        "turns": sum(len(one.turns) for one in found) if sure else None,
        "remarks": sum(len(one.remarks) for one in found),
    }


def choose_processes(num_sessions: int) -> int:
    """Choose how many processes work at once: one a core, as far as memory goes."""
    count = min(num_sessions, len(os.sched_getaffinity(0)))
    free = memory.free_on_host()
    if free is not None:
        count = min(count, int(free / _MEMORY))
    return max(count, 1)


def in_processes(
    work: Work, tasks: Sequence[Task], num_processes: int
) -> Iterator[tuple[Task, located_sessions.Outcome]]:
    """Locate sessions in processes of this machine; yield outcomes as they come.

    Raises:
        stopping.Stopped: If there is a reason to stop. What is done stays.
    """
    found = worker_processes.run_all(work.do, tasks, num_processes)
    try:
        for task, outcome in found:
            if isinstance(outcome, worker_processes.Death):
                # Nobody can say what it was doing; only this session is lost.
                outcome = work.fail(task, str(outcome))
            yield task, outcome
    finally:
        found.close()


def with_beam(
    work: Work,
    tasks: Sequence[Task],
    flags: Sequence[str],
    num_workers: int,
    show: Callable[[Task, located_sessions.Outcome], None],
) -> None:
    """Locate sessions with a pipeline of Apache Beam, each as an element of it.

    Args:
        work: For all of them, with paths that all workers have.
        tasks: The sessions.
        flags: From `beam_runs.parse_options`.
        num_workers: Most processes, if they are this machine's.
        show: Called with each outcome as it is noticed.

    Raises:
        beam_runs.BeamError: If the pipeline failed. What is done stays.
        stopping.Stopped: If there is a reason to stop, likewise.
    """
    left = {task.name: task for task in tasks}

    def look():
        for name, task in list(left.items()):
            outcome = located_sessions.read_outcome(work.out / name)
            if (
                outcome is not None
                and outcome.attempt == work.attempt
                and outcome.status != located_sessions.RUNNING
            ):
                del left[name]
                show(task, outcome)

    def watch():
        look()
        stopping.check()

    try:
        state = beam_runs.run_all(work.do, tasks, flags, num_workers, watch)
    finally:
        look()
    for task in list(left.values()):
        show(task, work.fail(task, f"Apache Beam ended as {state} without it"))
