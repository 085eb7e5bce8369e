"""Records to groups: runs of one method, tested on the same data, seeds apart."""

import collections
import dataclasses
import json
import math
import pathlib
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from uld_jax.labels import titles
from uld_jax.report import tested_on, variants
from uld_jax.report.tested_on import Data
from uld_jax.storage import records


class Conditions(NamedTuple):
    """What is known of a group under worse conditions.

    Attributes:
        mae: Mean over the runs of the MAE, by name and value of the condition.
        examples: Test examples it was found on.
        num_nodes: Nodes they have.
    """

    mae: dict[tuple[str, float], float]
    examples: int
    num_nodes: int


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that ended and differ in their seed alone.

    Attributes:
        data: What they were tested on.
        settings: The settings that they share, by dotted key.
        runs: Their records, those of diverged runs too.
        variant: What tells their settings from others' on the same data, the label
            aside; "base" for those of most runs where there are many kinds, and of
            these the most like the others; empty where all are of a kind.
        details: The same, at length for "base".
    """

    data: Data
    settings: dict
    runs: tuple[dict, ...]
    variant: str = ""
    details: str = ""

    @property
    def scheme(self) -> str | None:
        """Name of the label scheme; None for a baseline."""
        return self.settings.get("label.scheme")

    @property
    def resolution(self) -> int | None:
        """Cells per axis I; None for a baseline."""
        return self.settings.get("label.resolution")

    @property
    def method(self) -> str:
        """Name of the label scheme or of the baseline."""
        return self.scheme or self.settings["method"]

    @property
    def title(self) -> str:
        """The method in print."""
        return titles.title(self.method)

    @property
    def label(self) -> str:
        """The method in print, with what tells it from others of its kind."""
        return f"{self.title} ({self.variant})" if self.variant else self.title

    @property
    def converged(self) -> list[dict]:
        """The runs that are done, except networks whose training did not converge."""
        # Baselines have no such key, and networks that were only tested have None.
        return [
            run
            for run in self.runs
            if run["status"] == "done" and run.get("converged") is not False
        ]

    @property
    def validation_mae(self) -> float | None:
        """Mean over the runs of the best epoch's, by which I is chosen for figures."""
        best = [
            min(epoch["validation"]["mae"] for epoch in run["epochs"])
            for run in self.converged
            if run.get("epochs")
        ]
        return statistics.mean(best) if best else None

    def metric(self, name: str, factor: float = 1.0, digits: int = 3) -> str:
        """Return a test metric's mean over the runs, with its standard deviation."""
        return self.spread(
            [factor * run["test"][name] for run in self.converged], digits
        )

    def spread(self, values: list[float], digits: int = 3) -> str:
        """Return the mean of the converged runs' values with its standard deviation.

        "/" without any; where some did not converge it is said how many did.
        """
        if not values:
            return "/"
        text = f"{statistics.mean(values):.{digits}f}"
        if len(values) > 1:
            text += f" ± {statistics.stdev(values):.{digits}f}"
        left_out = len(self.runs) - len(self.converged)
        return f"{text} ({len(values)} of {len(self.runs)})" if left_out else text

    def conditions(self) -> Conditions | None:
        """Return what is known of the converged runs under worse conditions.

        A condition that not all of those tested have come to yet is left out.

        Raises:
            ValueError: If they were tested on different numbers of examples.
        """
        found = [records.read_conditions(run) for run in self.converged]
        found = [one for one in found if one and one["conditions"]]
        if not found:
            return None
        values = collections.defaultdict(list)
        for one in found:
            for condition in one["conditions"]:
                key = condition["name"], float(condition["value"])
                values[key].append(condition["mae"])
        sizes = {one["examples"] for one in found}
        if len(sizes) > 1:
            folders = ", ".join(run["folder"] for run in self.converged)
            raise ValueError(
                f"{records.CONDITIONS_FILE} is of {sorted(sizes)} examples in "
                f"{folders}; make them anew with the same number"
            )
        return Conditions(
            {
                key: statistics.mean(maes)
                for key, maes in values.items()
                if len(maes) == len(found)
            },
            sizes.pop(),
            found[0]["data"]["law"]["num_nodes"],
        )


def read(paths: Iterable[str | pathlib.Path]) -> tuple[list[Group], list[str]]:
    """Return the groups of the runs at or below some paths, and others' folders.

    Raises:
        FileNotFoundError, ValueError: As `records.read` and `group`, or if no run
            has ended.
    """
    ended, others = records.read_finished(paths, ("done", "diverged"))
    return group(ended), others


