"""Which instructions of a training step take the time, by a trace: two tables a network.

    python benchmarks/step_profile.py --networks=l1,ad1,ad2 --small
    python benchmarks/step_profile.py --networks=ad1 --model dtype=bfloat16

The first table sums by part of the network and kind of work, the second has the single
instructions that take longest, with the source lines they come from. On a GPU set
XLA_FLAGS=--xla_gpu_enable_command_buffer= (with nothing after the sign), as a CUDA graph
hides what is in it.
"""

import argparse
import collections
import json
import time

import numpy as np
import origins
import parts
import report
import tracing
import trainings

_STEPS = 6
_LONGEST = 12
_UNSEEN = frozenset({"dot", "convolution", "custom-call"})
_PLACES = 3  # Source lines told of a fused instruction.


def main() -> None:
    """Trace and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    trainings.add_flags(parser)
    parser.add_argument("--networks", default="l1,ad1,ad2", help="of l1, ad1, ad2")
    parser.add_argument("--batch", type=int, help="examples in a batch")
    parser.add_argument("--longest", type=int, default=_LONGEST, help="instructions")
    parser.add_argument(
        "--model", nargs="*", default=[], help="settings of the network: KEY=VALUE"
    )
    options = parser.parse_args()
    trainings.set_up()
    tables = []
    for name in options.networks.split(","):
        training = trainings.Training(
            name, options.small, batch_size=options.batch, **changes(options.model)
        )
        tables += of_training(name, training, options.longest)
    report.write("step_profile.py", tables, options.out)


def changes(words: list[str]) -> dict:
    """Return settings said as KEY=VALUE, numbers and truth values among them."""
    found = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


def of_training(
    name: str, training: trainings.Training, longest: int = _LONGEST
) -> list[tuple]:
    """Return the two tables of a training's step.

    Args:
        name: What to call it.
        training: The training.
        longest: How many single instructions to tell of.
    """
    known = origins.read(training.compiled.as_text())
    containers = {
        key for key, origin in known.items() if origin.opcode in origins.CONTAINERS
    }
    untraced = _seconds(training.step, _STEPS)
    trace = tracing.trace(training.step, _STEPS, containers)
    _account_waiting(trace, known)
    title = f"{name}, batch {training.batch_size}, {training.num_nodes} nodes"
    return [
        (f"Parts of a step: {title}.", _note(trace, untraced), _by_part(trace, known)),
        (
            f"Longest instructions: {title}.",
            "Times are of all steps' mean; an instruction that XLA has fused has the "
            "name of its last operation, and the lines that most of it comes from.",
            _single(trace, known, longest),
        ),
    ]


def _account_waiting(trace: tracing.Trace, known: dict) -> None:
    """Add time in which nothing was seen to the product that the next one waits for.

    XLA's products on a CPU go on after their event has ended, in threads unseen.
    """
    for name, seconds in trace.waited.items():
        product = origins.source_of(known, name, _UNSEEN)
        if product in trace.costs:
            trace.costs[product].wall += seconds


def _seconds(step, steps: int) -> float:
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _note(trace: tracing.Trace, untraced: float) -> str:
    step = trace.seconds / trace.steps
    threads = sum(cost.threads for cost in trace.costs.values()) / trace.steps
    return (
        f"A step took {1e3 * untraced:.1f} ms without the profiler (median), "
        f"{1e3 * step:.1f} ms with it. ms are of the step: of what is at work at the "
        "same time, each has its share. Where nothing is seen at work the product "
        "that the next instruction waits for is taken to be; "
        f"{1e3 * sum(trace.waited.values()) / trace.steps:.1f} ms were so. In threads "
        f"or streams together {1e3 * threads:.1f} ms were seen. MB moved are what the "
        "instructions read and write, whether a cache holds it or not."
    )


def _origin(known: dict, name: str) -> origins.Origin:
    return known.get(name) or origins.Origin("", "")


def _moved(known: dict, name: str) -> int:
    """Return the bytes of an instruction; none of a loop, whose body tells its own."""
    if _origin(known, name).opcode in origins.CONTAINERS:
        return 0
    return origins.moved(known, name)


def _by_part(trace: tracing.Trace, known: dict) -> list[dict]:
    """Return what parts and kinds took, forward and backward."""
    sums = collections.defaultdict(lambda: collections.defaultdict(float))
    for name, cost in trace.costs.items():
        origin = _origin(known, name)
        row = sums[parts.part(origin), parts.kind(origin)]
        row[parts.direction(origin)] += 1e3 * cost.wall / trace.steps
        row["threads"] += 1e3 * cost.threads / trace.steps
        row["moved"] += 1e-6 * _moved(known, name) * cost.events / trace.steps
    step = 1e3 * trace.seconds / trace.steps
    rows = [
        {
            "part": part,
            "kind": kind,
            "forward ms": row["forward"],
            "backward ms": row["backward"],
            "% of the step": 100 * (row["forward"] + row["backward"]) / step,
            "threads ms": row["threads"],
            "MB moved": row["moved"],
        }
        for (part, kind), row in sums.items()
    ]
    rows.sort(key=lambda row: -row["% of the step"])
    # What together is less than a hundredth of a step is not told one by one.
    shown = [row for row in rows if row["% of the step"] >= 0.5]
    rest = [row for row in rows if row["% of the step"] < 0.5]
    numbers = [key for key in rows[0] if key not in ("part", "kind")]
    if rest:
        total = {key: sum(row[key] for row in rest) for key in numbers}
        shown.append({"part": "what is less than 0.5 %", "kind": "", **total})
    idle = step - 1e3 * trace.busy / trace.steps
    nothing = {"part": "nothing seen at work", "kind": ""} | dict.fromkeys(numbers, 0.0)
    return [*shown, nothing | {"forward ms": idle, "% of the step": 100 * idle / step}]


def _single(trace: tracing.Trace, known: dict, longest: int) -> list[dict]:
    """Return the instructions that took longest."""
    order = sorted(trace.costs, key=lambda name: -trace.costs[name].wall)
    step = trace.seconds / trace.steps
    rows = []
    for name in order[:longest]:
        cost, origin = trace.costs[name], _origin(known, name)
        seconds = cost.wall / trace.steps
        places = [origin.place] + [p for p in origin.inside if p != origin.place]
        rows.append(
            {
                "instruction": f"`{name}`",
                "part": parts.part(origin),
                "kind": parts.kind(origin),
                "operation": f"{origin.operation}, {parts.direction(origin)}",
                "lines": ", ".join(filter(None, places[:_PLACES])),
                "times": round(cost.events / trace.steps),
                "ms": 1e3 * seconds,
                "% of the step": 100 * seconds / step,
                "MB moved": 1e-6 * _moved(known, name) * cost.events / trace.steps,
            }
        )
    return rows


if __name__ == "__main__":
    main()
