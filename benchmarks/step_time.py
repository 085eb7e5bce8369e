r"""Compare the training and evaluation steps with those of an earlier commit, in one run.

    python benchmarks/step_time.py --against=864dc7f

Both take turns on the same batch, and the ratio of each pair of turns is kept: other work
on the machine slows both. Printed is the median of the ratios, with the quartiles; of
evaluation by example, since batches are now a multiple of `evaluate.ROWS`.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax import evaluate, models, optimizer, schemes, training_step

# Network, nodes, samples, batch size, what differs from its full size.
KINDS = {
    "L-1 reduced": ("encoder_decoder", 8, 2560, 128, {"width": 64, "num_blocks": 2}),
    "Ad-1 reduced": ("adhoc", 15, 32000, 8, {"width": 64, "num_blocks": 1}),
}


def before(commit: str, name: str):
    """Return a module of the package as it was at a commit; what it imports is new."""
    source = subprocess.run(
        ["git", "show", f"{commit}:uld_jax/{name}.py"],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parent,
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"{name}_before.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # Where dataclasses look.
        spec.loader.exec_module(module)
    return module


def batch_of(num_nodes: int, num_samples: int, size: int) -> dict:
    """Return a batch of noise."""
    rng = np.random.default_rng(0)
    room = np.tile(np.float32([6.0, 5.0, 3.0]), (size, 1))
    shapes = {"node_positions": num_nodes, "source_positions": 1}
    places = {
        key: np.float32(rng.uniform(size=(size, number, 3)) * room[:, None])
        for key, number in shapes.items()
    }
    audio = rng.integers(-9000, 9000, (size, num_nodes, num_samples)).astype(np.int16)
    return jax.device_put({"audio": audio, "room_size": room, **places})


def ratios(old, new, turns: int, steps: int) -> np.ndarray:
    """Return how many times as long the new one takes, for each pair of turns."""
    found = []
    for function in (old, new):
        function()
    for turn in range(turns):
        seconds = {}
        order = (old, new) if turn % 2 else (new, old)
        for function in order:
            started = time.perf_counter()
            for _ in range(steps):
                function()
            seconds[function] = time.perf_counter() - started
        found.append(seconds[new] / seconds[old])
    return np.array(found)


def stepper(module, graph, state, adamw, label, batch):
    """Return a function that does one training step of a module."""
    step = module.make_train_step(graph, adamw, label, 0)
    holder = [state]

    def once():
        holder[0] = step(holder[0], batch)
        jax.block_until_ready(holder[0].params)

    return once


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", required=True, help="Commit to compare with.")
    parser.add_argument("--turns", type=int, default=30, help="Pairs of turns.")
    parser.add_argument("--steps", type=int, default=4, help="Steps in a turn.")
    arguments = parser.parse_args()
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # As the commands do.
    old_step = before(arguments.against, "training_step")
    old_evaluate = before(arguments.against, "evaluate")
    print(f"Time now over time at {arguments.against}, median (quartiles)")
    for kind, (name, num_nodes, num_samples, size, changes) in KINDS.items():
        settings = config_lib.to_dict(config_lib.default(name).model) | changes
        label = schemes.Label("uld", 5)
        adamw = optimizer.adamw(1e-3, 0.01)
        batch = batch_of(num_nodes, num_samples, size)
        more = -(-size // evaluate.ROWS) * evaluate.ROWS
        whole = batch_of(num_nodes, num_samples, more)
        steps, evaluations = [], []
        both = (old_step, old_evaluate, batch), (training_step, evaluate, whole)
        for module, judge, evaluated in both:
            model = models.for_label(settings, label, num_nodes, 1, 0)
            graph, state = module.init_state(model, adamw)
            kept = jax.tree.map(jax.numpy.array, (state.params, state.statistics))
            eval_step = judge.make_eval_step(graph, label)
            steps.append(stepper(module, graph, state, adamw, label, batch))
            evaluations.append(
                lambda eval_step=eval_step, kept=kept, evaluated=evaluated: (
                    jax.block_until_ready(eval_step(*kept, evaluated))
                )
            )
        kinds = ("training", steps, 1.0), ("evaluation", evaluations, size / more)
        for what, pair, share in kinds:
            found = share * ratios(*pair, arguments.turns, arguments.steps)
            low, middle, high = np.percentile(found, (25, 50, 75))
            print(
                f"{kind}, {what} step: {middle:.3f} ({low:.3f} to {high:.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
