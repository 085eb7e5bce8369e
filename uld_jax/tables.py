"""Records to the paper's tables, the paper's values beside ours.

    python -m uld_jax.tables runs/l1
    python -m uld_jax.tables results/l1_reduced --markdown=results/l1_reduced/table1.md
    python -m uld_jax.tables results/l1_reduced --update=README.md

`--update` puts the table between the lines `<!-- results -->` and
`<!-- /results -->` of a file.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import statistics

from uld_jax import records

BEGIN, END = "<!-- results -->", "<!-- /results -->"

TITLES = {"one_hot": "One-hot", "heat_map": "HM", "refined_grid": "RG", "uld": "ULD"}

# ACC in percent and MAE in meters, as printed in Table 1 of the paper.
PAPER_TABLE_1 = {
    "one_hot": (96.50, 0.384),
    "heat_map": (96.74, 0.453),
    "refined_grid": (92.00, 0.104),
    "uld": (96.72, 0.031),
}
PAPER_TABLE_1_QE = 0.381
PAPER_TABLE_1_OUTPUTS = 6  # Per axis.


@dataclasses.dataclass(frozen=True)
class Group:
    """Finished runs that differ in their seed alone.

    Attributes:
        data: Name of the data set, and fingerprint of its corpus.
        label: What the rows of its table call it.
        settings: The settings that the runs share, by dotted key.
        runs: Their records.
    """

    data: tuple[str, str]
    label: str
    settings: dict
    runs: tuple[dict, ...]

    @property
    def scheme(self) -> str:
        """Name of the label scheme."""
        return self.settings["label.scheme"]

    def metric(self, name: str, factor: float = 1.0, digits: int = 3) -> str:
        """Return a test metric's mean over the runs, with its standard deviation."""
        values = [factor * run["test"][name] for run in self.runs]
        mean = f"{statistics.mean(values):.{digits}f}"
        if len(values) == 1:
            return mean
        return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def group(runs: list[dict]) -> list[Group]:
    """Return runs in groups that differ in their seed alone, in table order.

    Groups of one data set, scheme and resolution have what else differs between
    them in their label.

    Raises:
        ValueError: If two runs are alike in everything, their seed included.
    """
    found = collections.defaultdict(list)
    for run in runs:
        settings = records.identity(run["settings"])
        seed = settings.pop("seed")
        name = run["data"]["name"].replace(records.HELD_OUT, "")
        if "training" in run["data"]:
            name += ", fresh rooms"
        data = name, run["data"]["corpus"].get("fingerprint", "")
        members = found[data, json.dumps(settings, sort_keys=True)]
        for other in members:
            if other["seed"] == seed:
                raise ValueError(
                    f"{other['folder']!r} and {run['folder']!r} are the same run, "
                    "twice; name one of them"
                )
        members.append(run)
    groups = [
        Group(data, "", json.loads(settings), tuple(members))
        for (data, settings), members in found.items()
    ]
    order = {scheme: place for place, scheme in enumerate(TITLES)}
    groups.sort(
        key=lambda one: (
            one.data,
            order.get(one.scheme, len(order)),
            one.settings["label.resolution"],
            json.dumps(one.settings, sort_keys=True),
        )
    )
    return [dataclasses.replace(one, label=_label(one, groups)) for one in groups]


def _label(one: Group, groups: list[Group]) -> str:
    """Return a group's title, with what tells it from others of its kind."""
    kin = [
        other.settings
        for other in groups
        if other.data == one.data
        and all(
            other.settings[key] == one.settings[key]
            for key in ("label.scheme", "label.resolution")
        )
    ]
    own = [
        f"{key} {value}"
        for key, value in one.settings.items()
        if any(other.get(key) != value for other in kin)
    ]
    title = TITLES.get(one.scheme, one.scheme)
    return f"{title} ({', '.join(own)})" if own else title


def to_markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    ruler = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in [header, ruler, *rows]
    )


