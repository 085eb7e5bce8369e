"""Several runs in one program against one after the other.

    python benchmarks/together.py --out=docs/together_cpu.md --small
    python benchmarks/together.py --out=$OUT/together_gpu.md    # With a GPU.

The runs have their own seed, and so their own batch, or their own resolution, and then
share batch and spectra with others. Steps take turns in one process, so ratios hold on
machines with other work. Random signals on the device: what also is shared of reading,
rendering and evaluating is not in it.
"""

import argparse
import functools
import time

import jax
import numpy as np
import report
import trainings

from uld_jax import config as config_lib
from uld_jax import (
    models,
    optimizer,
    padding,
    schemes,
    together_step,
    training_step,
)

# Seeds, and resolutions of each.
_GROUPS = {
    "ad1": (
        (1, (4,)),
        (1, (4, 8)),
        (2, (4,)),
        (1, (2, 4, 8, 16)),
        (2, (4, 8)),
        (4, (4,)),
        (2, (2, 4, 8, 16)),
    ),
    "ad2": ((1, (4, 8)), (2, (4, 8))),
    "l1": ((1, (5,)), (2, (5,)), (4, (5,))),
}


class Group:
    """Runs in one program, as a training on random signals.

    Args:
        one: One of them, alone.
        num_seeds: Seeds.
        resolutions: Cells per axis of the runs of each.
    """

    def __init__(
        self, one: trainings.Training, num_seeds: int, resolutions: tuple[int, ...]
    ):
        scheme, adamw = one.config.label.scheme, optimizer.adamw(1e-3, 0.01)
        runs = [(seed, i) for seed in range(num_seeds) for i in resolutions]
        labels = tuple(schemes.Label(scheme, resolution) for _, resolution in runs)
        group = together_step.Group(labels, tuple(seed for seed, _ in runs))
        settings = config_lib.to_dict(one.config.model)
        made = [
            training_step.init_state(
                models.for_label(settings, label, one.num_nodes, one.num_sources, seed),
                adamw,
            )
            for label, (seed, _) in zip(labels, runs, strict=True)
        ]
        largest = max(range(len(runs)), key=lambda number: labels[number].num_outputs)
        step = together_step.make_train_step(made[largest][0], adamw, group)
        self._batches = [one.batch] * num_seeds
        stacked = padding.stack([jax.device_get(state) for _, state in made])
        self._state = jax.device_put(stacked)
        started = time.perf_counter()
        self._compiled = step.lower(self._state, self._batches).compile()
        self.compile_seconds = time.perf_counter() - started
        self.memory = self._compiled.memory_analysis().temp_size_in_bytes
        self.step()

    def step(self) -> None:
        """Do one step of all, and wait for it."""
        self._state = self._compiled(self._state, self._batches)
        jax.block_until_ready(self._state)


def rows(name: str, small: bool, most: int, turns: int) -> list[dict]:
    """Return a row for each group of runs of an experiment.

    Args:
        name: Experiment.
        small: Whether the reduced network.
        most: Runs at most in one program.
        turns: How often all take turns.
    """
    chosen = [g for g in _GROUPS[name] if g[0] * len(g[1]) <= most]
    resolutions = {resolution for _, each in chosen for resolution in each}
    alone = {
        resolution: trainings.Training(name, small, resolution=resolution)
        for resolution in sorted(resolutions)
    }
    found = []
    for num_seeds, each in chosen:
        singles = [alone[resolution] for resolution in each] * num_seeds
        group = Group(singles[0], num_seeds, each)
        steps = [single.step for single in dict.fromkeys(singles)]
        times = trainings.in_turns([group.step, *steps], turns)
        before = times[1:].sum(axis=0) * num_seeds
        low, ratio, high = np.percentile(before / times[0], (25, 50, 75))
        compiled = sum(single.compile_seconds for single in singles)
        found.append(
            {
                "seeds": num_seeds,
                "I": ", ".join(map(str, each)),
                "runs": len(singles),
                "ms a step and run, alone": 1e3 * np.median(before) / len(singles),
                "together": 1e3 * np.median(times[0]) / len(singles),
                "times as fast": f"{ratio:.2f} ({low:.2f}-{high:.2f})",
                "s to compile, one by one": compiled,
                "at once": group.compile_seconds,
                "times as fast to compile": compiled / group.compile_seconds,
                "MiB in a step, alone": max(one.memory for one in singles) / 2**20,
                "all": group.memory / 2**20,
            }
        )
    return found


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    trainings.add_flags(parser)
    parser.add_argument("--networks", default="ad1,l1", help="of ad1, ad2, l1")
    parser.add_argument("--most", type=int, default=8, help="runs in a program at most")
    parser.add_argument("--turns", type=int, default=7, help="how often all take turns")
    options = parser.parse_args()
    trainings.set_up()
    measure = functools.partial(
        rows, small=options.small, most=options.most, turns=options.turns
    )
    size = "reduced" if options.small else "full size"
    tables = [
        (
            f"{name}, {size}",
            '"Times as fast": the time of all runs\' steps one after the other over that of '
            "one step of all, median (quartiles) of turns. Compilation and memory are of "
            "the training step alone.",
            measure(name),
        )
        for name in options.networks.split(",")
    ]
    report.write("together.py", tables, options.out)


if __name__ == "__main__":
    main()
