"""Whole runs of the network of votes: evidence kept or measured, steps of any shape."""

import json

import jax
import numpy as np
import pytest

from uld_jax import config as config_lib
from uld_jax.datasets import kept, loader, pipeline, prepare, sources
from uld_jax.networks import evidence
from uld_jax.runtime import stopping
from uld_jax.storage import checkpoints, integrity
from uld_jax.training import history, initialization, train


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    prepare.ensure_prepared(settings(folder), processes=1)
    return folder


def settings(data_dir, **overrides):
    overrides = {"data.dir": str(data_dir), "model.width": 8} | overrides
    return config_lib.load_config("ad1_multilateration:tiny", **overrides)


def finish(workdir, config, seconds=None):
    """Train, and return the record without times and the arrays of the best epoch."""
    record = train.train_and_evaluate(config, workdir, seconds=seconds)
    record = json.loads((workdir / "record.json").read_text())
    for epoch in record["epochs"]:
        for key in history.TIMES:
            epoch.pop(key)
    saved = checkpoints.read_arrays(
        workdir, record["best_epoch"], ("params", "statistics")
    )
    return record, integrity.by_name(saved)


@pytest.fixture(scope="module")
def unbroken(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return *finish(folder, settings(data_dir)), folder


def test_the_record_has_the_regions(unbroken):
    record, arrays, _ = unbroken
    test = record["test"]
    assert 0 <= test["coverage_90"] <= 1
    assert 0 < test["area_90"] < 100
    assert record["network"]["parameters"] == sum(map(np.size, arrays.values()))
    assert len(record["epochs"]) == 2


def test_an_interrupted_run_resumes_to_the_same_end(unbroken, data_dir, tmp_path):
    with pytest.raises(stopping.Stopped):
        finish(tmp_path, settings(data_dir), seconds=0.0)
    record, arrays = finish(tmp_path, settings(data_dir))
    assert record["test"] == unbroken[0]["test"]
    assert record["epochs"] == unbroken[0]["epochs"]
    jax.tree.map(np.testing.assert_array_equal, arrays, unbroken[1])


@pytest.mark.exact
def test_measured_evidence_trains_as_kept_evidence_does(unbroken, data_dir, tmp_path):
    record, arrays = finish(
        tmp_path, settings(data_dir, **{"data.keep_evidence": False})
    )
    assert record["test"] == unbroken[0]["test"]
    jax.tree.map(np.testing.assert_array_equal, arrays, unbroken[1])


def test_steps_have_their_shapes(data_dir):
    config = settings(data_dir)
    data = loader.RunData(config)
    data.load()
    assert isinstance(data.held_out["test"]._parts[0], kept.KeptData)
    shapes = set()
    for epoch in range(6):
        for step, batch in enumerate(data.training_batches(epoch, 0)):
            shape = data.shape(epoch * data.steps_per_epoch + step)
            assert batch["levels"].shape[:2] == (shape.num_examples, shape.num_nodes)
            pairs = shape.num_nodes * (shape.num_nodes - 1) // 2
            assert batch["envelopes"].shape[:2] == (shape.num_examples, pairs)
            assert batch["clock_offsets"].shape == batch["levels"].shape[:2]
            assert "audio" not in batch
            shapes.add(shape)
    assert len(shapes) == 2


def test_noisier_copies_are_the_examples_at_another_snr(data_dir):
    errors = ("clock_offset", "position_error", "gain_error", "coloring")
    changes = {f"data.{key}": 0.0 for key in errors}
    changes |= {"data.noisier_copies": 1, "train.step_shapes": "4x2"}
    config = settings(data_dir, **changes)
    data = loader.RunData(config)
    data.load()
    (signals,) = sources.open_data(config, sources.open_split(config, "train"), [None])
    noisier = pipeline.Changes(snr_db=kept.NoisierSnr(1))
    measure = jax.jit(evidence.measure)
    expected = np.concatenate(
        [
            measure(batch)["levels"]
            for change in (None, noisier)
            for batch in signals.batches(pipeline.in_order(4, 4), changes=change)
        ]
    )
    seen = []
    for step, batch in enumerate(data.training_batches(0, 0)):
        rows = data.example_ids(0, step)
        np.testing.assert_array_equal(batch["levels"], expected[rows])
        seen += rows
    assert sorted(seen) == list(range(8))


def test_methods_and_worse_conditions_get_signals(data_dir):
    config = config_lib.resolve_for_testing(settings(data_dir), source="compact")
    data = loader.RunData(config, ("test",), signals=True)
    data.load()
    (batch,) = data.held_out["test"].batches(pipeline.in_order(2, 2))
    assert batch["audio"].shape == (2, 4, 8000)


def test_a_trained_network_is_tested_at_another_resolution(
    unbroken, data_dir, tmp_path
):
    """And for another label: no parameter belongs to one."""
    for changes in ({"label.resolution": 40}, {"label.scheme": "one_hot"}):
        config = config_lib.copy(settings(data_dir, **changes))
        config.train.epochs = 0
        config = initialization.settle(config, str(unbroken[2]))
        record, arrays = finish(tmp_path / next(iter(changes)), config)
        jax.tree.map(np.testing.assert_array_equal, arrays, unbroken[1])
        assert record["best_epoch"] == 0
        assert record["test"] != unbroken[0]["test"]


def test_fresh_rooms_are_measured_step_by_step(data_dir):
    changes = {"data.source": "fresh", "data.epoch_examples": 4}
    config = settings(data_dir, **changes, **{"data.speech_hours": 0.01})
    prepare.ensure_prepared(config, processes=1)
    data = loader.RunData(config)
    data.load()
    for step, batch in enumerate(data.training_batches(0, 0)):
        shape = data.shape(step)
        assert batch["levels"].shape[:2] == (shape.num_examples, shape.num_nodes)
        assert "audio" not in batch


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.step_shapes", "5x2", "steps of 5 nodes; there are 4"),
        ("train.step_shapes", "4x3", "steps of 3 examples; there are 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(data_dir, key, value, message):
    with pytest.raises(ValueError, match=message):
        loader.RunData(settings(data_dir, **{key: value}))


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        ("ad1:tiny", {"train.step_shapes": "4x1"}, "step_shapes is '4x1'; network"),
        ("ad1:tiny", {"data.coloring": 1.0}, "coloring is 1.0; network 'adhoc'"),
        (
            "ad1_multilateration:tiny",
            {"train.step_shapes": "4x1 2x1"},
            "would use 2 nodes; network .* needs at least 3",
        ),
        (
            "ad1_multilateration:tiny",
            {"data.nodes_in_training": 3},
            "nodes_in_training is 3; --config.train.step_shapes says",
        ),
        ("ad1_multilateration:tiny", {"train.step_shapes": "4y1"}, "has '4y1'; give"),
        (
            "ad1_multilateration:tiny",
            {"data.noisier_copies": 1, "data.source": "fresh"},
            "it needs --config.data.source=compact",
        ),
        (
            "ad1_multilateration:tiny",
            {"model.source_heights": ("low",)},
            r"source_heights is \('low',\); it must be numbers",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(experiment, changes, message):
    with pytest.raises(config_lib.ConfigError, match=message):
        config_lib.load_config(experiment, **changes)
