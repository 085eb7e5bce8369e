"""Whoever says where sources are: trained networks and baselines, used alike.

Each is an `evaluate.Step`: a batch in, by example what was predicted out.
"""

import functools
import pathlib

import jax
import numpy as np

from uld_jax import (
    baselines,
    checkpoints,
    errors,
    evaluate,
    metrics,
    models,
    optimizer,
    schemes,
    training_step,
)


class LocalizerError(errors.InputError):
    """A network or a baseline that cannot be had, with the reason."""


def network(run: dict, num_nodes: int, num_sources: int) -> evaluate.Step:
    """Return the network that a run was tested with: that of its best epoch.

    Args:
        run: Its record.
        num_nodes: Nodes of the data it was trained on.
        num_sources: Sources of the data it is to be tested on.

    Raises:
        LocalizerError: If the run has saved none, or for another number of sources.
    """
    workdir, settings = pathlib.Path(run["folder"]), run["settings"]
    label = schemes.Label(settings["label"]["scheme"], settings["label"]["resolution"])
    model = models.for_label(settings["model"], label, num_nodes, num_sources, seed=0)
    graph, state = training_step.init_state(model, optimizer.adamw(1e-3, 0.0))
    like = {"params": state.params, "statistics": state.statistics}
    with checkpoints.Checkpoints(workdir) as saved:
        step = saved.step_of_epoch("best", run["best_epoch"])
        if step is None:
            raise LocalizerError(
                f"{str(workdir)!r} holds no network of epoch {run['best_epoch']}, its "
                "best; only its record was kept"
            )
        try:
            restored, _ = saved.restore("best", like, step)
        except ValueError as error:
            raise LocalizerError(
                f"the network in {str(workdir)!r} does not fit {num_sources} sources "
                f"and its settings: {str(error).splitlines()[0]}"
            ) from None
    invariant = settings["train"]["permutation_invariant"]
    evaluate_batch = evaluate.make_eval_step(graph, label, invariant)
    return functools.partial(evaluate_batch, restored["params"], restored["statistics"])


def baseline(name: str, num_sources: int, resolution: int) -> evaluate.Step:
    """Return a baseline, one of `baselines.BASELINES`.

    Args:
        name: Which.
        num_sources: How many sources it is to find.
        resolution: Cells per axis by which its accuracy is told.

    Raises:
        LocalizerError: If there is no such baseline, or it finds fewer sources.
    """
    if name not in baselines.BASELINES:
        raise LocalizerError(
            f"no baseline {name!r}; there are {', '.join(baselines.BASELINES)}"
        )
    if num_sources > baselines.MOST_SOURCES.get(name, num_sources):
        raise LocalizerError(f"{name} finds fewer than {num_sources} sources")
    localize = baselines.BASELINES[name]

    def one_example(predicted, positions, room_size):
        order = metrics.best_permutation(predicted, positions)
        judged = evaluate.judge(predicted[order], positions, room_size, resolution)
        return judged | {"correct": judged["cell_correct"]}

    judge = jax.jit(jax.vmap(one_example))

    def step(batch):
        predicted = localize(
            batch["audio"].astype("float32"),
            np.asarray(batch["node_positions"]),
            np.asarray(batch["room_size"]),
            batch.get("node_mask"),
            num_sources,
        )
        positions = batch["source_positions"][..., :2]
        return judge(predicted, positions, batch["room_size"][:, :2])

    return step
