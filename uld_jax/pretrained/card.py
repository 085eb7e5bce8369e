"""Share a run's network: its weights, with a card of the run, its input and license."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from uld_jax.acoustics import stft
from uld_jax.audio import signals
from uld_jax.networks import build, speech_mask
from uld_jax.pretrained import loading, speech_masks, weights
from uld_jax.runtime import errors
from uld_jax.storage import records
from uld_jax.storage import settings as settings_lib

_SPLITS = {"train": "training", "dev": "validation", "test": "test"}
_KEPT = ("command", "conditions", "tested")  # Of a card that is shared again.


class ShareError(errors.InputError):
    """A network that cannot be shared, with the reason."""


def share(
    folder: str | pathlib.Path,
    out: str | pathlib.Path,
    license_name: str | None = None,
    half: bool = False,
    tested: str | pathlib.Path | None = None,
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Write the weights of a run to a new folder; return a line that describes it.

    Args:
        folder: Folder of the finished run of a network; or of shared weights, to share
            them under another license.
        out: The new folder.
        license_name: Name of the license; by default that of the shared weights, if
            they have one.
        half: Whether to store float32 arrays in half precision.
        tested: Folder of a run that tested this network as it is, whose scores and radii
            the card gets.
        facts: What the card gets besides: the `command` that trains the network again;
            `conditions`, its scores under worse ones, each with a `title`.

    Raises:
        ShareError: If only the run's record was kept, the license is not a line of text,
            or another network was tested.
        RecordError: If there is no finished run of a network.
        NetworkError: If its network does not fit its settings.
        CheckpointError: If the checkpoint is damaged.
        WeightsError: If shared weights are damaged, an array is not finite, or `out`
            exists.
    """
    out = pathlib.Path(out).expanduser()
    weights.check_new(out, "--out")
    if license_name is not None and not (
        license_name.strip() and license_name.isprintable()
    ):
        raise ShareError(
            f"--license is {license_name!r}; it must be a name in one line, as in "
            "--license=CC-BY-4.0"
        )
    run = weights.read_run(folder, "--run")
    if run["settings"]["model"]["name"] == speech_mask.NAME:
        return speech_masks.share(run, out, license_name)
    arrays = loading.arrays_of(run)
    if arrays is None:
        raise ShareError(
            f"--run: {run['folder']!r} holds no network of epoch {run['best_epoch']}, "
            "its best; only its record was kept: train it again, or name another run"
        )
    data = loading.training_data(run)
    # Nobody could load a network that does not fit its settings.
    loading.restore_network(run, data["num_nodes"], data["num_sources"])
    content = _content(run, data, arrays, license_name) | dict(facts or {})
    if tested is not None:
        stored = weights.round_to_half(out, arrays) if half else arrays
        content["tested"] = _tested(tested, weights.digest(stored))
    size = weights.write_folder(out, content, arrays, _readme(content), half)
    return (
        f"{out} holds {content['parameters']:,} parameters, {len(arrays)} arrays, in "
        f"{size / 1e6:.3g} MB: {weights.FILE_NAME}, {records.CARD_FILE}, "
        f"{weights.README_FILE}"
    )


def _tested(folder: str | pathlib.Path, parameters: str) -> dict[str, Any]:
    """Collect the scores of a run that tested the network of some parameters."""
    run = weights.read_run(folder, "--tested")
    begun, epochs = run["init"] or {}, run["settings"]["train"]["epochs"]
    if epochs or begun.get("parameters") != parameters:
        raise ShareError(
            f"--tested: {run['folder']!r} tested a network of other parameters: "
            f"{begun.get('parameters')} after {epochs} epochs, not {parameters} after "
            "none; test this one, with --init_from and --config.train.epochs=0"
        )
    kept = ("test", "radii", "times", "commit", "versions", "hardware")
    return {"data": run["data"]["name"], **{key: run.get(key) for key in kept}}


