"""Whole runs on the tiny data sets: commands, records, bad input."""

import json
import shutil
import zipfile

import jax
import made_records
import numpy as np
import optax
import pytest
from conftest import ROOT, tiny_config
from flax import nnx
from whole_runs import FRESH, TINY, flags_of, run

import uld_jax
from uld_jax import config as config_lib
from uld_jax.datasets import prepare, splits
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.runtime import errors
from uld_jax.storage import atomic, run_folder
from uld_jax.storage.run_folder import RunFolder
from uld_jax.training import history, train
from uld_jax.training import step as step_lib

# Fails if a run opens a corpus, and lists the heavy libraries it has imported.
WITHOUT_CORPUS = """
import sys
from uld_jax.audio import corpora, signals
from uld_jax.cli import app, train

def no_corpus(*_):
    raise RuntimeError("a corpus was opened")

signals.load = corpora.open_speech = corpora.open_noise = no_corpus

main = train.main

def alone(*arguments):
    main(*arguments)
    heavy = {"tensorflow", "pyroomacoustics", "matplotlib", "soundfile", "soxr"}
    print("imported:", sorted(heavy & sys.modules.keys()))

train.main = alone
app.main(["train", *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def finished(tiny_data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    run("-m", "uld_jax.cli", "train", *flags_of(tiny_data_dir, workdir))
    return workdir


def test_fresh_rooms_need_the_held_out_splits_alone(tmp_path):
    """These are prepared as a data set of their own, which the record names."""
    flags = flags_of(tmp_path / "data", tmp_path / "run", *FRESH)
    run("-m", "uld_jax.cli", "train", *flags, "--config.train.epochs=1")
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["data"]["name"] == "simulated/l1_tiny_held_out:1.0.0"
    assert record["data"]["sizes"] == {"validation": 12, "test": 20}
    assert record["data"]["training"]["source"] == "fresh"
    assert record["data"]["training"]["examples_per_epoch"] == 48
    table = run("-m", "uld_jax.cli", "tables", tmp_path / "run").stdout
    assert "48 fresh training segments an epoch" in table


@pytest.fixture(scope="module")
def compact_flags(tmp_path_factory):
    """Return a function to the flags of the tiny Ad-1, prepared in compact form."""
    data_dir = tmp_path_factory.mktemp("rooms")
    config = tiny_config(
        data_dir,
        **{
            "data.name": "simulated/ad1_tiny:1.0.0",
            "data.source": "compact",
            "model.num_encoders": 1,
            "train.batch_size": 2,
        },
    )
    prepare.ensure_prepared(config, processes=1)
    return lambda workdir: flags_of(
        data_dir,
        workdir,
        "--config.data.name=simulated/ad1_tiny:1.0.0",
        "--config.data.source=compact",
        "--config.model.num_encoders=1",
        "--config.train.batch_size=2",
        "--config.train.epochs=1",
    )


def test_compact_data_train_without_a_corpus_or_a_simulator(compact_flags, tmp_path):
    result = run("-c", WITHOUT_CORPUS, *compact_flags(tmp_path))
    assert "imported: []" in result.stdout
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["data"]["name"] == "simulated/ad1_tiny_compact:1.0.0"
    assert record["data"]["sizes"]["train"] == 4
    assert record["data"]["rendering"]["law"]["noise"] == "point"
    assert record["data"]["late_fields"]["test"] == "full"


def test_a_baseline_is_tested_once_and_is_in_the_table(compact_flags, tmp_path):
    flags = (
        "-m",
        "uld_jax.cli",
        "baseline",
        *compact_flags(tmp_path),
        "--method=tdoa_ls",
    )
    first = run(*flags).stdout
    record = (tmp_path / "record.json").read_bytes()
    again = run(*flags).stdout
    assert "done already" in again
    assert again.splitlines()[-1] == first.splitlines()[-1]
    assert (tmp_path / "record.json").read_bytes() == record
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as predictions:
        errors = predictions["predicted"] - predictions["positions"]
    mae = np.linalg.norm(errors, axis=-1).mean()
    np.testing.assert_allclose(json.loads(record)["test"]["mae"], mae, rtol=1e-5)
    assert "| TDOA" in run("-m", "uld_jax.cli", "tables", tmp_path).stdout
    other = run(*flags[:-1], "--method=srp_phat", check=False)
    assert other.returncode == 2
    assert "method: 'tdoa_ls' -> 'srp_phat'" in other.stderr


def test_the_record_is_complete(finished):
    record = json.loads((finished / "record.json").read_text())
    assert record["status"] == "done"
    assert record["settings"]["label"] == {
        "scheme": "uld",
        "resolution": 5,
        "outputs_per_axis": 6,
    }
    assert record["data"]["sizes"] == {"train": 48, "validation": 12, "test": 20}
    assert record["data"]["corpus"]["name"] == "builtin"
    assert len(record["epochs"]) == 3
    assert set(record["test"]) >= {
        "mae",
        "accuracy",
        "cell_accuracy",
        "median",
        "rmse",
        "p90",
        "quantization_error",
    }
    for key in ("seed", "versions", "commit", "hardware", "times"):
        assert key in record
    assert record["versions"]["uld-jax"]
    maes = [epoch["validation"]["mae"] for epoch in record["epochs"]]
    assert record["best_epoch"] == 1 + int(np.argmin(maes))
    for epoch in record["epochs"]:
        validation = epoch["validation"]
        assert 0 < validation["kl"] < validation["loss"]
    with np.load(finished / "predictions.npz", allow_pickle=False) as predictions:
        errors = predictions["predicted"] - predictions["positions"]
        mae = np.linalg.norm(errors, axis=-1).mean()
        np.testing.assert_allclose(predictions["planes"].sum((2, 3)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(record["test"]["mae"], mae, rtol=1e-5)


def test_training_from_python_equals_training_by_the_command(
    finished, tiny_data_dir, tmp_path
):
    """Bit for bit, as losses and metrics tell."""
    overrides = TINY | {"data.dir": str(tiny_data_dir)}
    config = uld_jax.load_config("l1", **overrides)
    record = uld_jax.train_and_evaluate(config, tmp_path, prepare=False)
    commanded = json.loads((finished / "record.json").read_text())
    for key in ("settings", "data", "network", "versions", "test", "best_epoch"):
        assert record[key] == commanded[key]
    for mine, other in zip(record["epochs"], commanded["epochs"], strict=True):
        times = dict.fromkeys(history.TIMES)
        assert mine | times == other | times


def test_tensorboard_events_are_written(finished):
    (path,) = (finished / "tensorboard").glob("events*")
    content = path.read_bytes()
    for tag in (b"validation/mae", b"train/loss", b"learning_rate"):
        assert content.count(tag) == 3


def test_a_finished_run_is_left_alone(finished, tiny_data_dir):
    before = (finished / "record.json").read_bytes()
    result = run("-m", "uld_jax.cli", "train", *flags_of(tiny_data_dir, finished))
    assert "is done already" in result.stdout
    assert (finished / "record.json").read_bytes() == before


def test_other_settings_in_the_same_folder_are_refused(finished, tiny_data_dir):
    flags = flags_of(tiny_data_dir, finished, "--config.train.learning_rate=0.5")
    result = run("-m", "uld_jax.cli", "train", *flags, check=False)
    assert result.returncode == 2
    assert "train.learning_rate: 0.001 -> 0.5" in result.stderr


def test_two_runs_in_one_folder_are_refused(tiny_data_dir, tmp_path):
    config = tiny_config(tiny_data_dir)
    with (
        RunFolder(tmp_path).lock(),
        pytest.raises(errors.LockedError, match="another process works in"),
    ):
        train.train_and_evaluate(config, tmp_path)


def test_a_run_is_not_resumed_on_other_data(tiny_data_dir, tmp_path):
    config = tiny_config(tiny_data_dir)
    settings = config_lib.to_dict(config)
    record = made_records.record("uld") | {"status": "running", "settings": settings}
    record["data"] = {"name": "other"}
    atomic.write_json(tmp_path / "record.json", record)
    with pytest.raises(run_folder.RunConflictError, match="on other data"):
        train.train_and_evaluate(config, tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.label.resolutoin=4"], "resolution"),
        (["--config.label.resolution=four"], "resolution"),
        (["--config.label.scheme=onehot"], "one_hot, heat_map"),
        (["--config.data.name=simulated/l2:1.0.0"], "simulated/l1_reduced:1.0.0"),
        (
            ["--config.data.name=simulated/l1:1.0.0", "--noprepare"],
            "uld_jax prepare",
        ),
        (
            [
                "--config.data.name=simulated/l1:1.0.0",
                "--config.data.speech=no/where",
            ],
            "no/where' does not exist",
        ),
        (
            ["--config.data.speech=LibriSpeech"],
            "was prepared with speech 'builtin'",
        ),
        (["--config.train.batch_size=64"], "batch size 64 is larger than the 48"),
        (
            ["--config.data.source=fresh", "--config.data.epoch_examples=7"],
            "has 7 fresh examples, fewer than the batch size of 8",
        ),
        (["--config.model.num_encoders=3"], "8 nodes cannot be divided among 3"),
        (["--config.data.nodes_in_training=4"], "nodes_in_training is 4; network"),
        (["--config.model.name=adhoc"], "by config.default('adhoc')"),
        (["spare"], "unknown argument 'spare'"),
        (["experiments/l1.py"], "pass --config=experiments/l1.py"),
        (["--config.model.widht=4"], "--config.model.widht: "),
        (["--workdir=README.md"], "'README.md' is a file"),
        (["--config=experiments/l1.py:small"], "no size 'small' of this experiment"),
        (
            ["--config=experimnts/l1.py"],
            "no experiment 'experimnts/l1.py'; there are ad1, ",
        ),
    ],
)
def test_bad_input_is_refused_before_any_work(flags, message, tiny_data_dir, tmp_path):
    workdir = tmp_path / "run"
    result = run(
        "-m",
        "uld_jax.cli",
        "train",
        *flags_of(tiny_data_dir, workdir, *flags),
        check=False,
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not workdir.exists()
    assert not (tiny_data_dir / "simulated" / "l1").exists()


@pytest.mark.parametrize("scheme", list(schemes.SCHEMES))
def test_a_step_is_the_gradient_of_the_loss(scheme, tiny_data_dir):
    """One step of plain gradient descent against a difference quotient."""
    from uld_jax.datasets import held, pipeline
    from uld_jax.networks import objective

    config = tiny_config(tiny_data_dir, **{"label.scheme": scheme})
    label = schemes.Label(scheme, config.label.resolution)
    path = prepare.dataset_path(config)
    data = held.DeviceData(splits.Split(path, "train").load())
    batch = next(data.batches(pipeline.in_order(48, 8)))
    model = build.for_label(dict(config.model), label, 8, 1, seed=0)
    rate = 1e-3
    sgd = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
    graph, state = step_lib.init_state(model, sgd)
    before = jax.tree.map(np.array, state.params)
    statistics = jax.tree.map(np.array, state.statistics)

    def mean_loss(params):
        network = nnx.merge(graph, params, statistics)
        network.train()
        logits = network(*objective.network_inputs(label, batch))
        return float(objective.losses(label, logits, batch)[0].mean())

    after = step_lib.make_train_step(graph, sgd, label, seed=0)(state, batch)
    np.testing.assert_allclose(after.sums["loss"], mean_loss(before), rtol=1e-4)
    step = jax.tree.map(lambda new, old: np.array(new) - old, after.params, before)
    squared = sum((leaf**2).sum() for leaf in jax.tree.leaves(step))
    half = jax.tree.map(lambda old, change: old + 0.01 * change, before, step)
    other = jax.tree.map(lambda old, change: old - 0.01 * change, before, step)
    slope = (mean_loss(half) - mean_loss(other)) / 0.02
    # Along the step, the loss falls by the squared step over the rate.
    np.testing.assert_allclose(slope, -squared / rate, rtol=0.05)


def test_a_loss_that_is_not_finite_ends_the_run_with_a_record(tiny_data_dir, tmp_path):
    # Decay then multiplies the parameters by a million in each step.
    rates = {"train.learning_rate": 1e3, "train.weight_decay": 1e3}
    config = tiny_config(tiny_data_dir, **rates)
    record = train.train_and_evaluate(config, tmp_path)
    assert record["status"] == "diverged"
    assert "3 steps in a row" in record["reason"]
    assert record["test"] is None
    assert len(json.loads((tmp_path / "skipped_steps.json").read_text())) == 3


def test_the_wheel_brings_builders_and_experiments(tiny_data_dir, tmp_path):
    """Installed from a wheel, outside the checkout, prepare and train still work."""
    source = tmp_path / "source"
    names = ("uld_jax", "data", "experiments", "pyproject.toml", "README.md", "LICENSE")
    for name in names:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    run(
        *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", tmp_path, source),
    )
    (wheel,) = tmp_path.glob("uld_jax-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        shipped = {name for name in file.namelist() if name.endswith(".py")}
        file.extractall(site)
    installed_as = {"uld_jax": "uld_jax"} | {
        name: f"uld_jax_{name}" for name in ("data", "experiments")
    }
    assert shipped == {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in installed_as.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    outside = tmp_path / "outside"
    outside.mkdir()
    flags = flags_of("datasets", "run", "--config.train.epochs=1")
    result = run(
        "-m", "uld_jax.cli", "train", *flags, cwd=outside, env={"PYTHONPATH": str(site)}
    )
    assert "Preparing simulated/l1_tiny" in result.stdout
    record = json.loads((outside / "run" / "record.json").read_text())
    assert record["status"] == "done"
