"""Test finished runs under worse conditions, networks and methods alike.

Clocks that are off, nodes away from their believed positions, fewer nodes, more noise:
one condition at a time, on the test split of a compact data set, in bare rooms and in
furnished ones.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from uld_jax.datasets import loader, perturbations, pipeline
from uld_jax.evaluation import conditions, evaluate, metrics, predict
from uld_jax.localization import methods
from uld_jax.networks import build
from uld_jax.runtime import devices
from uld_jax.storage import atomic, environment, records
from uld_jax.storage.dataset_names import DatasetName
from uld_jax.storage.run_folder import RunFolder

_NOTED = (*metrics.ERROR_STATISTICS, "accuracy", *metrics.REGION.values())
_SEED = 2**31  # Of the perturbations; the seeds of runs are smaller.


@dataclasses.dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        name: A key of `conditions.CONDITIONS`, or `conditions.NONE`.
        value: Its value.
        rooms: One of `conditions.ROOMS`.
    """

    name: str = conditions.NONE
    value: float = 0.0
    rooms: str = conditions.BARE

    @property
    def perturbation(self) -> perturbations.Perturbation:
        """The perturbation of the nodes."""
        if self.name == "num_nodes":
            return perturbations.Perturbation(num_nodes=int(self.value))
        if self.name == "late_node":
            return perturbations.Perturbation(
                num_nodes=conditions.FEW_NODES, late_node=self.value
            )
        kind = self.name.removesuffix("_clocks_off")
        if kind not in ("clock_offset", "position_error", "gain_error"):
            return perturbations.Perturbation()
        clocks = {} if kind == self.name else {"clock_offset": conditions.CLOCKS_OFF}
        return perturbations.Perturbation(**clocks, **{kind: self.value})

    @property
    def changes(self) -> pipeline.Changes | None:
        """The changes of the rendering."""
        changes = pipeline.Changes(
            snr_db=self.value if self.name == "snr_db" else None,
            late="full" if self.name == "full_late_field" else None,
            furnishing=None if self.rooms == conditions.BARE else self.rooms,
        )
        return changes if changes != pipeline.Changes() else None

    @property
    def key(self) -> str:
        """Its name in the file of the errors of examples."""
        key = f"{self.name}={self.value:g}"
        return key if self.rooms == conditions.BARE else f"{key} {self.rooms}"


def all_conditions(data: loader.RunData) -> list[Condition]:
    """List the conditions that fit the data, each in both kinds of rooms.

    They need fewer nodes than the data have, and noise and a late field to be changed.
    Without reflections, rooms are bare.
    """
    impossible, rooms = set(), conditions.ROOMS
    if data.origin["rendering"]["law"]["kind"] != "reverberant":
        impossible, rooms = {"snr_db", "full_late_field"}, (conditions.BARE,)
    fitting = [(conditions.NONE, 0.0)] + [
        (name, value)
        for name, kind in conditions.CONDITIONS.items()
        for value in kind.values
        if name not in impossible
        and (name != "num_nodes" or value < data.num_nodes)
        and (name != "late_node" or data.num_nodes > conditions.FEW_NODES)
    ]
    return [Condition(*one, each) for one in fitting for each in rooms]


def check_names(names: Sequence[str]) -> Sequence[str]:
    """Raise unless all names are those of conditions; return them.

    Raises:
        PredictorError: With the first that is not.
    """
    return _check_known(names, conditions.CONDITIONS, "condition")


def check_rooms(rooms: Sequence[str]) -> Sequence[str]:
    """Raise unless all are kinds of rooms; return them.

    Raises:
        PredictorError: With the first that is not.
    """
    return _check_known(rooms, conditions.ROOMS, "rooms")


def _check_known(
    given: Sequence[str], known: Collection[str], what: str
) -> Sequence[str]:
    for one in given:
        if one not in known:
            raise predict.PredictorError(
                f"no {what} {one!r}; there are {', '.join(known)}"
            )
    return given


def batches(
    data: Any, order: Any, condition: Condition, num_nodes: int
) -> Iterator[dict[str, Any]]:
    """Yield the batches of an order under a condition.

    Args:
        data: Compact data.
        order: Batches of indices.
        condition: The condition. Its random part depends on an example's index alone,
            so it is the same for every method.
        num_nodes: Nodes of an example.
    """
    perturbation = condition.perturbation
    for step, batch in enumerate(data.batches(order, changes=condition.changes)):
        if perturbation:
            streams = [(_SEED, int(index)) for index in order[step]]
            draws = perturbation.draw(streams, num_nodes)
            batch = pipeline.pick_nodes(batch, draws.nodes)
            batch = perturbations.apply(perturbation, batch, draws)
        yield batch


def check_data_set(run: dict[str, Any], config: Any) -> None:
    """Raise if a run was tested on another data set than a configuration's.

    Raises:
        PredictorError: With both names.
    """
    names = run["settings"]["data"]["name"], config.data.name
    if len({DatasetName.parse(name).test_set for name in names}) > 1:
        raise predict.PredictorError(
            f"{run['folder']!r} is a run on {names[0]}; --config names {names[1]}"
        )


def _check_signals(run: dict[str, Any], data: loader.RunData) -> None:
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


