"""Which runs a sweep hands to one process, and what becomes of them."""

import copy
import json

import pytest
from absl import flags
from absl.testing import flagsaver
from whole_runs import run

from uld_jax import commands, elastic, locking, stopping, sweep
from uld_jax import config as config_lib
from uld_jax_experiments import ad1

NAMES = ("a", "b", "c")


class Work:
    """Three runs of a group, of which each that is begun together is then done."""

    def __init__(self, base, code=0, does=NAMES):
        self.base, self.code, self.does = base, code, does
        self.started, self.statuses = [], {}
        self.runs = {name: self._run(name) for name in NAMES}
        self.group = elastic.Group(NAMES, self._together)

    def _run(self, name):
        def start(seconds):
            self.started.append(name)
            self.statuses[name] = "done"
            return 0

        return elastic.Run(self.base / name, lambda: self.statuses.get(name), start)

    def _together(self, names, seconds):
        self.started.append("".join(names))
        for name in names:
            with pytest.raises(locking.LockedError), self.claim(name):
                pass
            if name in self.does:
                self.statuses[name] = "done"
        return self.code

    def claim(self, name):
        return locking.hold(self.base / name / elastic.CLAIM_FILE)

    def off(self, **more):
        return elastic.work_off(self.runs, groups=[self.group], **more)


def test_a_group_is_done_in_one_process_that_has_all_claims(tmp_path, capsys):
    work = Work(tmp_path)
    assert work.off() == dict.fromkeys(NAMES, "done")
    assert work.started == ["abc"]
    assert "[1/3] a, [2/3] b, [3/3] c" in capsys.readouterr().out
    for name in NAMES:
        with work.claim(name):
            pass


def test_what_is_over_or_at_work_elsewhere_is_left_out(tmp_path):
    work = Work(tmp_path)
    work.statuses["a"] = "diverged"
    assert work.off() == {"a": "diverged", "b": "done", "c": "done"}
    assert work.started == ["bc"]
    alone = Work(tmp_path / "alone")
    alone.statuses["a"] = "done"
    with alone.claim("c"):
        found = alone.off()
    assert found == {"a": "done", "b": "done", "c": "at work elsewhere"}
    assert alone.started == ["b"]  # One is no group.


def test_what_a_group_leaves_by_an_error_is_done_one_by_one(tmp_path, capsys):
    work = Work(tmp_path, code=-9, does="a")
    assert work.off() == dict.fromkeys(NAMES, "done")
    assert work.started == ["abc", "b", "c"]
    assert "exit code -9 of 3 runs together" in capsys.readouterr().out


def test_what_a_group_leaves_without_an_error_is_looked_at_again(tmp_path):
    """It was at work elsewhere when the group's process came to it."""
    work = Work(tmp_path, does="ab")
    with work.claim("a"):
        found = work.off()
    assert found == {"a": "at work elsewhere", "b": "done", "c": "done"}
    assert work.started == ["bc", "c"]


def test_a_group_that_is_stopped_ends_the_sweep(tmp_path):
    work = Work(tmp_path, code=commands.EXIT_STOPPED)
    with pytest.raises(stopping.Stopped, match="run was stopped"):
        work.off()
    assert work.started == ["abc"]


@pytest.mark.parametrize(
    ("word", "count"),
    [("--together", 0), ("--together=4", 4), ("--notogether", 1), ("--together=1", 1)],
)
def test_together_may_say_how_many(word, count):
    values = flags.FlagValues()
    values["together"] = copy.deepcopy(flags.FLAGS["together"])
    values(["sweep", word])
    assert values.together == count


@pytest.mark.parametrize("word", ["0", "-2", "some"])
def test_no_other_number_will_do(word):
    with pytest.raises(ValueError, match=word):
        sweep._Count().parse(word)


def two_runs():
    base = ad1.get_config("tiny")
    return sweep.plan(base, "experiments/ad1.py", ["uld"], ["2", "4"], ["0", "1"])


def test_the_sweep_groups_by_scheme_as_many_as_are_asked_for(tmp_path):
    runs = two_runs()
    with flagsaver.flagsaver(workdir="."):
        flags.FLAGS.mark_as_parsed()
        assert sweep._groups(runs, tmp_path) == []
        with flagsaver.flagsaver((sweep._TOGETHER, 0)):
            (group,) = sweep._groups(runs, tmp_path)
            assert group.names == [
                f"uld_I{i}_seed{seed}" for seed in (0, 1) for i in (2, 4)
            ]
            with (
                flagsaver.flagsaver((sweep._DEBUG_NANS, True)),
                pytest.raises(config_lib.ConfigError, match="leave --together out"),
            ):
                sweep._groups(runs, tmp_path)
        with flagsaver.flagsaver((sweep._TOGETHER, 3)):
            (group,) = sweep._groups(runs, tmp_path)  # The fourth is alone.
            assert len(group.names) == 3


def test_the_command_of_a_group_says_what_each_run_is(tmp_path):
    overrides = {name: changes for name, (changes, _) in two_runs().items()}
    with flagsaver.flagsaver(workdir="."):
        flags.FLAGS.mark_as_parsed()
        line = sweep._command_together(tmp_path, overrides, 90.0)
        assert line[1:3] == ["-m", "uld_jax.together"]
        (runs,) = [word for word in line if word.startswith("--runs=")]
        told = json.loads(runs.removeprefix("--runs="))
        assert told["uld_I4_seed1"]["label.resolution"] == 4
        assert told["uld_I4_seed1"]["seed"] == 1
        assert {"--minutes=1.5", f"--workdir={tmp_path}", "--noprepare"} <= set(line)
        assert not any(word.startswith("--init") for word in line)
        with flagsaver.flagsaver(
            (sweep._INIT_FROM, "runs/ad1"), (sweep._PROFILE, True)
        ):
            line = sweep._command_together(tmp_path, overrides, None)
    assert {"--init_from=runs/ad1", "--init_partial=False", "--profile"} <= set(line)


def test_bad_runs_are_told_before_any_work(tmp_path):
    words = ("--config=experiments/ad1.py:tiny", f"--workdir={tmp_path / 'runs'}")
    runs = '{"a": {"label.resolution": 4}, "b": {"label.resolutoin": 4}}'
    result = run("-m", "uld_jax.together", *words, f"--runs={runs}", check=False)
    assert result.returncode == 2
    assert "error: --runs: b: " in result.stderr
    assert not (tmp_path / "runs").exists()
