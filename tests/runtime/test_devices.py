"""One program over many devices and processes means what it means on one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT, tiny_config
from on_eight_devices import COUNTS, HELD_OUT
from whole_runs import flags_of, run

from uld_jax.runtime import devices, distributed
from uld_jax.training import train

FLAGS = "--xla_force_host_platform_device_count=8 " + os.environ["XLA_FLAGS"]
EIGHT = {"XLA_FLAGS": FLAGS}
PATH = os.pathsep.join(map(str, (ROOT / "tests" / "helpers", ROOT / "tests", ROOT)))


def on_eight(what, *paths):
    script = ROOT / "tests" / "helpers" / "on_eight_devices.py"
    return run(script, what, *paths, env={**EIGHT, "PYTHONPATH": PATH})


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Train and evaluate on 1, 2, 4 and 8 devices; return losses and metrics."""
    out = tmp_path_factory.mktemp("devices") / "told.npz"
    on_eight("losses_and_metrics", out)
    return dict(np.load(out, allow_pickle=False))


MANY = [(kind, count) for kind, counts in COUNTS.items() for count in counts[1:]]


@pytest.mark.parametrize(("kind", "count"), MANY)
def test_losses_are_those_of_one_device(kind, count, told):
    actual, expected = (told[f"{kind}_{number}_sums"] for number in (count, 1))
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(actual, expected, rtol=1e-4)
    assert told[f"{kind}_{count}_where"] == count


@pytest.mark.parametrize(("kind", "count"), MANY)
def test_uneven_data_have_the_metrics_of_one_device(kind, count, told):
    """To the last bits: padding does not count, and rows do not see each other."""
    for what in ("predicted", "metrics"):
        actual, expected = (told[f"{kind}_{n}_{what}"] for n in (count, 1))
        np.testing.assert_allclose(actual, expected, rtol=2e-6)
    assert len(told[f"{kind}_{count}_predicted"]) == HELD_OUT


@pytest.mark.parametrize(("kind", "count"), MANY)
def test_devices_send_each_other_nothing_but_sums(kind, count, told):
    assert told[f"{kind}_{count}_gathers"] == 0
    assert told[f"{kind}_{count}_reduces"] > 0


def test_a_batch_holds_the_same_examples_on_eight_devices(tiny_data_dir, tmp_path):
    on_eight("batches", tmp_path / "batches.npz", tiny_data_dir)
    made = dict(np.load(tmp_path / "batches.npz", allow_pickle=False))
    names = {name.split("_", 2)[2] for name in made}
    assert len(names) == 3 * 4  # Two batches of training and one of test; the fields.
    for name in names:
        for kind in ("1_disk", "8_device", "8_disk"):
            np.testing.assert_array_equal(
                made[f"{kind}_{name}"], made[f"1_device_{name}"], err_msg=name
            )


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_goes_on_with_one_and_back(
    tiny_data_dir, tmp_path
):
    result = on_eight("there_and_back", tmp_path / "moved", tiny_data_dir)
    assert result.stdout.count("Devices: 8 x cpu") == 3
    assert re.findall(r"resuming in epoch (\d)", result.stdout) == ["2", "3", "4"]
    record = json.loads((tmp_path / "moved" / "record.json").read_text())
    assert record["status"] == "done"
    config = tiny_config(tiny_data_dir, **{"train.epochs": 3})
    stayed = train.train_and_evaluate(config, tmp_path / "stayed")
    for moved, other in zip(record["epochs"], stayed["epochs"], strict=True):
        assert moved["train"]["loss"] == pytest.approx(other["train"]["loss"], rel=1e-3)
        assert moved["learning_rate"] == other["learning_rate"]


