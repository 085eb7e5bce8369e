"""Steps that share a call: however many do, a run ends with the same bits."""

import jax
import numpy as np
import pytest
from conftest import tiny_config

from uld_jax.datasets import loader
from uld_jax.evaluation import evaluate
from uld_jax.runtime import stopping
from uld_jax.storage import run_folder
from uld_jax.training import history, loop, run, train

PERTURBED = {
    "data.clock_offset": 0.001,
    "data.position_error": 0.05,
    "data.gain_error": 3.0,
}


def call_with(monkeypatch, number):
    """Make calls of so many steps; return the list of those that are made."""
    done, calls = [], loop.Training._shared_calls

    def noted(self, epoch, first):
        self._steps_of_call = number
        for steps, in_step in calls(self, epoch, first):
            done.append(steps)
            yield steps, in_step

    monkeypatch.setattr(loop.Training, "_shared_calls", noted)
    monkeypatch.setattr(loop.Training, "_pace", lambda *_: number)
    return done


def end_of(config, folder):
    """Train; return what a record holds besides times, and all that was predicted."""
    epochs = train.train_and_evaluate(config, folder)["epochs"]
    for epoch in epochs:
        for key in history.TIMES:
            epoch.pop(key)
    with np.load(folder / "predictions.npz") as predictions:
        return epochs, dict(predictions)


def assert_same(one, other):
    assert one[0] == other[0]
    jax.tree.map(np.testing.assert_array_equal, one[1], other[1])


def test_neither_the_steps_of_a_call_nor_a_stop_between_two_change_a_bit(
    tiny_data_dir, tmp_path, monkeypatch
):
    """Six steps an epoch, saved after the fourth."""
    config = tiny_config(tiny_data_dir, **PERTURBED, **{"train.checkpoint_steps": 4})
    monkeypatch.setattr(loop, "_BLOCK", 5)
    with monkeypatch.context() as patch:
        done = call_with(patch, 1)
        alone = end_of(config, tmp_path / "alone")
        assert done == [1] * 12
    done = call_with(monkeypatch, 3)
    together = end_of(config, tmp_path / "together")
    assert done == 2 * [3, 1, 1, 1]
    assert_same(alone, together)

    look = run.Run.look

    def stop(self):
        if int(self.state.step) == 9:
            patch.setattr(run.Run, "look", look)
            self.save_last()
            self.wait_until_saved()
            raise stopping.Stopped("the test stops it")
        return look(self)

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "look", stop)
        with pytest.raises(stopping.Stopped):
            train.train_and_evaluate(config, tmp_path / "stopped")
    done.clear()
    assert train._place_before(run_folder.RunFolder(tmp_path / "stopped")) == "device"
    assert_same(alone, end_of(config, tmp_path / "stopped"))
    assert sum(done) == 3


def test_batches_in_a_call_are_those_of_the_disk(tiny_data_dir):
    whole, disk = (
        loader.RunData(
            tiny_config(tiny_data_dir, **PERTURBED, **{"data.held_on": place})
        )
        for place in ("device", "disk")
    )
    whole.load()
    disk.load()
    assert disk.resident is None
    block = whole.training_block(1, [2, 3, 5])
    make = jax.jit(whole.batch_of)
    expected = list(disk.training_batches(1, 2))
    for number, step in enumerate((2, 3, 5)):
        now = jax.tree.map(lambda values, number=number: values[number], block)
        batch = make(whole.resident, now)
        assert batch.keys() == expected[step - 2].keys()
        for key, values in expected[step - 2].items():
            # Gains may differ in last bits: compiled as part of something else.
            np.testing.assert_allclose(batch[key], values, rtol=1e-6)


def test_the_pace_follows_the_time_of_a_step():
    pace = loop.Training._pace
    assert pace(None, 1, 30.0) == 1
    assert pace(None, 1, 0.001) == 4
    assert pace(None, 4, 0.11) == 10
    assert pace(None, 10, 0.001) == loop._BLOCK


def test_what_is_compiled_ahead_is_what_evaluates(tiny_data_dir, tmp_path, monkeypatch):
    shapes, make = {"ahead": [], "called": []}, evaluate.make_eval_step

    def shapes_of(arguments):
        return jax.tree.map(lambda array: (array.shape, array.dtype), arguments)

    class Noted:
        def __init__(self, *arguments):
            self._step = make(*arguments)

        def lower(self, *arguments):
            shapes["ahead"].append(shapes_of(arguments))
            return self._step.lower(*arguments)

        def __call__(self, *arguments):
            shapes["called"].append(shapes_of(arguments))
            return self._step(*arguments)

    class OfAnAccelerator(loop.Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._compiles_ahead = True

    monkeypatch.setattr(loop.evaluate, "make_eval_step", Noted)
    monkeypatch.setattr(train.loop, "Training", OfAnAccelerator)
    config = tiny_config(tiny_data_dir, **{"train.epochs": 1})
    assert train.train_and_evaluate(config, tmp_path)["status"] == "done"
    (ahead,) = shapes["ahead"]
    assert ahead == shapes["called"][0]
