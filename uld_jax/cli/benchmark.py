r"""Test a network and a label of your own on fixed data, and compare results.

    uld_jax benchmark --network=my_network.py:Network --workdir=runs/mine
    uld_jax benchmark --network=adhoc --label=my_label.py:Label --workdir=runs/my_label
    uld_jax benchmark --network=srp_phat --workdir=runs/srp_phat
    uld_jax benchmark compare runs/mine/benchmark.json runs/srp_phat/benchmark.json

The tests are in rooms of the training and in new ones, by talkers of the training and by
new ones; three seeds. The first word `compare` compares two results, example by example.
How to bring your own: docs/benchmark.md.
"""

import dataclasses
import pathlib
from typing import Any

from uld_jax.cli.flags import CONFIG, MINUTES, PREPARE, WORKDIR, Flag
from uld_jax.runtime import errors, progress

FLAGS = (
    Flag(
        "network",
        "string",
        "A network or method of the package, or your own: FILE.py:NAME or MODULE:NAME "
        "of a flax.nnx.Module, of a NetworkSpec, or of a class with fit and predict.",
    ),
    Flag(
        "label",
        "string",
        "A label scheme, or your own: FILE.py:NAME or MODULE:NAME of an object with "
        "encode and decode, or of a Scheme.",
        default="uld",
    ),
    dataclasses.replace(
        WORKDIR, help="Folder of the runs and of the result.", required=False
    ),
    Flag("seed", "list", "Seeds.", default=["0", "1", "2"]),
    dataclasses.replace(
        CONFIG,
        help="Experiment: benchmark:reduced, of built-in signals, benchmark:full, of "
        "LibriSpeech, or benchmark:tiny; with _votes, for the network of votes. Each "
        "setting but those of the data is a flag: --config.train.epochs=20.",
        default="benchmark:reduced",
    ),
    PREPARE,
    MINUTES,
)
TAKES_PATHS = True
_COMPARE = "compare"


def main(values: Any, paths: list[str]) -> None:
    """Run a benchmark, or compare two results."""
    if paths[:1] == [_COMPARE]:
        _compare(paths[1:])
        return
    if paths:
        raise errors.InputError(
            f"benchmark: unknown word {paths[0]!r}; there is {_COMPARE}, with two results"
        )
    for flag in ("network", "workdir"):
        if not getattr(values, flag):
            raise errors.InputError(f"benchmark: --{flag} is required")
    seeds = _seeds(values.seed)
    from uld_jax.runtime import jax_setup
    from uld_jax.training import benchmark, benchmark_entries

    jax_setup.configure()
    config = values.config
    # A label is tried at the resolution that it is used with.
    label = config.label
    resolution = label.resolution or label.outputs_per_axis
    scheme, sources = benchmark_entries.find_label(values.label, resolution)
    entry = benchmark_entries.find_network(values.network)
    config = benchmark.settle(config, entry, scheme)
    result = benchmark.run(
        config,
        entry,
        sources,
        seeds,
        values.workdir,
        seconds=None if values.minutes is None else 60 * values.minutes,
        prepare=values.prepare,
    )
    path = pathlib.Path(values.workdir).expanduser() / benchmark.FILE_NAME
    _print_result(result)
    progress.log(f"The result is in {path}")


def _seeds(words: list[str]) -> list[int]:
    try:
        seeds = [int(word) for word in words]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise errors.InputError(
            f"--seed is {','.join(words)!r}; give different whole numbers, as in 0,1,2"
        )
    return seeds


def _print_result(result: dict[str, Any]) -> None:
    from uld_jax.report import markdown

    def figure(one: dict[str, Any]) -> str:
        return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"

    rows = [
        [
            name.replace("_", " "),
            str(group["examples"]),
            figure(group["mae"]),
            figure(group["median"]),
        ]
        for name, group in result["groups"].items()
    ]
    label = result["label"]
    print(
        f"{result['network']}, label {label['scheme']} at I = {label['resolution']} "
        f"(quantization error {label['quantization_error']:.3f} m), seeds "
        f"{', '.join(map(str, result['seeds']))}; 95 % intervals\n"
    )
    print(markdown.to_markdown(["test", "examples", "MAE m", "median m"], rows))


def _compare(paths: list[str]) -> None:
    """Print the paired differences of two results."""
    from uld_jax.evaluation import benchmark_scores
    from uld_jax.report import markdown

    if len(paths) != 2:
        raise errors.InputError(
            f"benchmark compare: name two results, not {len(paths)}: uld_jax benchmark "
            "compare A.json B.json"
        )
    first, second = map(benchmark_scores.read, paths)
    rows = [
        [
            row["group"].replace("_", " "),
            str(row["examples"]),
            f"{row['first']:.3f}",
            f"{row['second']:.3f}",
            f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})",
            f"{100 * row['closer']:.0f} %",
        ]
        for row in benchmark_scores.compare(first, second)
    ]
    for letter, result in (("A", first), ("B", second)):
        label = result["label"]
        print(
            f"{letter}: {result['network']}, label {label['scheme']} at I = "
            f"{label['resolution']}, {len(result['seeds'])} seeds"
        )
    header = ["test", "examples", "MAE A m", "MAE B m", "A - B m (95 %)", "A closer"]
    print("\n" + markdown.to_markdown(header, rows))
