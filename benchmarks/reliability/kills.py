"""Kill runs by SIGKILL at random points, resume them, and compare with unbroken ones.

    python -m benchmarks.reliability.kills --lives=4

Each run has a folder of its own and is killed several times: while it prepares data,
trains, saves, evaluates, and between two epochs, in random order and at random points.
Then it runs to its end, and all its files are compared with those of a run that was
never killed, bit for bit. Exit code 1 if anything differs.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

PHASES = ("preparing data", "a step", "saving", "evaluating", "between epochs")
_WRITES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")
_KILL, _COUNTS = "KILL_AT", "WRITE_COUNTS_TO"


def flags_of(folder: pathlib.Path, fresh: bool) -> list[str]:
    """List the flags of a tiny run with its data and work in a folder."""
    flags = [
        f"--workdir={folder / 'run'}",
        f"--config.data.dir={folder / 'data'}",
        "--config.data.speech=builtin",
        "--config.train.epochs=4",
        "--config.train.checkpoint_steps=2",
    ]
    if fresh:  # Two talkers, and everything that is random.
        return [
            "--config=experiments/ad2.py:tiny",
            *flags,
            "--config.data.source=fresh",
            "--config.data.epoch_examples=12",
            "--config.data.speech_hours=0.01",
            "--config.data.nodes_in_training=2",
            "--config.data.clock_offset=0.001",
            "--config.data.position_error=0.1",
            "--config.label.resolution=2",
            "--config.model.width=8",
            "--config.model.num_heads=2",
            "--config.model.num_blocks=1",
            "--config.train.batch_size=2",
        ]
    return [
        "--config=experiments/l1.py",
        *flags,
        "--config.data.name=simulated/l1_tiny:1.0.0",
        "--config.model.width=4",
        "--config.model.num_blocks=1",
        "--config.train.batch_size=8",
    ]


def child(flags: list[str]) -> None:
    """Run the command, and kill it where the environment says, or count the events."""
    from uld_jax.cli import app, train
    from uld_jax.datasets import loader
    from uld_jax.runtime import progress
    from uld_jax.training import reporting
    from uld_jax.training import run as run_lib

    phase, _, number = os.environ.get(_KILL, "").partition(":")
    counts = dict.fromkeys(PHASES, 0)

    def happens(what: str) -> None:
        counts[what] += 1
        if what == phase and counts[what] == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple) -> None:
        if event not in _WRITES or not isinstance(arguments[0], str | bytes):
            return
        path = os.fsdecode(arguments[0])
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not reads and any(f"/run/{kind}/" in path for kind in ("last", "best")):
            happens("saving")
        if ".incomplete" in path and not reads:
            happens("preparing data")

    update = progress.Progress.update

    def updated(self, *arguments, **options):
        if self._title == "Preparing":
            happens("preparing data")
        return update(self, *arguments, **options)

    progress.Progress.update = updated
    _watch_batches(loader.RunData, "training_batches", "a step", happens)
    _watch_batches(loader.ShardedData, "batches", "evaluating", happens)
    for name in ("end_epoch", "save_last"):
        _watch_call(run_lib.Run, name, happens)
    for name in ("start", "end_epoch", "end"):
        _watch_call(reporting.Reporter, name, happens)
    sys.addaudithook(audit)
    if path := os.environ.get(_COUNTS):
        main = train.main

        def counted(*arguments):
            main(*arguments)
            pathlib.Path(path).write_text(json.dumps(counts))

        train.main = counted
    app.main(["train", *flags])


def _watch_batches(owner: type, name: str, what: str, happens) -> None:
    batches = getattr(owner, name)

    def watched(self, *arguments, **options):
        for batch in batches(self, *arguments, **options):
            happens(what)
            yield batch

    setattr(owner, name, watched)


def _watch_call(owner: type, name: str, happens) -> None:
    call = getattr(owner, name)

    def watched(self, *arguments, **options):
        happens("between epochs")
        result = call(self, *arguments, **options)
        happens("between epochs")
        return result

    setattr(owner, name, watched)


def start(folder: pathlib.Path, fresh: bool, **environment: str) -> int:
    """Run the command in a process; return its exit code."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    result = subprocess.run(
        [sys.executable, __file__, "--child", *flags_of(folder, fresh)],
        env={**cache, **os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"exit code {result.returncode}:\n{result.stderr}")
    return result.returncode


