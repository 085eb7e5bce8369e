"""How fast networks train: each backbone, what a step spends, and what costs more.

    python benchmarks/training.py --out=docs/training_speed_cpu.md
    python benchmarks/training.py --out=$OUT/training_speed_gpu.md   # With a GPU.

Random signals on the device, so no data set is needed. Everything is measured in one
run, ratios by turns, so they hold although machines are noisy. `--small` takes the
reduced networks, which is what a machine of two cores can do.
"""

import argparse
import functools
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import report

from uld_jax import config as config_lib
from uld_jax import (
    features,
    models,
    objective,
    optimizer,
    scenes,
    schemes,
    simulation,
    training_step,
)
from uld_jax_experiments import ad1, l1

_TURNS = 3
_NODES = (5, 10, 15, 30, 60)
_BATCHES = (8, 16, 32, 64)
_LAWS = {"l1": simulation.L1, "ad1": simulation.AD1, "ad2": simulation.AD2}


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--small", action="store_true", help="the reduced networks")
    options = parser.parse_args()
    # Of the programs on a CPU none may run beside another: `rendering._after`.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    size = "reduced" if options.small else "full"
    report.write(
        "training.py",
        [
            _backbones(size),
            _shares(size),
            _nodes(size),
            _batches(size),
            _settings(size),
        ],
        options.out,
    )


def _config(name: str, size: str):
    return (l1 if name == "l1" else ad1).get_config(size)


def _batch(law: simulation.Law, batch_size: int, num_nodes: int) -> dict:
    """Return a batch of noise in rooms of a law."""
    rng = np.random.default_rng(0)
    drawn = [
        scenes.draw_adhoc(rng, law.num_sources, (10.0, 20.0), num_nodes=num_nodes)
        for _ in range(batch_size)
    ]
    audio = rng.integers(-9999, 9999, (batch_size, num_nodes, law.num_samples))
    batch = {
        "audio": audio.astype(np.int16),
        "node_positions": np.stack([scene.node_positions for scene in drawn]),
        "source_positions": np.stack([scene.source_positions for scene in drawn]),
        "room_size": np.stack([scene.room_size for scene in drawn]),
    }
    return jax.device_put(batch)


class _Training:
    """A network in training; `step` does one step."""

    def __init__(self, config, law, *, num_nodes=None, batch_size=None, **changes):
        config = config.copy_and_resolve_references()
        config.model.update(changes)
        config = config_lib.resolve(config)
        self.label = schemes.Label(config.label.scheme, config.label.resolution)
        num_nodes = num_nodes or config.data.nodes_in_training or law.num_nodes
        self.batch_size = batch_size or config.train.batch_size
        self.batch = _batch(law, self.batch_size, num_nodes)
        model = models.for_label(
            config_lib.to_dict(config.model), self.label, num_nodes, law.num_sources, 0
        )
        frames = features.num_frames(law.num_samples)
        self.size = models.overview(model, num_nodes, frames, self.label.num_outputs)
        adamw = optimizer.adamw(1e-3, 0.01)
        self.graph, self.state = training_step.init_state(model, adamw)
        self._step = training_step.make_train_step(self.graph, adamw, self.label, 0)
        compiled = self._step.lower(self.state, self.batch).compile()
        self.memory = compiled.memory_analysis().temp_size_in_bytes
        self.step()

    def step(self) -> None:
        self.state = self._step(self.state, self.batch)
        jax.block_until_ready(self.state)

    @functools.cached_property
    def inputs(self):
        return jax.jit(lambda batch: objective.network_inputs(self.label, batch))


def _seconds(functions: list, repeats: int = 2) -> list[float]:
    """Return the least time of each function, all in turns."""
    times = [[] for _ in functions]
    for _ in range(_TURNS):
        for function, mine in zip(functions, times, strict=True):
            started = time.perf_counter()
            for _ in range(repeats):
                function()
            mine.append((time.perf_counter() - started) / repeats)
    print(".", end="", file=sys.stderr, flush=True)
    return [min(mine) for mine in times]


