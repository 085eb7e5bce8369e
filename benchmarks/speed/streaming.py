"""Measure the delay and the cost of a stream of 8 nodes on two cores.

    python -m benchmarks.speed.streaming
    python -m benchmarks.speed.streaming --nodes=30 --hop=2 --seconds=60

Blocks of 10 ms are pushed into `uld_jax.Stream`, and each call is timed. Blocks arrive as
they would in real time: one that arrives while another is computed waits. The delay is from
the arrival of a window's last sample to its answer.
"""

import argparse
import os
import time

import numpy as np

from benchmarks import report
from benchmarks.speed import latency

_CORES = 2
_BLOCK = 0.01  # Seconds.
_RATE, _SPEED = 16_000, 343.0
_ROOM = (6.0, 4.5, 2.7)
_CLOCKS = 0.01  # Seconds: standard deviation.
_TALKERS = 4


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--hop", type=float, default=0.5, help="in seconds")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each sound")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])

    import uld_jax
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    rng = np.random.default_rng(0)
    nodes = rng.uniform([0.2, 0.2, 0.5], [5.8, 4.3, 2.0], (options.nodes, 3))
    started = time.perf_counter()
    uld_jax.Stream(nodes, _RATE, _ROOM, hop=options.hop).warm_up()
    warm_up = time.perf_counter() - started
    rows = []
    for name, signals in sounds(rng, nodes, options.seconds).items():
        stream = uld_jax.Stream(nodes, _RATE, _ROOM, hop=options.hop)
        rows.append({"sound": name, **measure(stream, signals)})
    note = (
        f"{options.nodes} nodes, windows of 2 s, hop {options.hop:g} s, blocks of "
        f"{1000 * _BLOCK:g} ms, {_CORES} cores; milliseconds. Real-time factor: computing, "
        "of the sound's length."
    )
    held = options.nodes * 2 * _RATE * signals.itemsize
    start = {
        "warm-up s": warm_up,
        "peak memory MB": 1e-6 * latency.most_memory(),
        "stream MB": 1e-6 * held,
    }
    tables = [
        ("Delay after the last sample of a window.", note, rows),
        (
            "Start and memory.",
            "Of the whole process, and of what a stream holds.",
            [start],
        ),
    ]
    report.write("speed.streaming", tables, options.out)


def sounds(rng, nodes: np.ndarray, seconds: float) -> dict[str, np.ndarray]:
    """Make signals [M, N] of each kind, as 16-bit integers."""
    count = int(seconds * _RATE)
    late = _CLOCKS * rng.normal(size=len(nodes))
    noise = rng.normal(size=(len(nodes), count))
    made = {
        "speech": _talk(rng, nodes, count, np.zeros(len(nodes))),
        "speech, clocks 10 ms off": _talk(rng, nodes, count, late),
        "noise of each node's own": noise,
        "silence": np.zeros_like(noise),
    }
    return {
        name: np.int16(20_000 * signals / max(np.abs(signals).max(), 1e-9))
        for name, signals in made.items()
    }


def _talk(rng, nodes: np.ndarray, count: int, late: np.ndarray) -> np.ndarray:
    """Let talkers speak in turn, each from a place of its own, in free field."""
    from uld_jax.audio import builtin

    names = builtin.speech_names()["test"]
    each = -(-count // _TALKERS)
    parts = []
    for turn in range(_TALKERS):
        speech = np.asarray(builtin.synthesize(names[turn % len(names)]), np.float64)
        place = rng.uniform([0.5, 0.5, 1.2], [5.5, 4.0, 1.7])
        paths = np.linalg.norm(nodes - place, axis=1)[:, None]
        at = np.arange(each) / _RATE - paths / _SPEED - late[:, None] + 0.1
        received = np.interp(
            at % (len(speech) / _RATE), np.arange(len(speech)) / _RATE, speech
        )
        parts.append(received / paths)
    signals = np.concatenate(parts, axis=1)[:, :count]
    return signals + 1e-3 * np.abs(signals).max() * rng.normal(size=signals.shape)


def measure(stream, signals: np.ndarray) -> dict:
    """Push signals block by block, and summarize what it took."""
    size = round(_BLOCK * _RATE)
    begins = range(0, signals.shape[1] - size + 1, size)
    costs, answered, determined = [], [], 0
    processor = time.process_time()
    for begin in begins:
        started = time.perf_counter()
        found = stream.push(signals[:, begin : begin + size])
        costs.append(time.perf_counter() - started)
        answered.append(bool(found))
        determined += sum(one.localization.determined for one in found)
    processor = time.process_time() - processor
    late = 1000 * delays(np.array(costs), _BLOCK)[answered]
    p50, p90, p99 = np.percentile(late, (50, 90, 99))
    return {
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "max": float(late.max()),
        "processor per answer": 1000 * processor / len(late),
        "answers": len(late),
        "determined": determined,
        "real-time factor": sum(costs) / (len(costs) * _BLOCK),
    }


def delays(costs: np.ndarray, block: float) -> np.ndarray:
    """Compute how long after its arrival each block is done, if one waits for another.

    Args:
        costs: Seconds that each block takes.
        block: Seconds from one arrival to the next.
    """
    found, late = [], 0.0
    for cost in costs:
        late = max(late - block, 0.0) + cost
        found.append(late)
    return np.array(found)


if __name__ == "__main__":
    main()
