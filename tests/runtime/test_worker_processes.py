"""Worker processes: each may die alone, and none outlives what started it."""

import functools
import os
import pathlib
import select
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from uld_jax.runtime import stopping, worker_processes


def square_or_die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        raise ValueError("an error that nobody foresaw")
    return number * number


def look_around(_):
    """Return threads of XLA's pool, and the signals that do not reach this process."""
    import jax.numpy as jnp

    float(jnp.ones((64, 64)).sum())
    tasks = pathlib.Path("/proc/self/task").iterdir()
    names = [(task / "comm").read_text().strip() for task in tasks]
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return sum("XLAEigen" in name for name in names), kept, os.getpid()


def note_and_wait(folder, number):
    (folder / f"{number}.{os.getpid()}").touch()
    while True:
        signal.sigtimedwait({signal.SIGUSR1}, 60)


def test_the_death_of_a_worker_is_the_outcome_of_one_item(capfd):
    found = dict(worker_processes.run_all(square_or_die, range(6), 2))
    assert {k: v for k, v in found.items() if k not in (2, 3)} == {
        number: number * number for number in (0, 1, 4, 5)
    }
    assert found[2].code == -signal.SIGKILL
    assert "killed, perhaps for lack of memory" in str(found[2])
    assert str(found[3]) == "its process ended with exit code 1"
    assert "nobody foresaw" in capfd.readouterr().err


def test_a_worker_has_one_thread_and_leaves_signals_to_its_parent():
    found = list(worker_processes.run_all(look_around, range(2), 1))
    threads, kept, process = found[0][1]
    assert threads == 1
    assert {signal.SIGINT, signal.SIGTERM} <= set(kept)
    assert found[1][1][2] == process  # It is used again.
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_reason_to_stop_ends_all_workers(tmp_path):
    def stop_when_two_work():
        if len(list(tmp_path.iterdir())) == 2:
            raise stopping.Stopped("enough")

    function = functools.partial(note_and_wait, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "check", stop_when_two_work)
        with pytest.raises(stopping.Stopped, match="enough"):
            list(worker_processes.run_all(function, range(5), 2))
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == 2
    assert not any(is_alive(int(name.partition(".")[2])) for name in names)


def say_and_wait(_):
    os.write(1, f"{os.getpid()}\n".encode())
    signal.sigtimedwait({signal.SIGUSR1}, 60)


def test_no_worker_outlives_a_killed_parent():
    code = "import test_worker_processes as test; "
    code += "list(test.worker_processes.run_all(test.say_and_wait, [0], 1))"
    paths = [str(ROOT), str(ROOT / "tests"), str(pathlib.Path(__file__).parent)]
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    worker = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert select.select([worker], [], [], 60)[0]  # It has ended.
    os.close(worker)
