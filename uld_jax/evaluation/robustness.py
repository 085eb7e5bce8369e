"""Finished runs, networks and baselines alike, under worse conditions.

Clocks off, nodes not where they are believed to be, fewer nodes, more noise: one
condition at a time, on the test split of a compact data set. `robustness` is the
command.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

from uld_jax.datasets import loader, perturbations, pipeline
from uld_jax.evaluation import conditions, evaluate, metrics, predict
from uld_jax.networks import build
from uld_jax.runtime import devices
from uld_jax.storage import atomic, environment, records
from uld_jax.storage.dataset_names import DatasetName
from uld_jax.storage.run_folder import RunFolder

_SEED = 2**31  # Of the perturbations; those of runs are smaller.


@dataclasses.dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        name: A key of `conditions.CONDITIONS`, or `conditions.NONE`.
        value: Its value.
    """

    name: str = conditions.NONE
    value: float = 0.0

    @property
    def law(self) -> perturbations.Perturbation:
        """The perturbation of the nodes."""
        if self.name == "num_nodes":
            return perturbations.Perturbation(num_nodes=int(self.value))
        if self.name in ("clock_offset", "position_error"):
            return perturbations.Perturbation(**{self.name: self.value})
        return perturbations.Perturbation()


def all_conditions(data: loader.RunData) -> list[Condition]:
    """Return every condition that data can be put to.

    Fewer nodes than they have, and another noise and late field where there is any.
    """
    law = data.origin["rendering"]["law"]
    impossible = set()
    if law["kind"] != "reverberant":
        impossible = {"snr_db", "full_late_field"}
    return [Condition()] + [
        Condition(name, value)
        for name, kind in conditions.CONDITIONS.items()
        for value in kind.values
        if name not in impossible and (name != "num_nodes" or value < data.num_nodes)
    ]


def batches(data, order, condition: Condition, num_nodes: int) -> Iterator[dict]:
    """Yield the batches of an order under a condition.

    Args:
        data: Compact data.
        order: Batches of indices.
        condition: The condition; what is random in it depends on an example's index
            alone, and so is the same for every method.
        num_nodes: Nodes of an example.
    """
    law, changes = condition.law, None
    if condition.name == "snr_db":
        changes = pipeline.Changes(snr_db=condition.value)
    elif condition.name == "full_late_field":
        changes = pipeline.Changes(late="full")
    for step, batch in enumerate(data.batches(order, changes=changes)):
        if law:
            streams = [(_SEED, int(index)) for index in order[step]]
            draws = law.draw(streams, num_nodes)
            batch = pipeline.pick_nodes(batch, draws.nodes)
            batch = perturbations.apply(law, batch, draws)
        yield batch


def check_name(run: dict, config) -> None:
    """Raise if a run was tested on another data set than a configuration's.

    Raises:
        predict.PredictorError: With both names.
    """
    names = run["settings"]["data"]["name"], config.data.name
    if len({DatasetName.parse(name).test_set for name in names}) > 1:
        raise predict.PredictorError(
            f"{run['folder']!r} is a run on {run['settings']['data']['name']}; "
            f"--config names {config.data.name}"
        )


def _check_signals(run: dict, data: loader.RunData) -> None:
    """Raise if a run was tested on examples made of other signals."""
    before, now = _signals(run["data"]), _signals(data.origin)
    if changed := [key for key in now if before[key] != now[key]]:
        raise predict.PredictorError(
            f"{run['folder']!r} was tested on other examples: "
            + ", ".join(f"{key} {before[key]!r} -> {now[key]!r}" for key in changed)
            + f" (speech {run['data']['corpus'].get('name')!r} and noise "
            f"{(run['data'].get('noise') or {}).get('name')!r}); give the run's own: "
            "--config.data.speech, .noise and .noise_field"
        )


def _signals(origin: dict) -> dict:
    """Return what tells test examples apart that have the same name."""
    law = origin.get("rendering", origin).get("law", {})
    noise = origin.get("noise")
    return {
        "speech": origin["corpus"].get("fingerprint"),
        "noise": noise["fingerprint"] if noise else None,
        "noise field": law.get("noise") if noise else None,
        "seed": origin.get("seed"),
    }


def _localizer(run: dict, data: loader.RunData) -> evaluate.Step:
    if method := run.get("method"):
        return evaluate.method_step(method, data.num_sources, resolution=1)
    return evaluate.network_step(run, data.num_nodes, data.num_sources)


def _can_hear(run: dict, condition: Condition) -> bool:
    """Return whether a method can do with the nodes that a condition leaves."""
    return (
        condition.name != "num_nodes"
        or "method" in run
        or build.get_spec(run["settings"]["model"]["name"]).any_nodes
    )


def test_runs(
    runs: list[dict], data: loader.RunData, num_examples: int, batch_size: int = 8
) -> None:
    """Test runs under all conditions, and note each beside their records.

    Every condition is rendered once for all runs that lack it, so that what is
    interrupted goes on where it was.

    Args:
        runs: Their records.
        data: Compact data with a test split, loaded.
        num_examples: How many of its examples to take.
        batch_size: Examples handled at once.

    Raises:
        predict.PredictorError: If a network does not fit the data, or a run was
            tested on others, or under conditions on another number of them.
        errors.LockedError: If another process is at work in a run's folder.
    """
    for run in runs:
        _check_signals(run, data)
    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(RunFolder(run["folder"]).lock())
        _test_locked(runs, data, num_examples, batch_size)


def _test_locked(runs, data, num_examples, batch_size) -> None:
    notes = {run["folder"]: _note(run, data, num_examples) for run in runs}
    steps = {run["folder"]: _localizer(run, data) for run in runs}
    baselines = {run["folder"] for run in runs if "method" in run}
    order = pipeline.in_order(num_examples, min(batch_size, num_examples))
    wanted = all_conditions(data)
    for number, condition in enumerate(wanted, start=1):
        facts = dataclasses.asdict(condition)
        lacking = [
            run["folder"]
            for run in runs
            if _can_hear(run, condition)
            and not any(
                facts.items() <= done.items()
                for done in notes[run["folder"]]["conditions"]
            )
        ]
        if not lacking:
            continue
        title = conditions.title(condition.name, condition.value)
        results = evaluate.evaluate_all(
            [steps[folder] for folder in lacking],
            batches(data.held_out["test"], order, condition, data.num_nodes),
            num_examples,
            f"[{number}/{len(wanted)}] {title}",
        )
        for folder, result in zip(lacking, results, strict=True):
            kept = metrics.ERROR_STATISTICS
            kept += () if folder in baselines else ("accuracy",)  # Of what cells?
            values = {key: result.metrics[key] for key in kept}
            notes[folder]["conditions"].append(facts | values)
            atomic.write_json(RunFolder(folder).conditions, notes[folder])


def _note(run: dict, data: loader.RunData, num_examples: int) -> dict:
    """Return what was noted of a run under these conditions, or an empty note."""
    old = records.read_conditions(run)
    if not old:
        return {
            "examples": num_examples,
            "seed": _SEED,
            "conditions": [],
            "data": data.origin,
            **environment.collect(devices.describe()),
        }
    path = RunFolder(run["folder"]).conditions
    if old["examples"] != num_examples:
        raise predict.PredictorError(
            f"{str(path)!r} has conditions of {old['examples']} test examples, not "
            f"{num_examples}; say --examples={old['examples']} to go on with it, "
            "or remove it"
        )
    if old["seed"] != _SEED or _signals(old["data"]) != _signals(data.origin):
        raise predict.PredictorError(
            f"{str(path)!r} has conditions of other examples; remove it to test anew"
        )
    return old
