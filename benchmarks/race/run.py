"""The race: our training step against the same networks in PyTorch, by turns.

    python benchmarks/race/run.py --small --out=docs/race_cpu.md  # A CPU's networks.
    python benchmarks/race/run.py --out=$OUT/race_gpu.md          # With a GPU.

Contestants: "uld_jax", our training step on data held on the device as int16; "torch
tuned", the same in PyTorch, compiled, data and STFT on the device; "torch eager", that
without the compiler; and "torch shipped", as the field does it: features read from one
file an utterance by workers, each loss fetched. Nobody starts unless outputs, loss and
gradients from the same weights are equal to 1e-4. Each is a process of its own; one
runs while the others are stopped, and ratios are taken turn by turn, so that other work
on the machine slows all of them.

PyTorch comes with `pip install '.[race]'`; without it we run alone, and that is said.
With a GPU, both have to be built for it, jax[cuda13] and a PyTorch of CUDA, installed on
that machine: the latter is far larger than what `pack_offline.sh` carries. On a GPU
each network is raced in float32, TF32 and bfloat16, on a CPU in float32.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np
import report
from race import contest, contestant

from uld_jax import config as config_lib
from uld_jax import simulation
from uld_jax_data.simulated import configs
from uld_jax_experiments import ad1, ad2, l1

OURS, TUNED, EAGER, SHIPPED = KINDS = (
    contestant.OURS,
    "torch tuned",
    "torch eager",
    "torch shipped",
)
_LAWS = {
    "l1": (l1, simulation.L1),
    "ad1": (ad1, simulation.AD1),
    "ad2": (ad2, simulation.AD2),
}
NETWORKS = tuple(_LAWS)
_TURN_SECONDS = 3.0


def main() -> None:
    """Race, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--small", action="store_true", help="the reduced networks")
    parser.add_argument("--networks", default="l1,ad1", help="of l1, ad1, ad2")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of turns, for each race"
    )
    parser.add_argument("--compile_mode", help="of torch.compile, in place of ours")
    options = parser.parse_args()
    try:
        table = rows(
            options.networks.split(","),
            "reduced" if options.small else "full",
            minutes=options.minutes,
            compile_mode=options.compile_mode,
        )
    except contest.RaceError as error:
        sys.exit(f"error: {error}")
    report.write("race/run.py", [("The race.", note(), table)], options.out)


def quick() -> list[dict]:
    """Return the rows of a race of two minutes, for `make bench`.

    Raises:
        contest.RaceError: If it cannot be held.
    """
    return rows(
        ("l1", "ad1"),
        "reduced",
        minutes=0.25,
        kinds=(OURS, TUNED, SHIPPED),
        turn_seconds=1.0,
    )


def rows(
    names: list[str] | tuple[str, ...],
    size: str,
    *,
    minutes: float,
    kinds: tuple[str, ...] = KINDS,
    turn_seconds: float = _TURN_SECONDS,
    compile_mode: str | None = None,
) -> list[dict]:
    """Race and return the rows of a table, one a contestant.

    Args:
        names: Of `NETWORKS`.
        size: "full" or "reduced".
        minutes: Of turns, for each race.
        kinds: Contestants, ours first; it runs alone where there is no PyTorch.
        turn_seconds: For a turn, about.
        compile_mode: Of `torch.compile`; by default what suits the device.

    Raises:
        contest.RaceError: If there is no such network, two are not equal, or a
            contestant ends.
    """
    if unknown := sorted(set(names) - set(NETWORKS)):
        raise contest.RaceError(
            f"no network {', '.join(unknown)} in the race; there are "
            f"{', '.join(NETWORKS)}"
        )
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # This process needs none.
    if not _has_torch():
        contest.say("no PyTorch here (pip install '.[race]'): we run alone")
        kinds = (OURS,)
    on_cpu = jax.default_backend() == "cpu"
    compile_mode = compile_mode or ("default" if on_cpu else "max-autotune")
    found = []
    for name in names:
        for precision in ("float32",) if on_cpu else ("float32", "tf32", "bfloat16"):
            raced = entry(name, size, precision, compile_mode)
            contest.say(f"{name}, {size}, {precision}")
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                contest.prepare(folder, raced, len(kinds) > 1)
                shown = contest.hold(folder, kinds, 60 * minutes, turn_seconds)
            title = {"network": f"{name}, {size}", "precision": precision}
            found += [title | row for row in compare(raced, shown)]
    return found


def entry(name: str, size: str, precision: str, compile_mode: str) -> dict:
    """Return what is raced: an experiment's network, batch and number of examples.

    Args:
        name: One of `NETWORKS`.
        size: "full" or "reduced".
        precision: "float32", "tf32" or "bfloat16".
        compile_mode: Of `torch.compile`.
    """
    experiment, law = _LAWS[name]
    config = config_lib.resolve(experiment.get_config(size))
    prepared = config.data.name.partition("/")[2].partition(":")[0]
    sizes = {known.name: known.sizes for known in configs.CONFIGS}
    network = config_lib.to_dict(config.model) | {
        "resolution": config.label.resolution,
        "num_nodes": config.data.nodes_in_training or law.num_nodes,
        "num_sources": law.num_sources,
    }
    return {
        "network": network,
        "num_samples": law.num_samples,
        "num_examples": sizes[prepared][0],
        "batch_size": config.train.batch_size,
        "learning_rate": config.train.learning_rate,
        "weight_decay": config.train.weight_decay,
        "precision": precision,
        "compile_mode": compile_mode,
    }


def compare(raced: dict, shown: list[dict]) -> list[dict]:
    """Return a row for each contestant; ratios are medians over turns, and quartiles.

    Args:
        raced: An entry.
        shown: What `contest.hold` returned, ours first.
    """
    rates = [
        np.array([turn["steps"] / turn["seconds"] for turn in one["turns"]])
        * raced["batch_size"]
        for one in shown
    ]
    found = []
    for one, mine in zip(shown, rates, strict=True):
        low, ratio, high = np.percentile(rates[0] / mine, (25, 50, 75))
        rate, turns = float(np.median(mine)), one["turns"]
        cpu = sum(turn["cpu_seconds"] for turn in turns)
        done = raced["batch_size"] * sum(turn["steps"] for turn in turns)
        against = "" if one is shown[0] else f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        row = {
            "contestant": one["kind"],
            "batch": raced["batch_size"],
            "examples/s": rate,
            "uld_jax is times as fast": against,
            "CPU ms/example": 1e3 * cpu / done,
            "minutes an epoch": raced["num_examples"] / rate / 60,
            "first step after s": one["seconds_to_first_step"],
            "memory GB": 1e-9 * one["memory"],
        }
        if turns[-1]["device_memory"] is not None:
            row["device memory GB"] = 1e-9 * turns[-1]["device_memory"]
        found.append(row)
    return found


def note() -> str:
    """Return what the table means, with PyTorch's version."""
    text = (
        "One training step, by turns; the median over turns, of ratios with the "
        "quartiles. An epoch is extrapolated from the rate to the experiment's training "
        "examples. The shipped one's files are in the system's memory: no disk is read. "
        "The first step is done so long after the process starts, nothing being "
        "compiled before. Memory is the process's most, and its workers'. "
    )
    if not _has_torch():
        return text + "There was no PyTorch: we ran alone."
    return text + f"PyTorch {importlib.metadata.version('torch')}."


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


if __name__ == "__main__":
    main()
