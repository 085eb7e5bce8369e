"""The race: our training step against the same networks in PyTorch, by turns.

    python benchmarks/race/run.py --small --out=docs/race_cpu.md  # A CPU's networks.
    python benchmarks/race/run.py --out=$OUT/race_gpu.md          # With a GPU.
    python benchmarks/race/run.py --networks=l1 --precisions=tf32,bfloat16 --minutes=1

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
each network is raced in float32, TF32 and bfloat16, on a CPU in float32. The table is
written after each race, and `--networks`, `--precisions` and `--kinds` choose: so a
machine that is lent for minutes at a time holds the races in several calls, one or two
in each.
"""

import argparse
import importlib.metadata
import importlib.util
import itertools
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Collection

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
    contestant.SHIPPED,
)
_WORDS = {kind.removeprefix("torch "): kind for kind in KINDS}  # On the command line.
_LAWS = {
    "l1": (l1, simulation.L1),
    "ad1": (ad1, simulation.AD1),
    "ad2": (ad2, simulation.AD2),
}
NETWORKS = tuple(_LAWS)
PRECISIONS = ("float32", "tf32", "bfloat16")
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
    parser.add_argument(
        "--precisions", help=f"of {', '.join(PRECISIONS)}; those of the device if none"
    )
    parser.add_argument(
        "--kinds",
        default=",".join(_WORDS),
        help="of tuned, eager and shipped; uld_jax always races",
    )
    options = parser.parse_args()
    contest.end_by_exception()

    def write(table: list[dict]) -> None:
        report.write("race/run.py", [("The race.", note(), table)], options.out)

    try:
        rows(
            options.networks.split(","),
            "reduced" if options.small else "full",
            minutes=options.minutes,
            kinds=kinds_of(options.kinds),
            compile_mode=options.compile_mode,
            precisions=options.precisions and options.precisions.split(","),
            done=write,
        )
    except contest.RaceError as error:
        sys.exit(f"error: {error}")


def kinds_of(text: str) -> tuple[str, ...]:
    """Return the contestants that words such as "tuned,eager" name, ours first.

    Raises:
        contest.RaceError: If there is no such contestant.
    """
    words = text.split(",")
    _check("contestant", words, _WORDS)
    return tuple(k for word, k in _WORDS.items() if k == OURS or word in words)


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
    precisions: list[str] | tuple[str, ...] | None = None,
    done: Callable[[list[dict]], None] = lambda table: None,
) -> list[dict]:
    """Race and return the rows of a table, one a contestant.

    Args:
        names: Of `NETWORKS`.
        size: "full" or "reduced".
        minutes: Of turns, for each race.
        kinds: Contestants, ours first; it runs alone where there is no PyTorch.
        turn_seconds: For a turn, about.
        compile_mode: Of `torch.compile`; by default what suits the device.
        precisions: Of `PRECISIONS`; by default all, on a CPU float32.
        done: Is told the rows there are, after each race.

    Raises:
        contest.RaceError: If there is no such network or precision, two networks are
            not equal, contestants are on different devices, or one ends.
    """
    _check("network", names, NETWORKS)
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # This process needs none.
    if not _has_torch():
        contest.say("no PyTorch here (pip install '.[race]'): we run alone")
        kinds = (OURS,)
    on_cpu = jax.default_backend() == "cpu"
    compile_mode = compile_mode or ("default" if on_cpu else "max-autotune")
    precisions = precisions or (PRECISIONS[:1] if on_cpu else PRECISIONS)
    _check("precision", precisions, PRECISIONS)
    found = []
    for name, precision in itertools.product(names, precisions):
        raced = entry(name, size, precision, compile_mode)
        contest.say(f"{name}, {size}, {precision}")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            contest.prepare(folder, raced, len(kinds) > 1)
            shown = contest.hold(folder, kinds, 60 * minutes, turn_seconds)
        title = {"network": f"{name}, {size}", "precision": precision}
        found += [title | row for row in compare(raced, shown)]
        done(found)
    return found


def _check(what: str, chosen: Collection[str], known: Collection[str]) -> None:
    if unknown := sorted(set(chosen) - set(known)):
        raise contest.RaceError(
            f"no {what} {', '.join(unknown)} in the race; there are {', '.join(known)}"
        )


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
            "device": one["device"],
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
        "compiled before. Memory is the process's most, and its workers'. uld_jax, tuned "
        "and eager keep the host's memory (`uld_jax.host_memory`), the shipped one does "
        "not: on a CPU that is worth about a fifth of the CPU time to each. PyTorch's "
        "threads wait asleep (OMP_WAIT_POLICY=passive): alone that costs it a few per "
        "cent, and beside other work it saves it from being several times slower. On a "
        "GPU, what stays in float32 beside bfloat16 is done in TF32 by all. "
    )
    if not _has_torch():
        return text + "There was no PyTorch: we ran alone."
    return text + f"PyTorch {importlib.metadata.version('torch')}."


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


if __name__ == "__main__":
    main()
