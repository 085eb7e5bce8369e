"""Whole runs in one program: each as if it were alone, whatever befalls the others."""

import json
import shutil
import types

import jax
import numpy as np
import optax
import pytest
from conftest import tiny_config

from uld_jax import (
    checkpoints,
    initialization,
    locking,
    optimizer,
    profiling,
    records,
    run_data,
    stopping,
    together_loop,
    together_program,
    train,
    train_together,
)
from uld_jax import config as config_lib
from uld_jax import devices as devices_lib
from uld_jax_experiments import l1

FINE, COARSE = "uld_I3_seed0", "uld_I2_seed1"
NETWORK = {"width": 8, "num_heads": 2, "num_blocks": 0, "num_temporal_blocks": 0}
NETWORK |= {"front_end": "log_magnitude"}


@pytest.fixture(scope="module", autouse=True)
def compiled_fast():
    """Compilation is most of what this takes."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", autouse=True)
def larger_epsilon():
    """By a larger one than ours a gradient of nothing but rounding moves nothing."""

    def adamw(learning_rate, weight_decay):
        return optax.inject_hyperparams(optax.adamw)(
            learning_rate, eps=1e-3, weight_decay=weight_decay
        )

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(optimizer, "adamw", adamw)
        yield


def settings(data_dir, seed, resolution, **changes):
    config = config_lib.default("adhoc")
    known = tiny_config(data_dir)
    for key in ("name", "dir", "speech"):
        config.data[key] = known.data[key]
    config.update_from_flattened_dict(
        {
            "seed": seed,
            "label.resolution": resolution,
            "data.nodes_in_training": 4,
            "data.position_error": 0.1,
            "train.batch_size": 8,
            "train.epochs": 2,
            "train.learning_rate": 3e-3,
            "train.schedule": "cosine",
            "train.checkpoint_steps": 2,
            **{f"model.{key}": value for key, value in NETWORK.items()},
            **changes,
        }
    )
    return config_lib.resolve(config)


@pytest.fixture(scope="module")
def two(tiny_data_dir):
    return {
        FINE: settings(tiny_data_dir, 0, 3),
        COARSE: settings(tiny_data_dir, 1, 2),
    }


def stopped(monkeypatch, function, steps, *arguments):
    """Call a function that is told to stop after so many steps of each seed."""
    batches, counts = run_data.RunData.training_batches, {}

    def counted(self, epoch, first):
        for batch in batches(self, epoch, first):
            seed = self._config.seed
            counts[seed] = counts.get(seed, 0) + 1
            yield batch

    def reason(self):
        return "enough" if max(counts.values(), default=0) >= steps else None

    with monkeypatch.context() as patched:
        patched.setattr(run_data.RunData, "training_batches", counted)
        patched.setattr(stopping.StopFlag, "reason", reason)
        with pytest.raises(stopping.Stopped, match="enough"):
            function(*arguments)


def read(folder):
    return json.loads((folder / "record.json").read_text())


def numbers(record):
    """Return all that a record says of epochs and test, by place, but for times."""
    leaves = jax.tree_util.tree_leaves_with_path((record["epochs"], record["test"]))
    told = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {k: v for k, v in told.items() if "seconds" not in k and "tog" not in k}


def assert_as_alone(folder, alone):
    mine, other = read(folder), read(alone)
    assert mine["status"] == other["status"] == "done"
    same = ("best_epoch", "settings", "data", "network", "converged")
    assert {key: mine[key] for key in same} == {key: other[key] for key in same}
    assert numbers(mine) == pytest.approx(numbers(other), rel=1e-3, abs=1e-5)
    arrays, wanted = (np.load(at / "predictions.npz") for at in (folder, alone))
    assert arrays.files == wanted.files
    for key in ("predicted", "planes"):
        np.testing.assert_allclose(arrays[key], wanted[key], 2e-3, 2e-3)
    saved, expected = (
        checkpoints.read_arrays(at, mine["best_epoch"], ("params",))
        for at in (folder, alone)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5), saved, expected
    )


def test_stopped_together_each_goes_on_alone_or_together_as_if_never_stopped(
    two, tmp_path, monkeypatch
):
    alone, base, copy = (tmp_path / name for name in ("alone", "base", "copy"))
    train.train_and_evaluate(two[COARSE], alone)
    stopped(monkeypatch, train_together.train_and_evaluate, 8, two, base)
    for name in two:
        assert read(base / name)["status"] == "running"
        assert (base / name / "last" / "8").is_dir()
        assert list((base / name / "tensorboard").iterdir())
    shutil.copytree(base, copy)

    train.train_and_evaluate(two[COARSE], base / COARSE)
    assert_as_alone(base / COARSE, alone)
    first, second = read(base / COARSE)["epochs"]
    assert first["together"] == read(base / COARSE)["times"]["together"] == 2
    assert "together" not in second

    outcomes = train_together.train_and_evaluate(two, copy)
    assert_as_alone(copy / COARSE, alone)
    assert outcomes[FINE] == read(copy / FINE)
    assert outcomes[FINE]["status"] == "done"
    assert [epoch["together"] for epoch in outcomes[FINE]["epochs"]] == [2, 2]
    # What is over is left alone.
    written = (copy / FINE / "record.json").stat().st_mtime_ns
    assert train_together.train_and_evaluate(two, copy)[FINE]["status"] == "done"
    assert (copy / FINE / "record.json").stat().st_mtime_ns == written


def test_each_of_a_group_begins_from_the_network_of_its_name(
    tiny_data_dir, tmp_path, monkeypatch
):
    """One that cannot is left out."""
    values, bad = {FINE: 2.0, COARSE: 3.0}, "uld_I4_seed1"
    cells = {FINE: (0, 3), COARSE: (1, 2), bad: (1, 4)}
    configs = {
        name: settings(tiny_data_dir, *cell, **{"init.folder": f"before/{name}"})
        for name, cell in cells.items()
    }

    def load(config, items):
        name = config.init.folder.removeprefix("before/")
        if name not in values:
            raise initialization.InitError("it is gone")
        return jax.tree.map(lambda leaf: leaf * 0 + values[name], items), {}

    monkeypatch.setattr(initialization, "load", load)
    assert train_together.groups(configs) == [[FINE, COARSE, bad]]
    outcomes = {}
    runs = train_together._open(
        configs, tmp_path, devices_lib.one(), stopping.StopFlag(), outcomes
    )
    assert [*runs, *outcomes] == [FINE, COARSE, bad]
    assert list(train_together.unfinished(outcomes)) == [(bad, "it is gone")]
    with train_together.contextlib.ExitStack() as held:
        program = together_program.Program(train_together._hold(runs, held, outcomes))
    program.load()
    program.fetch()
    for name, run in runs.items():
        assert run.skipped.name == f"{name}: "
        for leaf in jax.tree.leaves(run.state.params):
            assert (leaf == values[name]).all()
        rate = run.state.opt_state.hyperparams["learning_rate"]
        assert rate == pytest.approx(configs[name].train.fine_tuning_rate)


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


def test_a_run_at_work_elsewhere_or_with_a_bad_folder_is_left_out(two, tmp_path):
    runs = {
        name: types.SimpleNamespace(config=config, workdir=tmp_path / name)
        for name, config in [*two.items(), ("bad", two[FINE])]
    }
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text("{")
    with (
        locking.hold(tmp_path / FINE / locking.FILE_NAME),
        train_together.contextlib.ExitStack() as held,
    ):
        outcomes = {}
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                train_together.together_program,
                "Member",
                lambda run, saved, board: run,
            )
            members = train_together._hold(runs, held, outcomes)
        with (
            pytest.raises(locking.LockedError),
            locking.hold(tmp_path / COARSE / locking.FILE_NAME),
        ):
            pass
    assert members == [runs[COARSE]]
    assert list(outcomes) == [FINE, "bad"]
    assert train_together.at_work_elsewhere(outcomes) == [FINE]
    assert isinstance(outcomes["bad"], records.RecordError)
    assert [name for name, _ in train_together.unfinished(outcomes)] == ["bad"]


def test_runs_that_differ_in_seed_or_resolution_alone_are_grouped(two, tiny_data_dir):
    configs = dict(two, other=settings(tiny_data_dir, 1, 4))
    configs["rate"] = settings(tiny_data_dir, 0, 2, **{"train.learning_rate": 1e-4})
    configs["scheme"] = settings(tiny_data_dir, 0, 2, **{"label.scheme": "one_hot"})
    assert train_together.groups(configs) == [
        [FINE, COARSE, "other"],
        ["rate"],
        ["scheme"],
    ]
    assert train_together.groups(configs, 2)[:2] == [[FINE, COARSE], ["other"]]
    with pytest.raises(config_lib.ConfigError, match="scheme cannot be trained in one"):
        train_together.train_and_evaluate(configs, tiny_data_dir)
    # The L-1 network has maps of the grid.
    maps = {}
    for seed, resolution in ((0, 4), (1, 4), (0, 5)):
        config = l1.get_config("reduced")
        config.seed, config.label.resolution = seed, resolution
        maps[f"{resolution}{seed}"] = initialization.settle(config, None)
    assert train_together.groups(maps) == [["40", "41"], ["50"]]