def group(runs: list[dict]) -> list[Group]:
    """Return runs in groups that differ in their seed alone, in table order.

    That is by data, networks before baselines, then by scheme and resolution, and the
    settings of most runs first.

    Raises:
        ValueError: If two runs are alike in everything, their seed included.
    """
    found = collections.defaultdict(list)
    for run in runs:
        settings = records.identity(run["settings"])
        seed = settings.pop("seed", None)  # A baseline has none.
        _, trained_at = tested_on.split_name(run["data"]["name"])
        for key in tested_on.SETTINGS:
            settings.pop(key, None)
        if settings.get("train.epochs") == 0:
            for key in variants.OF_TRAINING & settings.keys():
                settings.pop(key)
        elif trained_at:
            settings[variants.TRAINED_AT] = trained_at
        before = run.get("init")  # A baseline has none.
        if before and before["kind"]:
            settings[variants.BEGUN_KIND] = before["kind"]
        members = found[Data.of(run), json.dumps(settings, sort_keys=True)]
        for other in members:
            if other["settings"].get("seed") == seed:
                raise ValueError(
                    f"{other['folder']!r} and {run['folder']!r} are the same run, "
                    "twice; name one of them"
                )
        members.append(run)
    groups = [
        Group(data, json.loads(settings), tuple(members))
        for (data, settings), members in found.items()
    ]
    groups.sort(key=lambda one: (one.data, json.dumps(one.settings, sort_keys=True)))
    order = {method: place for place, method in enumerate(titles.LOOKS)}
    named = []
    for members in by_data(groups).values():
        networks = _name_variants([one for one in members if one.scheme])
        places = {variant: place for place, variant in enumerate(by_variant(networks))}
        named += sorted(
            networks,
            key=lambda one: (
                order.get(one.method, len(order)),
                one.method,
                one.resolution,
                places[one.variant],
            ),
        )
        for method in dict.fromkeys(one.method for one in members if not one.scheme):
            named += _name_variants([one for one in members if one.method == method])
    return named


def by_data(groups: list[Group]) -> dict[Data, list[Group]]:
    """Return groups by what they were tested on."""
    found = collections.defaultdict(list)
    for one in groups:
        found[one.data].append(one)
    return dict(found)


def by_variant(groups: list[Group]) -> dict[str, list[Group]]:
    """Return the networks' groups by variant, that of most runs and the base first.

    Of as many runs, training without PIT comes last.
    """
    found = collections.defaultdict(list)
    for one in groups:
        if one.scheme:
            found[one.variant].append(one)

    def rank(item):
        variant, members = item
        ablation = variants.is_ablation(members[0].settings)
        return -_num_runs(members), variant != "base", ablation

    return dict(sorted(found.items(), key=rank))


def representatives(groups: list[Group]) -> list[Group]:
    """Return what to draw of many groups: the baselines, and networks at one I each.

    Of a scheme and variant, the I of least validation MAE is taken; of networks that
    were only tested, every I. A scheme of which no run converged is left out.
    """
    best = {}
    for one in groups:
        if not one.converged:
            continue
        mae = one.validation_mae
        key = one.data, one.method, one.variant, mae is None and one.resolution
        if key not in best or (mae is not None and mae < best[key].validation_mae):
            best[key] = one
    return list(best.values())


def tested_alike(
    groups: list[Group],
) -> dict[int, list[tuple[Group, Conditions]]]:
    """Return groups that were tested under worse conditions, by number of examples.

    Raises:
        ValueError: As `Group.conditions`.
    """
    found = collections.defaultdict(list)
    for one in groups:
        if conditions := one.conditions():
            found[conditions.examples].append((one, conditions))
    return dict(sorted(found.items()))


def quantization_errors(members: list[Group]) -> dict[int, float]:
    """Return the test set's QE at each resolution that some run knows it at.

    Raises:
        ValueError: If two runs do not agree: they were tested on other examples.
    """
    found = {}
    for one in members:
        for run in one.runs:
            test = run["test"] or {}
            known = {
                int(resolution): values["quantization_error"]
                for resolution, values in test.get("by_resolution", {}).items()
            }
            if one.scheme and test:
                known[one.resolution] = test["quantization_error"]
            for resolution, value in known.items():
                folder, first = found.setdefault(resolution, (run["folder"], value))
                if not math.isclose(value, first, rel_tol=1e-3):
                    raise ValueError(
                        f"QE at I = {resolution} is {first} in {folder!r} and {value} "
                        f"in {run['folder']!r}: they were tested on other examples"
                    )
    return {resolution: value for resolution, (_, value) in found.items()}


def _num_runs(groups: list[Group]) -> int:
    return sum(len(one.runs) for one in groups)


def _name_variants(groups: list[Group]) -> list[Group]:
    """Return groups with what tells them from one another, the label aside."""
    settings = [
        {key: value for key, value in one.settings.items() if key[:6] != "label."}
        for one in groups
    ]
    kinds = collections.defaultdict(list)
    for one, own in zip(groups, settings, strict=True):
        kinds[json.dumps(own, sort_keys=True)].append(one)
    base = variants.choose_base({k: _num_runs(same) for k, same in kinds.items()})
    named = []
    for one, own in zip(groups, settings, strict=True):
        others = settings if own == base else [base]
        details = variant = variants.differences(own, others)
        if own == base and len(kinds) > 2:
            variant = "base"
        named.append(dataclasses.replace(one, variant=variant, details=details))
    return named