def left_behind(folder: pathlib.Path) -> dict:
    """Collect all results of a run except times, as JSON or bytes."""
    from uld_jax.training import history

    run = folder / "run"
    record = json.loads((run / "record.json").read_text())
    left = {
        f"record: {key}": value
        for key, value in record.items()
        if key not in ("times", "epochs")
    }
    left["record: epochs"] = [
        {key: value for key, value in epoch.items() if key not in history.TIMES}
        for epoch in record["epochs"]
    ]
    with np.load(run / "predictions.npz", allow_pickle=False) as file:
        for name in file.files:
            left[f"predictions: {name}"] = file[name].tobytes()
    for kind, step in (("last", None), ("best", record["best_epoch"])):
        steps = {int(path.name): path for path in (run / kind).glob("[0-9]*")}
        notes = {
            n: json.loads((p / "note" / "metadata").read_text())
            for n, p in steps.items()
        }
        chosen = (
            max(steps)
            if step is None
            else next(n for n, note in notes.items() if note["epoch"] == step)
        )
        sums = json.loads((steps[chosen] / "sha256.json").read_text())["arrays"]
        left[f"{kind}: step"] = chosen
        left |= {f"{kind}: {name}": value for name, value in sums.items()}
        note = notes[chosen]
        for epoch in note.get("epochs", []):
            for key in history.TIMES:
                epoch.pop(key)
        left |= {
            f"{kind}: note: {key}": value
            for key, value in note.items()
            if "seconds" not in key
        }
    for path in sorted((folder / "data").rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            left[f"data: {path.relative_to(folder / 'data')}"] = path.read_bytes()
    return left


def _draws(rng: random.Random, counts: dict, phases: list[str]) -> list[str]:
    """Draw the events to kill a run at, in order, as PHASE:NUMBER."""
    if "preparing data" in phases:  # It is over once the data are there.
        phases = ["preparing data", *(p for p in phases if p != "preparing data")]
    # In the first third, so that later kills have something left to break.
    return [f"{p}:{rng.randint(1, max(2, counts[p] // 3))}" for p in phases]


def main() -> None:
    """Kill runs, and print which results are the same."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lives", type=int, default=4, help="runs to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the random points")
    parser.add_argument("--phases", default=",".join(PHASES), help="comma-separated")
    arguments = parser.parse_args()
    phases = arguments.phases.split(",")
    started = time.monotonic()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for fresh in (False, True):
            if fresh and arguments.lives < 2:
                continue
            found += _lives(pathlib.Path(name), fresh, arguments, phases)
    lines, same, kills = zip(*found, strict=True)
    killed, wanted = sum(kills), arguments.lives * len(phases)
    seconds = time.monotonic() - started
    table = [
        "| run | killed in, at event number | afterwards |",
        "|---|---|---|",
        *lines,
    ]
    total = f"{killed} of {wanted} kills in {len(lines)} runs, {seconds:.0f} s"
    print("\n".join([*table, "", total]), flush=True)
    sys.exit(not all(same) or killed < wanted)


def _lives(
    base: pathlib.Path, fresh: bool, arguments, phases: list[str]
) -> list[tuple[str, bool, int]]:
    """Kill and resume runs; return their table rows, equality and number of kills."""
    kind = "Ad-2, fresh rooms" if fresh else "L-1, prepared"
    unbroken = base / f"unbroken_{fresh}"
    unbroken.mkdir()
    path = unbroken / "counts.json"
    start(unbroken, fresh, **{_COUNTS: str(path)})
    counts, expected = json.loads(path.read_text()), left_behind(unbroken)
    found = []
    num_lives = arguments.lives // 2 if fresh else -(-arguments.lives // 2)
    for number in range(num_lives):
        folder = base / f"killed_{fresh}_{number}"
        folder.mkdir()
        rng = random.Random(f"{arguments.seed} {fresh} {number}")
        chosen = [phase for phase in phases if counts[phase]]
        rng.shuffle(chosen)
        kills = [
            kill
            for kill in _draws(rng, counts, chosen)
            if start(folder, fresh, **{_KILL: kill})
        ]
        start(folder, fresh)
        actual = left_behind(folder)
        differ = [
            key
            for key in sorted(actual.keys() | expected.keys())
            if actual.get(key) != expected.get(key)
        ]
        end = f"{len(expected)} of {len(expected)} the same"
        if differ:
            end = f"differs: {', '.join(differ[:5])}"
        line = f"| {kind} | {', '.join(kills)} | {end} |"
        found.append((line, not differ, len(kills)))
        print(line, flush=True)
        shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
