"""The race against PyTorch: the networks are the same, and ratios are of turns."""

import os
import re
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from tiny_networks import TINY, batch

from uld_jax import config as config_lib

sys.path.insert(0, str(ROOT / "benchmarks"))

from race import contest, data, run

RESOLUTION = 2


def entry_of(kind, **more):
    name, num_nodes, num_sources, num_samples, changes = TINY[kind]
    network = config_lib.to_dict(config_lib.default(name).model) | changes
    network |= {"num_nodes": num_nodes, "num_sources": num_sources}
    if name == "adhoc":
        network |= {"dropout": 0.0, "frames_per_step": 2}
    return {
        "network": network | {"resolution": RESOLUTION} | more,
        "num_samples": num_samples,
        "num_examples": 100,
        "batch_size": 2,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "precision": "float32",
        "compile_mode": "default",
    }


@pytest.fixture
def equality():
    pytest.importorskip("torch", reason="needs PyTorch: `make test-race` runs it")
    from race import equality

    return equality


def differences(equality, entry, kind):
    from race import networks

    network = networks.build(entry["network"])
    return equality.differences(entry, batch(kind, 3), network)


@pytest.mark.parametrize("kind", TINY)
def test_outputs_loss_and_gradients_of_both_are_equal(equality, kind):
    found = differences(equality, entry_of(kind), kind)
    assert found.keys() == {"evaluation", "training", "loss", "gradients"}
    assert max(found.values()) < 1e-5


def test_networks_that_differ_do_not_race(equality, monkeypatch):
    from race import networks

    monkeypatch.setattr(networks, "_COMPRESSION", 0.31)
    with pytest.raises(equality.UnequalError, match=r"differ by .* in evaluation"):
        differences(equality, entry_of("one_talker"), "one_talker")


def test_weights_of_another_network_are_refused(equality):
    from race import networks

    entry = entry_of("one_talker")
    network = networks.build(entry_of("one_talker", num_blocks=2)["network"])
    with pytest.raises(ValueError, match=r"no blocks\.1"):
        equality.differences(entry, batch("one_talker", 3), network)
    network = networks.build(entry_of("one_talker", num_blocks=0)["network"])
    with pytest.raises(ValueError, match="the networks differ in parts"):
        equality.differences(entry, batch("one_talker", 3), network)


def test_settings_the_race_lacks_are_refused(equality):
    from race import networks

    with pytest.raises(ValueError, match="fusion is 'attention'"):
        networks.build(entry_of("one_talker", fusion="attention")["network"])


def test_contestants_take_turns(equality, tmp_path):
    """Those of PyTorch that need no compiler; a stopped one goes on, with workers."""
    entry = entry_of("one_talker")
    contest.prepare(tmp_path, entry, with_torch=True)
    shown = contest.hold(tmp_path, ("torch eager", "torch shipped"), 0.0, 0.01)
    for one in shown:
        assert one["seconds_to_first_step"] > 0
        assert 1e7 < one["memory"] < 1e11
        assert len(one["turns"]) == 5
        for turn in one["turns"]:
            assert turn["steps"] >= 2
            assert np.isfinite(turn["loss"])
            assert turn["seconds"] > 0
    # Both learn the same few examples by heart.
    first, last = ([one["turns"][n]["loss"] for one in shown] for n in (0, -1))
    assert np.all(np.less(last, first))


def test_a_contestant_that_fails_ends_the_race(tmp_path):
    (tmp_path / "entry.json").write_text("{}")
    with pytest.raises(contest.RaceError, match="nobody ended with exit code 1"):
        contest.hold(tmp_path, ("nobody",), 0.0, 0.01)


def test_nothing_in_the_package_imports_pytorch():
    for path in [*(ROOT / "uld_jax").glob("*.py"), *(ROOT / "data").rglob("*.py")]:
        assert not re.search(r"^\s*(import|from) torch", path.read_text(), re.MULTILINE)


def turns(seconds, steps=2):
    return [
        {"steps": steps, "seconds": s, "cpu_seconds": 2 * s, "device_memory": None}
        for s in seconds
    ]


def test_ratios_are_of_turns_not_of_means():
    """Other work slows a turn of both; the ratio is 3 in each, but for one."""
    ours, theirs = [1.0, 10.0, 1.0, 1.0], [3.0, 30.0, 3.0, 9.0]
    shown = [
        {
            "kind": kind,
            "device": "cpu",
            "seconds_to_first_step": 5.0,
            "memory": 2e9,
            "turns": turns(s),
        }
        for kind, s in (("uld_jax", ours), ("torch tuned", theirs))
    ]
    raced = entry_of("l1") | {"batch_size": 6, "num_examples": 3600}
    first, second = run.compare(raced, shown)
    assert first["uld_jax is times as fast"] == ""
    assert second["uld_jax is times as fast"] == "3.00 (3.00 to 4.50)"
    assert first["examples/s"] == 12.0
    assert first["minutes an epoch"] == 5.0
    assert first["CPU ms/example"] == pytest.approx(1e3 * 26 / 48)
    assert first["memory GB"] == 2.0
    assert first["device"] == "cpu"
    assert "device memory GB" not in first


