"""Compare the training and evaluation steps with those of an earlier commit, in one run.

    python -m benchmarks.speed.step_time --against=864dc7f

Each checkout runs in a process of its own. Both take turns on the same batch, one waits
while the other works, and the ratio of each pair of turns is kept: other work on the
machine slows both. Printed is the median of the ratios, with the quartiles.
"""

import argparse
import functools
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import numpy as np

from benchmarks.speed import timer
from benchmarks.speed.steps import ROOT

# Experiment, size of its network, batch size; 0 for the experiment's.
KINDS = {
    "L-1 reduced": ("l1", "reduced", 0),
    "Ad-1 reduced": ("ad1", "reduced", 0),
    "Ad-2 reduced": ("ad2", "reduced", 0),
    "L-1": ("l1", "full", 32),
    "Ad-1": ("ad1", "full", 2),
    "Ad-2": ("ad2", "full", 2),
}


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", required=True, help="commit to compare with")
    parser.add_argument("--turns", type=int, default=20, help="pairs of turns")
    parser.add_argument("--steps", type=int, default=2, help="steps in a turn")
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma-separated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = pathlib.Path(folder)
        check_out(options.against, before)
        print(f"Time now / time at {options.against}, median (quartiles)")
        for kind in options.kinds.split(","):
            with Worker(before, kind) as old, Worker(ROOT, kind) as new:
                _compare(kind, old, new, options)


def check_out(commit: str, folder: pathlib.Path) -> None:
    """Write the package and the experiments of a commit into an empty folder."""
    archive = subprocess.run(
        ["git", "archive", commit, "uld_jax", "experiments"],
        capture_output=True,
        check=True,
        cwd=ROOT,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


class Worker:
    """A process that runs the steps of one checkout on request.

    Args:
        root: Folder of the checkout.
        kind: Key of `KINDS`.
    """

    def __init__(self, root: pathlib.Path, kind: str):
        words = map(str, (root, *KINDS[kind]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.steps", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.communicate()

    def seconds(self, step: str, calls: int) -> np.ndarray:
        """Run "train" or "evaluate" steps; return seconds per step as `timer` does."""
        self._process.stdin.write(f"{step} {calls}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("error: a worker ended; see above")
        return np.array(json.loads(answer))


def _compare(kind: str, old: Worker, new: Worker, options) -> None:
    for step in ("train", "evaluate"):
        measures = [
            functools.partial(worker.seconds, step, options.steps)
            for worker in (old, new)
        ]
        for measure in measures:
            measure()  # Compile.
        before, now = timer.by_turns(measures, options.turns).transpose(1, 2, 0)
        for number, clock in enumerate(("wall clock", "processor")):
            ratio = timer.ratio(now[number], before[number], digits=3)
            milliseconds = 1e3 * np.median(now[number])
            print(
                f"{kind}, {step} step, {clock}: {ratio}; now {milliseconds:.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
