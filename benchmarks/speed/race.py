"""Compare our training step with the same networks in PyTorch, by turns.

    python -m benchmarks.speed.race --small
    python -m benchmarks.speed.race --networks=ad1 --precisions=bfloat16 --seconds=40

The last fits 200 s of a GPU: one network and one precision a call.

"torch tuned" is compiled by `torch.compile`; "torch eager" is not. All train on one
batch that stays on the device. The comparison starts only if outputs, loss and gradients
from the same weights are equal to 1e-4.

PyTorch comes with `make torch`. With a GPU, both JAX and PyTorch must be built for it.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Collection, Sequence

import jax
import numpy as np

from benchmarks import report
from benchmarks.speed import steps, timer
from uld_jax.runtime import errors

OURS = "uld_jax"
KINDS = {"torch tuned": True, "torch eager": False}  # Whether compiled.
# On a GPU, what stays in float32 beside bfloat16 is done in TF32, JAX's own choice;
# `training.set_precision` makes it PyTorch's.
_MATMULS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": None}
# Of `torch.compile`. "max-autotune" tries kernels on a GPU for minutes.
_COMPILE_MODES = ("default", "max-autotune")
_TURN_SECONDS = 1.5
_FEWEST_TURNS = 5
_EQUALITY_EXAMPLES = 2
NOTE = (
    "One training step, in turns in one process: medians over turns, for ratios with "
    "quartiles. First s is the time of the first two steps, compiling included. CPU ms "
    "is processor time of all threads. All keep freed memory "
    "(docs/speed.md), and PyTorch's threads sleep while they wait "
    "(OMP_WAIT_POLICY=passive)."
)


class RaceError(errors.InputError):
    """A comparison that cannot be made, with the reason."""


def main() -> None:
    """Compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    report.add_flag(parser)
    parser.add_argument("--small", action="store_true", help="the reduced networks")
    parser.add_argument("--networks", default="l1,ad1", help="of l1, ad1, ad2")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each network")
    parser.add_argument("--precisions", help=f"of {', '.join(_MATMULS)}")
    parser.add_argument(
        "--compile_mode",
        choices=_COMPILE_MODES,
        default="default",
        help="of torch.compile",
    )
    options = parser.parse_args()
    size = "reduced" if options.small else "full"
    precisions = options.precisions and options.precisions.split(",")
    try:
        table = compare(
            options.networks.split(","),
            size,
            options.seconds,
            precisions,
            options.compile_mode,
        )
    except RaceError as error:
        sys.exit(f"error: {error}")
    report.write("speed.race", [table], options.out)


def compare(
    names: Sequence[str],
    size: str,
    seconds: float,
    precisions: Sequence[str] | None = None,
    compile_mode: str = "default",
) -> tuple:
    """Compare networks; return a table: title, note and rows.

    Args:
        names: Of `steps.SHAPES`.
        size: "full" or "reduced".
        seconds: For all turns of one network; compiling comes on top.
        precisions: Of "float32", "tf32" and "bfloat16"; by default float32 on a CPU,
            all on a GPU.
        compile_mode: Of `torch.compile`.

    Raises:
        RaceError: If PyTorch is missing or on another device, a name is unknown, or
            networks are not equal.
    """
    if importlib.util.find_spec("torch") is None:
        raise RaceError("PyTorch is missing; install it by: make torch")
    _check("network", names, steps.SHAPES)
    _check("precision", precisions or (), _MATMULS)
    # Both before their libraries start: PyTorch needs memory of a GPU, too, and its
    # threads must not spin while JAX works.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    on_cpu = jax.default_backend() == "cpu"
    precisions = precisions or (["float32"] if on_cpu else list(_MATMULS))
    rows = []
    for name in names:
        for precision in precisions:
            print(f"{name}, {size}, {precision}", file=sys.stderr, flush=True)
            rows += _compare(name, size, precision, seconds, compile_mode)
    version = importlib.metadata.version("torch")
    note = f"{NOTE} PyTorch {version}, compile mode {compile_mode}."
    return ("Training steps against PyTorch.", note, rows)


