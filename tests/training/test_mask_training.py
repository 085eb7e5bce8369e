"""Speech masks from settings to shared weights: train, stop, resume, share, load."""

import json

import jax
import numpy as np
import pytest

from uld_jax import config as config_lib
from uld_jax.datasets import mixtures
from uld_jax.pretrained import card, speech_masks, weights
from uld_jax.runtime import stopping
from uld_jax.storage import checkpoints, integrity, records, run_folder
from uld_jax.training import speech_masks as training
from uld_jax.training import train

TINY = {"data.epoch_examples": 4, "train.learning_rate": 0.01}


def settings(**overrides):
    return config_lib.load_config("speech_mask:tiny", **(TINY | overrides))


def finish(workdir, seconds=None, **overrides):
    """Train, and return the record without times and the arrays of the best epoch."""
    train.train_and_evaluate(settings(**overrides), workdir, seconds=seconds)
    record = json.loads((workdir / "record.json").read_text())
    for epoch in record["epochs"]:
        epoch.pop("seconds")
    saved = checkpoints.read_arrays(workdir, record["best_epoch"], ("params",))
    return record, integrity.by_name(saved)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    return *finish(folder), folder


def test_a_run_learns_and_its_record_is_complete(unbroken):
    record, arrays, folder = unbroken
    records.check_complete(record, "it")
    assert record["status"] == "done" and len(record["epochs"]) == 2
    first, last = (epoch["validation"]["loss"] for epoch in record["epochs"])
    assert last < first
    assert record["network"]["parameters"] == sum(map(np.size, arrays.values()))
    test = record["test"]
    assert 0 < test["mask_error"] < 1 and np.isfinite(test["loss"])
    assert sum(band["clips"] for band in test["by_snr"]) <= 8
    assert record["input_free_loss"] > 0
    assert "cross entropy" in training.describe(record)
    # Nothing is done again.
    assert train.train_and_evaluate(settings(), folder)["status"] == "done"


def test_an_interrupted_run_resumes_to_the_same_end(unbroken, tmp_path, monkeypatch):
    """Stopped after the first of the two steps of an epoch."""
    made = mixtures.Mixtures.batch
    stop = []

    def batch(self, step):
        if self._part == "train" and step == 0:
            stop.append(step)
        return made(self, step)

    monkeypatch.setattr(mixtures.Mixtures, "batch", batch)
    monkeypatch.setattr(
        stopping.StopFlag,
        "reason",
        lambda self: "enough" if stop and len(stop) < 2 else None,
    )
    with pytest.raises(stopping.Stopped, match="enough"):
        finish(tmp_path)
    stop += [0, 0]
    record, arrays = finish(tmp_path)
    assert record["epochs"] == unbroken[0]["epochs"]
    assert record["test"] == unbroken[0]["test"]
    for name, array in unbroken[1].items():
        np.testing.assert_array_equal(arrays[name], array)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    made = mixtures.Mixtures.batch

    def batch(self, step):
        found = made(self, step)
        return found | {"noise": found["noise"] * np.nan} if step == 3 else found

    monkeypatch.setattr(mixtures.Mixtures, "batch", batch)
    monkeypatch.setitem(training._HELD_OUT, "validation", ("dev", 2))
    record = train.train_and_evaluate(settings(), tmp_path)
    assert record["status"] == "diverged" and "not finite" in record["reason"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.epochs": 0}, "--config.train.epochs is 0"),
        ({"data.epoch_examples": 1}, "--config.data.epoch_examples 1; give"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path, overrides, message):
    with pytest.raises(training.SpeechMaskError, match=message):
        train.train_and_evaluate(settings(**overrides), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_settings_without_mixtures_are_refused(tmp_path):
    config = config_lib.resolve(config_lib.default("speech_mask"))
    with pytest.raises(training.SpeechMaskError, match="no section mixtures"):
        train.train_and_evaluate(config, tmp_path / "new")


def test_another_runs_folder_is_refused(unbroken):
    with pytest.raises(run_folder.RunConflictError, match=r"train.learning_rate"):
        train.train_and_evaluate(settings(**{"train.learning_rate": 1.0}), unbroken[2])


@pytest.fixture(scope="module")
def shared(unbroken):
    out = unbroken[2] / "shared"
    assert f"{out} holds " in card.share(unbroken[2], out, "Apache-2.0")
    return out


def test_shared_weights_are_those_of_the_run_in_half_precision(unbroken, shared):
    graph, params = speech_masks.load(shared)
    _, whole = speech_masks.load(unbroken[2])
    assert graph is not None
    for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(whole), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    sizes = sum(path.stat().st_size for path in shared.glob("*.safetensors"))
    assert sizes < 2.5 * unbroken[0]["network"]["parameters"] + 3000
    assert "Apache-2.0" in (shared / "README.md").read_text()


@pytest.mark.parametrize("where", [0.5, 0.98])
def test_a_flipped_bit_is_refused(shared, tmp_path, where):
    for path in shared.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / weights.FILE_NAME
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(weights.WeightsError, match="is damaged: its SHA-256"):
        speech_masks.load(tmp_path)


def test_other_networks_and_shapes_are_refused(unbroken):
    run = weights.read_run(unbroken[2], "it")
    other = run | {"settings": {"model": {"name": "adhoc"}}}
    with pytest.raises(
        speech_masks.MaskWeightsError, match="holds the network 'adhoc'"
    ):
        speech_masks.restore(other)
    model = run["settings"]["model"] | {"width": 16}
    other = run | {"settings": run["settings"] | {"model": model}}
    with pytest.raises(
        speech_masks.MaskWeightsError, match="does not fit its settings"
    ):
        speech_masks.restore(other)