def test_full_and_reduced_experiments_are_raced_as_they_are_trained():
    full, reduced = (run.entry("ad1", s, "float32", "x") for s in ("full", "reduced"))
    assert (full["batch_size"], full["num_examples"]) == (32, 18_000)
    assert (reduced["batch_size"], reduced["num_examples"]) == (8, 3200)
    assert full["network"]["num_nodes"] == reduced["network"]["num_nodes"] == 15
    assert (full["network"]["width"], full["network"]["resolution"]) == (256, 16)
    assert run.entry("l1", "full", "float32", "x")["network"]["num_nodes"] == 8


def test_unknown_networks_are_told_with_those_there_are():
    with pytest.raises(contest.RaceError, match=r"no network l2 .* l1, ad1, ad2"):
        run.rows(("l1", "l2"), "reduced", minutes=1.0)
    with pytest.raises(contest.RaceError, match=r"no precision int8 .* bfloat16"):
        run.rows(("l1",), "reduced", minutes=1.0, precisions=("int8",))
    with pytest.raises(contest.RaceError, match=r"no contestant lazy .* tuned, eager"):
        run.kinds_of("uld_jax,lazy")


def test_chosen_contestants_race_against_ours():
    assert run.kinds_of("eager,tuned") == ("uld_jax", "torch tuned", "torch eager")
    assert run.kinds_of("uld_jax") == ("uld_jax",)


def test_rows_are_told_after_each_race(monkeypatch):
    """Of two races the second fails: the first one's rows are there."""
    held, told = [], []

    def hold(folder, kinds, *_):
        held.append(kinds)
        if len(held) == 2:
            raise contest.RaceError("cut off")
        facts = {"device": "cpu", "seconds_to_first_step": 5.0, "memory": 2e9}
        return [facts | {"kind": kind, "turns": turns([1.0])} for kind in kinds]

    monkeypatch.setattr(run.contest, "prepare", lambda *_: None)
    monkeypatch.setattr(run.contest, "hold", hold)
    with pytest.raises(contest.RaceError, match="cut off"):
        run.rows(
            ("l1", "ad1"),
            "reduced",
            minutes=1.0,
            kinds=("uld_jax",),
            done=lambda table: told.append(list(table)),
        )
    assert [[row["network"] for row in table] for table in told] == [["l1, reduced"]]


def test_a_cpu_does_not_race_a_gpu():
    ours, theirs = (
        SimpleNamespace(kind=kind, platform=platform, device=device)
        for kind, platform, device in (
            ("uld_jax", "cpu", "cpu"),
            ("torch tuned", "gpu", "NVIDIA H100"),
        )
    )
    with pytest.raises(
        contest.RaceError,
        match=r"uld_jax is on cpu .* torch tuned on gpu \(NVIDIA H100\).* pip install",
    ):
        contest.check_devices(ours, theirs)
    contest.check_devices(ours, ours)


def test_an_interrupted_start_leaves_no_process(tmp_path, monkeypatch):
    started = []

    def interrupted(contestant):
        started.append(contestant._process)
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(contest.Contestant, "_answer", interrupted)
    try:
        contest.end_by_exception()
        with pytest.raises(SystemExit):
            contest.Contestant("uld_jax", tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].returncode == -signal.SIGKILL


def test_paths_of_the_caller_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    benchmarks = str(ROOT / "benchmarks")
    paths = contest._environment(tmp_path)["PYTHONPATH"].split(os.pathsep)
    assert paths == [benchmarks, "elsewhere"]


def test_made_examples_lie_in_their_rooms_and_are_heard():
    examples = data.make(3, 4, 2, 1024)
    assert {field: array.shape for field, array in examples.items()} == {
        "audio": (3, 4, 1024),
        "node_positions": (3, 4, 3),
        "source_positions": (3, 2, 3),
        "room_size": (3, 3),
    }
    for field in ("node_positions", "source_positions"):
        assert np.all(examples[field] >= 0)
        assert np.all(examples[field] <= examples["room_size"][:, None])
    loudness = examples["audio"].astype(float).std(axis=-1)
    assert loudness.min() > 100
    assert loudness.max() < 32767 / 4  # Few samples are cut off.
    assert loudness.max() > 1.5 * loudness.min()