def _row(name, training, seconds) -> dict:
    flops = training.size["flops"]
    rate = training.batch_size / seconds
    return {
        **name,
        "batch": training.batch_size,
        "parameters": f"{training.size['parameters']:,}",
        "examples/s": rate,
        "ms/step": 1e3 * seconds,
        "GFLOP/s": 3e-9 * flops * rate if flops else "-",
        "memory GB": 1e-9 * training.memory,
    }


def _backbones(size: str) -> tuple:
    rows = []
    for name, law in _LAWS.items():
        training = _Training(_config(name, size), law)
        (seconds,) = _seconds([training.step])
        rows.append(_row({"experiment": f"{name}, {size}"}, training, seconds))
    note = (
        "One training step: STFT, network, loss, gradient, update. 15 nodes of 2 s for "
        "Ad-1 and Ad-2, 8 of 0.16 s for L-1. GFLOP/s counts three forward passes, as "
        "XLA counts one; memory is what the compiled step needs besides its inputs."
    )
    return ("Backbones.", note, rows)


def _shares(size: str) -> tuple:
    """Time the parts of a step on Ad-1, rendering among them."""
    law, config = simulation.AD1, _config("ad1", size)
    training = _Training(config, law)
    rng = np.random.default_rng(1)
    room = [
        law.draw(rng, "train", lambda *_: _Excerpt(), lambda *_: _Excerpt())
        for _ in range(training.batch_size)
    ]
    nodes = np.tile(np.arange(15, dtype=np.int32), (training.batch_size, 1))
    dry = jnp.asarray(
        rng.normal(size=(training.batch_size, 1, law.num_dry)), jnp.float32
    )
    noise = dry[:, 0]

    def render():
        deterministic = jax.default_backend() != "cpu"
        batch = law.batch(room, dry, noise, nodes=nodes, deterministic=deterministic)
        jax.block_until_ready(batch["audio"])

    def stft():
        jax.block_until_ready(training.inputs(training.batch))

    render(), stft()
    rendering, spectra, step = _seconds([render, stft, training.step], repeats=1)
    whole = rendering + step
    rows = [
        {
            "part": part,
            "ms/example": 1e3 * seconds / training.batch_size,
            "share of a step with rendering %": 100 * seconds / whole,
        }
        for part, seconds in (
            ("rendering, 15 nodes, thinned", rendering),
            ("STFT and codes", spectra),
            ("network, gradient, update", step - spectra),
        )
    ]
    return ("Parts of a step", f"of Ad-1 with fresh or compact data, {size}.", rows)


class _Excerpt:
    """An excerpt of nobody's speech."""

    class utterance:
        talker = name = "nobody"


def _against_first(title, note, key, values, trainings) -> tuple:
    times = _seconds([training.step for training in trainings])
    first = times[0] / trainings[0].batch_size
    rows = [
        {
            key: value,
            "examples/s": training.batch_size / seconds,
            "time an example, first = 1": seconds / training.batch_size / first,
            "memory GB": 1e-9 * training.memory,
        }
        for value, training, seconds in zip(values, trainings, times, strict=True)
    ]
    return (title, note, rows)


def _nodes(size: str) -> tuple:
    config = _config("ad1", size)
    trainings = [
        _Training(config, simulation.AD1, num_nodes=n, batch_size=8) for n in _NODES
    ]
    return _against_first(
        "Nodes.", f"Ad-1, {size}, batch 8.", "nodes", _NODES, trainings
    )


def _batches(size: str) -> tuple:
    config = _config("ad1", size)
    trainings = [_Training(config, simulation.AD1, batch_size=b) for b in _BATCHES]
    return _against_first(
        "Batch.", f"Ad-1, {size}, 15 nodes.", "batch", _BATCHES, trainings
    )


def _settings(size: str) -> tuple:
    config = _config("ad1", size)
    changes = [
        {},
        {"dtype": "bfloat16"},
        {"remat": True},
        {"front_end": "real_imaginary"},
        {"frames_per_step": 3 * config.model.frames_per_step},
    ]
    names = [", ".join(f"{k} {v}" for k, v in c.items()) or "as it is" for c in changes]
    trainings = [_Training(config, simulation.AD1, batch_size=8, **c) for c in changes]
    return _against_first(
        "Settings.", f"Ad-1, {size}, batch 8, 15 nodes.", "settings", names, trainings
    )


if __name__ == "__main__":
    main()
