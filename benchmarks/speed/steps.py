"""Training and evaluation steps of the experiments, on noise: no data set is needed.

As a script it is a worker of `step_time.py`: it loads the package of one checkout and
runs the steps that are requested on standard input.

    python -m benchmarks.speed.steps ROOT EXPERIMENT SIZE BATCH_SIZE
"""

import importlib
import json
import pathlib
import sys
from types import SimpleNamespace

import jax
import numpy as np

from benchmarks.speed import timer

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Nodes in training, sources, samples at 16 kHz.
SHAPES = {"l1": (8, 1, 2560), "ad1": (15, 1, 32_000), "ad2": (15, 2, 32_000)}


def package(root: pathlib.Path) -> SimpleNamespace:
    """Import what a step needs from the checkout at `root`, and set up JAX.

    Each module has its present name and, for earlier commits, the one it had before
    there were sub-packages.
    """
    sys.path.insert(0, str(root))
    # Experiments import each other by their installed name.
    sys.modules["uld_jax_experiments"] = importlib.import_module("experiments")

    # Not by trying imports: an editable installation would supply what `root` lacks.
    flat = not (root / "uld_jax" / "networks").is_dir()

    def load(name: str, old_name: str):
        return importlib.import_module(f"uld_jax.{old_name if flat else name}")

    # As the commands do: see docs/speed.md for the memory, `rendering._after` for the
    # dispatch.
    setup = load("runtime.jax_setup", "host_memory")
    (setup.keep if flat else setup.keep_host_memory)()
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return SimpleNamespace(
        config=load("config", "config"),
        models=load("networks.build", "models"),
        schemes=load("labels.schemes", "schemes"),
        optimizer=load("training.optimizer", "optimizer"),
        training_step=load("training.step", "training_step"),
        evaluate=load("evaluation.evaluate", "evaluate"),
        experiment=lambda name: importlib.import_module(f"uld_jax_experiments.{name}"),
    )


def noise(
    batch_size: int, num_nodes: int, num_sources: int, num_samples: int
) -> dict[str, np.ndarray]:
    """Make a batch of colored noise in random rooms, as a prepared data set holds it.

    Args:
        batch_size: Examples B.
        num_nodes: Nodes M.
        num_sources: Sources S.
        num_samples: Samples N of a signal.
    """
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((batch_size, num_nodes, num_samples), np.float32)
    signals[..., 1:] += 0.9 * signals[..., :-1]
    levels = rng.uniform(300, 3000, (batch_size, num_nodes, 1)).astype(np.float32)
    size = rng.uniform((4, 4, 4.2), (10, 10, 4.2), (batch_size, 3))

    def positions(number: int) -> np.ndarray:
        drawn = rng.uniform(size=(batch_size, number, 3)) * size[:, None]
        return drawn.astype(np.float32)

    return {
        "audio": (signals * levels).astype(np.int16),
        "node_positions": positions(num_nodes),
        "source_positions": positions(num_sources),
        "room_size": size.astype(np.float32),
    }


class Steps:
    """A network in training on one batch, which stays on the device.

    Args:
        code: What `package` returned.
        experiment: Name, a key of `SHAPES`.
        size: "full", or "reduced" for the network that two cores can train.
        batch_size: Examples; None for the experiment's.
        **changes: Changed settings of the network.

    Attributes:
        settings: Settings of the network, a dictionary.
        label: The label, with its resolution.
        model: The network, of seed 0.
        batch: The batch, NumPy arrays.
        config: Settings of the experiment.
    """

    def __init__(
        self,
        code: SimpleNamespace,
        experiment: str,
        size: str,
        batch_size: int | None = None,
        **changes,
    ):
        config = code.experiment(experiment).get_config(size)
        config = config.copy_and_resolve_references()
        config.model.update(changes)
        self.config = code.config.resolve(config)
        self.settings = code.config.to_dict(self.config.model)
        label = self.config.label
        self.label = code.schemes.Label(label.scheme, label.resolution)
        self.batch_size = batch_size or self.config.train.batch_size
        shape = SHAPES[experiment]
        self.batch = noise(self.batch_size, *shape)
        # The evaluation step computes groups of a fixed size; it gets whole ones.
        rows = code.evaluate.ROWS
        self._evaluated = jax.device_put(
            noise(-(-self.batch_size // rows) * rows, *shape)
        )
        self.model = code.models.for_label(self.settings, self.label, *shape[:2], 0)
        train = self.config.train
        adamw = code.optimizer.adamw(train.learning_rate, train.weight_decay)
        graph, self._state = code.training_step.init_state(self.model, adamw)
        # The training step donates its state, and the evaluation step keeps a copy.
        copied = (self._state.params, self._state.statistics)
        self._parameters = jax.tree.map(jax.numpy.array, copied)
        self._on_device = jax.device_put(self.batch)
        self._train_step = code.training_step.make_train_step(
            graph, adamw, self.label, 0
        )
        self._eval_step = code.evaluate.make_eval_step(graph, self.label)

    @property
    def params(self) -> dict:
        """Parameters before training, a pure dictionary of arrays."""
        return self._parameters[0]

    def lower(self) -> jax.stages.Lowered:
        """Trace the training step, without compiling it."""
        return self._train_step.lower(self._state, self._on_device)

    def train(self) -> None:
        """Run a training step and wait for it."""
        self._state = self._train_step(self._state, self._on_device)
        jax.block_until_ready(self._state)

    def evaluate(self) -> None:
        """Run an evaluation step and wait for it."""
        jax.block_until_ready(self._eval_step(*self._parameters, self._evaluated))


def main(root: str, experiment: str, size: str, batch_size: str) -> None:
    """Answer each line "train N" or "evaluate N" with the seconds per step, in JSON."""
    # Output of libraries must not get between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    code = package(pathlib.Path(root))
    steps = Steps(code, experiment, size, int(batch_size) or None)
    for line in sys.stdin:
        kind, calls = line.split()
        taken = timer.seconds(getattr(steps, kind), int(calls))
        print(json.dumps(taken.tolist()), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
