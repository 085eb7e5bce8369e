r"""Compare the training and evaluation steps with those of an earlier commit, in one run.

    python benchmarks/step_time.py --against=864dc7f

The whole package of that commit is loaded beside this one. Both take turns on the same batch,
and the ratio of each pair of turns is kept: other work on the machine slows both. Printed
is the median of the ratios, with the quartiles.
"""

import argparse
import importlib
import io
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax import evaluate, host_memory

_BEFORE = "uld_jax_before"
_STEPS = ("training", "evaluation")
_REDUCED = {"width": 64, "frames_per_step": 6, "num_temporal_blocks": 1}
# Network, nodes, sources, samples, batch size, what differs from its full size.
KINDS = {
    "L-1 reduced": ("encoder_decoder", 8, 1, 2560, 128, {"width": 64, "num_blocks": 2}),
    "Ad-1 reduced": ("adhoc", 15, 1, 32000, 8, _REDUCED),
    "Ad-2 reduced": ("adhoc", 15, 2, 32000, 8, _REDUCED),
    "L-1": ("encoder_decoder", 8, 1, 2560, 32, {}),
    "Ad-1": ("adhoc", 15, 1, 32000, 2, {}),
    "Ad-2": ("adhoc", 15, 2, 32000, 2, {}),
}


def before(commit: str, folder: pathlib.Path) -> Callable:
    """Return how to import a module of the package as it was at a commit.

    Args:
        commit: The commit.
        folder: An empty folder to put the package into.
    """
    root = pathlib.Path(__file__).parents[1]
    packed = subprocess.run(
        ["git", "archive", commit, "uld_jax"],
        capture_output=True,
        check=True,
        cwd=root,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")
    package = (folder / "uld_jax").rename(folder / _BEFORE)
    for path in package.glob("*.py"):
        path.write_text(re.sub(r"\buld_jax\b", _BEFORE, path.read_text()))
    sys.path.insert(0, str(folder))
    return lambda name: importlib.import_module(f"{_BEFORE}.{name}")


def batch_of(num_nodes: int, num_sources: int, num_samples: int, size: int) -> dict:
    """Return a batch of noise."""
    rng = np.random.default_rng(0)
    room = np.tile(np.float32([6.0, 5.0, 3.0]), (size, 1))
    shapes = {"node_positions": num_nodes, "source_positions": num_sources}
    places = {
        key: np.float32(rng.uniform(size=(size, number, 3)) * room[:, None])
        for key, number in shapes.items()
    }
    audio = rng.integers(-9000, 9000, (size, num_nodes, num_samples)).astype(np.int16)
    return jax.device_put({"audio": audio, "room_size": room, **places})


def ratios(old, new, turns: int, steps: int) -> dict[str, np.ndarray]:
    """Return how many times as long the new one takes, for each pair of turns.

    By the clock, and by the processor time of this process, which other work on the
    machine disturbs less.
    """
    for function in (old, new):
        function()
    clocks = {"clock": time.perf_counter, "processor": time.process_time}
    found = {name: [] for name in clocks}
    for turn in range(turns):
        seconds = {}
        for function in (old, new) if turn % 2 else (new, old):
            started = {name: clock() for name, clock in clocks.items()}
            for _ in range(steps):
                function()
            seconds[function] = {n: clock() - started[n] for n, clock in clocks.items()}
        for name, values in found.items():
            values.append(seconds[new][name] / seconds[old][name])
    return {name: np.array(values) for name, values in found.items()}


def contestants(module: Callable, network: tuple, batch: dict, evaluated: dict):
    """Return a training step and an evaluation by the modules of one package."""
    settings, num_nodes, num_sources = network
    training_step, evaluate = module("training_step"), module("evaluate")
    label = module("schemes").Label("uld", 5)
    adamw = module("optimizer").adamw(1e-3, 0.01)
    model = module("models").for_label(settings, label, num_nodes, num_sources, 0)
    graph, state = training_step.init_state(model, adamw)
    kept = jax.tree.map(jax.numpy.array, (state.params, state.statistics))
    step = training_step.make_train_step(graph, adamw, label, 0)
    eval_step = evaluate.make_eval_step(graph, label)
    holder = [state]

    def train():
        holder[0] = step(holder[0], batch)
        jax.block_until_ready(holder[0].params)

    return train, lambda: jax.block_until_ready(eval_step(*kept, evaluated))


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", required=True, help="Commit to compare with.")
    parser.add_argument("--turns", type=int, default=20, help="Pairs of turns.")
    parser.add_argument("--steps", type=int, default=2, help="Steps in a turn.")
    parser.add_argument("--kinds", default=",".join(KINDS), help="Names, by commas.")
    arguments = parser.parse_args()
    # As the commands do.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    host_memory.keep()
    with tempfile.TemporaryDirectory() as folder:
        packages = (
            before(arguments.against, pathlib.Path(folder)),
            lambda name: importlib.import_module(f"uld_jax.{name}"),
        )
        _compare(packages, arguments)


def _compare(packages: tuple[Callable, Callable], arguments) -> None:
    """Print the ratios of each kind."""
    print(f"Time now over time at {arguments.against}, median (quartiles)")
    for kind in arguments.kinds.split(","):
        name, num_nodes, num_sources, num_samples, size, changes = KINDS[kind]
        settings = config_lib.to_dict(config_lib.default(name).model) | changes
        law = (num_nodes, num_sources, num_samples)
        batch = batch_of(*law, size)
        more = -(-size // evaluate.ROWS) * evaluate.ROWS
        evaluated = batch_of(*law, more)
        both = [
            contestants(package, (settings, *law[:2]), batch, evaluated)
            for package in packages
        ]
        for what, pair in zip(_STEPS, zip(*both, strict=True), strict=True):
            for clock, found in ratios(*pair, arguments.turns, arguments.steps).items():
                low, middle, high = np.percentile(found, (25, 50, 75))
                print(
                    f"{kind}, {what} step, {clock} time: "
                    f"{middle:.3f} ({low:.3f} to {high:.3f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
