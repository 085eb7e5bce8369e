"""Tables beyond the paper's: kinds of training, seen positions, worse conditions."""

from typing import Any

from uld_jax.evaluation import conditions as conditions_lib
from uld_jax.report import groups
from uld_jax.report.groups import RunGroup
from uld_jax.report.markdown import Table


def side_by_side(members: list[RunGroup]) -> list[Table]:
    """Make a table of the labels that were trained in more than one way."""
    kinds = {}
    for one in members:
        if one.scheme:
            kinds.setdefault((one.scheme, one.resolution), []).append(one)
    header = ["Label", "I", "settings", "ACC %", "cell ACC %", "MAE m", "median m"]
    header += ["training loss", "validation loss", "validation MAE m", "runs"]
    rows = [
        [
            one.title,
            str(one.resolution),
            one.variant,
            one.metric("accuracy", 100.0, 2),
            one.metric("cell_accuracy", 100.0, 2),
            one.metric("mae"),
            one.metric("median"),
            _of_best_epoch(one, "train", "kl"),
            _of_best_epoch(one, "validation", "kl"),
            _of_best_epoch(one, "validation", "mae"),
            str(len(one.runs)),
        ]
        for alike in kinds.values()
        if len(alike) > 1
        for one in alike
    ]
    title = f"**Kinds of training on `{members[0].data.name}`**"
    details = {one.variant: one.details for one in members if one.scheme}
    base = f" The base is: {details['base']}." if "base" in details else ""
    notes = (
        "Losses are above their floors, in the epoch whose parameters were tested; "
        "that of training is a mean over the epoch, with dropout and fewer nodes where "
        "the settings have them."
    )
    return [Table(f"{title}, tested alike.{base}", header, rows, notes)] * bool(rows)


def _of_best_epoch(one: RunGroup, split: str, key: str) -> str:
    """Format a value of the best epoch; empty without training."""
    found = [
        run["epochs"][run["best_epoch"] - 1][split][key]
        for run in one.converged
        if run.get("best_epoch")
    ]
    untrained = one.settings.get("train.epochs") == 0
    return "" if untrained else one.spread(found)


def places(members: list[RunGroup]) -> list[Table]:
    """Make a table of the test positions, seen in training and unseen."""
    tested = [one for one in members if any(map(_places, one.runs))]
    known = sorted(
        {
            tuple(at["place"])
            for one in tested
            for run in one.runs
            for at in _places(run)
        }
    )
    header = ["Label", "I", "settings"]
    for name in ("seen", "unseen"):
        header += [f"{name}: places", "sources", "ACC %", "MAE m"]
    header += [f"({x:g}, {y:g})" for x, y in known]
    rows = []
    for one in tested:
        runs = [run["test"] for run in one.converged if _places(run)]
        row = [one.title, str(one.resolution or ""), one.variant]
        for name in ("seen", "unseen"):
            row += _of_places(one, [test[name] for test in runs])
        for place in known:
            found = [
                at
                for test in runs
                for at in test["places"]
                if tuple(at["place"]) == place
            ]
            seen = "" if not found or found[0]["seen"] else "*"
            row.append(one.spread([at["mae"] for at in found]) + seen)
        rows.append(row)
    caption = (
        f"**Places on `{members[0].data.name}`**, seen in training and unseen; on the "
        "right the MAE in m at each place (x, y)."
    )
    notes = "A star marks a place that was not trained at."
    return [Table(caption, header, rows, notes)] * bool(rows)


def _places(run: dict[str, Any]) -> list[dict[str, Any]]:
    return (run["test"] or {}).get("places", [])


def _of_places(one: RunGroup, found: list[dict[str, Any] | None]) -> list[str]:
    """Format positions, sources, ACC and MAE of the seen or the unseen ones."""
    there = [facts for facts in found if facts]
    if not one.converged:
        return ["/"] * 4
    if not there:
        return ["0", "0", "", ""]
    accuracies = [100 * facts["accuracy"] for facts in there if "accuracy" in facts]
    return [
        str(there[0]["places"]),
        f"{there[0]['sources']:,}",
        one.spread(accuracies, 2) if accuracies else "",
        one.spread([facts["mae"] for facts in there]),
    ]


def conditions(members: list[RunGroup]) -> list[Table]:
    """Make tables of results under worse conditions, for each number of examples.

    MAE and median of all methods, and how many 90 % regions of networks hold the truth.
    """
    return [
        _conditions_on(examples, rows, metric)
        for examples, tested in groups.tested_alike(members).items()
        for metric in groups.CONDITION_METRICS
        if (rows := [(one, found) for one, found in tested if found.values[metric]])
    ]


_CONDITION_TITLES = {
    "mae": ("MAE in m", ".3f", 1),
    "median": ("Median error in m", ".3f", 1),
    "coverage_90": (
        "Mean share of the true code in the 90 % region, in %,",
        ".1f",
        100,
    ),
}


def _conditions_on(
    examples: int, tested: list[tuple[RunGroup, groups.Conditions]], metric: str
) -> Table:
    title, digits, factor = _CONDITION_TITLES[metric]
    named = {key for _, found in tested for key in found.values[metric]}
    names = sorted(named, key=lambda key: conditions_lib.place(*key))
    caption = (
        f"**{title} under worse conditions on `{tested[0][0].data.name}`**: one at a "
        f"time, {examples:,} test examples; clocks, positions and gains are off by a "
        "normal deviate of this size."
    )
    if any(rooms == conditions_lib.FURNISHED for *_, rooms in names):
        caption += " Rooms are bare, or furnished: echoes off by 0.1 m, gains by 1 dB."
    header = ["Method", "I", *(conditions_lib.title(*key) for key in names)]
    rows = [
        [
            one.label,
            str(one.resolution or ""),
            *(
                f"{factor * found.values[metric][key]:{digits}}"
                if key in found.values[metric]
                else ""
                for key in names
            ),
        ]
        for one, found in tested
    ]
    return Table(caption, header, rows)
