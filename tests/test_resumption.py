"""Whole runs that are interrupted and resumed: to the same end, bit for bit."""

import json
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT
from whole_runs import flags_of, run

from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.storage import checkpoints, locking
from uld_jax.storage import settings as settings_lib
from uld_jax.training import history, optimizer, step

# Sends its process a signal, as a power cut or a scheduler would, before step 11, the fifth of
# the six of epoch 2. The state after step 8 is saved by then, that after 10 may be.
KILLED = """
import os, signal, sys
from uld_jax.cli import app
from uld_jax.datasets import loader

batches = loader.RunData.training_batches

def deadly(self, epoch, first):
    for step, batch in enumerate(batches(self, epoch, first), first):
        if (epoch, step) == (1, 4):
            os.kill(os.getpid(), signal.Signals[os.environ["TEST_SIGNAL"]])
        yield batch

loader.RunData.training_batches = deadly
app.main(["train", *sys.argv[1:]])
"""


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


def without_times(record):
    record = {k: v for k, v in record.items() if k not in ("times", "commit")}
    record["settings"] = settings_lib.identity(record["settings"])
    for epoch in record["epochs"]:
        for key in history.TIMES:
            epoch.pop(key)
    return record


def last_state(workdir):
    settings = json.loads((workdir / "settings.json").read_text())
    label = schemes.Label("uld", settings["label"]["resolution"])
    sources = 2 if "ad2" in settings["data"]["name"] else 1
    model = build.for_label(settings["model"], label, 8, sources, seed=7)
    _, state = step.init_state(model, optimizer.adamw(1e-3, 0.01))
    with checkpoints.Checkpoints(workdir) as saved:
        items, _ = saved.restore("last", step.to_items(state))
    return items


@pytest.fixture(scope="module")
def unbroken(tiny_data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    run("-m", "uld_jax.cli", "train", *flags_of(tiny_data_dir, workdir))
    return workdir


@pytest.fixture(scope="module")
def unbroken_adhoc(tiny_data_dir, tmp_path_factory):
    """Return a run of two talkers, fresh rooms, and everything random there is."""
    workdir = tmp_path_factory.mktemp("unbroken_adhoc")
    run("-m", "uld_jax.cli", "train", *adhoc_flags_of(tiny_data_dir, workdir))
    return workdir


def assert_same_end(folder, unbroken):
    """Compare parameters bit for bit, records and predictions with an unbroken run's."""
    jax.tree.map(
        np.testing.assert_array_equal, last_state(folder), last_state(unbroken)
    )
    resumed, whole = (
        without_times(json.loads((run / "record.json").read_text()))
        for run in (folder, unbroken)
    )
    assert resumed == whole
    mine, other = (
        dict(np.load(run / "predictions.npz", allow_pickle=False))
        for run in (folder, unbroken)
    )
    jax.tree.map(np.testing.assert_array_equal, mine, other)


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("SIGKILL", -signal.SIGKILL, "unbroken"),
        ("SIGTERM", 75, "unbroken"),
        pytest.param(
            *("SIGKILL", -signal.SIGKILL, "unbroken_adhoc"), marks=pytest.mark.slow
        ),
    ],
    ids=["SIGKILL", "SIGTERM", "adhoc"],
)
def test_a_killed_run_resumes_to_the_same_end(
    name, code, kind, request, tiny_data_dir, tmp_path
):
    """Same parameters, bit for bit, and same record as without the break."""
    unbroken = request.getfixturevalue(kind)
    flags = {
        "unbroken": lambda: flags_of(tiny_data_dir, tmp_path),
        "unbroken_adhoc": lambda: adhoc_flags_of(tiny_data_dir, tmp_path),
    }[kind]()
    killed = run("-c", KILLED, *flags, check=False, env={"TEST_SIGNAL": name})
    assert killed.returncode == code
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "running"
    # Killed, it has what it saved every two steps; asked to stop, it saves first.
    assert (tmp_path / "last" / ("8" if code < 0 else "11")).exists()
    resumed = run("-m", "uld_jax.cli", "train", *flags)
    assert "resuming in epoch 2" in resumed.stdout
    assert "Epoch 1:" not in resumed.stdout
    assert_same_end(tmp_path, unbroken)


@pytest.mark.slow
def test_a_run_killed_again_and_again_resumes_to_the_same_end(
    unbroken, tiny_data_dir, tmp_path
):
    """As benchmarks/reliability/kills.py does at random points."""
    workdir = tmp_path / "run"
    flags = flags_of(tiny_data_dir, workdir)
    for kill in ("saving:40", "evaluating:2", "between epochs:5"):
        killed = run(
            ROOT / "benchmarks" / "reliability" / "kills.py",
            *("--child", *flags),
            check=False,
            env={"KILL_AT": kill},
        )
        assert killed.returncode == -signal.SIGKILL, kill
    run("-m", "uld_jax.cli", "train", *flags)
    assert_same_end(workdir, unbroken)


@pytest.mark.exact
def test_threads_and_batch_sizes_of_evaluation_change_nothing(
    unbroken, tiny_data_dir, tmp_path
):
    flags = flags_of(
        tiny_data_dir,
        tmp_path,
        "--config.data.read_threads=3",
        "--config.data.prefetch_batches=1",
        "--config.train.evaluation_batch_size=50",
    )
    run("-m", "uld_jax.cli", "train", *flags)
    assert_same_end(tmp_path, unbroken)


def test_an_interrupted_sweep_lets_its_run_save(tiny_data_dir, tmp_path):
    flags = flags_of(tiny_data_dir, tmp_path, "--config.train.epochs=2000")
    command = [sys.executable, "-m", "uld_jax.cli", "sweep", *flags, "--scheme=uld"]
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


def test_the_time_limit_saves_and_the_sweep_resumes(tiny_data_dir, tmp_path):
    flags = flags_of(tiny_data_dir, tmp_path, "--scheme=one_hot,heat_map")
    stopped = run("-m", "uld_jax.cli", "sweep", *flags, "--minutes=0.0001", check=False)
    assert stopped.returncode == 75
    assert "the same command resumes" in stopped.stderr
    # A run in which another process works is left to it.
    with locking.hold(tmp_path / "one_hot_I6_seed0" / "lock"):
        half = run("-m", "uld_jax.cli", "sweep", *flags)
        main = (
            *flags_of(tiny_data_dir, tmp_path / "one_hot_I6_seed0"),
            "--config.label.scheme=one_hot",
        )
        locked = run("-m", "uld_jax.cli", "train", *main, check=False)
    assert "1 of 2 runs are at work elsewhere: one_hot_I6_seed0" in half.stdout
    assert "another process works in" in locked.stderr
    assert locked.returncode == 3
    whole = run("-m", "uld_jax.cli", "sweep", *flags)
    assert "heat_map_I6_seed0: done already" in whole.stdout
    other = run(
        "-m", "uld_jax.cli", "sweep", *flags, "--config.train.epochs=4", check=False
    )
    assert other.returncode == 2
    assert "train.epochs: 3 -> 4" in other.stderr
    nothing = (*flags, "--resolution=1")
    none = run("-m", "uld_jax.cli", "sweep", *nothing, check=False)
    assert none.returncode == 2
    assert "Left out at I = 1: one_hot, heat_map;" in none.stdout
    assert "no run is left in the sweep" in none.stderr
    table = run("-m", "uld_jax.cli", "tables", tmp_path).stdout
    assert "| One-hot" in table
    assert "| HM" in table
    report = run("-m", "uld_jax.cli", "report", tmp_path).stdout
    assert pathlib.Path(report.removeprefix("Report: ").strip()).exists()
