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
from collections.abc import Callable

import jax
import numpy as np
import trainings

from uld_jax import config as config_lib
from uld_jax import evaluate

_BEFORE = "uld_jax_before"
_STEPS = ("training", "evaluation")
_CLOCKS = ("clock", "processor")
# Experiment, whether its reduced network, batch size; None for the experiment's.
KINDS = {
    "L-1 reduced": ("l1", True, None),
    "Ad-1 reduced": ("ad1", True, None),
    "Ad-2 reduced": ("ad2", True, None),
    "L-1": ("l1", False, 32),
    "Ad-1": ("ad1", False, 2),
    "Ad-2": ("ad2", False, 2),
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
    trainings.set_up()
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
        name, small, size = KINDS[kind]
        config, law = trainings.config(name, small), trainings.LAWS[name]
        num_nodes = config.data.nodes_in_training or law.num_nodes
        size = size or config.train.batch_size
        batch, evaluated = (
            trainings.batch(law, rows, num_nodes, law.num_samples)
            for rows in (size, -(-size // evaluate.ROWS) * evaluate.ROWS)
        )
        network = config_lib.to_dict(config.model), num_nodes, law.num_sources
        both = [contestants(one, network, batch, evaluated) for one in packages]
        for what, pair in zip(_STEPS, zip(*both, strict=True), strict=True):
            for function in pair:
                function()
            seconds = trainings.by_both_clocks(
                pair, arguments.turns, calls=arguments.steps
            )
            for clock, (old, new) in zip(
                _CLOCKS, seconds.transpose(0, 2, 1), strict=True
            ):
                low, middle, high = np.percentile(new / old, (25, 50, 75))
                print(
                    f"{kind}, {what} step, {clock} time: "
                    f"{middle:.3f} ({low:.3f} to {high:.3f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
