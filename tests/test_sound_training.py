"""What is not finite is noted and not applied, in whole trainings."""

import json

import jax
import numpy as np
import pytest
from conftest import tiny_config

from uld_jax import checkpoints, run_data, train


@pytest.fixture
def spoil(monkeypatch):
    """Return a function that puts a NaN into the batches of some steps of the run."""

    def of(*steps):
        batches = run_data.RunData.training_batches

        def spoiled(self, epoch, first):
            for step, batch in enumerate(batches(self, epoch, first), first):
                audio = np.array(batch["audio"], np.float32)
                if epoch * self.steps_per_epoch + step in steps:
                    audio[2, 1, 100] = np.nan
                yield batch | {"audio": jax.device_put(audio)}

        monkeypatch.setattr(run_data.RunData, "training_batches", spoiled)

    return of


def test_a_bad_batch_is_noted_and_the_run_goes_on_and_is_traced(
    spoil, tiny_data_dir, tmp_path, capsys
):
    spoil(1, 7, 8)
    config = tiny_config(tiny_data_dir, **{"train.epochs": 4})
    record = train.train_and_evaluate(config, tmp_path, profile=True)
    assert record["status"] == "done"
    assert [epoch["train"]["skipped"] for epoch in record["epochs"]] == [1, 2, 0, 0]
    assert all(np.isfinite(epoch["train"]["loss"]) for epoch in record["epochs"])
    noted = json.loads((tmp_path / "skipped_steps.json").read_text())
    assert list(noted) == ["1", "7", "8"]
    assert noted["7"]["epoch"], noted["7"]["step"] == (2, 2)
    # What the batch was made of, as the order of that epoch has it.
    data = run_data.RunData(config)
    order = np.asarray(data._order(1)[1])
    assert noted["7"]["examples"] == order.tolist()
    assert noted["7"]["seed"] == config.seed
    # Steps 10 to 20 of 24 were traced.
    assert "trace of 11 steps" in capsys.readouterr().out
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size
    assert list((tmp_path / "profile").rglob("perfetto_trace.json.gz"))


def test_three_bad_batches_in_a_row_end_the_run_and_leave_its_best(
    spoil, tiny_data_dir, tmp_path
):
    spoil(8, 9, 10)
    config = tiny_config(tiny_data_dir, **{"train.checkpoint_steps": 1})
    record = train.train_and_evaluate(config, tmp_path)
    assert record["status"] == "diverged"
    assert "3 steps in a row" in record["reason"]
    assert len(json.loads((tmp_path / "skipped_steps.json").read_text())) == 3
    assert record["best_epoch"] == 1
    best = checkpoints.read_arrays(tmp_path, 1, ("params",))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(best))
    # Nothing was saved after it was over.
    assert {path.name for path in (tmp_path / "last").iterdir()} <= {"9", "10"}


def test_debug_nans_ends_where_it_arises_and_names_the_batch(
    spoil, tiny_data_dir, tmp_path
):
    spoil(2)
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        train.train_and_evaluate(tiny_config(tiny_data_dir), tmp_path)
    assert list(json.loads((tmp_path / "skipped_steps.json").read_text())) == ["2"]
