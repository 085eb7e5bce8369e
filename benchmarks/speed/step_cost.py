"""Count the operations of a full-size training step, which needs no GPU.

    python -m benchmarks.speed.step_cost --out=benchmarks/speed/results/step_cost.json

XLA counts them before it optimizes the program. Bytes are not counted: how many there
are depends on what the compiler fuses for a device.
"""

import argparse

import jax

from benchmarks import report
from benchmarks.speed import steps

_FLOPS = 800e12  # A second: what large products in bfloat16 reach on an NVIDIA H100.
_NOTE = "In bfloat16. Shortest: at 800 TFLOP/s, as if nothing else took time."


def main() -> None:
    """Count, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    report.add_flag(parser)
    options = parser.parse_args()
    code = steps.package(steps.ROOT)
    rows = [_count(code, name) for name in ("l1", "ad1", "ad2")]
    table = ("Operations of a training step.", _NOTE, rows)
    report.write("speed.step_cost", [table], options.out)


def _count(code, name: str) -> dict:
    step = steps.Steps(code, name, "full", dtype="bfloat16")
    flops = step.lower().cost_analysis()["flops"]
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(step.params))
    return {
        "network": name,
        "batch": step.batch_size,
        "parameters": f"{num_parameters:,}",
        "GFLOP": flops / 1e9,
        "shortest ms": 1e3 * flops / _FLOPS,
    }


if __name__ == "__main__":
    main()
