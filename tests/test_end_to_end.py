"""Whole runs on the tiny data set: commands, resumption, bad input."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import zipfile

import jax
import numpy as np
import optax
import pytest
from conftest import ROOT, tiny_config
from flax import nnx

from uld_jax import (
    checkpoints,
    datasets,
    locking,
    models,
    optimizer,
    records,
    schemes,
    train,
    training_step,
)

# Sends its process a signal, as a power cut or a scheduler would, before step 11, the fifth of
# the six of epoch 2. The state after step 8 is saved by then, that after 10 may be.
KILLED = """
import os, signal
from uld_jax import commands, main, run_data

batches = run_data.RunData.training_batches

def deadly(self, epoch, first):
    for step, batch in enumerate(batches(self, epoch, first), first):
        if (epoch, step) == (1, 4):
            os.kill(os.getpid(), signal.Signals[os.environ["TEST_SIGNAL"]])
        yield batch

run_data.RunData.training_batches = deadly
commands.run(main.main)
"""
# Fails where a run reaches for a corpus, a simulator or TensorFlow.
WITHOUT_CORPUS = """
import sys
from uld_jax import commands, corpora, main

def no_corpus(*_):
    raise RuntimeError("a corpus was opened")

corpora.load = corpora.open_speech = corpora.open_noise = no_corpus

def alone(arguments):
    main.main(arguments)
    heavy = {"tensorflow", "pyroomacoustics", "matplotlib", "soundfile", "soxr"}
    print("imported:", sorted(heavy & sys.modules.keys()))

