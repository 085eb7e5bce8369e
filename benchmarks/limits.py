"""How far training steps are from what the device can do, and what takes their time.

    python benchmarks/limits.py --small --out=docs/limits_cpu.md
    python benchmarks/limits.py --out=$OUT/limits_gpu.md            # With a GPU.

For each network: operations and bytes of a step by hand (`counting`) and as XLA counts
them; the device's best rates, measured in turns with the step; the share of that limit
that the step reaches; and the longest parts and instructions by a trace (`step_profile`,
which says what to set on a GPU). `--no_trace` leaves these out.
"""

import argparse
import dataclasses

import counting
import jax
import jax.numpy as jnp
import numpy as np
import report
import step_profile
import trainings

from uld_jax import config as config_lib

_NETWORKS = ("l1", "ad1", "ad2")
_TURNS = 5
_WIDTHS = (1024, 2048, 4096)  # Of the square matrices whose product is timed.
_WIDTHS_ON_DEVICE = (4096, 8192)
_NUMBERS = 2**25  # Of each array of the sum that is timed: 128 MiB, more than caches.
_NUMBERS_ON_DEVICE = 2**28
# Dense operations and bytes a second by NVIDIA's data sheets of A100 (80 GB SXM), H100
# (SXM5 and PCIe) and H200 (SXM); where a sheet has sparse matrices, half of them.
_DATA_SHEETS = {
    "A100": {"float32": 19.5e12, "TF32": 156e12, "bfloat16": 312e12, "bytes": 2.04e12},
    "H100 PCIe": {"float32": 51e12, "TF32": 378e12, "bfloat16": 756e12, "bytes": 2e12},
    "H100": {"float32": 67e12, "TF32": 495e12, "bfloat16": 990e12, "bytes": 3.35e12},
    "H200": {"float32": 67e12, "TF32": 495e12, "bfloat16": 990e12, "bytes": 4.8e12},
}
_COUNTED_NOTE = (
    "By hand: `counting.py`, what the equations ask for. XLA's counts are of the "
    "compiled step (`cost_analysis`); before XLA, of what JAX handed to it. XLA counts "
    "the body of a loop once, so the steps of an LSTM but the first are missing; the "
    "second column by hand counts so, too. For an FFT it counts 8 n log2(n) where "
    "2.5 n log2(n) are enough. The rest of what it has more is elementwise: counted "
    "roughly by hand, done twice where XLA fuses it into two places, and integer "
    "operations of dropout's random numbers. Bytes: by hand what must move at least "
    "once; for XLA what each instruction reads and writes, whether a cache holds it or "
    "not. MB moved in the tables of parts below tell where they are."
)
_LIMIT_NOTE = (
    "Best rates are of this machine in this run, in turns with the steps. Time at the "
    "limit is the longer of operations over the best rate of a product of matrices and "
    "least bytes over the best rate of memory (a sum of two arrays to a third); the "
    "share is that over the time of a step, the median of the turns."
)


def main() -> None:
    """Count, measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    trainings.add_flags(parser)
    parser.add_argument("--networks", default=",".join(_NETWORKS))
    parser.add_argument("--dtype", default="float32", help="or bfloat16")
    parser.add_argument("--no_trace", action="store_true")
    options = parser.parse_args()
    trainings.set_up()
    names = options.networks.split(",")
    steps = {
        name: trainings.Training(name, options.small, dtype=options.dtype)
        for name in names
    }
    tables = [_counted(steps), *_by_part(steps), *_limits(steps, options.dtype)]
    if not options.no_trace:
        for name, training in steps.items():
            tables += step_profile.of_training(name, training)
    report.write("limits.py", tables, options.out)


def shapes_of(training: trainings.Training) -> counting.Shapes:
    """Return the sizes of a training, for `counting`."""
    return counting.Shapes(
        batch=training.batch_size,
        nodes=training.num_nodes,
        samples=training.num_samples,
        sources=training.num_sources,
        channels=training.label.num_channels,
        per_axis=training.label.outputs_per_axis,
        parameters=training.num_parameters,
    )


def work_of(training: trainings.Training) -> list[counting.Work]:
    """Return the work of a training's step, by hand."""
    return counting.step(config_lib.to_dict(training.config.model), shapes_of(training))


def word_of(training: trainings.Training) -> int:
    """Return the bytes of a number that a training keeps for its backward pass."""
    return jnp.dtype(training.config.model.dtype).itemsize


def bytes_of(training: trainings.Training) -> dict[str, float]:
    """Return the least bytes of a training's step, by what they are."""
    work, shapes = work_of(training), shapes_of(training)
    return counting.least_bytes(work, shapes, word_of(training))


def _counted(steps: dict) -> tuple:
    rows = []
    for name, training in steps.items():
        work = work_of(training)
        by_hand = sum(one.flops for one in work)
        xla, before = training.compiled.cost_analysis(), training.before
        least = sum(bytes_of(training).values())
        rows.append(
            {
                "network": f"{name}, batch {training.batch_size}",
                "GFLOP by hand": 1e-9 * by_hand,
                "loops once": 1e-9 * sum(one.flops / one.loop for one in work),
                "XLA": 1e-9 * xla["flops"],
                "before XLA": 1e-9 * before["flops"],
                "XLA / by hand": xla["flops"] / by_hand,
                "GB by hand": 1e-9 * least,
                "GB, XLA": 1e-9 * xla["bytes accessed"],
                "GB, XLA / by hand": xla["bytes accessed"] / least,
            }
        )
    return ("Operations and bytes of a step.", _COUNTED_NOTE, rows)


