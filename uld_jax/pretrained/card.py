"""Share a run's network: its weights, with a card of the run, its input and license."""

import pathlib
from typing import Any

from uld_jax.acoustics import stft
from uld_jax.audio import signals
from uld_jax.networks import build
from uld_jax.pretrained import loading, weights
from uld_jax.runtime import errors
from uld_jax.storage import records
from uld_jax.storage import settings as settings_lib


class ShareError(errors.InputError):
    """A network that cannot be shared, with the reason."""


def share(
    folder: str | pathlib.Path, out: str | pathlib.Path, license_name: str | None = None
) -> str:
    """Write the weights of a run to a new folder; return a line that describes it.

    Args:
        folder: Folder of the finished run of a network; or of shared weights, to share
            them under another license.
        out: The new folder.
        license_name: Name of the license; by default that of the shared weights, if
            they have one.

    Raises:
        ShareError: If only the run's record was kept, or the license is not a line of
            text.
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
    arrays = loading.arrays_of(run)
    if arrays is None:
        raise ShareError(
            f"--run: {run['folder']!r} holds no network of epoch {run['best_epoch']}, "
            "its best; only its record was kept: train it again, or name another run"
        )
    data = loading.training_data(run)
    # Nobody could load a network that does not fit its settings.
    loading.restore_network(run, data["num_nodes"], data["num_sources"])
    content = _content(run, data, arrays, license_name)
    size = weights.write_folder(out, content, arrays, _readme(content))
    return (
        f"{out} holds {content['parameters']:,} parameters, {len(arrays)} arrays, in "
        f"{size / 1e6:.3g} MB: {weights.FILE_NAME}, {records.CARD_FILE}, "
        f"{weights.README_FILE}"
    )


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
    }


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
        "Validation": _scores(content["validation"], record["best_epoch"]),
        "Test": _scores(record["test"]),
        "Converged": {True: "yes", False: "**no**: it does not find talkers"}.get(
            record["converged"], "unknown"
        ),
        "Made by": f"commit {record.get('commit')}, seed {record['seed']}, "
        f"{record.get('times', {}).get('written')}",
        "License": content["license"] or "none given; ask the author",
    }
    facts = "\n".join(f"- **{name}**: {text}" for name, text in parts.items())
    return _README.format(name=content["name"], facts=facts)


_README = """# {name}

Weights of a network of uld_jax, which finds where talkers are in a room from scattered
microphones (nodes) at known positions. `card.json` has all details;
`weights.safetensors` holds the arrays.

{facts}

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


def _scores(scores: dict[str, Any] | None, epoch: int | None = None) -> str:
    if not scores:
        return "none"
    texts = [f"MAE {scores['mae']:.3f} m"]
    if (accuracy := scores.get("accuracy")) is not None:
        texts.append(f"ACC {100 * accuracy:.2f} %")
    return ", ".join(texts) + (f" (epoch {epoch}, the best)" if epoch else "")