commands.run(alone)
"""
FRESH = (
    "--config.data.source=fresh",
    "--config.data.epoch_examples=48",
    "--config.data.speech_hours=0.01",
)


def flags_of(data_dir, workdir, *more):
    return [
        "--config=experiments/l1.py",
        f"--workdir={workdir}",
        "--config.data.name=simulated/l1_tiny:1.0.0",
        f"--config.data.dir={data_dir}",
        "--config.data.speech=builtin",
        "--config.model.width=4",
        "--config.model.num_blocks=1",
        "--config.train.batch_size=8",
        "--config.train.epochs=3",
        "--config.train.checkpoint_steps=2",
        *more,
    ]


def adhoc_flags_of(data_dir, workdir, *more):
    return [
        "--config=experiments/ad2.py:reduced",
        f"--workdir={workdir}",
        "--config.data.name=simulated/ad2_tiny:1.0.0",
        f"--config.data.dir={data_dir}",
        "--config.data.speech=builtin",
        "--config.data.nodes_in_training=2",
        "--config.data.clock_offset=0.001",
        "--config.data.position_error=0.1",
        "--config.label.resolution=2",
        "--config.model.width=8",
        "--config.model.num_heads=2",
        "--config.model.num_blocks=1",
        "--config.data.source=fresh",
        "--config.data.epoch_examples=12",
        "--config.data.speech_hours=0.01",
        "--config.train.batch_size=2",
        "--config.train.epochs=3",
        "--config.train.checkpoint_steps=2",
        *more,
    ]


def run(*words, check=True, cwd=ROOT, env=None):
    result = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        check=False,
    )
    if check and result.returncode:
        raise AssertionError(f"exit code {result.returncode}:\n{result.stderr}")
    return result


def without_times(record):
    record = {k: v for k, v in record.items() if k not in ("times", "commit")}
    for epoch in record["epochs"]:
        epoch.pop("seconds")
    return record


def last_state(workdir):
    settings = json.loads((workdir / "settings.json").read_text())
    label = schemes.Label("uld", settings["label"]["resolution"])
    sources = 2 if "ad2" in settings["data"]["name"] else 1
    model = models.for_label(settings["model"], label, 8, sources, seed=7)
    _, state = training_step.init_state(model, optimizer.adamw(1e-3, 0.01))
    with checkpoints.Checkpoints(workdir) as saved:
        items, _ = saved.restore("last", training_step.to_items(state))
    return items


@pytest.fixture(scope="module")
def unbroken(tiny_data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    run("-m", "uld_jax.main", *flags_of(tiny_data_dir, workdir))
    return workdir


@pytest.fixture(scope="module")
def unbroken_fresh(tiny_data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken_fresh")
    run("-m", "uld_jax.main", *flags_of(tiny_data_dir, workdir, *FRESH))
    return workdir


@pytest.fixture(scope="module")
def unbroken_adhoc(tiny_data_dir, tmp_path_factory):
    """Return a run of two talkers, fresh rooms, and everything random there is."""
    workdir = tmp_path_factory.mktemp("unbroken_adhoc")
    run("-m", "uld_jax.main", *adhoc_flags_of(tiny_data_dir, workdir))
    return workdir


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("SIGKILL", -signal.SIGKILL, "unbroken"),
        ("SIGTERM", 75, "unbroken"),
        ("SIGTERM", 75, "unbroken_fresh"),
        ("SIGKILL", -signal.SIGKILL, "unbroken_adhoc"),
    ],
    ids=["SIGKILL", "SIGTERM", "fresh", "adhoc"],
)
def test_a_killed_run_goes_on_to_the_same_end(
    name, code, kind, request, tiny_data_dir, tmp_path
):
    """Same parameters, bit for bit, and same record as without the break."""
    unbroken = request.getfixturevalue(kind)
    flags = {
        "unbroken": lambda: flags_of(tiny_data_dir, tmp_path),
        "unbroken_fresh": lambda: flags_of(tiny_data_dir, tmp_path, *FRESH),
        "unbroken_adhoc": lambda: adhoc_flags_of(tiny_data_dir, tmp_path),
    }[kind]()
    killed = run("-c", KILLED, *flags, check=False, env={"TEST_SIGNAL": name})
    assert killed.returncode == code
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "running"
    # Killed, it has what it saved every two steps; asked to stop, it saves first.
    assert (tmp_path / "last" / ("8" if code < 0 else "11")).exists()
    resumed = run("-m", "uld_jax.main", *flags)
    assert "going on at epoch 2" in resumed.stdout
    assert "Epoch 1:" not in resumed.stdout
    jax.tree.map(
        np.testing.assert_array_equal, last_state(tmp_path), last_state(unbroken)
    )
    resumed, whole = (
        without_times(json.loads((folder / "record.json").read_text()))
        for folder in (tmp_path, unbroken)
    )
    assert resumed == whole
    mine, other = (
        dict(np.load(folder / "predictions.npz", allow_pickle=False))
        for folder in (tmp_path, unbroken)
    )
    jax.tree.map(np.testing.assert_array_equal, mine, other)


def test_fresh_rooms_need_the_held_out_splits_alone(tmp_path):
    """They are prepared as a data set of their own, and the record says so."""
    flags = flags_of(tmp_path / "data", tmp_path / "run", *FRESH)
    run("-m", "uld_jax.main", *flags, "--config.train.epochs=1")
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["data"]["name"] == "simulated/l1_tiny_held_out:1.0.0"
    assert record["data"]["sizes"] == {"validation": 12, "test": 20}
    assert record["data"]["training"]["source"] == "fresh"
    assert record["data"]["training"]["examples_per_epoch"] == 48
    table = run("-m", "uld_jax.tables", tmp_path / "run").stdout
    assert "48 fresh training segments an epoch" in table


def test_compact_data_train_without_a_corpus_or_a_simulator(tmp_path):
    data_dir = tmp_path / "data"
    config = tiny_config(
        data_dir,
        **{
            "data.name": "simulated/ad1_tiny:1.0.0",
            "data.source": "compact",
            "model.num_encoders": 1,
            "train.batch_size": 2,
        },
    )
    datasets.ensure_prepared(config, processes=1)
    flags = (
        "--config.data.name=simulated/ad1_tiny:1.0.0",
        "--config.model.num_encoders=1",
        "--config.train.batch_size=2",
        "--config.train.epochs=1",
    )
    result = run(
        *("-c", WITHOUT_CORPUS, *flags_of(data_dir, tmp_path / "compact", *flags)),
        "--config.data.source=compact",
    )
    assert "imported: []" in result.stdout
    record = json.loads((tmp_path / "compact" / "record.json").read_text())
    assert record["data"]["name"] == "simulated/ad1_tiny_compact:1.0.0"
    assert record["data"]["sizes"]["train"] == 4
    assert record["data"]["rendering"]["law"]["noise"] == "point"
    assert record["data"]["late_fields"]["test"] == "full"


def test_the_record_says_all(unbroken):
    record = json.loads((unbroken / "record.json").read_text())
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
    with np.load(unbroken / "predictions.npz", allow_pickle=False) as predictions:
        errors = predictions["predicted"] - predictions["positions"]
        mae = np.linalg.norm(errors, axis=-1).mean()
        np.testing.assert_allclose(predictions["planes"].sum((2, 3)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(record["test"]["mae"], mae, rtol=1e-5)


def test_tensorboard_events_are_written(unbroken):
    (path,) = (unbroken / "tensorboard").glob("events*")
    content = path.read_bytes()
    for tag in (b"validation/mae", b"train/loss", b"learning_rate"):
        assert content.count(tag) == 3


def test_a_finished_run_is_left_alone(unbroken, tiny_data_dir):
    before = (unbroken / "record.json").read_bytes()
    result = run("-m", "uld_jax.main", *flags_of(tiny_data_dir, unbroken))
    assert "is done already" in result.stdout
    assert (unbroken / "record.json").read_bytes() == before


def test_other_settings_in_the_same_folder_are_refused(unbroken, tiny_data_dir):
    flags = flags_of(tiny_data_dir, unbroken, "--config.train.learning_rate=0.5")
    result = run("-m", "uld_jax.main", *flags, check=False)
    assert result.returncode == 2
    assert "train.learning_rate: 0.001 -> 0.5" in result.stderr


def test_an_interrupted_sweep_lets_its_run_save(tiny_data_dir, tmp_path):
    flags = flags_of(tiny_data_dir, tmp_path, "--config.train.epochs=2000")
    command = [sys.executable, "-m", "uld_jax.sweep", *flags, "--scheme=uld"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    ) as sweep:
        output = []
        for line in sweep.stdout:
            output.append(line)
            if line.startswith("Epoch 1:"):
                sweep.send_signal(signal.SIGINT)
    assert sweep.returncode == 75, "".join(output)
    assert output[-1].startswith("stopped: the run was stopped")
    record = json.loads((tmp_path / "uld_I5_seed0" / "record.json").read_text())
    assert record["status"] == "running"
    assert record["epochs"]


def test_two_runs_in_one_folder_are_refused(tiny_data_dir, tmp_path):
    config = tiny_config(tiny_data_dir)
    with (
        locking.hold(tmp_path / "lock"),
        pytest.raises(locking.LockedError, match="another process is at work"),
    ):
        train.train_and_evaluate(config, tmp_path)


def test_a_run_does_not_go_on_with_other_data(tiny_data_dir, tmp_path):
    config = tiny_config(tiny_data_dir)
    records.write_json(
        tmp_path / "record.json", {"status": "running", "data": {"name": "other"}}
    )
    with pytest.raises(train.RunConflictError, match="on other data"):
        train.train_and_evaluate(config, tmp_path)


def test_the_time_limit_saves_and_the_sweep_goes_on(tiny_data_dir, tmp_path):
    flags = flags_of(tiny_data_dir, tmp_path, "--scheme=one_hot,heat_map")
    stopped = run("-m", "uld_jax.sweep", *flags, "--minutes=0.0001", check=False)
    assert stopped.returncode == 75
    assert "goes on with it" in stopped.stderr
    # A run that cannot be gone on with does not lose the others.
    broken = tmp_path / "one_hot_I6_seed0"
    shutil.rmtree(broken, ignore_errors=True)
    broken.mkdir()
    (broken / "settings.json").write_text('{"seed": 5}')
    half = run("-m", "uld_jax.sweep", *flags, check=False)
    assert half.returncode == 1
    assert "1 of 2 runs failed: one_hot_I6_seed0 (exit code 2)" in half.stderr
    shutil.rmtree(broken)
    whole = run("-m", "uld_jax.sweep", *flags)
    assert "heat_map_I6_seed0: done already" in whole.stdout
    nothing = (*flags, "--resolution=1")
    none = run("-m", "uld_jax.sweep", *nothing, check=False)
    assert none.returncode == 2
    assert "2 runs at I = 1 left out" in none.stdout
    assert "no run is left of the sweep" in none.stderr
    table = run("-m", "uld_jax.tables", tmp_path).stdout
    assert "| One-hot" in table
    assert "| HM" in table
    report = run("-m", "uld_jax.plots", tmp_path).stdout
    assert pathlib.Path(report.removeprefix("Report: ").strip()).exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.label.resolutoin=4"], "resolution"),
        (["--config.label.resolution=four"], "resolution"),
        (["--config.label.scheme=onehot"], "one_hot, heat_map"),
        (["--config.data.name=simulated/l2:1.0.0"], "simulated/l1_reduced:1.0.0"),
        (["--config.data.name=simulated/l1:1.0.0", "--noprepare"], "uld_jax.prepare"),
        (
            [
                "--config.data.name=simulated/l1:1.0.0",
                "--config.data.speech=no/where",
            ],
            "no/where' does not exist",
        ),
        (
            ["--config.data.speech=LibriSpeech"],
            "was prepared from the corpus 'builtin'",
        ),
        (["--config.train.batch_size=64"], "batch size 64 is larger than the 48"),
        (["--config.model.num_encoders=3"], "8 nodes cannot be divided among 3"),
        (["--config.data.nodes_in_training=9"], "9 nodes are to be heard and the data"),
        (["--config.model.name=adhoc"], "by config.default('adhoc')"),
        (["spare"], "unknown argument 'spare'"),
        (["--config=experiments/l1.py:tiny"], "no size 'tiny' of this experiment"),
        (["--config=experimnts/l1.py"], "experimnts/l1.py"),
    ],
)
def test_bad_input_is_told_before_any_work(flags, message, tiny_data_dir, tmp_path):
    workdir = tmp_path / "run"
    result = run(
        "-m", "uld_jax.main", *flags_of(tiny_data_dir, workdir, *flags), check=False
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not workdir.exists()
    assert not (tiny_data_dir / "simulated" / "l1").exists()


def test_the_data_from_disk_trains_to_the_same_parameters(
    unbroken, tiny_data_dir, tmp_path
):
    flags = flags_of(tiny_data_dir, tmp_path, "--config.data.on_device=False")
    run("-m", "uld_jax.main", *flags)
    jax.tree.map(
        np.testing.assert_array_equal, last_state(tmp_path), last_state(unbroken)
    )


@pytest.mark.parametrize("scheme", list(schemes.SCHEMES))
def test_a_step_is_the_gradient_of_the_loss(scheme, tiny_data_dir):
    """One step of plain gradient descent against a difference quotient."""
    from uld_jax import input_pipeline, objective

    config = tiny_config(tiny_data_dir, **{"label.scheme": scheme})
    label = schemes.Label(scheme, config.label.resolution)
    path = input_pipeline.dataset_path(config.data.name, config.data.dir)
    data = input_pipeline.DeviceData(input_pipeline.Split(path, "train"))
    batch = next(data.batches(input_pipeline.in_order(48, 8)))
    model = models.for_label(dict(config.model), label, 8, 1, seed=0)
    rate = 1e-3
    sgd = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
    graph, state = training_step.init_state(model, sgd)
    before = jax.tree.map(np.array, state.params)
    statistics = jax.tree.map(np.array, state.statistics)

    def mean_loss(params):
        network = nnx.merge(graph, params, statistics)
        network.train()
        logits = network(*objective.network_inputs(label, batch))
        return float(objective.losses(label, logits, batch)[0].mean())

    after = training_step.make_train_step(graph, sgd, label, seed=0)(state, batch)
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
    assert record["test"] is None


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
        "-m", "uld_jax.main", *flags, cwd=outside, env={"PYTHONPATH": str(site)}
    )
    assert "Preparing simulated/l1_tiny" in result.stdout
    record = json.loads((outside / "run" / "record.json").read_text())
    assert record["status"] == "done"