def _content(
    run: dict[str, Any],
    data: dict[str, Any],
    arrays: dict[str, Any],
    license_name: str | None,
) -> dict[str, Any]:
    """Collect the content of a card, without its format and checksums."""
    settings = run["settings"]
    model, best = settings["model"], run["best_epoch"]
    before = run.get("card", {})
    record = {key: run[key] for key in run if key not in ("folder", "card")}
    epochs = run["epochs"]
    return {
        "name": before.get("name", pathlib.Path(run["folder"]).resolve().name),
        "license": license_name or before.get("license"),
        "output": {
            "sources": data["num_sources"],
            "scheme": settings["label"]["scheme"],
            "resolution": settings["label"]["resolution"],
        },
        "input": {
            "nodes": data["num_nodes"],
            "any_number_of_nodes": build.get_spec(model["name"]).any_nodes,
            "samples": data.get("num_samples"),
            "sample_rate": signals.SAMPLE_RATE,
            "features": model.get("front_end", "real_imaginary"),
            "window_length": stft.WINDOW_LENGTH,
            "hop_length": stft.HOP_LENGTH,
        },
        "parameters": sum(
            array.size for name, array in arrays.items() if name.startswith("params/")
        ),
        "validation": epochs[best - 1]["validation"] if epochs and best else None,
        "record": record | {"settings": settings_lib.without_paths(settings)},
        **{key: before[key] for key in _KEPT if key in before},
    }


def describe(run: dict) -> str:
    """Describe shared weights for people, by their card: the text of their README.

    Args:
        run: As `weights.read_run` returns it for shared weights.
    """
    return _readme(run["card"] | {"record": run})


def _readme(content: dict[str, Any]) -> str:
    """Format a card as Markdown, for people."""
    inputs, outputs, record = content["input"], content["output"], content["record"]
    nodes = f"{inputs['nodes']} nodes"
    if inputs["any_number_of_nodes"]:
        nodes = f"any number of nodes; trained on rooms with {inputs['nodes']}"
    count = outputs["sources"]
    talkers = "one talker" if count == 1 else f"{count} talkers at once"
    parts = {
        "Output": f"{talkers}, x and y in meters; label {outputs['scheme']} at I = "
        f"{outputs['resolution']}",
        "Input": f"{nodes}; windows of {inputs['samples']} samples at "
        f"{inputs['sample_rate']} Hz; positions of the nodes and size of the room",
        "Network": f"{record['settings']['model']['name']}, "
        f"{content['parameters']:,} parameters, features {inputs['features']}",
        "Trained on": _training(record),
        "Speech and noise": _speakers(record),
        "Validation": _scores(content["validation"], record["best_epoch"]),
        "Test": _scores(record["test"]),
        **_tested_again(content.get("tested")),
        "Converged": {True: "yes", False: "**no**: it does not find talkers"}.get(
            record["converged"], "unknown"
        ),
        "Made by": f"commit {record.get('commit')}, seed {record['seed']}, "
        f"{record.get('times', {}).get('written')}",
        "License": content["license"] or "none given; ask the author",
    }
    facts = "\n".join(f"- **{name}**: {text}" for name, text in parts.items() if text)
    details = _conditions(content.get("conditions", ()))
    details += "".join(f"- {limit}\n" for limit in _limits(content))
    if command := content.get("command"):
        details += f"\nTrained by this command:\n\n    {command}\n"
    return _README.format(name=content["name"], facts=facts, details=details)


_README = """# {name}

Weights of a network of uld_jax, which finds where talkers are in a room from scattered
microphones (nodes) at known positions. `card.json` has all details;
`weights.safetensors` holds the arrays.

{facts}

{details}
These numbers hold for rooms and recordings like those in training. Test the network on
yours, with FOLDER for the path of this folder:

    uld_jax locate --recordings=my_lab --run=FOLDER --out=positions.csv
    uld_jax train --config=EXPERIMENT --workdir=runs/tested \\
        --init_from=FOLDER --config.train.epochs=0
    uld_jax train --config=EXPERIMENT --workdir=runs/tuned --init_from=FOLDER

The first localizes recordings, the second tests the network as it is on an experiment's
data, and the third trains it further on them. In Python,
`uld_jax.load_network("FOLDER")` loads it.
"""


