"""Runs under worse conditions, on the tiny Ad-2 in compact form."""

import copy
import dataclasses
import json
import pathlib
import types

import numpy as np
import pytest
import whole_runs

from uld_jax import config as config_lib
from uld_jax.datasets import loader, perturbations, pipeline, prepare
from uld_jax.evaluation import conditions, predict, robustness
from uld_jax.pretrained import loading
from uld_jax.storage import records
from uld_jax.training import train


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = config_lib.default("adhoc")
    config.update_from_flattened_dict(
        {
            "data.name": "simulated/ad2_tiny:1.0.0",
            "data.dir": str(tmp_path_factory.mktemp("data")),
            "data.speech": "builtin",
            "data.source": "compact",
            "label.scheme": "uld",
            "label.resolution": 2,
            "model.width": 8,
            "model.num_heads": 2,
            "model.num_blocks": 1,
            "model.num_temporal_blocks": 0,
            "model.frames_per_step": 4,
            "train.batch_size": 2,
            "train.epochs": 1,
        }
    )
    config = config_lib.resolve(config)
    prepare.ensure_prepared(config, processes=1)
    return config


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "uld"
    train.train_and_evaluate(config, workdir)
    return records.read_records([workdir])[0]


@pytest.fixture(scope="module")
def data(config):
    data = loader.RunData(config, splits=("test",))
    data.load()
    return data


