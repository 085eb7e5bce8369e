"""Captions of tables: data, networks, times and machines of the runs."""

from typing import Any

from uld_jax.report.groups import RunGroup


def caption(title: str, members: list[RunGroup]) -> str:
    """Compose a caption: title, data, networks, epochs, minutes and machines."""
    runs = [run for one in members if one.scheme for run in one.runs]
    baselines = [run for one in members if not one.scheme for run in one.runs]
    data = (runs or baselines)[0]["data"]
    unit = "segments" if members[0].data.table == "Table 1" else "utterances"
    sizes, test = data["sizes"], f"{data['sizes']['test']:,} test {unit}"
    kind = "speech from the corpus"
    if not members[0].data.name.startswith("simulated/"):
        kind = "recordings from"
    speech = f"{kind} `{data['corpus']['name']}`"
    if "noise" in data:
        speech += (
            f", {members[0].data.noise_field} noise from `{data['noise']['name']}`"
        )
    if not runs:
        return f"**{title}**: {test}, {speech}; {_machines(baselines)}."
    trained = [run for run in runs if run["epochs"]]
    text = f"**{title}**: "
    if trained:
        kinds = dict.fromkeys(_training(run, unit) for run in trained)
        sizes = trained[0]["data"]["sizes"]
        text += f"{' or '.join(kinds)}, {sizes['validation']:,} validation and "
    text += (
        f"{test}, {speech}; {_parameters(runs)} parameters, "
        f"{_range([len(run['epochs']) for run in runs])} epochs, {_machines(runs)}."
    )
    if baselines:
        text += f" Baselines: {_machines(baselines)}."
    return text + _rollbacks(members)


def _rollbacks(members: list[RunGroup]) -> str:
    """Say which runs collapsed in training and went back to a better state."""
    notes = []
    for one in members:
        counts = [len(run.get("rollbacks", ())) for run in one.runs]
        if went_back := [count for count in counts if count]:
            times = ", ".join(f"{count} x" for count in went_back)
            notes.append(f"{one.label} at I = {one.resolution} ({times})")
    return f" Went back after a collapse: {'; '.join(notes)}." if notes else ""


def _training(run: dict[str, Any], unit: str) -> str:
    """Describe the training data of a run."""
    if "training" in run["data"]:
        steps = run["settings"]["train"]["batch_size"]
        examples = run["data"]["training"]["examples_per_epoch"]
        return f"{examples // steps * steps:,} fresh training {unit} an epoch"
    return f"{run['data']['sizes']['train']:,} training"


def _parameters(runs: list[dict[str, Any]]) -> str:
    counts = sorted({run["network"]["parameters"] for run in runs})
    joint = " or " if len(counts) <= 2 else " to "
    return joint.join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))


def _machines(runs: list[dict[str, Any]]) -> str:
    """Describe how long runs took, and on which machines."""
    machines = sorted(
        {
            f"{', '.join(sorted(set(run['hardware']['devices'])))} "
            f"({run['hardware']['processor']}, {run['hardware']['cores']} cores)"
            for run in runs
        }
    )
    minutes = [run["times"]["seconds"] / 60 for run in runs]
    return f"{_range(minutes)} min a run on {' and '.join(machines)}"


def _range(values: list[Any]) -> str:
    low, high = (
        f"{round(value)}" if value >= 1 or not value else f"{value:.1g}"
        for value in (min(values), max(values))
    )
    return low if low == high else f"{low} to {high}"
