"""The comparison with PyTorch: the networks are the same, and ratios are of turns."""

import functools
import json
import re
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from tiny_networks import LABEL, TINY, batch

from uld_jax import config as config_lib
from uld_jax.networks import build

sys.path.insert(0, str(ROOT))

from benchmarks import report
from benchmarks.speed import race, steps, timer


@pytest.fixture
def pytorch():
    pytest.importorskip("torch", reason="needs PyTorch: `make test-race` runs it")
    from benchmarks.speed import pytorch
    from benchmarks.speed.pytorch import equality, networks, training, weights

    assert all((equality, networks, training, weights))  # Parts of the package now.
    return pytorch


def settings_of(kind, **more):
    name, num_nodes, num_sources, _, changes = TINY[kind]
    settings = config_lib.to_dict(config_lib.default(name).model) | changes
    if name == "adhoc":
        settings |= {"dropout": 0.0, "frames_per_step": 2}
    counts = {"num_nodes": num_nodes, "num_sources": num_sources}
    return settings, counts | {"resolution": LABEL.resolution} | more


def differences(pytorch, kind, **more):
    settings, facts = settings_of(kind, **more)
    model = build.for_label(settings, LABEL, *TINY[kind][1:3], seed=0)
    network = pytorch.networks.build(settings | facts)
    return pytorch.equality.differences(LABEL, model, network, batch(kind, 3))


@pytest.mark.parametrize("kind", ["l1", "one_talker", "two_talkers"])
def test_outputs_loss_and_gradients_of_both_are_equal(pytorch, kind):
    found = differences(pytorch, kind)
    assert found.keys() == {"evaluation", "training", "loss", "gradients"}
    assert max(found.values()) < 1e-5


def test_networks_that_differ_are_not_compared(pytorch, monkeypatch):
    monkeypatch.setattr(pytorch.networks, "_COMPRESSION", 0.31)
    with pytest.raises(
        pytorch.equality.UnequalError, match=r"differ by .* in evaluation"
    ):
        differences(pytorch, "one_talker")


def test_weights_of_another_network_are_refused(pytorch):
    with pytest.raises(ValueError, match=r"no blocks\.1"):
        differences(pytorch, "one_talker", num_blocks=2)
    with pytest.raises(ValueError, match="the networks differ in parts"):
        differences(pytorch, "one_talker", num_blocks=0)


def test_unsupported_settings_are_refused(pytorch):
    settings, facts = settings_of("one_talker", front_end="compressed")
    with pytest.raises(ValueError, match="front_end is 'compressed'"):
        pytorch.networks.build(settings | facts)


@pytest.mark.parametrize("kind", ["l1", "one_talker"])
def test_a_step_in_pytorch_lowers_the_loss(pytorch, kind):
    settings, facts = settings_of(kind)
    step = pytorch.training.make_step(
        pytorch.networks.build(settings | facts).train(),
        batch(kind, 3),
        resolution=LABEL.resolution,
        learning_rate=1e-3,
        weight_decay=0.01,
        bfloat16=False,
        compile_mode=None,
    )
    first = step(1)
    assert step(20) < first


def test_nothing_in_the_package_imports_pytorch():
    for path in [*(ROOT / "uld_jax").rglob("*.py"), *(ROOT / "data").rglob("*.py")]:
        assert not re.search(r"^\s*(import|from) torch", path.read_text(), re.MULTILINE)


def test_ratios_are_of_turns_not_of_means():
    """Other work slows a turn of both; the ratio is 3 in each, but for one."""
    ours, theirs = np.array([1.0, 10.0, 1.0, 1.0]), np.array([3.0, 30.0, 3.0, 9.0])
    assert timer.ratio(theirs, ours) == "3.00 (3.00 to 4.50)"


def test_turns_alternate_their_order():
    order = []

    def measure(name):
        order.append(name)
        return len(order), 0.0

    found = timer.by_turns([functools.partial(measure, name) for name in "ab"], 2)
    assert order == ["a", "b", "b", "a"]
    assert found[..., 0].tolist() == [[1, 2], [4, 3]]


def test_the_faster_one_is_so_many_times_as_fast(monkeypatch):
    monkeypatch.setattr(race, "_TURN_SECONDS", 0.02)
    functions = {
        "uld_jax": lambda n: time.sleep(n * 0.004),
        "torch": lambda n: time.sleep(n * 0.012),
    }
    ours, theirs = race.race(functions, batch_size=6, seconds=0.0)
    assert ours["uld_jax is times as fast"] == ""
    assert 2 < float(theirs["uld_jax is times as fast"].split()[0]) < 4
    assert ours["examples/s"] < 6 / 0.004


def test_a_cpu_is_not_compared_with_a_gpu():
    with pytest.raises(race.RaceError, match="JAX runs on cpu, PyTorch on cuda"):
        race.check_devices("cpu", "cuda")
    race.check_devices("cpu", "cpu")
    race.check_devices("gpu", "cuda")


def test_noise_lies_in_its_rooms_and_differs_in_level():
    examples = steps.noise(3, 4, 2, 1024)
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
    assert loudness.max() < 32767 / 4  # Few samples are clipped.
    assert loudness.max() > 1.5 * loudness.min()


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("benchmarks/*/results/*.json")), ids=lambda path: path.stem
)
def test_the_pages_are_printed_from_their_numbers(path):
    page = ROOT / "docs" / f"{path.stem}.md"
    assert page.read_text() == report.markdown(json.loads(path.read_text()))
