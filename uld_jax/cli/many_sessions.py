"""The flags and the work of `uld_jax locate` with many sessions (docs/many_sessions.md)."""

import datetime
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import uld_jax
from uld_jax.cli.flags import Flag
from uld_jax.runtime import errors, progress, stopping

FLAGS = (
    Flag(
        "processes",
        "integer",
        "Of many sessions: how many at once; by default one a core, if memory allows.",
        least=1,
    ),
    Flag("beam", "bool", "Of many sessions: locate them with Apache Beam."),
    Flag(
        "beam_options",
        "string",
        "With --beam: its options, such as '--runner=FlinkRunner ...'.",
    ),
)


def find(named: Sequence[str], out: str | None) -> dict[str, pathlib.Path]:
    """Find the sessions by name, if many are given; none for a single one.

    Many are several folders, or a folder of sessions. A folder with one session within is
    taken for many if --out names a folder.

    Args:
        named: Folders of sessions, or folders of them.
        out: Value of --out.

    Raises:
        InputError: If a folder does not exist, or two sessions have one name.
    """
    from uld_jax.audio import session_folders

    folders = [pathlib.Path(text).expanduser() for text in named]
    if len(folders) == 1:
        within, _ = session_folders.find_within(folders[0])
        if len(within) < (2 if out is None or out.endswith(".csv") else 1):
            return {}
    elif not folders:
        return {}
    found, others = session_folders.find_all(folders)
    target = None if out is None else pathlib.Path(out).expanduser().resolve()
    if some := [str(path) for path in others if path.resolve() != target]:
        progress.log(f"No sessions: {', '.join(some)}")
    return session_folders.name_all(found)


def check_single(values: Any) -> None:
    """Raise an InputError if a flag is given that a single session does not have."""
    for flag in FLAGS:
        if (value := getattr(values, flag.name)) not in (None, False):
            raise errors.InputError(
                f"--{flag.name} is {value!r}, which is for many sessions; remove it, or "
                "name several folders, or one that holds sessions"
            )


def _check(values, sessions) -> tuple[pathlib.Path, list[str] | None]:
    """Check the flags; return the folder of the outputs, and the options of Beam."""
    if values.out is None:
        raise errors.InputError(
            f"locate: {len(sessions)} sessions need a folder for what is found; pass "
            "--out=DIR"
        )
    if values.out.endswith(".csv"):
        raise errors.InputError(
            f"--out: {values.out!r} is a table, and there are {len(sessions)} sessions; "
            "name a folder"
        )
    if values.beam_options is not None and not values.beam:
        raise errors.InputError("--beam_options is for --beam, which is not given")
    flags = None
    if values.beam:
        from uld_jax.runtime import beam_runs

        flags = beam_runs.parse_options(values.beam_options or "")
    return pathlib.Path(values.out).expanduser().absolute(), flags


def main(
    values: Any, sessions: Any, settings: Any, command: Any, locate_one: Any
) -> None:
    """Locate the sessions that are not done yet; print a line for each.

    Args:
        values: Of all flags.
        sessions: Their folders by name.
        settings: Of the command, as they are compared with those of an earlier one.
        command: As it is shown.
        locate_one: See `many_sessions.LocateOne`; it is sent to workers.

    Raises:
        errors.Failed: If a session failed, or recordings were left out.
        stopping.Stopped: After a signal. What is done stays.
    """
    out, beam_flags = _check(values, sessions)

    from uld_jax.evaluation import many_sessions as many
    from uld_jax.storage import located_sessions, locking

    sessions = {name: path.absolute() for name, path in sessions.items()}
    located_sessions.check(out, sessions, settings, values.overwrite)
    out.mkdir(parents=True, exist_ok=True)
    with locking.hold(out / located_sessions.LOCK), stopping.StopFlag():
        tasks = many.find_tasks(out, sessions, settings)
        processes = values.processes or many.choose_processes(len(tasks))
        done = len(sessions) - len(tasks)
        how = f" with {processes} process{'' if processes == 1 else 'es'}"
        how = " with Apache Beam" if values.beam else how
        progress.log(
            f"{_count(len(sessions), 'session')}: {done} done already, {len(tasks)} to "
            f"locate{how if tasks else ''}"
        )
        attempt = located_sessions.begin(out)
        work = many.Work(out, attempt, settings, locate_one)
        listing = functools.partial(many.list_outcomes, out, sessions, tasks, attempt)
        _write_index(out, listing(), settings, command)
        try:
            with progress.Progress("Locating", len(sessions), "sessions", done) as bar:
                shown = _Lines(bar, done, len(sessions))
                if beam_flags is None:
                    for task, outcome in many.in_processes(work, tasks, processes):
                        shown.show(task, outcome)
                elif tasks:
                    many.with_beam(work, tasks, beam_flags, processes, shown.show)
        finally:
            located_sessions.end(out)
            count = _write_index(out, listing(), settings, command)
    progress.log(
        f"{count:,} positions are in {out / located_sessions.TABLE}, and a page of all "
        f"sessions in {out / located_sessions.INDEX_PAGE}"
    )
    _raise_failures(listing())


class _Lines:
    """A line for each session, and the progress below them."""

    def __init__(self, bar, done, total):
        self._bar, self._done, self._total = bar, done, total

    def show(self, task, outcome) -> None:
        self._done += 1
        text = describe(outcome)
        progress.log(f"[{self._done}/{self._total}] {task.name}: {text}")
        self._bar.update()


def describe(outcome: Any) -> str:
    """Describe the outcome of a session in a line."""
    if outcome.reason:
        first, *more = outcome.reason.splitlines()
        return f"failed: {first}{' ...' if more else ''}"
    found = outcome.summary
    facts = [_count(found["windows"], "window")]
    if found["determined"] is not None:
        facts += [f"{found['determined']} determined", _count(found["turns"], "turn")]
    facts += [_count(found["remarks"], "remark")] if found["remarks"] else []
    if outcome.left_out:
        facts.append(f"{_count(len(outcome.left_out), 'recording')} left out")
    return ", ".join(facts)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _write_index(out, listed, settings, command) -> int:
    """Write the list of all sessions and the table of all positions; count these."""
    from uld_jax.evaluation import locate
    from uld_jax.report import sessions_page
    from uld_jax.storage import located_sessions

    now = datetime.datetime.now(datetime.UTC)
    index = {
        "name": out.name,
        "command": command,
        "version": uld_jax.__version__,
        "written": now.isoformat(timespec="seconds"),
        "settings": settings,
        "sessions": listed,
    }
    located_sessions.write_index(out, index)  # First: it says whose the others are.
    done = [one["name"] for one in listed if one["page"]]
    count = located_sessions.write_table(out, done, locate.COLUMNS)
    sessions_page.write(index, out / located_sessions.INDEX_PAGE)
    return count


def _raise_failures(listed) -> None:
    """Raise a Failed that names what could not be located, if there is anything."""
    failed = [one for one in listed if one["reason"]]
    partly = [one for one in listed if one["left_out"]]
    parts = []
    if failed:
        count = f"{len(failed)} of {_count(len(listed), 'session')} failed:"
        parts += [count, *(f"  {one['name']}: {one['reason']}" for one in failed)]
    if partly:
        parts.append("Left out:")
        parts += [
            f"  {one['name']}: {text}" for one in partly for text in one["left_out"]
        ]
    if parts:
        raise errors.Failed("\n".join(parts))
