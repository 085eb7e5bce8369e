"""Commands on tiny data sets, as tests start them."""

import os
import subprocess
import sys
from types import SimpleNamespace

from conftest import ROOT

FRESH = (
    "--config.data.source=fresh",
    "--config.data.epoch_examples=48",
    "--config.data.speech_hours=0.01",
)


TINY = {  # Of the experiment L-1.
    "data.name": "simulated/l1_tiny:1.0.0",
    "data.speech": "builtin",
    "model.width": 4,
    "model.num_blocks": 1,
    "train.batch_size": 8,
    "train.epochs": 3,
    "train.checkpoint_steps": 2,
    # Step by step, so that tests can kill a run before any of them.
    "data.held_on": "disk",
}


def flags_of(data_dir, workdir, *more):
    return [
        "--config=experiments/l1.py",
        f"--workdir={workdir}",
        f"--config.data.dir={data_dir}",
        *(f"--config.{key}={value}" for key, value in TINY.items()),
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


def call(command, *paths, **values):
    """Call a command's main function with flags, in this process."""
    known = {flag.name: flag.default for flag in command.FLAGS}
    assert values.keys() <= known.keys()
    text = {k: v if isinstance(v, int | float) else str(v) for k, v in values.items()}
    command.main(SimpleNamespace(**(known | text)), list(map(str, paths)))
