"""Sweeps that many workers share, any of which may die."""

import contextlib
import json
import signal
import subprocess
import sys
from types import ModuleType

import pytest
from conftest import ROOT, tiny_settings
from whole_runs import flags_of, run

from uld_jax import config as config_lib
from uld_jax.cli import app
from uld_jax.runtime import errors, stopping
from uld_jax.storage import atomic, locking, records
from uld_jax.storage.run_folder import RunFolder
from uld_jax.training import history, sweep, workers

NAMES = ("a", "b", "c")


class Cells:
    """Runs that only note that they were started, and their statuses."""

    def __init__(self, base, code=0):
        self.base, self.code = base, code
        self.started, self.seconds, self.statuses = [], [], {}
        self.runs = {name: self._run(name) for name in NAMES}

    def _run(self, name):
        def start(seconds):
            self.started.append(name)
            self.seconds.append(seconds)
            code = self.code(name) if callable(self.code) else self.code
            if code == 0:
                self.statuses[name] = "done"
            return code

        workdir = self.base / name
        return workers.Run(workdir, lambda: self.statuses.get(name), start)

    def lock(self, name, file="lock"):
        return locking.hold(self.base / name / file)


def test_what_is_at_work_elsewhere_is_passed_over_and_named(tmp_path, capsys):
    """Whether a worker has claimed it or its run alone is left of that."""
    for file in ("lock", workers.CLAIM_FILE):
        cells = Cells(tmp_path / file)
        with cells.lock("a", file):
            found = workers.work_off(cells.runs)
        assert cells.started == ["b", "c"]
        assert found == {"a": "at work elsewhere", "b": "done", "c": "done"}
        workers.report(found)
        output = capsys.readouterr().out
        assert output.count("[1/3] a: at work elsewhere; another process") == 1
        assert "1 of 3 runs are still at work elsewhere: a;" in output


def test_workers_that_come_by_at_once_start_no_run_twice(tmp_path):
    """The second comes by while the first is busy with its first run."""
    second = Cells(tmp_path)

    def meanwhile(name):
        if name == "a":
            workers.work_off(second.runs)
        return 0

    first = Cells(tmp_path, meanwhile)
    first.statuses = second.statuses
    found = workers.work_off(first.runs)
    assert (first.started, second.started) == (["a"], ["b", "c"])
    assert set(found.values()) == {"done"}


def test_what_was_passed_over_is_looked_at_again(tmp_path, capsys):
    """One is free again and is taken up; one has been ended by its worker."""
    held = contextlib.ExitStack()

    def meanwhile(name):
        if name == "c":
            held.close()
            cells.statuses["b"] = "done"
        return 0

    cells = Cells(tmp_path, meanwhile)
    held.enter_context(cells.lock("a"))
    held.enter_context(cells.lock("b"))
    found = workers.work_off(cells.runs)
    assert cells.started == ["c", "a"]
    assert set(found.values()) == {"done"}
    workers.report(found)
    output = capsys.readouterr().out
    assert "[2/3] b: done already" in output
    assert "still" not in output


def test_a_run_that_ends_between_two_looks_is_not_run_again(tmp_path):
    looks = []

    def status():
        looks.append(None)
        return None if len(looks) == 1 else "done"

    run = workers.Run(tmp_path / "a", status, lambda _: pytest.fail("run again"))
    assert workers.work_off({"a": run}) == {"a": "done"}


def test_waiting_ends_with_the_last_run(tmp_path, capsys, monkeypatch):
    """Of two at work elsewhere one ends there; the other's worker is killed."""
    cells, held, pauses = Cells(tmp_path), contextlib.ExitStack(), []
    held.enter_context(cells.lock("a"))
    killed = contextlib.ExitStack()
    killed.enter_context(cells.lock("b"))

    def pause(deadline):
        pauses.append(deadline)
        if len(pauses) == 2:
            held.close()
            cells.statuses["a"] = "diverged"
        if len(pauses) == 3:
            killed.close()

    monkeypatch.setattr(workers, "_pause", pause)
    found = workers.work_off(cells.runs, wait=True)
    assert cells.started == ["c", "b"]
    assert len(pauses) == 3
    assert found == {"a": "diverged", "b": "done", "c": "done"}
    output = capsys.readouterr().out
    assert output.count("Waiting for the runs") == 1
    assert output.count("a: at work elsewhere") == 1
    with pytest.raises(errors.Failed, match=r"1 of 3 runs failed: a \(diverged\);"):
        workers.report(found)


def test_waiting_ends_with_the_time_given(tmp_path):
    cells = Cells(tmp_path)
    cells.statuses |= {"b": "done", "c": "done"}
    with (
        cells.lock("a"),
        pytest.raises(stopping.Stopped, match="time limit is reached"),
    ):
        workers.work_off(cells.runs, deadline=-1.0, wait=True)
    with pytest.raises(stopping.Stopped, match="time limit is reached"):
        workers.work_off(cells.runs, deadline=-1.0)
    assert not cells.started
    assert set(workers.work_off(cells.runs, deadline=1e12).values()) == {"done"}
    assert cells.seconds[0] > 0


