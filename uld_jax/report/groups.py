"""Groups of runs: one method on the same test data, with different seeds."""

import collections
import dataclasses
import json
import math
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from uld_jax.evaluation import conditions as conditions_lib
from uld_jax.labels import titles
from uld_jax.report import paper, variants
from uld_jax.runtime import errors
from uld_jax.storage import records
from uld_jax.storage import settings as settings_lib
from uld_jax.storage.dataset_names import DatasetName

# Settings of the test data; they do not change how a network is trained.
SETTINGS = ("data.name", "data.noise_field", "data.engine")

# Results under worse conditions that tables show.
CONDITION_METRICS = ("mae", "median", "coverage_90")

# By `DatasetName.trained_at`.
_TRAINED_AT = {
    "train": "the training positions",
    "dev": "the dev positions",
    "anywhere": "any places",
    "nowhere": "no places",
}


class Data(NamedTuple):
    """Test data of a run. Only runs with equal test data are compared.

    A data set, its held-out form, its compact form and those that differ in their
    training positions alone have the same test examples, and the same name here.
    """

    name: str
    speech: str  # Fingerprint of the corpus, or of its test part.
    noise: str  # Likewise.
    noise_field: str
    engine: str
    test_size: int

    @property
    def table(self) -> str | None:
        """The paper's table on these data, by name; None for other data."""
        return paper.table_of(self.name)[0]

    @property
    def printed(self) -> paper.Printed | None:
        """The paper's values on these data by resolution; None without any."""
        return paper.table_of(self.name)[1]

    @classmethod
    def of(cls, run: dict[str, Any]) -> "Data":
        """Collect the facts of a run's test data."""
        data, settings = run["data"], run["settings"]["data"]
        corpus = data["corpus"]
        return cls(
            name=DatasetName.parse(data["name"]).test_set,
            speech=corpus.get("test_fingerprint", corpus.get("fingerprint", "")),
            noise=data.get("noise", {}).get("fingerprint", ""),
            noise_field=settings["noise_field"],
            engine=settings["engine"],
            test_size=data["sizes"]["test"],
        )


class Conditions(NamedTuple):
    """Results of a group under worse conditions.

    Attributes:
        values: "mae", "median" and "coverage_90", each as the mean over the runs by name,
            value and rooms of the condition.
        examples: Number of test examples.
        num_nodes: Number of their nodes.
    """

    values: dict[str, dict[tuple[str, float, str], float]]
    examples: int
    num_nodes: int


@dataclasses.dataclass(frozen=True)
class RunGroup:
    """Finished runs that differ in their seed alone.

    Attributes:
        data: Their test data.
        settings: The settings that they share, by dotted key.
        runs: Their records, diverged and collapsed runs included.
        variant: How their settings, apart from the label, differ from those of others
            on the same data. Empty without others; "base" for the reference among
            three kinds or more.
        details: The same, in full for "base".
    """

    data: Data
    settings: dict[str, Any]
    runs: tuple[dict[str, Any], ...]
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
    def labels_places(self) -> bool:
        """Whether it is a network whose label is of places, not of arrays' directions."""
        return bool(self.scheme) and "model.arrays" not in self.settings

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
        """The method in print, with its variant."""
        return f"{self.title} ({self.variant})" if self.variant else self.title

    @property
    def converged(self) -> list[dict[str, Any]]:
        """The runs that are done, except networks whose training did not converge."""
        # Networks that were only tested have None; baselines have no such key.
        return [
            run
            for run in self.runs
            if run["status"] == "done" and run.get("converged") is not False
        ]

    @property
    def validation_mae(self) -> float | None:
        """Validation MAE of the best epoch, mean over the runs; chooses I for figures."""
        best = [
            min(epoch["validation"]["mae"] for epoch in run["epochs"])
            for run in self.converged
            if run.get("epochs")
        ]
        return statistics.mean(best) if best else None

    def metric(self, name: str, factor: float = 1.0, digits: int = 3) -> str:
        """Format a test metric: mean over the runs and standard deviation."""
        return self.spread(
            [factor * run["test"][name] for run in self.converged], digits
        )

    def spread(self, values: list[float], digits: int = 3) -> str:
        """Format the mean of the converged runs' values and its standard deviation.

        "/" without any. If some runs did not converge, the text counts those that did.
        """
        if not values:
            return "/"
        text = f"{statistics.mean(values):.{digits}f}"
        if len(values) > 1:
            text += f" ± {statistics.stdev(values):.{digits}f}"
        left_out = len(self.runs) - len(self.converged)
        return f"{text} ({len(values)} of {len(self.runs)})" if left_out else text

    def conditions(self) -> Conditions | None:
        """Collect the results of the converged runs under worse conditions.

        A condition is left out until all of the tested runs have it.

        Raises:
            errors.InputError: If they were tested on different numbers of examples.
        """
        found = [records.read_conditions(run) for run in self.converged]
        found = [one for one in found if one and one["conditions"]]
        if not found:
            return None
        values = {name: collections.defaultdict(list) for name in CONDITION_METRICS}
        for one in found:
            for condition in one["conditions"]:
                key = (
                    condition["name"],
                    float(condition["value"]),
                    conditions_lib.rooms_of(condition),
                )
                for name in CONDITION_METRICS:
                    if name in condition:
                        values[name][key].append(condition[name])
        sizes = {one["examples"] for one in found}
        if len(sizes) > 1:
            folders = ", ".join(run["folder"] for run in self.converged)
            raise errors.InputError(
                f"{records.CONDITIONS_FILE} is of {sorted(sizes)} examples in "
                f"{folders}; remove them and run uld_jax robustness with one --examples"
            )
        return Conditions(
            {
                name: {
                    key: statistics.mean(each)
                    for key, each in of_metric.items()
                    if len(each) == len(found)
                }
                for name, of_metric in values.items()
            },
            sizes.pop(),
            found[0]["data"]["law"]["num_nodes"],
        )


