"""Methods of compact arrays, tested as `uld_jax baseline` does; networks are trained."""

import json
import re

import numpy as np
import pytest
from conftest import tiny_config
from saved_networks import make_run

from uld_jax import config as config_lib
from uld_jax.datasets import loader
from uld_jax.evaluation import baseline, predict, robustness
from uld_jax.localization import batches
from uld_jax.storage import records
from uld_jax.training import train


def tiny(data_dir, **overrides):
    """Return settings of networks of directions, on the tiny L-1."""
    config = config_lib.default("directions")
    config.update_from_flattened_dict(
        {
            "data.name": "simulated/l1_tiny:1.0.0",
            "data.dir": str(data_dir),
            "data.speech": "builtin",
            "label.resolution": 12,
            "model.width": 4,
            "model.num_blocks": 0,
            "train.batch_size": 8,
            "train.epochs": 1,
            **overrides,
        }
    )
    return config_lib.resolve(config)


@pytest.fixture(scope="module")
def trained(tiny_data_dir, tmp_path_factory):
    """Return the folder of finished networks of directions."""
    folder = tmp_path_factory.mktemp("l1") / "azimuth"
    train.train_and_evaluate(tiny(tiny_data_dir), folder)
    return folder


def run_method(tiny_data_dir, method, folder, **more):
    config = config_lib.resolve_for_testing(tiny_config(tiny_data_dir))
    return baseline.test_method(config, method, folder, **more)


def test_networks_are_trained_to_a_position_and_a_map(trained):
    (record,) = records.read_records(trained)
    assert record["settings"]["label"]["scheme"] == "azimuth"
    test = record["test"]
    assert 0 <= test["coverage_90"] <= 1 and test["area_90"] > 0
    with np.load(trained / "predictions.npz", allow_pickle=False) as file:
        errors = np.linalg.norm(file["predicted"] - file["positions"], axis=-1)
        planes = file["planes"]
    np.testing.assert_allclose(test["mae"], errors.mean(), rtol=1e-5)
    assert planes.shape[2:] == (48, 48)
    np.testing.assert_allclose(planes.sum((2, 3)), 1.0, rtol=1e-4)


def test_stages_use_the_networks_of_a_run(trained, tiny_data_dir):
    folder = trained.parent / "stage_wise"
    record = run_method(tiny_data_dir, "stage_wise", folder, run=str(trained))
    assert record["settings"]["run"] == "../azimuth"
    assert 0 <= record["test"]["coverage_90"] <= 1
    assert str(trained) not in json.dumps(record)
    again = run_method(tiny_data_dir, "stage_wise", folder, run=str(trained))
    assert again["test"] == record["test"]
    # As a run among others, where its networks are found again.
    (run,) = records.read_records(folder)
    data = loader.RunData(
        config_lib.resolve_for_testing(tiny_config(tiny_data_dir)),
        splits=("test",),
        signals=True,
    )
    assert callable(robustness._make_step(run, data))
    for name, value in (("num_nodes", 5.0), ("position_error", 0.1)):
        condition = robustness.Condition(name, value)
        assert not robustness._is_missing(condition, run, {"conditions": []})
    late = robustness.Condition("clock_offset", 0.01)
    assert robustness._is_missing(late, run, {"conditions": []})


def test_music_localizes_a_data_set(tiny_data_dir, tmp_path):
    record = run_method(tiny_data_dir, "music", tmp_path / "music")
    # Hardly any of 20 talkers is behind an array.
    assert record["test"]["median"] < 0.1
    assert record["test"]["coverage_90"] > 0.5


@pytest.mark.parametrize(
    ("method", "run", "message"),
    [
        (
            "stage_wise",
            None,
            "stage_wise needs trained networks: give uld_jax baseline",
        ),
        ("music", "runs/x", "--run is 'runs/x'; music uses no network: remove it"),
        ("stage_wise", "runs/none", "'runs/none' is not the folder of a run"),
    ],
)
def test_runs_that_do_not_fit_methods_are_refused(
    method, run, message, tiny_data_dir, tmp_path
):
    with pytest.raises(ValueError, match=re.escape(message)):
        run_method(tiny_data_dir, method, tmp_path / "x", run=run)
    assert not (tmp_path / "x").exists()


def test_networks_of_another_kind_are_refused(tiny_data_dir, tmp_path):
    run = make_run(tmp_path / "uld", "encoder_decoder")
    with pytest.raises(batches.RecordingError, match="run of the network 'encoder_"):
        run_method(tiny_data_dir, "stage_wise", tmp_path / "x", run=str(run))


def test_scattered_nodes_are_refused_before_they_are_rendered(tmp_path):
    config = config_lib.load_config("ad1:tiny", **{"data.dir": str(tmp_path / "data")})
    config = config_lib.resolve_for_testing(config)
    with pytest.raises(batches.RecordingError, match="m from the nearest other; this"):
        baseline.test_method(config, "music", tmp_path / "run")
    assert not (tmp_path / "data").exists() and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"label.scheme": "uld"}, "'uld', which labels no directions of arrays"),
        ({"model.arrays": (0.1, 3.0)}, r"--config.model.arrays is \(0.1, 3.0\)"),
        ({"label.resolution": 2}, "azimuth needs at least 3 directions"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides, message, tmp_path):
    with pytest.raises(config_lib.ConfigError, match=message):
        tiny(tmp_path, **overrides)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(predict.PredictorError, match="tdoa_ls, music, stage_wise"):
        predict.check_method("loudest", 1)
