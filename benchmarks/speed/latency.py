"""Measure how long it takes to localize one utterance of 2 s at 30 nodes on two cores.

    python -m benchmarks.speed.latency
    python -m benchmarks.speed.latency --small --seconds=5

Each localizer runs in a process of its own, to measure start, first call and memory
separately. It gets signals (int16, as data are stored) and node positions, one utterance
at a time. A network with random parameters is saved as a run, then loaded and called as
`locate` does, and once more "in groups", as validation and tests do: they compute groups
of sixteen examples even for a single one. `--small` leaves out the full-size network.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import report

_CORES = 2
_NODES = 30
_CALLS = 300  # At most, after the first.
_LEAST = 5
_GROUPS = " in groups"
_NETWORKS = ("reduced", f"reduced{_GROUPS}", "full", f"full{_GROUPS}")
_BASELINES = ("srp_phat", "tdoa_ls")
_RUN = "run.json"
_MODULE = "benchmarks.speed.latency"
_CACHE = "JAX_COMPILATION_CACHE_DIR"


def main() -> None:
    """Measure and write the tables, or run one of the localizers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--small", action="store_true", help="no full-size network")
    parser.add_argument(
        "--seconds", type=float, default=40.0, help="for the calls of one localizer"
    )
    parser.add_argument("--localizer", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--save", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.save:
        _save(options.save, options.run)
        return
    if options.localizer:
        words = options.localizer, options.seconds, options.started, options.run
        print(json.dumps(measure(*words)))
        return
    names = [
        name
        for name in (*_NETWORKS, *_BASELINES)
        if not (options.small and name.startswith("full"))
    ]
    rows, starts = [], []
    for name in names:
        once, again = _both_starts(name, options.seconds)
        rows.append(_row(name, once))
        starts.append(_start(name, once, again))
    note = f"2 s of sound at {_NODES} nodes, float32, {_CORES} cores; milliseconds."
    tables = [("Latency of one utterance.", note, rows), _starts_table(starts)]
    report.write("speed.latency", tables, options.out)


def _both_starts(name: str, seconds: float) -> tuple[dict, dict]:
    """Measure a localizer twice, the second time with the compiled programs kept."""
    with (
        tempfile.TemporaryDirectory() as cache,
        tempfile.TemporaryDirectory() as run,
    ):
        print(name, end="", file=sys.stderr, flush=True)
        if name not in _BASELINES:
            words = [f"--save={name.removesuffix(_GROUPS)}", f"--run={run}"]
            subprocess.run([sys.executable, "-m", _MODULE, *words], check=True)
        once = _process(name, seconds, cache, run)
        print(" ...", file=sys.stderr, flush=True)
        return once, _process(name, 0.0, cache, run)


def _process(name: str, seconds: float, cache: str, run: str) -> dict:
    words = [f"--localizer={name}", f"--seconds={seconds}", f"--run={run}"]
    settings = {
        _CACHE: cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    done = subprocess.run(
        [sys.executable, "-m", _MODULE, *words, f"--started={time.time()}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | settings,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, seconds: float, started: float, run: pathlib.Path) -> dict:
    """Localize one utterance repeatedly and return the measurements.

    Args:
        name: A network's size and how it is called, or a baseline.
        seconds: Time limit, after the fewest calls.
        started: Time at which the process was started, by the system's clock.
        run: Folder of the network's run; ignored for a baseline.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    import jax
    import numpy as np

    from uld_jax.evaluation import evaluate, predict
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    imported = time.time()
    if name in _BASELINES:
        localize = predict.method_predictor(name, 1)
    else:
        content = json.loads((run / _RUN).read_text()) | {"folder": str(run)}
        localize = predict.network_predictor(content, _NODES, 1)
        if _GROUPS in name:
            step = evaluate.network_step(content, _NODES, 1)
            localize = lambda batch: step(batch)["predicted"]  # noqa: E731
    example = _example(np.random.default_rng(0))
    built = time.time()
    times = []
    while len(times) <= _LEAST or (sum(times[1:]) < seconds and len(times) <= _CALLS):
        called = time.perf_counter()
        # As `locate._predict` does: a batch of one example.
        batch = {key: np.stack([value]) for key, value in example.items()}
        found = jax.device_get(localize(batch))
        times.append(time.perf_counter() - called)
    assert found.shape == (1, 1, 2), found.shape
    return {
        "import": imported - started,
        "build": built - imported,
        "first": times[0],
        "calls": times[1:],
        "memory": most_memory(),
    }


def _save(size: str, run: pathlib.Path) -> None:
    """Save Ad-1's network with random parameters as a run after its first epoch."""
    from uld_jax import config as config_lib
    from uld_jax.labels import schemes
    from uld_jax.networks import build
    from uld_jax.storage import checkpoints
    from uld_jax.training import optimizer
    from uld_jax.training import step as step_lib
    from uld_jax_experiments import ad1

    config = config_lib.resolve(ad1.get_config(size))
    label = schemes.Label(config.label.scheme, config.label.resolution)
    settings = config_lib.to_dict(config)
    model = build.for_label(settings["model"], label, _NODES, 1, 0)
    _, state = step_lib.init_state(model, optimizer.adamw(1e-3, 0.0))
    items = {"params": state.params, "statistics": state.statistics}
    with checkpoints.Checkpoints(run) as saved:
        saved.save("best", 1, items, {"epoch": 1})
    content = {"settings": settings, "best_epoch": 1}
    (run / _RUN).write_text(json.dumps(content))


def _example(rng) -> dict:
    """Make noise at the nodes of a room, as a data set stores it."""
    import numpy as np

    from uld_jax.simulation import scenes

    scene = scenes.draw_adhoc(rng, 1, scenes.TEST_SNR_DB, num_nodes=_NODES)
    return {
        "audio": rng.integers(-9999, 9999, (_NODES, 32_000), np.int16),
        "node_positions": np.float32(scene.node_positions),
        "source_positions": np.float32(scene.source_positions),
        "room_size": np.float32(scene.room_size),
    }


def most_memory() -> int:
    """Read the peak memory of this process, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def _row(name: str, measured: dict) -> dict:
    import numpy as np

    times = 1e3 * np.array(measured["calls"])
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    return {
        "localizer": name,
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "max": float(times.max()),
        "calls": len(times),
        "2 s over p50": 2e3 / float(p50),
        "memory MB": 1e-6 * measured["memory"],
    }


def _start(name: str, once: dict, again: dict) -> dict:
    return {
        "localizer": name,
        "start and imports": once["import"],
        "network built": once["build"],
        "first call": once["first"],
        "first call, compiled before": again["first"],
        "all, compiled before": again["import"] + again["build"] + again["first"],
    }


def _starts_table(rows: list[dict]) -> tuple:
    return (
        "Until the first position.",
        'Seconds. The first call compiles; "compiled before" means by an earlier process, '
        f"which left its programs in the folder that {_CACHE} names.",
        rows,
    )


if __name__ == "__main__":
    main()
