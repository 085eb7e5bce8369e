"""The runs of a sweep, one after the other."""

from types import ModuleType

import pytest
from conftest import tiny_settings

from uld_jax import config as config_lib
from uld_jax.cli import app
from uld_jax.runtime import errors, stopping
from uld_jax.storage import atomic, locking, records
from uld_jax.storage.run_folder import RunFolder
from uld_jax.training import sweep, workers

NAMES = ("a", "b", "c")


class Cells:
    """Runs that only note that they were started, and their statuses."""

    def __init__(self, base, code=0):
        self.code = code
        self.started, self.seconds, self.statuses = [], [], {}
        self.runs = {name: self._run(base / name, name) for name in NAMES}

    def _run(self, workdir, name):
        def start(seconds):
            self.started.append(name)
            self.seconds.append(seconds)
            return self.code(name) if callable(self.code) else self.code

        return workers.Run(workdir, lambda: self.statuses.get(name), start)


def test_what_is_over_is_not_run_again(tmp_path, capsys):
    cells = Cells(tmp_path)
    cells.statuses = {"a": "done", "b": "running"}
    found = workers.work_off(cells.runs)
    assert cells.started == ["b", "c"]
    assert found == dict.fromkeys(NAMES, "done")
    workers.report(found)
    assert "[1/3] a: done already" in capsys.readouterr().out


def test_what_is_at_work_elsewhere_is_passed_over_and_named(tmp_path, capsys):
    """The run's own process finds its folder locked."""
    cells = Cells(tmp_path, lambda name: errors.EXIT_LOCKED if name == "a" else 0)
    found = workers.work_off(cells.runs)
    assert found == {"a": "at work elsewhere", "b": "done", "c": "done"}
    workers.report(found)
    assert "1 of 3 runs are at work elsewhere: a;" in capsys.readouterr().out


def test_time_that_is_up_stops_before_the_next_run(tmp_path):
    cells = Cells(tmp_path)
    with pytest.raises(stopping.Stopped, match="time limit is reached"):
        workers.work_off(cells.runs, deadline=-1.0)
    assert not cells.started
    assert set(workers.work_off(cells.runs, deadline=1e12).values()) == {"done"}
    assert cells.seconds[0] > 0


def test_what_fails_does_not_lose_the_others(tmp_path):
    cells = Cells(tmp_path, lambda name: 2 if name == "a" else 0)
    cells.statuses = {"b": "diverged"}
    found = workers.work_off(cells.runs)
    assert cells.started == ["a", "c"]
    with pytest.raises(errors.Failed) as error:
        workers.report(found)
    assert str(error.value) == (
        "2 of 3 runs failed: a (exit code 2), b (diverged); the others are done"
    )
    stopped = Cells(tmp_path / "stopped", errors.EXIT_STOPPED)
    with pytest.raises(stopping.Stopped, match="run was stopped"):
        workers.work_off(stopped.runs)
    assert stopped.started == ["a"]


def test_a_run_that_is_just_being_written_does_not_disturb_the_check(
    tiny_data_dir, tmp_path
):
    settings = config_lib.to_dict(config_lib.resolve(tiny_settings(tiny_data_dir)))
    folder = tmp_path / "run"
    with locking.hold(folder / "lock"):
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
