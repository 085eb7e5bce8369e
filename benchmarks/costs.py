"""What a training step costs: against nodes, length, batch, I, settings; rendering too.

    python benchmarks/costs.py --small --out=docs/costs_cpu.md
    python benchmarks/costs.py --out=$OUT/costs_gpu.md              # With a GPU.

Random signals on the device, so no data set is needed. The values of a table take turns,
so that their ratios hold although machines are noisy. Exponents of growth are slopes of
straight lines through the logarithms: of all values, and of the largest two.
"""

import argparse

import jax
import jax.numpy as jnp
import limits
import numpy as np
import report
import trainings

_NODES = (5, 10, 15, 30, 60)
_SECONDS = (1, 2, 4, 8)
_BATCHES = (8, 16, 32, 64)
_L1_BATCHES = (32, 64, 128, 256)
_RESOLUTIONS = (1, 2, 4, 8, 16, 32)
_RATE = 16_000  # Hertz.
_BATCH = 8  # Where the batch does not vary.
_SETTINGS = (
    {},
    {"dtype": "bfloat16"},
    {"remat": True},
    {"front_end": "real_imaginary"},
)
_TABLES = ("nodes", "seconds", "batch", "l1", "resolution", "settings", "parts")


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    trainings.add_flags(parser)
    parser.add_argument("--only", nargs="+", choices=_TABLES, default=_TABLES)
    options = parser.parse_args()
    trainings.set_up()
    measured = {
        "nodes": lambda: _growth("ad1", "nodes", _NODES, options.small, _with_nodes),
        "seconds": lambda: _growth(
            "ad1", "seconds", _SECONDS, options.small, _with_seconds
        ),
        "batch": lambda: _growth("ad1", "batch", _BATCHES, options.small, _with_batch),
        "l1": lambda: _growth("l1", "batch", _L1_BATCHES, options.small, _with_batch),
        "resolution": lambda: _growth(
            "ad1", "I", _RESOLUTIONS, options.small, _with_resolution
        ),
    }
    tables, growths = [], []
    for name, measure in measured.items():
        if name in options.only:
            table, growth = measure()
            tables.append(table)
            growths.append(growth)
    if growths:
        tables.insert(0, ("Exponents of growth.", _GROWTH_NOTE, growths))
    if "settings" in options.only:
        tables.append(_settings(options.small))
    if "parts" in options.only:
        tables.append(_parts(options.small))
    report.write("costs.py", tables, options.out)


_GROWTH_NOTE = (
    "Through all values, and through the largest two. Of operations and bytes as "
    "`counting.py` counts them by hand, beside: attention over nodes is quadratic in "
    "nodes, that over frames in the length, and all else is in proportion. What does "
    "not grow, such as the optimizer's work, lowers an exponent. Memory is what the "
    "compiled step needs besides its inputs."
)


def _with_nodes(value: int) -> dict:
    return {"num_nodes": value, "batch_size": _BATCH}


def _with_seconds(value: int) -> dict:
    return {"num_samples": value * _RATE, "batch_size": _BATCH}


def _with_batch(value: int) -> dict:
    return {"batch_size": value}


def _with_resolution(value: int) -> dict:
    return {"resolution": value, "batch_size": _BATCH}


def _growth(name, variable, values, small, settings) -> tuple[tuple, dict]:
    """Return a table of costs against one variable, and its exponents as a row."""
    steps = [trainings.Training(name, small, **settings(value)) for value in values]
    times = trainings.in_turns([step.step for step in steps]).min(axis=1)
    columns = {
        "time": times,
        "operations": [sum(w.flops for w in limits.work_of(step)) for step in steps],
        "least bytes": [sum(limits.bytes_of(step).values()) for step in steps],
        "memory": [step.memory for step in steps],
    }
    rows = [
        {
            variable: value,
            "ms/step": 1e3 * seconds,
            "examples/s": step.batch_size / seconds,
            "time an example, first = 1": seconds
            / times[0]
            * steps[0].batch_size
            / step.batch_size,
            "GFLOP": 1e-9 * flops,
            "memory GB": 1e-9 * step.memory,
            "compile s": step.compile_seconds,
        }
        for value, step, seconds, flops in zip(
            values, steps, times, columns["operations"], strict=True
        )
    ]
    growth = {"network": name, "against": variable}
    for what, numbers in columns.items():
        growth[what] = exponent(values, numbers)
        growth[f"{what}, last"] = exponent(values[-2:], numbers[-2:])
    fixed = [f"batch {_BATCH}"] if variable != "batch" else []
    fixed += [f"{steps[0].num_nodes} nodes"] if variable != "nodes" else []
    title = f"{name} against {variable}"
    return (f"{title}.", f"{', '.join(fixed)}.".capitalize(), rows), growth


def exponent(values, numbers) -> float:
    """Return the slope of the straight line through the logarithms."""
    return float(np.polyfit(np.log(values), np.log(numbers), 1)[0])


def _settings(small: bool) -> tuple:
    first = trainings.Training("ad1", small, batch_size=_BATCH)
    more = {"frames_per_step": 3 * first.config.model.frames_per_step}
    changes = [*_SETTINGS, more]
    steps = [first] + [
        trainings.Training("ad1", small, batch_size=_BATCH, **change)
        for change in changes[1:]
    ]
    times = trainings.in_turns([step.step for step in steps]).min(axis=1)
    rows = [
        {
            "settings": ", ".join(f"{k} {v}" for k, v in change.items()) or "as it is",
            "ms/step": 1e3 * seconds,
            "time, first = 1": seconds / times[0],
            "memory GB": 1e-9 * step.memory,
        }
        for change, step, seconds in zip(changes, steps, times, strict=True)
    ]
    return ("Settings.", f"Ad-1, batch {_BATCH}, {first.num_nodes} nodes.", rows)


def _parts(small: bool) -> tuple:
    """Time the parts of a step on Ad-1, rendering among them."""
    training = trainings.Training("ad1", small)
    render = _renderer(training)

    def spectra():
        jax.block_until_ready(training.inputs(training.batch))

    render(), spectra()
    times = trainings.in_turns([render, spectra, training.step]).min(axis=1)
    rendering, inputs, step = times
    rows = [
        {
            "part": part,
            "ms/example": 1e3 * seconds / training.batch_size,
            "share of a step with rendering %": 100 * seconds / (rendering + step),
        }
        for part, seconds in (
            (f"rendering, {training.num_nodes} nodes, thinned", rendering),
            ("STFT and codes", inputs),
            ("network, gradient, update", step - inputs),
        )
    ]
    return ("Parts of a step", "of Ad-1 with fresh or compact data.", rows)


def _renderer(training: trainings.Training):
    """Return what renders a batch of fresh rooms, and waits for it."""
    law = trainings.LAWS["ad1"]
    rng = np.random.default_rng(1)
    drawn = [
        law.draw(rng, "train", lambda *_: _Excerpt(), lambda *_: _Excerpt())
        for _ in range(training.batch_size)
    ]
    nodes = np.arange(training.num_nodes, dtype=np.int32)
    nodes = np.tile(nodes, (training.batch_size, 1))
    dry = jnp.asarray(
        rng.normal(size=(training.batch_size, 1, law.num_dry)), jnp.float32
    )
    deterministic = jax.default_backend() != "cpu"

    def render():
        batch = law.batch(
            drawn, dry, dry[:, 0], nodes=nodes, deterministic=deterministic
        )
        jax.block_until_ready(batch["audio"])

    return render


class _Excerpt:
    """An excerpt of nobody's speech."""

    class utterance:
        talker = name = "nobody"


if __name__ == "__main__":
    main()
