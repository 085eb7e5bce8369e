"""Sweeps on a real cluster of Ray on this machine, which loses a node."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from whole_runs import flags_of, run

from uld_jax.storage import records
from uld_jax.training import cluster, history

pytest.importorskip("ray", reason="needs Ray: the extra `cluster`")

# Ray's own cluster for tests: two nodes of one core each, in processes of their own. It
# prints its address, kills the node that a line names, and ends with its input.
CLUSTER = """
import sys
from ray import cluster_utils

options = {"num_cpus": 1, "object_store_memory": 100_000_000}
cluster = cluster_utils.Cluster(
    initialize_head=True, head_node_args=options | {"include_dashboard": False}
)
other = cluster.add_node(**options)
print(cluster.address, flush=True)
for _ in sys.stdin:
    cluster.remove_node(other, allow_graceful=False)
    print("killed", flush=True)
cluster.shutdown()
"""

# A sweep that reports often.
TALKATIVE = """
import sys
from uld_jax.cli import app
from uld_jax.runtime import progress
from uld_jax.training import cluster

progress._SECONDS_BETWEEN_LINES = cluster._SECONDS_BETWEEN_LOOKS = 0.1
app.main(["sweep", *sys.argv[1:]])
"""


def started(*words, **options):
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        # Other programs may fill the machine's memory, and both its cores.
        env={
            **os.environ,
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_worker_niceness": "0",
        },
        **options,
    )


def epochs_of(folder):
    path = folder / records.FILE_NAME
    return json.loads(path.read_text())["epochs"] if path.exists() else []


def comparable(folder):
    """Return a run's record without what differs from process to process."""
    record = json.loads((folder / records.FILE_NAME).read_text())
    for epoch in record["epochs"]:
        for key in history.TIMES:
            epoch.pop(key)
    return {k: v for k, v in record.items() if k not in ("times", "commit")}


@pytest.mark.slow
def test_a_lost_nodes_run_ends_elsewhere_as_if_never_broken_off(
    tiny_data_dir, tmp_path
):
    times = "--config.train.epochs=6"
    base, alone = tmp_path / "swept", tmp_path / "alone"
    folders = [base / f"uld_I5_seed{seed}" for seed in (0, 1)]
    words = flags_of(tiny_data_dir, base, times, "--scheme=uld", "--seed=0,1")
    with started("-c", CLUSTER, stdin=subprocess.PIPE) as nodes:
        address = next(line for line in nodes.stdout if line[0].isdigit()).strip()
        with started("-c", TALKATIVE, *words, f"--ray={address}") as sweep:
            lines = []
            for line in sweep.stdout:
                lines.append(line)
                # Both are at work, so one of them on the node that is lost.
                if all(map(epochs_of, folders)):
                    break
            before = [epochs_of(folder) for folder in folders]
            nodes.stdin.write("kill\n")
            nodes.stdin.flush()
            output = "".join([*lines, *sweep.stdout])
        nodes.stdin.close()
    assert sweep.returncode == 0, output
    assert max(map(len, before)) < 6
    assert "Training 2 runs: " in output
    assert output.count(": done\n") == 2
    assert "| MAE m (ours)" in output or "MAE" in output.splitlines()[-1]
    run("-m", "uld_jax.cli", "train", *flags_of(tiny_data_dir, alone, times))
    assert comparable(folders[0]) == comparable(alone)


def test_an_error_is_told_in_one_line():
    assert cluster.describe(MemoryError()) == "MemoryError"
    assert cluster.describe(KeyError("x")) == "KeyError: 'x'"
    assert cluster.describe(ValueError("one\ntwo")) == "ValueError: two"
