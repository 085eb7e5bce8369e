"""The command `benchmark`: from a network and a label in files to a compared result."""

import json
import shutil

import numpy as np
import pytest
import whole_runs
from conftest import ROOT

from uld_jax.cli import benchmark
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.runtime import errors
from uld_jax.simulation import scenes
from uld_jax.training import benchmark as benchmark_lib
from uld_jax.training import train as train_lib
from uld_jax_experiments import benchmark as experiment

EXAMPLES = ROOT / "docs" / "examples"
REGRESSOR = f"{EXAMPLES / 'benchmark_regressor.py'}:NearLoudNodes"
LABEL = f"{EXAMPLES / 'benchmark_label.py'}:Gaussian"


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """Undo what a benchmark adds to the tables."""
    monkeypatch.setattr(build, "NETWORKS", dict(build.NETWORKS))
    monkeypatch.setattr(schemes, "SCHEMES", dict(schemes.SCHEMES))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmark_data")


def call(data_dir, *paths, **values):
    schemes.SCHEMES.pop("gaussian", None)  # Each call is a process of its own.
    config = experiment.get_config("tiny")
    config.data.dir = str(data_dir)
    config.train.epochs = 1
    for key in [key for key in values if "." in key]:
        config.update_from_flattened_dict({key: values.pop(key)})
    known = {flag.name: flag.default for flag in benchmark.FLAGS}
    given = known | {"config": config, "seed": ["0", "1"]} | values
    benchmark.main(whole_runs.SimpleNamespace(**given), list(map(str, paths)))


@pytest.mark.slow
def test_a_regressor_and_a_label_from_files_are_tested(data_dir, tmp_path, capsys):
    folder = tmp_path / "mine"
    call(data_dir, network=REGRESSOR, label=LABEL, workdir=str(folder))
    assert "new rooms new talkers" in capsys.readouterr().out
    result = json.loads((folder / "benchmark.json").read_text())
    assert list(result["errors"]) == list(scenes.POOL_GROUPS)
    assert list(result["sources"]) == [
        "benchmark_regressor.py:NearLoudNodes",
        "benchmark_label.py:Gaussian",
    ]
    assert result["versions"]["uld-jax"] and result["seeds"] == [0, 1]
    # The figures are those of the predictions, and the label's loss that of its code.
    with np.load(folder / "seed1" / "predictions.npz") as file:
        facts = dict(file)
    errors_of = np.linalg.norm(facts["predicted"] - facts["positions"], axis=-1)[:, 0]
    for number, name in enumerate(scenes.POOL_GROUPS):
        np.testing.assert_allclose(
            result["errors"][name][1], errors_of[number::4], atol=1e-4
        )
        value = result["groups"][name]["mae"]
        assert value["by_seed"][1] == pytest.approx(
            errors_of[number::4].mean(), abs=1e-4
        )
        assert value["low"] <= value["value"] <= value["high"]
    # A quarter each; seen rooms are those of the training.
    rooms = result["rooms"]
    seen = set(rooms["seen_rooms_seen_talkers"] + rooms["seen_rooms_new_talkers"])
    new = set(rooms["new_rooms_seen_talkers"] + rooms["new_rooms_new_talkers"])
    assert seen and new and not seen & new
    assert 0 < result["label"]["quantization_error"] < 0.5
    _refuse_another(data_dir, folder)
    _compare(data_dir, tmp_path, folder, capsys)


def _refuse_another(data_dir, folder):
    """Check that the folder holds one benchmark, which is not done again."""
    before = (folder / "seed0" / "predictions.npz").stat().st_mtime_ns
    call(data_dir, network=REGRESSOR, label=LABEL, workdir=str(folder))
    assert (folder / "seed0" / "predictions.npz").stat().st_mtime_ns == before
    for changes in (
        {"label": "uld"},
        {"network": "srp_phat"},
        {"seed": ["0"]},
        {"label.resolution": 3},
    ):
        given = {"network": REGRESSOR, "label": LABEL, "workdir": str(folder)}
        with pytest.raises(errors.InputError, match="holds another benchmark"):
            call(data_dir, **(given | changes))


def _compare(data_dir, tmp_path, folder, capsys):
    """Check that a result is closer than one that is a meter off everywhere."""
    worse = tmp_path / "worse.json"
    result = json.loads((folder / "benchmark.json").read_text())
    result["errors"] = {
        name: (np.array(values) + 1.0).tolist()
        for name, values in result["errors"].items()
    }
    worse.write_text(json.dumps(result))
    capsys.readouterr()
    call(data_dir, "compare", folder / "benchmark.json", worse)
    shown = capsys.readouterr().out
    assert shown.count("-1.000") >= 5 and shown.count("100 %") == 5


@pytest.mark.slow
def test_a_network_from_a_file_is_trained_for_each_seed(
    data_dir, tmp_path, monkeypatch
):
    """And resumed: what is finished is not trained again."""
    file = tmp_path / "network.py"
    shutil.copy(EXAMPLES / "add_network.py", file)
    folder = tmp_path / "levels"
    given = {"network": f"{file}:SPEC", "workdir": str(folder)}
    call(data_dir, **given)
    result = json.loads((folder / "benchmark.json").read_text())
    assert result["network"] == "levels" and result["parameters"] > 0
    assert result["label"]["quantization_error"] < 1e-5
    records = [
        json.loads((folder / f"seed{seed}" / "record.json").read_text())
        for seed in (0, 1)
    ]
    for number, record in enumerate(records):
        assert record["seed"] == number and record["status"] == "done"
        by_seed = result["groups"]["all"]["mae"]["by_seed"]
        assert by_seed[number] == pytest.approx(record["test"]["mae"], rel=1e-4)
    done = []
    whole = train_lib.train_and_evaluate
    monkeypatch.setattr(
        train_lib,
        "train_and_evaluate",
        lambda *given, **more: done.append(whole(*given, **more)) or done[-1],
    )
    call(data_dir, **given)
    assert [record["times"] for record in done] == [one["times"] for one in records]


@pytest.mark.parametrize(
    ("paths", "values", "message"),
    [
        ([], {}, "--network is required"),
        ([], {"network": "adhoc"}, "--workdir is required"),
        (["comapre"], {}, "unknown word 'comapre'"),
        (["compare", "a.json"], {}, "name two results, not 1"),
        (
            [],
            {"network": "adhoc", "workdir": "x", "seed": ["0", "0"]},
            "different whole",
        ),
        ([], {"network": "adhoc", "workdir": "x", "seed": ["a"]}, "--seed is 'a'"),
        ([], {"network": "adhok", "workdir": "x"}, "no network or method"),
        ([], {"network": "adhoc", "workdir": "x", "label": "udl"}, "no label 'udl'"),
    ],
)
def test_bad_input_ends_before_any_work(paths, values, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.InputError, match=message):
        call(tmp_path / "data", *paths, **values)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_regressor_that_predicts_nonsense_is_refused(data_dir, tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(
        "class Wrong:\n"
        "    def fit(self, train, validation, label, seed):\n"
        "        pass\n"
        "    def predict(self, batch):\n"
        "        return batch['room_size'][:, :2]\n"
    )
    with pytest.raises(errors.InputError, match=r"shape \[2, 2\].*\[2, 1, 2\]"):
        call(data_dir, network=f"{file}:Wrong", workdir=str(tmp_path / "run"))
    assert not (tmp_path / "run" / benchmark_lib.FILE_NAME).exists()
