"""Locks of folders, with processes that hold them and are killed."""

import contextlib
import errno
import platform
import re

import pytest
from lock_holder import child

from uld_jax.runtime import errors
from uld_jax.storage import locking


def test_who_is_refused_is_told_by_whom(tmp_path):
    path = tmp_path / "run" / "lock"
    with child(path) as process:
        assert process.stdout.readline() == "held\n"
        messages = []
        for _ in range(2):  # Who is refused takes nothing away.
            with pytest.raises(errors.LockedError) as refused, locking.hold(path):
                pass
            messages.append(str(refused.value))
    assert messages[0] == messages[1]
    assert f"works in {str(path.parent)!r}" in messages[0]
    holder = f"(process {process.pid} on {platform.node()} since "
    assert re.search(
        re.escape(holder) + r"20\d\d-\d\d-\d\d [\d:]{8} \+\d{4}\)", messages[0]
    )
    with locking.hold(path):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    with child(path) as process:
        assert process.stdout.readline() == "held\n"
        process.kill()
        process.wait()
        assert f"process {process.pid} " in path.read_text()
        with locking.hold(path):
            assert f"process {process.pid} " not in path.read_text()
    assert path.read_text() == ""


def test_who_waits_says_so_once_and_is_next(tmp_path):
    path = tmp_path / "lock"
    with contextlib.ExitStack() as stack:
        with locking.hold(path):
            mine = path.read_text().strip()
            waiting = stack.enter_context(child(path, "wait"))
            told = waiting.stdout.readline()
            assert path.read_text().strip() == mine
        assert waiting.stdout.readline() == "held\n"
        assert path.read_text().startswith(f"process {waiting.pid} ")
        rest, _ = waiting.communicate()
    assert told == f"Waiting for a process that works in {str(tmp_path)!r} ({mine})\n"
    assert (rest, waiting.returncode) == ("", 0)


def test_what_fails_under_a_lock_frees_it(tmp_path):
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError, match="no luck"), locking.hold(path):
        raise RuntimeError("no luck")
    with child(path) as process:
        assert process.stdout.readline() == "held\n"


def test_a_lock_of_an_early_version_is_told_without_its_holder(tmp_path):
    path = tmp_path / "lock"
    with locking.hold(path):
        path.write_text("")
        with (
            pytest.raises(errors.LockedError, match=r"\(it holds lock\); wait for it"),
            locking.hold(path),
        ):
            pass


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking.fcntl, "flock", flock)
    with (
        pytest.raises(
            locking.NoLocksError, match="No locks available; choose a folder"
        ),
        locking.hold(tmp_path / "lock"),
    ):
        pass
