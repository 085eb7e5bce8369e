"""Trainings on random signals, as the benchmarks time them: no data set is needed."""

import functools
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax import (
    host_memory,
    models,
    objective,
    optimizer,
    scenes,
    schemes,
    simulation,
    training_step,
)
from uld_jax_experiments import ad1, ad2, l1

LAWS = {"l1": simulation.L1, "ad1": simulation.AD1, "ad2": simulation.AD2}
_EXPERIMENTS = {"l1": l1, "ad1": ad1, "ad2": ad2}
_MOST_SIGNALS = 64  # Drawn apart; more are these once more.


def config(name: str, small: bool, **model) -> config_lib.ConfigDict:
    """Return the settings of an experiment, some of its network's changed.

    Args:
        name: One of `LAWS`.
        small: Whether the reduced network, which two cores can train.
        **model: Settings of the network.
    """
    settings = _EXPERIMENTS[name].get_config("reduced" if small else "full")
    settings = settings.copy_and_resolve_references()
    settings.model.update(model)
    return config_lib.resolve(settings)


def batch(
    law: simulation.Law, batch_size: int, num_nodes: int, num_samples: int
) -> dict:
    """Return a batch of noise in rooms of a law, on the device."""
    rng = np.random.default_rng(0)
    drawn = [
        scenes.draw_adhoc(rng, law.num_sources, scenes.TEST_SNR_DB, num_nodes=num_nodes)
        for _ in range(batch_size)
    ]
    few = min(batch_size, _MOST_SIGNALS)
    audio = rng.integers(-9999, 9999, (few, num_nodes, num_samples), np.int16)
    rooms = {
        "audio": np.resize(audio, (batch_size, num_nodes, num_samples)),
        "node_positions": np.stack([scene.node_positions for scene in drawn]),
        "source_positions": np.stack([scene.source_positions for scene in drawn]),
        "room_size": np.stack([scene.room_size for scene in drawn]),
    }
    return jax.device_put(rooms)


class Training:
    """A network in training, its step `function`, `compiled`; `step` does one.

    `before` is the cost analysis of what XLA was given.

    Args:
        name: Experiment, one of `LAWS`.
        small: Whether the reduced network.
        num_nodes: Nodes; as many as the experiment trains with by default.
        num_samples: Samples of a signal; the experiment's by default.
        batch_size: Examples; the experiment's by default.
        resolution: Cells per axis; the experiment's by default.
        **model: Changed settings of the network.
    """

    def __init__(
        self,
        name: str,
        small: bool,
        *,
        num_nodes: int | None = None,
        num_samples: int | None = None,
        batch_size: int | None = None,
        resolution: int | None = None,
        **model,
    ):
        law = LAWS[name]
        self.config = config(name, small, **model)
        self.label = schemes.Label(
            self.config.label.scheme, resolution or self.config.label.resolution
        )
        self.num_nodes = (
            num_nodes or self.config.data.nodes_in_training or law.num_nodes
        )
        self.num_samples = num_samples or law.num_samples
        self.num_sources = law.num_sources
        self.batch_size = batch_size or self.config.train.batch_size
        self.batch = batch(law, self.batch_size, self.num_nodes, self.num_samples)
        network = models.for_label(
            config_lib.to_dict(self.config.model),
            self.label,
            self.num_nodes,
            law.num_sources,
            0,
        )
        adamw = optimizer.adamw(1e-3, 0.01)
        graph, self.state = training_step.init_state(network, adamw)
        self.function = training_step.make_train_step(graph, adamw, self.label, 0)
        started = time.perf_counter()
        lowered = self.function.lower(self.state, self.batch)
        self.compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - started
        self.before = lowered.cost_analysis()
        self.num_parameters = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        self.step()

    @property
    def params(self) -> dict:
        """Parameters of the network as they are now."""
        return self.state.params

    def step(self) -> None:
        """Do one step, and wait for it."""
        self.state = self.compiled(self.state, self.batch)
        jax.block_until_ready(self.state)

    @functools.cached_property
    def inputs(self) -> Callable:
        """What makes a batch into inputs of the network, jitted."""
        return jax.jit(lambda batch: objective.network_inputs(self.label, batch))

    @property
    def memory(self) -> int:
        """Bytes that the step needs besides what it is given."""
        return self.compiled.memory_analysis().temp_size_in_bytes


def in_turns(
    functions: list[Callable], turns: int = 3, seconds: float = 0.3
) -> np.ndarray:
    """Return the seconds that each function takes in each turn.

    All take turns, so that other work on the machine slows all of them.

    Args:
        functions: What to time; each has been called before.
        turns: Number of turns.
        seconds: About how long one function works in a turn, at least one call.

    Returns:
        Seconds of a call by function and turn.
    """
    repeats = []
    for function in functions:
        started = time.perf_counter()
        function()
        once = time.perf_counter() - started
        repeats.append(max(1, min(1000, round(seconds / max(once, 1e-6)))))
    times = np.zeros((len(functions), turns))
    for turn in range(turns):
        for number, function in enumerate(functions):
            started = time.perf_counter()
            for _ in range(repeats[number]):
                function()
            times[number, turn] = (time.perf_counter() - started) / repeats[number]
    print(".", end="", file=sys.stderr, flush=True)
    return times


def by_both_clocks(functions: list[Callable], turns: int, calls: int = 1) -> np.ndarray:
    """Return the seconds that functions take by the clock and of the processor.

    All take turns, in every second one from the last to the first. The processor's time
    is this process's own, and less disturbed by other work on the machine.

    Args:
        functions: What to time; each has been called before.
        turns: Number of turns.
        calls: Calls of each in a turn.

    Returns:
        Seconds of a call by clock, turn and function.
    """
    clocks = time.perf_counter, time.process_time
    seconds = np.zeros((len(clocks), turns, len(functions)))
    for turn in range(turns):
        numbers = range(len(functions))
        for number in reversed(numbers) if turn % 2 else numbers:
            started = np.array([clock() for clock in clocks])
            for _ in range(calls):
                functions[number]()
            ended = np.array([clock() for clock in clocks])
            seconds[:, turn, number] = (ended - started) / calls
    return seconds


def add_flags(parser) -> None:
    """Add the flags of every benchmark of trainings."""
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--small", action="store_true", help="the reduced networks")


def set_up() -> None:
    """Let JAX run programs as the commands do."""
    host_memory.keep()
    # Of the programs on a CPU none may run beside another: `rendering._after`.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    # Or a program from the cache would tell lines of sources that have changed since.
    jax.config.update("jax_compilation_cache_include_metadata_in_key", True)
