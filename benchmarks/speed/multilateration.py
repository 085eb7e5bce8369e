"""Measure the cost of learned multilateration against nodes and grid.

    python -m benchmarks.speed.multilateration
    python -m benchmarks.speed.multilateration --small

One prediction starts from 2 s of sound at all nodes; measuring its evidence is the share
of correlations and levels. A training step starts from evidence that is kept. `--small`
leaves out the largest sizes.
"""

import argparse
import statistics
import time

from benchmarks import report

_NODES = (5, 10, 20, 30, 60)
_CELLS = (16, 32, 64, 128)
_EXAMPLES = 8
_SAMPLES = 32_000


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--small", action="store_true", help="up to 20 nodes, I = 32")
    parser.add_argument("--turns", type=int, default=5, help="calls of each program")
    options = parser.parse_args()
    nodes = [n for n in _NODES if n <= 20] if options.small else _NODES
    cells = [i for i in _CELLS if i <= 32] if options.small else _CELLS
    predictions, steps = [], []
    for num_nodes in nodes:
        predictions.append(_prediction_row(num_nodes, cells, options.turns))
        # Of more, no device of this size has the memory.
        some = [i for i in cells if i <= 64]
        steps.append(_step_row(num_nodes, some, options.turns))
    pairs = "pairs = M (M - 1) / 2"
    tables = [
        (
            "One prediction, in milliseconds.",
            f"2 s of sound at M nodes, {pairs}; votes for (I + 1)² grid points.",
            predictions,
        ),
        (
            "One training step, in milliseconds.",
            f"{_EXAMPLES} examples of kept evidence, {pairs}.",
            steps,
        ),
    ]
    report.write("speed.multilateration", tables, options.out)


def _prediction_row(num_nodes: int, cells, turns: int) -> dict:
    import jax

    from uld_jax.labels import schemes
    from uld_jax.networks import evidence, objective

    batch = _batch(num_nodes, 1)
    measure = jax.jit(evidence.measure)
    row = _sizes(num_nodes) | {"evidence": _milliseconds(measure, turns, batch)}
    batch |= jax.block_until_ready(measure(batch))
    model = _model(num_nodes)
    for resolution in cells:
        label = schemes.Label("uld", resolution)

        @jax.jit
        def vote(batch, label=label):
            return model(*objective.inputs_of(model, label, batch))

        row[f"votes, I = {resolution}"] = _milliseconds(vote, turns, batch)
    first = row[f"votes, I = {cells[0]}"]
    share = row["evidence"] / (row["evidence"] + first)
    return row | {f"share of evidence at I = {cells[0]}": f"{share:.0%}"}


def _step_row(num_nodes: int, cells, turns: int) -> dict:
    import jax

    from uld_jax.labels import schemes
    from uld_jax.networks import evidence
    from uld_jax.training import optimizer, step

    batch = _batch(num_nodes, _EXAMPLES)
    batch |= jax.block_until_ready(jax.jit(evidence.measure)(batch))
    del batch["audio"]
    row = _sizes(num_nodes)
    adamw = optimizer.adamw(1e-3, 0.01, 1.0, 100)
    for resolution in cells:
        label = schemes.Label("uld", resolution)
        graph, state = step.init_state(_model(num_nodes), adamw)
        train_step = step.make_train_step(graph, adamw, label, seed=0)
        holder = [state]

        def run(batch, train_step=train_step, holder=holder):
            holder[0] = train_step(holder[0], batch)  # The state is donated.
            return holder[0]

        row[f"I = {resolution}"] = _milliseconds(run, turns, batch)
    return row


def _sizes(num_nodes: int) -> dict:
    return {"nodes": num_nodes, "pairs": num_nodes * (num_nodes - 1) // 2}


def _model(num_nodes: int):
    from uld_jax import config
    from uld_jax.labels import schemes
    from uld_jax.networks import build

    settings = config.to_dict(config.default("multilateration").model)
    return build.for_label(settings, schemes.Label("uld", 16), num_nodes, 1, seed=0)


def _batch(num_nodes: int, num_examples: int) -> dict:
    import jax
    import numpy as np

    rng = np.random.default_rng(0)
    room = np.float32([7.0, 6.0, 4.2])
    batch = {
        "audio": rng.normal(size=(num_examples, num_nodes, _SAMPLES)),
        "node_positions": rng.uniform(size=(num_examples, num_nodes, 3)) * room,
        "source_positions": rng.uniform(size=(num_examples, 1, 3)) * room,
        "room_size": np.tile(room, (num_examples, 1)),
    }
    return {key: jax.numpy.asarray(value, "float32") for key, value in batch.items()}


def _milliseconds(function, turns: int, batch) -> float:
    """Measure the median time of a call after the first."""
    import jax

    jax.block_until_ready(function(batch))
    times = []
    for _ in range(turns):
        started = time.perf_counter()
        jax.block_until_ready(function(batch))
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


if __name__ == "__main__":
    main()