def _check(what: str, chosen: Collection[str], known: Collection[str]) -> None:
    if unknown := sorted(set(chosen) - set(known)):
        raise RaceError(
            f"unknown {what} {', '.join(unknown)}; known: {', '.join(known)}"
        )


def _compare(
    name: str, size: str, precision: str, seconds: float, compile_mode: str
) -> list[dict]:
    """Compare one network in one precision; return its rows."""
    from benchmarks.speed.pytorch import equality, networks, training, weights

    check_devices(jax.default_backend(), training.device().type)
    training.set_precision("float32")
    code = steps.package(steps.ROOT)
    changes = {"dtype": "bfloat16"} if precision == "bfloat16" else {}
    jax.config.update("jax_default_matmul_precision", _MATMULS[precision])
    ours = steps.Steps(code, name, size, **changes)
    shape = dict(zip(("num_nodes", "num_sources"), steps.SHAPES[name], strict=False))
    settings = ours.settings | shape | {"resolution": ours.label.resolution}

    # Dropout differs between the libraries, so equality is checked without.
    without = {"dropout": 0.0} if "dropout" in settings else {}
    plain = steps.Steps(code, name, size, _EQUALITY_EXAMPLES, **without)
    network = networks.build(settings | without).to(training.device())
    try:
        found = equality.differences(plain.label, plain.model, network, plain.batch)
    except (equality.UnequalError, ValueError) as error:
        raise RaceError(str(error)) from None
    print(f"largest differences: {found}", file=sys.stderr, flush=True)

    training.set_precision(precision)
    functions = {OURS: functools.partial(_repeat, ours.train)}
    for kind, compiled in KINDS.items():
        network = networks.build(settings).to(training.device()).train()
        weights.copy(ours.params, network)
        functions[kind] = training.make_step(
            network,
            ours.batch,
            resolution=ours.label.resolution,
            learning_rate=ours.config.train.learning_rate,
            weight_decay=ours.config.train.weight_decay,
            bfloat16=precision == "bfloat16",
            compile_mode=compile_mode if compiled else None,
        )
    title = {"network": f"{name}, {size}", "precision": precision}
    device = training.device_name()
    rows = race(functions, ours.batch_size, seconds)
    return [title | {"device": device, "batch": ours.batch_size} | row for row in rows]


def _repeat(function: Callable, times: int) -> None:
    for _ in range(times):
        function()


def check_devices(jax_backend: str, torch_device: str) -> None:
    """Refuse to compare a CPU with a GPU.

    Raises:
        RaceError: If only one of the two backends is "cpu".
    """
    if (jax_backend == "cpu") != (torch_device == "cpu"):
        raise RaceError(
            f"JAX runs on {jax_backend}, PyTorch on {torch_device}: install both for the GPU "
            "(pip install '.[gpu,race]' with PyTorch's build for CUDA), or set "
            "JAX_PLATFORMS=cpu and CUDA_VISIBLE_DEVICES= (empty)"
        )


def race(
    functions: dict[str, Callable[[int], object]], batch_size: int, seconds: float
) -> list[dict]:
    """Time functions by turns; return a row for each, ratios to the first.

    Args:
        functions: By name, functions that run a number of steps and wait for them.
        batch_size: Examples in a step.
        seconds: For all turns.
    """
    measures, first = [], []
    for run in functions.values():
        first.append(timer.seconds(functools.partial(run, 2))[0])
        each = timer.seconds(functools.partial(run, 2))[0] / 2
        count = max(1, round(_TURN_SECONDS / each))
        measures.append(lambda run=run, n=count: timer.seconds(lambda: run(n)) / n)
    turns = round(seconds / _TURN_SECONDS / len(functions))
    taken = timer.by_turns(measures, max(_FEWEST_TURNS, turns)) / batch_size
    rows = []
    for number, name in enumerate(functions):
        clock, processor = taken[:, number].T
        against = timer.ratio(clock, taken[:, 0, 0]) if number else ""
        rows.append(
            {
                "contestant": name,
                "examples/s": float(1 / np.median(clock)),
                "uld_jax is times as fast": against,
                "CPU ms/example": float(1e3 * np.median(processor)),
                "first s": first[number],
            }
        )
    return rows


if __name__ == "__main__":
    main()