@pytest.fixture(scope="module", autouse=True)
def fewer_values():
    """Test two values of each condition at most: each may be compiled."""
    fewer = {
        name: kind._replace(values=kind.values[-2:])
        for name, kind in conditions.CONDITIONS.items()
    }
    fewer["num_nodes"] = conditions.Kind("{:g} nodes", (5.0, 3.0))
    fewer["snr_db"] = conditions.Kind("SNR {:g} dB", (-10.0,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "CONDITIONS", fewer)
        yield


@pytest.fixture(scope="module")
def note(run, data):
    robustness.test_runs([run], data, 2, batch_size=2)
    return json.loads((pathlib.Path(run["folder"]) / "conditions.json").read_text())


def test_all_conditions_are_noted_and_none_is_the_test(run, data, note):
    expected = [dataclasses.astuple(c) for c in robustness.all_conditions(data)]
    noted = [(c["name"], c["value"], c["rooms"]) for c in note["conditions"]]
    assert noted == expected
    for rooms in ("bare", "furnished"):
        assert ("num_nodes", 5.0, rooms) not in expected  # There are 4.
        assert ("snr_db", -10.0, rooms) in expected
    for key in ("mae", "median", "accuracy"):
        np.testing.assert_allclose(
            note["conditions"][0][key], run["test"][key], rtol=1e-5
        )
    # The tiny test split has all images anyway.
    full = note["conditions"][-2]
    assert full["rooms"] == "bare"
    assert full["name"] == "full_late_field"
    np.testing.assert_allclose(full["mae"], run["test"]["mae"], rtol=1e-5)
    furnished = note["conditions"][1]
    assert (furnished["name"], furnished["rooms"]) == ("none", "furnished")
    assert furnished["mae"] != note["conditions"][0]["mae"]
    varied = {c["mae"] for c in note["conditions"]}
    assert len(varied) > len(expected) / 2


def test_the_error_of_each_example_is_kept(run, note):
    path = pathlib.Path(run["folder"]) / "condition_errors.npz"
    with np.load(path) as kept:
        assert len(kept) == len(note["conditions"])
        for one in note["conditions"]:
            rooms = " furnished" * (one["rooms"] == "furnished")
            errors = kept[f"{one['name']}={one['value']:g}{rooms}"]
            assert errors.shape == (2, 2)  # Examples and talkers.
            assert errors.mean() == pytest.approx(one["mae"], rel=1e-5)


def test_an_interrupted_test_resumes(run, data, note):
    path = pathlib.Path(run["folder"]) / "conditions.json"
    cut = note | {"conditions": note["conditions"][:-2]}
    cut["conditions"][0] = cut["conditions"][0] | {"mae": 12.0}  # Not tested again.
    del cut["conditions"][0]["rooms"]  # As in records of before: bare.
    path.write_text(json.dumps(cut))
    robustness.test_runs([run], data, 2, batch_size=2)
    found = json.loads(path.read_text())["conditions"]
    assert found[0]["mae"] == 12.0
    assert [c["name"] for c in found] == [c["name"] for c in note["conditions"]]
    np.testing.assert_allclose(found[-2]["mae"], note["conditions"][-2]["mae"])
    path.write_text(json.dumps(note))


def test_some_conditions_can_be_chosen(run, data, note):
    path = pathlib.Path(run["folder"]) / "conditions.json"
    path.unlink()
    chosen = {"only": ["gain_error"], "rooms": ["bare"]}
    robustness.test_runs([run], data, 2, batch_size=2, **chosen)
    found = json.loads(path.read_text())["conditions"]
    assert [(c["name"], c["value"]) for c in found] == [("none", 0), ("gain_error", 3)]
    assert {c["rooms"] for c in found} == {"bare"}
    assert 0 <= found[1]["coverage_90"] <= 1
    path.write_text(json.dumps(note))
    assert robustness.check_names(["snr_db"]) == ["snr_db"]
    with pytest.raises(predict.PredictorError, match="no condition 'clocks'; there"):
        robustness.check_names(["clocks"])
    assert robustness.check_rooms(["bare"]) == ["bare"]
    with pytest.raises(predict.PredictorError, match="no rooms 'any'; there are bare"):
        robustness.check_rooms(["any"])


def test_conditions_of_other_examples_are_kept_and_refused(run, data, note):
    path = pathlib.Path(run["folder"]) / "conditions.json"
    with pytest.raises(predict.PredictorError, match="pass --examples=2 to resume"):
        robustness.test_runs([run], data, 1)
    other = copy.deepcopy(note)
    other["data"]["corpus"]["fingerprint"] = "another"
    path.write_text(json.dumps(other))
    with pytest.raises(predict.PredictorError, match="conditions of other examples"):
        robustness.test_runs([run], data, 2)
    assert json.loads(path.read_text()) == other
    path.write_text(json.dumps(note))


def test_the_command_adds_missing_conditions(run, config, note):
    path = pathlib.Path(run["folder"]) / "conditions.json"
    cut = note | {"conditions": note["conditions"][:-1]}
    path.write_text(json.dumps(cut))
    result = whole_runs.run(
        *("-m", "uld_jax.cli", "robustness", "--config=experiments/ad2.py:tiny"),
        f"--config.data.dir={config.data.dir}",
        f"--workdir={run['folder']}",
        "--examples=2",
        "--conditions=full_late_field",
        "--noprepare",
    )
    assert "1 runs have their conditions.json" in result.stdout
    found = json.loads(path.read_text())["conditions"]
    assert [c["name"] for c in found] == [c["name"] for c in note["conditions"]]
    path.write_text(json.dumps(note))


def one_batch(data, name, value, rooms="bare"):
    test = data.held_out["test"]
    order = pipeline.in_order(2, 2)
    condition = robustness.Condition(name, value, rooms)
    return next(robustness.batches(test, order, condition, data.num_nodes))


def test_a_condition_changes_what_its_name_says(data):
    plain = one_batch(data, "none", 0.0)
    late = one_batch(data, "clock_offset", 0.01)
    # Clocks are off by whole samples, in a circle, the same for all examples' sources.
    for one, other in zip(
        np.reshape(plain["audio"], (8, -1)),
        np.reshape(late["audio"], (8, -1)),
        strict=True,
    ):
        spectra = np.fft.rfft(np.stack([one, other]).astype(float))
        shift = np.fft.irfft(spectra[1] * np.conj(spectra[0])).argmax()
        np.testing.assert_array_equal(np.roll(one, shift), other)
    moved = one_batch(data, "position_error", 0.3)
    shift = np.asarray(moved["node_positions"]) - plain["node_positions"]
    assert 0.1 < shift[..., :2].std() < 0.6
    assert (shift[..., 2] == 0).all()
    assert one_batch(data, "num_nodes", 2.0)["audio"].shape[1] == 2
    furnished = one_batch(data, "none", 0.0, "furnished")
    assert np.abs(furnished["audio"] - np.asarray(plain["audio"], int)).max() > 100
    np.testing.assert_array_equal(furnished["room_size"], plain["room_size"])
    noisy = one_batch(data, "snr_db", -10.0)
    assert np.abs(noisy["audio"] - np.asarray(plain["audio"], int)).max() > 100


def test_a_run_on_other_data_is_refused(run, config, data):
    other = types.SimpleNamespace(
        data=types.SimpleNamespace(name="simulated/ad1_tiny:1.0.0")
    )
    with pytest.raises(predict.PredictorError, match=r"ad2_tiny:1.0.0; --config"):
        robustness.check_data_set(run, other)


def test_a_run_on_other_signals_is_refused(run, data):
    noisy = copy.deepcopy(run)
    noisy["data"]["rendering"]["law"]["noise"] = "diffuse"
    with pytest.raises(
        predict.PredictorError, match="noise field 'diffuse' -> 'point'"
    ):
        robustness.test_runs([noisy], data, 2)
    other = copy.deepcopy(run)
    other["data"]["corpus"]["fingerprint"] = "another"
    with pytest.raises(predict.PredictorError, match="speech 'another' -> "):
        robustness.test_runs([other], data, 2)


def test_conditions_fit_the_recipe_and_the_nodes(data):
    silent = copy.deepcopy(data.origin)
    silent["rendering"]["law"]["kind"] = "anechoic"
    bare = copy.copy(data)
    bare.origin, bare.num_nodes = silent, 8
    names = {c.name for c in robustness.all_conditions(bare)}
    assert names == {
        *("none", "clock_offset", "position_error", "gain_error", "num_nodes"),
        *("position_error_clocks_off", "gain_error_clocks_off"),
    }


def test_two_kinds_of_errors_come_together():
    both = robustness.Condition("position_error_clocks_off", 0.1).perturbation
    assert (both.clock_offset, both.position_error) == (0.002, 0.1)
    both = robustness.Condition("gain_error_clocks_off", 3.0).perturbation
    assert (both.clock_offset, both.gain_error) == (0.002, 3.0)
    assert not robustness.Condition("snr_db", 0.0).perturbation


def test_one_of_few_nodes_is_late():
    found = robustness.Condition("late_node", 0.2).perturbation
    draws = found.draw([(0, 1), (0, 2)], 30)
    assert draws.delays.shape == (2, 8)
    np.testing.assert_array_equal(draws.delays[:, 0], 3200.0)
    np.testing.assert_array_equal(draws.delays[:, 1:], 0.0)
    few = robustness.Condition("num_nodes", 8.0).perturbation.draw([(0, 1), (0, 2)], 30)
    np.testing.assert_array_equal(draws.nodes, few.nodes)  # The same as without it.
    audio = np.random.default_rng(0).normal(size=(2, 8, 8_000)).astype(np.float32)
    batch = {"audio": audio, "node_positions": np.zeros((2, 8, 3), np.float32)}
    moved = np.asarray(perturbations.apply(found, batch, draws)["audio"])
    np.testing.assert_array_equal(moved[:, 0], np.roll(audio[:, 0], 3200, axis=-1))
    np.testing.assert_array_equal(moved[:, 1:], audio[:, 1:])


def test_what_is_random_in_a_condition_depends_on_the_example_alone(data):
    """One by one, or both in a batch."""
    test = data.held_out["test"]
    condition = robustness.Condition("position_error", 0.3)
    places = [
        np.concatenate(
            [
                batch["node_positions"]
                for batch in robustness.batches(
                    test, pipeline.in_order(2, size), condition, data.num_nodes
                )
            ]
        )
        for size in (1, 2)
    ]
    np.testing.assert_array_equal(*places)
    assert (places[0][0] != places[0][1]).any()


def test_a_network_for_other_sources_is_refused(run, data):
    with pytest.raises(loading.NetworkError, match="does not fit 1 sources"):
        loading.restore_network(run, 4, num_sources=1)


def test_a_network_that_was_not_kept_is_an_error(run):
    with pytest.raises(loading.NetworkError, match="no network of epoch 7"):
        loading.restore_network(run | {"best_epoch": 7}, 4, num_sources=2)