def test_a_run_that_starts_elsewhere_at_the_same_time_has_not_failed(tmp_path):
    """The run's own process finds the lock taken after the worker saw it free."""
    cells = Cells(tmp_path, lambda name: errors.EXIT_LOCKED if name == "a" else 0)
    found = workers.work_off(cells.runs)
    assert found == {"a": "at work elsewhere", "b": "done", "c": "done"}
    assert cells.started == ["a", "b", "c", "a"]  # Looked at again, then left.


def test_what_fails_is_not_tried_again_and_does_not_lose_the_others(tmp_path):
    cells = Cells(tmp_path, lambda name: 2 if name == "a" else 0)
    with cells.lock("c"):
        found = workers.work_off(cells.runs)
    assert cells.started == ["a", "b"]
    with pytest.raises(errors.Failed) as error:
        workers.report(found)
    assert str(error.value) == "1 of 3 runs failed: a (exit code 2)"
    stopped = Cells(tmp_path / "stopped", errors.EXIT_STOPPED)
    with pytest.raises(stopping.Stopped, match="run was stopped"):
        workers.work_off(stopped.runs)
    assert stopped.started == ["a"]


def test_a_run_that_is_just_being_written_does_not_disturb_the_check(
    tiny_data_dir, tmp_path
):
    settings = config_lib.to_dict(config_lib.resolve(tiny_settings(tiny_data_dir)))
    folder = tmp_path / "run"
    with locking.hold(folder / workers.CLAIM_FILE):
        for name in ("settings.json", records.FILE_NAME):
            (folder / f"{name}.part").write_text('{"status": "runn')
            RunFolder(folder).check(settings)
            (folder / f"{name}.part").unlink()
            if name == "settings.json":
                atomic.write_json(folder / name, settings)
        RunFolder(tmp_path).check_for_runs()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.LockedError("it is"), 3),
        (errors.InputError("it is"), 2),
        (errors.Failed("it is"), 1),
    ],
)
def test_each_outcome_has_an_exit_code_of_its_own(error, code, capsys):
    def main(*_):
        raise error

    with pytest.raises(SystemExit) as end:
        command = ModuleType("command")
        command.main = main
        app._call(command, [])
    assert end.value.code == code
    assert "it is" in capsys.readouterr().err


def test_flags_of_one_run_are_passed_on_only_when_set(tmp_path):
    init = config_lib.default().init
    plain = sweep._command(tmp_path, {"seed": 1}, init, [], None)
    assert not [word for word in plain if word.startswith("--minutes")]
    asked = sweep._command(tmp_path, {"seed": 1}, init, ["--profile"], 90.0)
    assert {"--profile", "--minutes=1.5"} <= set(asked)
    assert {"--config.seed=1", f"--workdir={tmp_path}", "--noprepare"} <= set(plain)


# A worker whose run, in its sixth step, waits for a line, and then kills its worker and
# itself, as a power cut would.
DOOMED = """
import sys
from uld_jax.cli import app
from uld_jax.training import sweep

command = sweep._command
run = '''
import os, signal, sys
from uld_jax.cli import app
from uld_jax.datasets import loader

batches = loader.RunData.training_batches

def deadly(self, epoch, first):
    for step, batch in enumerate(batches(self, epoch, first), first):
        if step == 5:
            sys.stdin.readline()
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

loader.RunData.training_batches = deadly
app.main(["train", *sys.argv[1:]])
'''

def doomed(*arguments):
    python, _, _, *words = command(*arguments)
    return [python, "-c", run, *words]

sweep._command = doomed
app.main(["sweep", *sys.argv[1:]])
"""


def started(*words):
    return subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def lines_until(worker, wanted):
    """Return the lines of a worker up to one that holds a text."""
    lines = []
    for line in worker.stdout:
        lines.append(line)
        if wanted in line:
            return lines
    raise AssertionError(f"{wanted!r} was not printed:\n{''.join(lines)}")


def comparable(workdir):
    """Return a run's record without what differs from process to process."""
    record = json.loads((workdir / records.FILE_NAME).read_text())
    for epoch in record["epochs"]:
        for key in history.TIMES:
            epoch.pop(key)
    return {k: v for k, v in record.items() if k not in ("times", "commit")}


def test_a_killed_workers_run_is_ended_by_another(tiny_data_dir, tmp_path):
    """Each run is trained to its end once; the killed one as if never broken off."""
    once = "--config.train.epochs=1"
    alone, base = tmp_path / "alone", tmp_path / "shared"
    run("-m", "uld_jax.cli", "train", *flags_of(tiny_data_dir, alone, once))
    words = flags_of(tiny_data_dir, base, once, "--scheme=uld", "--seed=0,1")
    with started("-c", DOOMED, *words) as doomed:
        lines_until(doomed, "[1/2] uld_I5_seed0")
        with started("-m", "uld_jax.cli", "sweep", *words, "--wait") as other:
            lines = lines_until(other, "[2/2] uld_I5_seed1")
            assert any("[1/2] uld_I5_seed0: at work" in line for line in lines)
            doomed.stdin.write("\n")
            doomed.stdin.close()
            lines += other.stdout
    output = "".join(lines)
    assert doomed.returncode == -signal.SIGKILL
    assert other.returncode == 0, output
    assert output.count("resuming in epoch 1") == 1
    assert output.count("Epoch 1:") == 2
    assert comparable(base / "uld_I5_seed0") == comparable(alone)
    assert comparable(base / "uld_I5_seed1")["status"] == "done"