def table_1(groups: list[Group]) -> str:
    """Return Table 1 in Markdown: the labels on L-1, one data set after another."""
    parts = []
    by_data = collections.defaultdict(list)
    for one in groups:
        by_data[one.data].append(one)
    for (data, _), members in by_data.items():
        header = ["Label", "I", "ACC % (paper)", "ACC % (ours)", "MAE m (paper)"]
        header += [
            "MAE m (ours)",
            "median m",
            "90th pct. m",
            "cell ACC %",
            "QE m",
            "runs",
        ]
        # The paper's QE is that of one-hot, whose cells are its outputs.
        limits = {
            f"{one.runs[0]['test']['quantization_error']:.3f}"
            for one in members
            if one.settings["label.resolution"] == PAPER_TABLE_1_OUTPUTS
        }
        limit = limits.pop() if len(limits) == 1 else ""
        rows = [["QE", "", "100.00", "", f"{PAPER_TABLE_1_QE:.3f}", limit, *[""] * 5]]
        for one in members:
            acc, mae = PAPER_TABLE_1.get(one.scheme, (None, None))
            if one.settings["label.outputs_per_axis"] != PAPER_TABLE_1_OUTPUTS:
                acc = mae = None
            rows.append(
                [
                    one.label,
                    str(one.settings["label.resolution"]),
                    f"{acc:.2f}" if acc else "",
                    one.metric("accuracy", 100.0, 2),
                    f"{mae:.3f}" if mae else "",
                    one.metric("mae"),
                    one.metric("median"),
                    one.metric("p90"),
                    one.metric("cell_accuracy", 100.0, 2),
                    one.metric("quantization_error"),
                    str(len(one.runs)),
                ]
            )
        parts.append(f"{_caption(data, members)}\n\n{to_markdown(header, rows)}")
    return "\n\n".join(parts)


def _caption(data: str, members: list[Group]) -> str:
    """Return in words what the runs of a table were made with."""
    runs = [run for member in members for run in member.runs]
    first = runs[0]
    sizes = first["data"]["sizes"]
    parameters = sorted({run["network"]["parameters"] for run in runs})
    machines = sorted(
        {
            f"{', '.join(sorted(set(run['hardware']['devices'])))} "
            f"({run['hardware']['processor']}, {run['hardware']['cores']} cores)"
            for run in runs
        }
    )
    minutes = [run["times"]["seconds"] / 60 for run in runs]
    epochs = [len(run["epochs"]) for run in runs]
    return (
        f"**Table 1 on `{data}`**: {_training(first)}, "
        f"{sizes['validation']:,} validation and {sizes['test']:,} test segments, "
        f"speech from the corpus `{first['data']['corpus']['name']}`; "
        f"{' or '.join(f'{count:,}' for count in parameters)} parameters, "
        f"{_range(epochs)} epochs, {_range(minutes)} min a run on "
        f"{' and '.join(machines)}. QE is the quantization error at each row's I."
    )


def _training(run: dict) -> str:
    """Return in words what a run was trained on."""
    if "training" in run["data"]:
        steps = run["settings"]["train"]["batch_size"]
        examples = run["data"]["training"]["examples_per_epoch"]
        return f"{examples // steps * steps:,} fresh training segments an epoch"
    return f"{run['data']['sizes']['train']:,} training"


def _range(values: list) -> str:
    low, high = round(min(values)), round(max(values))
    return str(low) if low == high else f"{low} to {high}"


def replace_marked(text: str, table: str) -> str:
    """Return a text with the part between the marks replaced.

    Raises:
        ValueError: If the text lacks the marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the file needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main() -> None:
    """Print the table of all records below the given folders."""
    parser = argparse.ArgumentParser(description="Make the paper's tables of records.")
    parser.add_argument("paths", nargs="+", help="folders with records, or records")
    parser.add_argument("--markdown", help="file to write the table to")
    parser.add_argument("--update", help="file whose marked part to replace")
    arguments = parser.parse_args()
    try:
        runs, unfinished = records.read_finished(arguments.paths)
        table = table_1(group(runs))
        if arguments.update:
            path = pathlib.Path(arguments.update)
            path.write_text(replace_marked(path.read_text(), table))
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    if unfinished:
        print(f"Left out, not finished: {', '.join(unfinished)}\n")
    print(table)
    if arguments.markdown:
        pathlib.Path(arguments.markdown).write_text(table + "\n")


if __name__ == "__main__":
    main()
