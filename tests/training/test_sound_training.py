"""Whole trainings note what is not finite and skip it."""

import functools
import json
import shutil
import types

import jax
import numpy as np
import pytest
from conftest import tiny_config

from uld_jax.datasets import loader
from uld_jax.runtime import stopping
from uld_jax.storage import checkpoints, run_folder
from uld_jax.training import run, train

# So that each step has a batch of its own, to be spoiled.
STEP_BY_STEP = {"data.held_on": "disk"}


@pytest.fixture
def spoil(monkeypatch):
    """Return a function that puts a NaN into the batches of some steps of the run."""

    def of(*steps):
        batches = loader.RunData.training_batches

        def spoiled(self, epoch, first):
            for step, batch in enumerate(batches(self, epoch, first), first):
                audio = np.array(batch["audio"], np.float32)
                if epoch * self.steps_per_epoch + step in steps:
                    audio[2, 1, 100] = np.nan
                yield batch | {"audio": jax.device_put(audio)}

        monkeypatch.setattr(loader.RunData, "training_batches", spoiled)

    return of


def test_a_bad_batch_is_noted_and_the_run_continues_and_is_traced(
    spoil, tiny_data_dir, tmp_path, capsys
):
    spoil(1, 7, 8)
    config = tiny_config(tiny_data_dir, **{"train.epochs": 4, **STEP_BY_STEP})
    record = train.train_and_evaluate(config, tmp_path, profile=True)
    assert record["status"] == "done"
    assert [epoch["train"]["skipped"] for epoch in record["epochs"]] == [1, 2, 0, 0]
    assert all(np.isfinite(epoch["train"]["loss"]) for epoch in record["epochs"])
    noted = json.loads((tmp_path / "skipped_steps.json").read_text())
    assert list(noted) == ["1", "7", "8"]
    assert (noted["7"]["epoch"], noted["7"]["step"]) == (2, 2)
    # What the batch was made of, as the order of that epoch has it.
    data = loader.RunData(config)
    order = np.asarray(data._order(1)[1])
    assert noted["7"]["examples"] == order.tolist()
    assert noted["7"]["seed"] == config.seed
    # Steps 10 to 20 of 24 were traced.
    assert "trace of steps 10 to 20" in capsys.readouterr().out
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size
    assert list((tmp_path / "profile").rglob("perfetto_trace.json.gz"))


def test_three_bad_batches_in_a_row_end_the_run_and_leave_its_best(
    spoil, tiny_data_dir, tmp_path
):
    spoil(8, 9, 10)
    config = tiny_config(tiny_data_dir, **{"train.checkpoint_steps": 1, **STEP_BY_STEP})
    record = train.train_and_evaluate(config, tmp_path)
    assert record["status"] == "diverged"
    assert "3 steps in a row" in record["reason"]
    assert len(json.loads((tmp_path / "skipped_steps.json").read_text())) == 3
    assert record["best_epoch"] == 1
    best = checkpoints.read_arrays(tmp_path, 1, ("params",))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(best))
    # Nothing was saved after it was over.
    assert {path.name for path in (tmp_path / "last").iterdir()} <= {"9", "10"}


def test_what_is_skipped_before_a_stop_is_noted_and_not_blamed_on_others(
    spoil, tiny_data_dir, tmp_path, monkeypatch
):
    """Also where nobody has looked before, and under --debug_nans afterwards."""
    spoil(2)
    config = tiny_config(tiny_data_dir, **STEP_BY_STEP)
    asked = iter([None, None, None, "time is up"])
    with monkeypatch.context() as patched, pytest.raises(stopping.Stopped):
        patched.setattr(stopping.StopFlag, "reason", lambda self: next(asked))
        train.train_and_evaluate(config, tmp_path)
    assert list(json.loads((tmp_path / "skipped_steps.json").read_text())) == ["2"]
    written = json.loads((tmp_path / "record.json").read_text())
    shutil.copytree(tmp_path, tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost" / "last")
    record = written | {"epochs": [{}, {}]}
    (tmp_path / "lost" / "record.json").write_text(json.dumps(record))
    with pytest.raises(
        checkpoints.CheckpointError, match="though the run has finished 2"
    ):
        train.train_and_evaluate(config, tmp_path / "lost")
    with jax.debug_nans(True):
        record = train.train_and_evaluate(config, tmp_path)
    assert record["status"] == "done"
    assert [epoch["train"]["skipped"] for epoch in record["epochs"]] == [1, 0]
    assert list(json.loads((tmp_path / "skipped_steps.json").read_text())) == ["2"]


def state_of(step):
    return {"params": {"w": np.full(3, step, np.float32)}, "statistics": {}}


def test_a_run_resumes_only_from_a_state_whose_best_state_is_good(tmp_path, capsys):
    notes = {step: {"best_mae": 1.0 / step, "best_step": step} for step in (1, 2)}

    def newest():
        fake = types.SimpleNamespace(folder=run_folder.RunFolder(tmp_path))
        fake._network_items = lambda: state_of(0)
        fake._check_best = functools.partial(run.Run._check_best, fake)
        with checkpoints.Checkpoints(tmp_path) as saved:
            return run.Run._restore_last(fake, saved, state_of(0))

    assert newest() is None
    with checkpoints.Checkpoints(tmp_path) as saved:
        for step, note in notes.items():
            saved.save("best", step, state_of(step), {"epoch": step})
            saved.save("last", step, state_of(step), note)
    assert newest()[1] == notes[2]
    for step in (2, 1):
        (file,) = (tmp_path / "best" / str(step) / "note").glob("metadata")
        file.write_text(file.read_text().replace("epoch", "epocb"))
        capsys.readouterr()
        if step == 2:
            state, note = newest()
            assert note == notes[1]
            assert state["params"]["w"][0] == 1.0
            assert "best/2" in capsys.readouterr().out
    with pytest.raises(checkpoints.CheckpointError, match="best/2"):
        newest()
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == ["1", "2"]


def test_debug_nans_ends_where_it_arises_and_names_the_batch(
    spoil, tiny_data_dir, tmp_path
):
    spoil(2)
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        train.train_and_evaluate(tiny_config(tiny_data_dir), tmp_path)
    assert list(json.loads((tmp_path / "skipped_steps.json").read_text())) == ["2"]
