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
    records,
    run_data,
    stopping,
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


def test_a_run_is_named_as_a_folder_in_the_workdir():
    train_together.check_names([FINE, COARSE])
    for name in ("../a", "..", "a/b", ""):
        with pytest.raises(config_lib.ConfigError, match="cannot be the name of a"):
            train_together.check_names([FINE, name])
