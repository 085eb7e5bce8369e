"""Who of a group goes on, leaves, catches up or stops, with runs that only count."""

import types

import pytest

from uld_jax import checkpoints, profiling, stopping, together_loop


class Fake:
    """A run that counts, and does as its law says."""

    def __init__(self, tmp_path, log, name, epochs=2, step=0, fails=()):
        self.name, self.log, self.epochs, self.fails = name, log, epochs, dict(fails)
        self.workdir = tmp_path / name
        self.config = types.SimpleNamespace(
            train=types.SimpleNamespace(epochs=3, batch_size=1, checkpoint_steps=1)
        )
        self.history = types.SimpleNamespace(epoch=step // 2, epoch_seconds=0.0)
        self.state = types.SimpleNamespace(step=step)
        self.data = types.SimpleNamespace(
            steps_per_epoch=2,
            training_batches=lambda epoch, first: iter(range(first, 2)),
        )

    @property
    def is_trained(self):
        return self.history.epoch >= self.epochs

    def _does(self, what):
        self.log.append((what, self.name))
        if what in self.fails:
            raise self.fails[what]

    def begin(self, saved):
        self._does("begin")

    def look(self):
        self._does("look")

    def save_last(self, saved):
        self._does("save")

    def end_epoch(self, saved, board, validation, started, together):
        self._does("end_epoch")
        self.history.epoch += 1

    def diverge(self, error):
        return {"status": "diverged", "reason": str(error)}

    def best(self, saved):
        return {"of": self.name}

    def end(self, result, planes):
        assert result == planes == f"test {self.name}"
        self._does("test")
        return {"status": "done"}


class FakeProgram:
    """What stands in for the program of fake runs."""

    def __init__(self, members):
        self.members, self.runs = list(members), [member.run for member in members]
        self.data, self.title = [self.runs[0].data], ""
        self.runs[0].log.append(("program", [run.name for run in self.runs]))

    def load(self):
        pass

    look = fetch = turn = load

    def step(self, batches):
        for run in self.runs:
            run.state.step += 1

    def evaluate(self, split, items=None):
        told = [f"{split} {run.name}" for run in self.runs]
        if items is not None:
            assert [item["of"] for item in items] == [run.name for run in self.runs]
        return [
            FloatingPointError(split) if split in run.fails else one
            for run, one in zip(self.runs, told, strict=True)
        ]

    def distributions(self, items):
        return [f"test {item['of']}" for item in items]


class FakeMember(types.SimpleNamespace):
    __hash__, __eq__ = object.__hash__, object.__eq__


@pytest.fixture
def together(tmp_path, monkeypatch):
    """Return a function that trains fake runs, and what it did to them."""
    log = []

    def of(reason=lambda: None, **laws):
        members = [
            FakeMember(
                run=Fake(tmp_path, log, name, **law),
                saved=types.SimpleNamespace(
                    wait=lambda name=name: log.append(("wait", name))
                ),
                board=None,
            )
            for name, law in laws.items()
        ]
        flag = stopping.StopFlag()
        flag.reason = reason
        return together_loop.Together(members, flag, profiling.Profiler(None))

    monkeypatch.setattr(together_loop.together_program, "Program", FakeProgram)
    return of, log


def test_who_is_done_leaves_and_is_tested_before_the_others_go_on(together):
    of, log = together
    outcomes = of(a={"epochs": 1}, b={"epochs": 3}, c={"epochs": 3}).complete()
    assert {one["status"] for one in outcomes.values()} == {"done"}
    told = [value for what, value in log if what in ("program", "test")]
    assert told == [["a", "b", "c"], ["a"], "a", ["b", "c"], "b", "c"]
    ends = [value for what, value in log if what == "end_epoch"]
    assert "".join(ends) == "abcbcbc"


@pytest.mark.parametrize(
    ("what", "error", "expected"),
    [
        ("look", together_loop.skipped_steps.Diverged("x"), "diverged"),
        ("end_epoch", OSError("no space"), OSError),
        ("begin", checkpoints.CheckpointError("bad"), checkpoints.CheckpointError),
        ("validation", None, "diverged"),
        ("test", None, together_loop.errors.InputError),
    ],
)
def test_an_error_of_one_run_does_not_lose_the_others(together, what, error, expected):
    of, log = together
    outcomes = of(a={}, b={"fails": {what: error}}, c={}).complete()
    assert [outcomes[name]["status"] for name in "ac"] == ["done", "done"]
    if expected == "diverged":
        assert outcomes["b"]["status"] == "diverged"
    else:
        assert isinstance(outcomes["b"], expected)
    assert log.count(("end_epoch", "a")) == log.count(("end_epoch", "c")) == 2
    assert ("test", "b") not in log


def test_runs_that_are_behind_catch_up_and_then_all_go_on_together(together):
    of, log = together
    laws = {"a": {"step": 3}, "b": {"step": 5}, "c": {"step": 3}, "d": {"step": 8}}
    laws = {name: {"epochs": 4, **law} for name, law in laws.items()}
    training = of(**laws, e={"epochs": 4})
    assert len(training.complete()) == 5
    assert [value for what, value in log if what in ("program", "end_epoch")] == [
        ["d"],  # It is trained, and tested.
        ["e"],
        "e",
        ["a", "c", "e"],  # In the middle of the second epoch.
        *"ace",
        ["a", "b", "c", "e"],
        *("abce" * 2),
    ]
    assert [member.run.state.step for member in training._members] == [8] * 5


def test_who_diverges_while_it_catches_up_is_not_waited_for(together):
    of, log = together
    bad = {"fails": {"validation": None}}
    outcomes = of(a={"step": 2}, b=bad, c={"step": 3}).complete()
    assert [outcomes[name]["status"] for name in "abc"] == ["done", "diverged", "done"]
    told = [value for what, value in log if what == "program"]
    assert told == [["b"], ["a"], ["a", "c"]]


def test_a_stop_saves_all(together):
    of, log = together
    looks = []
    training = of(
        lambda: "time is up" if looks.append(None) or len(looks) == 3 else None,
        a={},
        b={},
    )
    with pytest.raises(stopping.Stopped, match="time is up"):
        training.complete()
    # In the first epoch's first step, at its end, and in the second's first step.
    assert log[-4:] == [(what, name) for what in ("save", "wait") for name in "ab"]