def _training(record: dict[str, Any]) -> str:
    """Describe the data that a network was trained on, and its initialization."""
    data = record["data"]
    per_epoch = data.get("training", {}).get("examples_per_epoch")
    count = per_epoch or data.get("sizes", {}).get("train")
    facts = [data["name"]]
    if not record["settings"]["train"]["epochs"]:
        facts = [f"nothing more; tested on {data['name']}"]
    elif count:
        unit = "examples rendered for each epoch" if per_epoch else "examples"
        facts.append(f"{count:,} {unit}")
    for kind, key in (("speech", "corpus"), ("noise", "noise")):
        if name := (data.get(key) or {}).get("name"):
            facts.append(f"{kind} {name}")
    if before := record["init"]:
        facts.append(f"started from {before['run']}, trained on {before['data']}")
    return ", ".join(facts)


def _speakers(record: dict[str, Any]) -> str:
    """Count the speakers and the recordings of noise in each split."""
    texts = []
    for what, key, counted in (
        ("speakers", "corpus", "talkers"),
        ("recordings of noise", "noise", "utterances"),
    ):
        facts = record["data"].get(key) or {}
        counts = [
            f"{facts[f'{split}_{counted}']:,} in {name}"
            for split, name in _SPLITS.items()
            if facts.get(f"{split}_{counted}")
        ]
        texts += [f"{what}: {', '.join(counts)}"] if counts else []
    return "; ".join(texts)


def _tested_again(tested: dict[str, Any] | None) -> dict[str, str]:
    """Describe a test of these very weights, and what their radii hold."""
    if not tested:
        return {}
    return {"Test of these weights": f"{_scores(tested['test'])}, on {tested['data']}"}


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> str:
    """Format scores under worse conditions as a table."""
    if not conditions:
        return ""
    rows = "".join(
        f"| {one['title']} | {one['mae']:.2f} | {one['median']:.2f} |\n"
        for one in conditions
    )
    head = "| condition | MAE m | median m |\n| --- | --- | --- |\n"
    return f"{head}{rows}\n"


def _limits(content: dict[str, Any]) -> list[str]:
    """List what the network was not trained or tested for, by its record."""
    inputs, record = content["input"], content["record"]
    data, name = record["data"], record["data"]["name"]
    limits = ["One training, of one seed: how much results vary is not known."]
    if name.startswith("simulated/"):
        limits.append(
            "Simulated rooms with exact walls, in training and in tests; "
            "no real recordings."
        )
    if not inputs["any_number_of_nodes"]:
        limits.append(
            f"It needs {inputs['nodes']} nodes at the places they had in training, in "
            "the room of training, and does not look at the positions it is given."
        )
    settings = record["settings"]["data"]
    if not any(
        settings.get(key)
        for key in ("clock_offset", "position_error", "gain_error", "drawn_errors")
    ):
        limits.append(
            "Trained with one clock and exact positions and gains, not with errors of them."
        )
    if not data.get("noise"):
        limits.append("Trained without noise.")
    radii = (content.get("tested") or record).get("radii")
    limits.append(
        f"Radii are counted on {radii['sources']:,} validation sources, and hold for "
        "rooms and signals like those."
        if radii
        else "Radii are those of its distributions, which nobody compared with errors."
    )
    return limits


def _scores(scores: dict[str, Any] | None, epoch: int | None = None) -> str:
    if not scores:
        return "none"
    texts = [f"MAE {scores['mae']:.3f} m"]
    if (accuracy := scores.get("accuracy")) is not None:
        texts.append(f"ACC {100 * accuracy:.2f} %")
    if (held := scores.get("radius_coverage_90")) is not None:
        texts.append(
            f"{100 * held:.1f} % within their radii, {scores['radius_90']:.2f} m in the "
            "median"
        )
    return ", ".join(texts) + (f" (epoch {epoch}, the best)" if epoch else "")
