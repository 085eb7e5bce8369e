"""The paper's tables, made from records, with the paper's values beside ours.

Table 1 is made of runs on L-1, Table 2 on Ad-1, Table 3 on Ad-2, Table 4 on Ad-r1 and
Ad-r2 and on the simulated twin of their room. Kinds of training, seen and unseen
positions and worse conditions follow, where records have them.
"""

import textwrap
from collections.abc import Container

from uld_jax.labels import titles
from uld_jax.report import captions, comparison_tables, groups, paper
from uld_jax.report.groups import RunGroup
from uld_jax.report.markdown import Table

KINDS = ("paper", "training", "places", "conditions")
SUMMARY = "summary"  # A narrow table for a README; only where it is asked for.
_SUMMARY_WIDTH = 98

_NETWORK_NOTES = (
    "ULD labels (I + 1)² grid points, and its ACC asks for the nearest of them; the "
    "others label I² cells, and theirs asks for the right cell. Cell ACC asks for all "
    "of them whether the decoded position lies in the right one of I² cells. "
)
_NOTES = (
    'QE is that of I² cells. "/" is a training that did not converge or is not '
    "feasible, an empty place one that was not run."
)
_DIRECTION_NOTES = (
    "Azimuth ULD labels I directions around each array; its ACC asks for the nearest one "
    "at all of them."
)
_BASELINE_NOTES = " Baselines know no cells: their positions are the same at every I."


def make(members: list[RunGroup], only: Container[str] = KINDS) -> list[Table]:
    """Make the tables of some groups, one data set after another.

    Args:
        members: The groups.
        only: Some of `KINDS`: "paper", the paper's Tables 1 to 4 and similar ones;
            "training", labels trained in several ways; "places", positions seen in
            training or not; "conditions", worse ones; "summary", a narrow table.

    Raises:
        ValueError: If runs on the same test data disagree about its QE.
    """
    tables = []
    for same in groups.by_data(members).values():
        if "paper" in only and same[0].data.table == "Table 1":
            tables.append(_table_1(same))
        elif "paper" in only:
            tables += _tables_by_resolution(same)
        if SUMMARY in only:
            tables.append(_summary(same))
        if "training" in only:
            tables += comparison_tables.side_by_side(same)
        if "places" in only:
            tables += comparison_tables.places(same)
        if "conditions" in only:
            tables += comparison_tables.conditions(same)
    return tables


def _table_1(members: list[RunGroup]) -> Table:
    """Make Table 1: the labels on L-1."""
    header = ["Label", "I", "ACC % (paper)", "ACC % (ours)", "MAE m (paper)"]
    header += ["MAE m (ours)", "median m", "90th pct. m", "cell ACC %", "QE m", "runs"]
    # The paper's QE is that of one-hot, whose cells are its outputs.
    limit = groups.quantization_errors(members).get(paper.TABLE_1_OUTPUTS)
    limit = "" if limit is None else f"{limit:.3f}"
    rows = [["QE", "", "100.00", "", f"{paper.TABLE_1_QE:.3f}", limit, *[""] * 5]]
    for one in members:
        acc, mae = _table_1_values(one) or (None, None)
        distances = [one.metric("mae"), one.metric("median"), one.metric("p90")]
        rows.append(
            [
                one.label,
                str(one.resolution or ""),
                f"{acc:.2f}" if acc else "",
                one.metric("accuracy", 100.0, 2) if one.scheme else "",
                f"{mae:.3f}" if mae else "",
                *distances,
                one.metric("cell_accuracy", 100.0, 2) if one.labels_places else "",
                one.metric("quantization_error") if one.labels_places else "",
                str(len(one.runs)),
            ]
        )
    caption = captions.caption(f"Table 1 on `{members[0].data.name}`", members)
    has_directions = any(one.scheme and not one.labels_places for one in members)
    return Table(
        f"{caption} QE is the quantization error at each row's I.",
        header,
        rows,
        _DIRECTION_NOTES * has_directions,
    )


def _table_1_values(one: RunGroup) -> tuple[float, float] | None:
    """Look up the paper's ACC and MAE of a label in Table 1; None for other groups."""
    if one.data.table != "Table 1":
        return None
    if one.settings.get("label.outputs_per_axis") != paper.TABLE_1_OUTPUTS:
        return None
    return paper.TABLE_1.get(one.scheme)


def _printed_mae(one: RunGroup) -> float | None:
    """Look up the paper's MAE of a label at one I in Tables 2 to 4."""
    maes = one.data.printed.mae.get(one.scheme) if one.data.printed else None
    if maes is None or one.resolution not in paper.RESOLUTIONS:
        return None
    return maes[paper.RESOLUTIONS.index(one.resolution)]