def read(paths: Iterable[str | pathlib.Path]) -> tuple[list[RunGroup], list[str]]:
    """Read the runs at or below some paths.

    Returns:
        The groups of the finished runs, and the folders of the others.

    Raises:
        FileNotFoundError, errors.InputError: As `records.read_records` and `group`, or
            if no run is finished.
    """
    ended, others = records.read_finished(paths, ("done", "diverged", "collapsed"))
    return group(ended), others


def group(runs: list[dict[str, Any]]) -> list[RunGroup]:
    """Group runs that differ in their seed alone, in the order of tables.

    Sorted by test data, networks before baselines, then by scheme and resolution; the
    settings of most runs come first.

    Raises:
        errors.InputError: If two runs are alike in everything, their seed included.
    """
    found = collections.defaultdict(list)
    for run in runs:
        settings = settings_lib.identity(run["settings"])
        seed = settings.pop("seed", None)  # A baseline has none.
        name = DatasetName.parse(run["data"]["name"])
        trained_at = name.trained_at and _TRAINED_AT[name.trained_at]
        for key in SETTINGS:
            settings.pop(key, None)
        if settings.get("train.epochs") == 0:
            for key in variants.OF_TRAINING & settings.keys():
                settings.pop(key)
            if settings.get(variants.INIT_DATA) == name.test_set:
                settings[variants.INIT_DATA] = variants.SAME_DATA
        elif trained_at:
            settings[variants.TRAINED_AT] = trained_at
        before = run.get("init")  # A baseline has none.
        if before and before["kind"]:
            settings[variants.INIT_KIND] = before["kind"]
        members = found[Data.of(run), json.dumps(settings, sort_keys=True)]
        for other in members:
            if other["settings"].get("seed") == seed:
                raise errors.InputError(
                    f"{other['folder']!r} and {run['folder']!r} are the same run, "
                    "twice; name one of them"
                )
        members.append(run)
    groups = [
        RunGroup(data, json.loads(settings), tuple(members))
        for (data, settings), members in found.items()
    ]
    groups.sort(key=lambda one: (one.data, json.dumps(one.settings, sort_keys=True)))
    order = {method: index for index, method in enumerate(titles.LOOKS)}
    named = []
    for members in by_data(groups).values():
        networks = _name_variants([one for one in members if one.scheme])
        ranks = {variant: index for index, variant in enumerate(by_variant(networks))}
        named += sorted(
            networks,
            key=lambda one: (
                order.get(one.method, len(order)),
                one.method,
                one.resolution,
                ranks[one.variant],
            ),
        )
        for method in dict.fromkeys(one.method for one in members if not one.scheme):
            named += _name_variants([one for one in members if one.method == method])
    return named


def by_data(groups: list[RunGroup]) -> dict[Data, list[RunGroup]]:
    """Sort groups by their test data."""
    found = collections.defaultdict(list)
    for one in groups:
        found[one.data].append(one)
    return dict(found)


def by_variant(groups: list[RunGroup]) -> dict[str, list[RunGroup]]:
    """Sort the networks' groups by variant: most runs first, then the base.

    With equally many runs, training without PIT comes last.
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


def representatives(groups: list[RunGroup]) -> list[RunGroup]:
    """Choose the groups that figures show: baselines, and networks at one I each.

    For each scheme and variant this is the I of least validation MAE; networks that
    were only tested are shown at every I. Groups without a converged run are left out.
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
    groups: list[RunGroup],
) -> dict[int, list[tuple[RunGroup, Conditions]]]:
    """Sort groups tested under worse conditions by their number of examples.

    Raises:
        errors.InputError: As `RunGroup.conditions`.
    """
    found = collections.defaultdict(list)
    for one in groups:
        if conditions := one.conditions():
            found[conditions.examples].append((one, conditions))
    return dict(sorted(found.items()))


def quantization_errors(members: list[RunGroup]) -> dict[int, float]:
    """Collect the test set's QE at each resolution that some record gives.

    Raises:
        errors.InputError: If two records disagree: they were tested on other examples.
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
                    raise errors.InputError(
                        f"QE at I = {resolution} is {first} in {folder!r} and {value} "
                        f"in {run['folder']!r}: they were tested on other examples"
                    )
    return {resolution: value for resolution, (_, value) in found.items()}


def _num_runs(groups: list[RunGroup]) -> int:
    return sum(len(one.runs) for one in groups)


def _name_variants(groups: list[RunGroup]) -> list[RunGroup]:
    """Name what distinguishes groups from one another, the label aside.

    Networks are compared with others of the same kind. Where there are several kinds,
    the paper's needs no name, and the names of others begin with their kind's.
    """
    kinds = collections.defaultdict(list)
    for index, one in enumerate(groups):
        kinds[one.settings.get("model.name")].append(index)

    def members(kind):
        return [groups[index] for index in kinds[kind]]

    def rank(kind):
        return kind not in titles.NETWORKS, _num_runs(members(kind))

    first = max(kinds, key=rank, default=None)
    named = list(groups)
    for kind, indices in kinds.items():
        renamed = _name_variants_of_kind(members(kind))
        for index, one in zip(indices, renamed, strict=True):
            if kind != first:
                title = titles.NETWORKS.get(kind, kind)
                detailed = [title, *filter(None, [one.details])]
                details = variant = ", ".join(detailed)
                if one.variant == "base":
                    variant = title
                one = dataclasses.replace(one, variant=variant, details=details)
            named[index] = one
    return named


def _name_variants_of_kind(groups: list[RunGroup]) -> list[RunGroup]:
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