def _signals(origin: dict[str, Any]) -> dict[str, Any]:
    """List the facts that distinguish test examples of the same name."""
    recipe = origin.get("rendering", origin).get("law", {})
    noise = origin.get("noise")
    return {
        "speech": origin["corpus"].get("fingerprint"),
        "noise": noise["fingerprint"] if noise else None,
        "noise field": recipe.get("noise") if noise else None,
        "seed": origin.get("seed"),
    }


def _make_step(run: dict[str, Any], data: loader.RunData) -> evaluate.Step:
    if method := run.get("method"):
        networks = run["settings"].get("run")
        if networks is not None:  # Relative to the run, as `baseline` writes it.
            networks = str(pathlib.Path(run["folder"]) / networks)
        return evaluate.method_step(method, data.num_sources, networks, data.num_nodes)
    return evaluate.network_step(run, data.num_nodes, data.num_sources)


def _is_missing(
    condition: Condition, run: dict[str, Any], note: dict[str, Any]
) -> bool:
    """Check whether a run has yet to be tested under a condition that it can take."""
    if method := run.get("method"):
        is_fixed = method in methods.METHODS and methods.METHODS[method].needs_arrays
        # Compact arrays have to be at the same places in all examples.
        if is_fixed and condition.name.startswith("position_error"):
            return False
    else:
        is_fixed = not build.NETWORKS[run["settings"]["model"]["name"]].any_nodes
    if is_fixed and condition.name in ("num_nodes", "late_node"):
        return False
    facts = dataclasses.asdict(condition)
    return not any(
        facts.items() <= (done | {"rooms": conditions.rooms_of(done)}).items()
        for done in note["conditions"]
    )


def test_runs(
    runs: list[dict[str, Any]],
    data: loader.RunData,
    num_examples: int,
    batch_size: int = 8,
    only: Sequence[str] = (),
    rooms: Sequence[str] = conditions.ROOMS,
) -> None:
    """Test runs under all conditions, and write the results beside their records.

    Each condition is rendered once for all runs that lack it, so that an interrupted
    test resumes.

    Args:
        runs: Their records.
        data: Compact data with a test split, loaded.
        num_examples: How many of its examples to take.
        batch_size: Examples handled at once.
        only: Names of the conditions to test besides the split as it is; all if empty.
        rooms: Kinds of rooms to test in, of `conditions.ROOMS`.

    Raises:
        PredictorError: If a network does not fit the data, or a run was tested on
            others, or under conditions on another number of them.
        LockedError: If another process works in a run's folder.
    """
    for run in runs:
        _check_signals(run, data)
    folders = [RunFolder(run["folder"]) for run in runs]
    with contextlib.ExitStack() as locks:
        for folder in folders:
            locks.enter_context(folder.lock())
        notes = [_read_note(run, data, num_examples) for run in runs]
        steps = [_make_step(run, data) for run in runs]
        order = pipeline.in_order(num_examples, min(batch_size, num_examples))
        wanted = [
            condition
            for condition in all_conditions(data)
            if condition.rooms in rooms
            and (not only or condition.name in (conditions.NONE, *only))
        ]
        for number, condition in enumerate(wanted, start=1):
            missing = [
                index
                for index, run in enumerate(runs)
                if _is_missing(condition, run, notes[index])
            ]
            if not missing:
                continue
            title = conditions.title(*dataclasses.astuple(condition))
            tested = batches(data.held_out["test"], order, condition, data.num_nodes)
            results = evaluate.evaluate_all(
                [steps[index] for index in missing],
                _measured(tested, [runs[index] for index in missing]),
                num_examples,
                f"[{number}/{len(wanted)}] {title}",
            )
            for index, result in zip(missing, results, strict=True):
                values = {
                    key: result.metrics[key] for key in _NOTED if key in result.metrics
                }
                facts = dataclasses.asdict(condition) | values
                notes[index]["conditions"].append(facts)
                _keep_errors(folders[index].condition_errors, condition, result)
                atomic.write_json(folders[index].conditions, notes[index])


def _keep_errors(path, condition: Condition, result: evaluate.Evaluation) -> None:
    """Add the error of each example, in meters, to a file of all conditions."""
    errors = metrics.distances(result.predicted, result.positions)
    kept = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            kept = dict(stored)
    kept[condition.key] = errors.astype(np.float32)
    with atomic.replace(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **kept)


def _measured(
    tested: Iterator[dict[str, Any]], runs: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Add to batches the evidence that networks need, once for all of them."""
    names = {run["settings"]["model"]["name"] for run in runs if "method" not in run}
    found = {build.NETWORKS[name].measure for name in names} - {None}
    functions = [jax.jit(measure) for measure in found]
    for batch in tested:
        for measure in functions:
            batch = batch | measure(batch)
        yield batch


def _read_note(
    run: dict[str, Any], data: loader.RunData, num_examples: int
) -> dict[str, Any]:
    """Read the results of a run under conditions, or start an empty note."""
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
            f"{num_examples}; pass --examples={old['examples']} to resume, or remove it"
        )
    if old["seed"] != _SEED or _signals(old["data"]) != _signals(data.origin):
        raise predict.PredictorError(
            f"{str(path)!r} has conditions of other examples; remove it to test again"
        )
    return old