def _by_part(steps: dict) -> list[tuple]:
    tables = []
    for name, training in steps.items():
        work = work_of(training)
        total = sum(one.flops for one in work)
        rows = [
            {
                "part": one.part,
                "kind": one.kind,
                "forward MFLOP": 1e-6 * one.forward,
                "backward MFLOP": 1e-6 * one.backward,
                "% of all": 100 * one.flops / total,
                "kept MB": 1e-6 * word_of(training) * one.stored,
            }
            for one in counting.by_part(work).values()
        ]
        matrix = 1e-6 * counting.stft_by_matrix(shapes_of(training))
        moved = ", ".join(
            f"{what} {1e-6 * size:,.1f} MB" for what, size in bytes_of(training).items()
        )
        note = (
            "The STFT as a product of matrices would be "
            f"{matrix:,.0f} MFLOP in place of its FFT. Least bytes: {moved}."
        )
        tables.append((f"By hand, by part: {name}.", note, rows))
    return tables


@dataclasses.dataclass
class _Limit:
    """What the device is measured by: an operation, and how much of it a call does."""

    name: str
    call: object
    amount: float


def _products(dtype) -> list[_Limit]:
    on_cpu = jax.default_backend() == "cpu"
    product = jax.jit(lambda a, b: a @ b)
    limits = []
    for width in _WIDTHS if on_cpu else _WIDTHS_ON_DEVICE:
        one = jnp.full((width, width), 1e-3, dtype)

        def call(one=one):
            product(one, one).block_until_ready()

        limits.append(_Limit(f"product of {width}² matrices", call, 2.0 * width**3))
    return limits


def _sum() -> _Limit:
    """Return the sum of two arrays to a third: three times their bytes."""
    on_cpu = jax.default_backend() == "cpu"
    one = jnp.ones(_NUMBERS if on_cpu else _NUMBERS_ON_DEVICE, jnp.float32)
    two = one + 1
    add = jax.jit(lambda a, b: a + 2 * b)
    return _Limit("sum", lambda: add(one, two).block_until_ready(), 12.0 * one.size)


def _limits(steps: dict, dtype: str) -> list[tuple]:
    limits = [*_products(dtype), _sum()]
    calls = [limit.call for limit in limits] + [one.step for one in steps.values()]
    for call in calls:
        call()
    times = trainings.in_turns(calls, turns=_TURNS)
    rates = [
        limit.amount / time.min()
        for limit, time in zip(limits, times[: len(limits)], strict=True)
    ]
    peak, bandwidth = max(rates[:-1]), rates[-1]
    rows = []
    for (name, training), turns in zip(
        steps.items(), times[len(limits) :], strict=True
    ):
        flops = sum(one.flops for one in work_of(training))
        moved = sum(bytes_of(training).values())
        seconds = float(np.median(turns))
        bounds = {"operations": flops / peak, "bytes": moved / bandwidth}
        limit = max(bounds.values())
        rows.append(
            {
                "network": f"{name}, batch {training.batch_size}",
                "ms": 1e3 * seconds,
                "examples/s": training.batch_size / seconds,
                "GFLOP/s": 1e-9 * flops / seconds,
                **{f"ms by {key}": 1e3 * value for key, value in bounds.items()},
                "limit": max(bounds, key=bounds.get),
                "share of the limit %": 100 * limit / seconds,
                "memory GB": 1e-9 * training.memory,
            }
        )
    return [_rates(limits, rates, dtype), ("Share of the limit.", _LIMIT_NOTE, rows)]


def _rates(limits: list[_Limit], rates: list[float], dtype: str) -> tuple:
    rows = [
        {
            "measured by": limit.name,
            "best": 1e-9 * rate,
            "unit": "GB/s" if limit.name == "sum" else f"GFLOP/s, {dtype}",
        }
        for limit, rate in zip(limits, rates, strict=True)
    ]
    kind = jax.devices()[0].device_kind
    sheet = next((sheet for key, sheet in _sheets(kind)), {})
    rows += [
        {
            "measured by": f"data sheet of NVIDIA's, {key}",
            "best": 1e-9 * value,
            "unit": "GB/s" if key == "bytes" else "GFLOP/s",
        }
        for key, value in sheet.items()
    ]
    note = f"Of {kind}."
    if sheet:
        note += " JAX's float32 products are TF32 on it, unless told otherwise."
    return ("What the device can do.", note, rows)


def _sheets(kind: str):
    """Return the data sheets whose name a device's kind has, the longest name first."""
    for key in sorted(_DATA_SHEETS, key=len, reverse=True):
        if all(word in kind for word in key.split()):
            yield key, _DATA_SHEETS[key]


if __name__ == "__main__":
    main()
