"""Test finished runs, networks and baselines alike, under worse conditions.

    python -m uld_jax.conditions --config=experiments/ad1.py --workdir=runs/ad1

Clocks off, nodes not where they are believed to be, fewer nodes, more noise: one
condition at a time, on the test split of the experiment's compact data set. Of all
finished runs at or below `--workdir`, those without `conditions.json` get one.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

from absl import flags

from uld_jax import (
    commands,
    datasets,
    evaluate,
    input_pipeline,
    localizers,
    perturbations,
    progress,
    records,
    run_data,
)
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of runs.", required=True)
_EXAMPLES = flags.DEFINE_integer(
    "examples", None, "Test examples to use; all by default.", 1
)
_PREPARE = flags.DEFINE_bool("prepare", True, "Prepare a missing data set.")

_BATCH_SIZE = 8
_SEED = 1  # Of the perturbations.

# What is varied, and its values: seconds, meters, nodes, decibels.
CONDITIONS = {
    "clock_offset": (0.0005, 0.002, 0.01, 0.05),
    "position_error": (0.05, 0.1, 0.3),
    "num_nodes": (20, 15, 10, 5),
    "snr_db": (-10.0, 0.0, 10.0, 20.0),
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        name: What is varied, a key of `CONDITIONS`; "none" for nothing.
        value: Its value.
    """

    name: str = "none"
    value: float = 0.0

    @property
    def law(self) -> perturbations.Perturbation:
        """The perturbation of the nodes."""
        if self.name in ("none", "snr_db"):
            return perturbations.Perturbation()
        return perturbations.Perturbation(**{self.name: self.value})


def all_conditions(num_nodes: int) -> list[Condition]:
    """Return every condition that can be had with that many nodes."""
    return [Condition()] + [
        Condition(name, value)
        for name, values in CONDITIONS.items()
        for value in values
        if name != "num_nodes" or value < num_nodes
    ]


def _batches(data, order, condition: Condition, num_nodes: int) -> Iterator[dict]:
    """Yield the batches of an order under a condition, the same for all methods."""
    law = condition.law
    if condition.name == "snr_db":
        batches = data.batches(order, snr_db=condition.value)
    else:
        batches = data.batches(order)
    for step, batch in enumerate(batches):
        streams = [(_SEED, int(index)) for index in order[step]]
        draws = law.draw(streams, num_nodes)
        yield perturbations.apply(law, batch, draws) if law else batch


def check_run(run: dict, config) -> None:
    """Raise if a run is of another data set than a configuration.

    Raises:
        localizers.LocalizerError: With both names.
    """
    if run["settings"]["data"]["name"] != config.data.name:
        raise localizers.LocalizerError(
            f"{run['folder']!r} is a run on {run['settings']['data']['name']}; "
            f"--config names {config.data.name}"
        )


def evaluate_run(run: dict, data: run_data.RunData, num_examples: int) -> dict:
    """Return a run's metrics under all conditions, by name and value."""
    folder = pathlib.Path(run["folder"])
    if method := run.get("method"):
        step = localizers.baseline(method, data.num_sources, resolution=1)
    else:
        step = localizers.network(
            folder, run["settings"], data.num_nodes, data.num_sources
        )
    test = data.held_out["test"]
    order = input_pipeline.in_order(num_examples, min(_BATCH_SIZE, num_examples))
    found = []
    conditions = all_conditions(data.num_nodes)
    for number, condition in enumerate(conditions, start=1):
        title = f"{folder.name} [{number}/{len(conditions)}] {condition.name}"
        result = evaluate.evaluate(
            step,
            _batches(test, order, condition, data.num_nodes),
            num_examples,
            f"{title} {condition.value:g}",
        )
        values = {key: result.metrics[key] for key in ("mae", "median", "rmse", "p90")}
        if not method:
            values["accuracy"] = result.metrics["accuracy"]
        found.append(dataclasses.asdict(condition) | values)
    return {
        "examples": num_examples,
        "seed": _SEED,
        "conditions": found,
        "data": data.origin,
        **evaluate.environment(),
    }


def main(_) -> None:
    """Test the runs that have not been tested yet."""
    config = _CONFIG.value.copy_and_resolve_references()
    config.data.source = "compact"
    config = config_lib.resolve(config)
    runs, _ = records.read_finished([pathlib.Path(_WORKDIR.value).expanduser()])
    for run in runs:
        check_run(run, config)
    datasets.ensure_prepared(config, allowed=_PREPARE.value)
    data = run_data.RunData(config, splits=("test",))
    data.load()
    size = len(data.held_out["test"])
    for run in runs:
        path = pathlib.Path(run["folder"]) / records.CONDITIONS_FILE
        if path.exists():
            progress.say(f"{path}: there already")
            continue
        found = evaluate_run(run, data, min(_EXAMPLES.value or size, size))
        records.write_json(path, found)
        progress.say(f"{path}: MAE {found['conditions'][0]['mae']:.3f} m unperturbed")


if __name__ == "__main__":
    commands.run(main)