def test_as_many_devices_are_taken_as_divide_the_batch(capsys):
    class Device:
        process_index = 0
        device_kind = "toy"

        def __init__(self, number):
            self.id = number

    for batch_size, count, num in [(8, 1, 1), (8, 8, 8), (6, 4, 3), (7, 3, 1)]:
        team = devices.Devices(batch_size, [Device(n) for n in range(count)])
        assert team.num == num
        assert [len(rows) for rows in team.rows(batch_size)] == [
            batch_size // num
        ] * num
        rows = [row for part in team.rows(batch_size) for row in part]
        assert rows == list(range(batch_size))
        team.log()
        output = capsys.readouterr().out
        assert (f"{count - num} more are idle" in output) == (count > num)
        assert bool(output) == (count > 1)


def test_rows_are_rounded_up_to_what_can_be_divided():
    team = devices.one()
    assert team.round_up(13) == 13
    assert team.round_up(13, 8) == 16
    assert team.round_up(16, 8) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:1", None, 0), "give all three"),
        ((None, 2, None), "give all three"),
        (("localhost", 2, 0), "--coordinator=localhost is not of the form HOST:PORT"),
        (("localhost:1", 2, 2), "--process_id=2: with --num_processes=2 it must be"),
        ((None, None, None), "pass --coordinator"),
    ],
)
def test_processes_that_cannot_be_joined_are_refused(arguments, message):
    with pytest.raises(distributed.DeviceError, match=re.escape(message)):
        distributed.join(*arguments)
    assert jax.process_count() == 1


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def start_two(*flags_of_each):
    """Start two processes that train one run together, each with its flags."""
    port = free_port()
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "uld_jax.cli", "train", *flags_of_each[number]),
                *(f"--coordinator=localhost:{port}", "--num_processes=2"),
                f"--process_id={number}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        for number in range(2)
    ]


@pytest.mark.slow
def test_two_processes_train_one_run_and_a_killed_one_leaves_it_resumable(
    tiny_data_dir, tmp_path
):
    """The second does not need the folder; one process finishes what two began."""
    workdir, unused = tmp_path / "together", tmp_path / "unused"
    flags = flags_of(tiny_data_dir, workdir)
    first, second = start_two(flags, flags_of(tiny_data_dir, unused))
    output = []
    for line in first.stdout:
        output.append(line)
        if line.startswith("Epoch 1:"):
            second.send_signal(signal.SIGKILL)
            break
    output = "".join(output) + first.stdout.read()
    first.stdout.close()
    second.stdout.close()
    first.wait()
    assert second.wait() == -signal.SIGKILL
    assert first.returncode == 75, output
    assert "Devices: 2 x cpu in 2 processes" in output
    assert "start all of them again" in output
    assert json.loads((workdir / "record.json").read_text())["status"] == "running"
    assert not unused.exists()
    alone = run("-m", "uld_jax.cli", "train", *flags).stdout
    assert "resuming in epoch" in alone
    record = json.loads((workdir / "record.json").read_text())
    assert record["status"] == "done"
    run("-m", "uld_jax.cli", "train", *flags_of(tiny_data_dir, tmp_path / "alone"))
    other = json.loads((tmp_path / "alone" / "record.json").read_text())
    for mine, theirs in zip(record["epochs"], other["epochs"], strict=True):
        assert mine["train"]["loss"] == pytest.approx(theirs["train"]["loss"], rel=1e-3)


def test_an_error_or_other_flags_end_all_processes(tiny_data_dir, tmp_path):
    """None waits for another that is not there."""
    flags = flags_of(tiny_data_dir, tmp_path)
    both = start_two(flags, [*flags, "--config.seed=1"])
    output = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [2, 2], output
    for text in output:
        assert "the processes differ in flags" in text
    alone, other = start_two(
        flags, [*flags, "--config.data.dir=nowhere", "--noprepare"]
    )
    output = other.communicate()[0]
    assert other.returncode == 2
    assert "nowhere" in output
    output = alone.communicate()[0]
    assert alone.returncode == 75, output
    assert "another of the 2 processes has ended" in output
    assert not list(tmp_path.iterdir())