def _summary(members: list[RunGroup]) -> Table:
    """Make a narrow table: each method's I, MAE and QE beside the paper's MAE."""
    rows = []
    for one in members:
        _, printed = _table_1_values(one) or (None, _printed_mae(one))
        rows.append(
            [
                one.label,
                str(one.resolution or ""),
                "" if printed is None else f"{printed:.3f}",
                one.metric("mae"),
                one.metric("median"),
                one.metric("quantization_error") if one.labels_places else "",
            ]
        )
    caption = captions.caption(f"Test errors on `{members[0].data.name}`", members)
    header = ["Method", "I", "MAE m (paper)", "MAE m (ours)", "median m", "QE m"]
    lines = textwrap.wrap(caption, _SUMMARY_WIDTH, break_on_hyphens=False)
    return Table("\n".join(lines), header, rows)


def _tables_by_resolution(members: list[RunGroup]) -> list[Table]:
    """Make Tables 2 to 4, or similar ones on other data, one for each variant.

    The first, with most runs, has the baselines and all of the paper's values.
    """
    data = members[0].data
    printed = data.printed
    kinds = list(groups.by_variant(members).values()) or [[]]
    columns = {one.resolution for one in members if one.scheme}
    columns = sorted(columns | set(paper.RESOLUTIONS))
    limits = groups.quantization_errors(members)
    baselines = [one for one in members if not one.scheme]
    name = data.table or "Results"
    tables = []
    for number, networks in enumerate(kinds):
        schemes = dict.fromkeys(one.scheme for one in networks)
        if printed and number == 0:
            others = [scheme for scheme in schemes if scheme not in printed.mae]
            schemes = [*printed.mae, *others]
        rows = _limit_rows(columns, limits, printed)
        for scheme in schemes:
            ours = {one.resolution: one for one in networks if one.scheme == scheme}
            rows += _scheme_rows(scheme, ours, columns, printed)
        shown_baselines = baselines if number == 0 else []
        for one in shown_baselines:
            rows += _baseline_rows(one, columns)
        title = f"{name} on `{data.name}`"
        if networks and networks[0].details:
            title += f", {networks[0].details}"
        notes = ""
        if number == len(kinds) - 1:
            notes = _NETWORK_NOTES * bool(networks) + _NOTES
            notes += _BASELINE_NOTES * bool(baselines)
        header = ["Label", "", *(f"I = {column}" for column in columns)]
        tables.append(
            Table(
                captions.caption(title, networks + shown_baselines), header, rows, notes
            )
        )
    return tables


def _limit_rows(columns, limits: dict[int, float], printed) -> list[list[str]]:
    rows = []
    if printed:
        row = _printed(printed.quantization_error, columns, 3)
        rows.append(["", "MAE m (paper)", *row])
    ours = [f"{limits[c]:.3f}" if c in limits else "" for c in columns]
    rows.append(["", "MAE m (ours)", *ours])
    return _titled("QE", rows)


def _scheme_rows(
    scheme: str, ours: dict[int, RunGroup], columns, printed
) -> list[list[str]]:
    """Make the rows of one label: the paper's values and ours, by resolution."""

    def row(name, factor=1.0, digits=3):
        return [
            ours[c].metric(name, factor, digits)
            if c in ours
            else "/" * bool(ours and not _is_feasible(ours, c))
            for c in columns
        ]

    rows = [
        ["", "ACC % (ours)", *row("accuracy", 100.0, 2)],
        ["", "cell ACC % (ours)", *row("cell_accuracy", 100.0, 2)],
        ["", "MAE m (ours)", *row("mae")],
    ]
    if printed and scheme in printed.mae:
        acc = _printed(printed.accuracy[scheme], columns, 2)
        mae = _printed(printed.mae[scheme], columns, 3)
        rows.insert(2, ["", "MAE m (paper)", *mae])
        rows.insert(0, ["", "ACC % (paper)", *acc])
    return _titled(titles.title(scheme), rows)


def _is_feasible(ours: dict[int, RunGroup], resolution: int) -> bool:
    """Check whether a scheme has more than one output to choose from."""
    one = next(iter(ours.values()))
    extra = one.settings["label.outputs_per_axis"] - one.resolution
    return resolution + extra > 1


def _baseline_rows(one: RunGroup, columns) -> list[list[str]]:
    def accuracy(column):
        found = [run["test"].get("by_resolution", {}) for run in one.converged]
        shares = [by[str(column)]["cell_accuracy"] for by in found if str(column) in by]
        return one.spread([100 * share for share in shares], 2) if shares else ""

    rows = [
        ["", "cell ACC % (ours)", *map(accuracy, columns)],
        ["", "MAE m (ours)", *[one.metric("mae")] * len(columns)],
        ["", "median m (ours)", *[one.metric("median")] * len(columns)],
    ]
    return _titled(one.label, rows)


def _printed(values: tuple[float | None, ...], columns, digits: int) -> list[str]:
    """Format a row of the paper, empty where it has no column."""
    by_column = dict(zip(paper.RESOLUTIONS, values, strict=True))
    return [
        ""
        if column not in by_column
        else "/"
        if by_column[column] is None
        else f"{by_column[column]:.{digits}f}"
        for column in columns
    ]


def _titled(title: str, rows: list[list[str]]) -> list[list[str]]:
    return [[title, *rows[0][1:]], *rows[1:]]
