"""From a finished run to a folder of shared weights: what its card says of the network.

The card has the whole record of the run, without what is of one machine alone, and what
no record says: what the network hears and finds, and under what license it is shared.
"""

import pathlib
from typing import Any

from uld_jax.acoustics import stft
from uld_jax.audio import signals
from uld_jax.evaluation import predict
from uld_jax.networks import build
from uld_jax.pretrained import weights
from uld_jax.runtime import errors
from uld_jax.storage import records
from uld_jax.storage import settings as settings_lib
from uld_jax.training import initialization


class ShareError(errors.InputError):
    """A network that cannot be shared, with the reason."""


def share(
    folder: str | pathlib.Path, out: str | pathlib.Path, license_name: str | None = None
) -> str:
    """Write the weights of a run to a new folder, and return a line on what it holds.

    Args:
        folder: Folder of the finished run of a network; or of shared weights, to share
            them under another license.
        out: The new folder.
        license_name: What the user says of the license; by default, what is said
            already of shared weights, or nothing.

    Raises:
        ShareError: If the run has kept no network, or the license is no line of text.
        RecordError: If there is no finished run of a network.
        PredictorError: If its network does not fit its settings.
        CheckpointError: If it is damaged.
        WeightsError: If shared weights are damaged, an array is not finite, or there is
            something at `out`.
    """
    out = pathlib.Path(out).expanduser()
    weights.check_new(out, "--out")
    if license_name is not None and not (
        license_name.strip() and license_name.isprintable()
    ):
        raise ShareError(
            f"--license is {license_name!r}; say its name in one line, as in "
            "--license=CC-BY-4.0"
        )
    run = weights.read_network(folder, "--run")
    arrays = initialization.arrays_of(run)
    if arrays is None:
        raise ShareError(
            f"--run: {run['folder']!r} holds no network of epoch {run['best_epoch']}, "
            "its best; only its record was kept: train it again, or name another run"
        )
    law = predict.recipe(run)
    predict.restore_network(run, law["num_nodes"], law["num_sources"])  # It must fit.
    content = _content(run, law, arrays, license_name)
    digest = initialization.digest(arrays)
    size = weights.write(out, content, arrays, digest, _readme(content))
    return (
        f"{out} holds {content['parameters']:,} parameters, {len(arrays)} arrays, in "
        f"{size / 1e6:.3g} MB: {weights.FILE_NAME}, {records.CARD_FILE}, "
        f"{weights.README_FILE}"
    )


def _content(run: dict, law: dict, arrays: dict, license_name: str | None) -> dict:
    """Return what a card says of a run's network, but its format and sums."""
    settings = run["settings"]
    model, best = settings["model"], run["best_epoch"]
    before = run.get("card", {})
    record = {key: run[key] for key in run if key not in ("folder", "card")}
    epochs = run["epochs"]
    return {
        "name": before.get("name", pathlib.Path(run["folder"]).resolve().name),
        "license": license_name or before.get("license"),
        "finds": {
            "sources": law["num_sources"],
            "scheme": settings["label"]["scheme"],
            "resolution": settings["label"]["resolution"],
        },
        "hears": {
            "nodes": law["num_nodes"],
            "any_number_of_nodes": build.get_spec(model["name"]).any_nodes,
            "samples": law.get("num_samples"),
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
    """Return a card for people, in Markdown."""
    hears, finds, record = content["hears"], content["finds"], content["record"]
    nodes = f"{hears['nodes']} nodes"
    if hears["any_number_of_nodes"]:
        nodes = f"any number of nodes; trained on rooms with {hears['nodes']}"
    count = finds["sources"]
    talkers = "one talker" if count == 1 else f"{count} talkers at once"
    parts = {
        "Finds": f"{talkers}, x and y in meters; label {finds['scheme']} at I = "
        f"{finds['resolution']}",
        "Hears": f"{nodes}; windows of {hears['samples']} samples at "
        f"{hears['sample_rate']} Hz, and the places of nodes and walls",
        "Network": f"{record['settings']['model']['name']}, "
        f"{content['parameters']:,} parameters, features {hears['features']}",
        "Trained on": _training(record),
        "Validation": _scores(content["validation"], record["best_epoch"]),
        "Test": _scores(record["test"]),
        "Converged": {True: "yes", False: "**no**: it does not find talkers"}.get(
            record["converged"], "not told"
        ),
        "Made by": f"commit {record.get('commit')}, seed {record['seed']}, "
        f"{record.get('times', {}).get('written')}",
        "License": content["license"] or "not said; ask whoever shares it",
    }
    facts = "\n".join(f"- **{name}**: {text}" for name, text in parts.items())
    return _README.format(name=content["name"], facts=facts)


_README = """# {name}

Weights of a network of uld_jax, which says where talkers are in a room from scattered
microphones (nodes) whose places are known. `card.json` tells all; `weights.safetensors`
holds the arrays.

{facts}

How it does in rooms or with recordings unlike those it was trained on, these numbers do
not tell. Test it there, with FOLDER for the path of this folder:

    uld_jax locate --recordings=my_lab --run=FOLDER --out=positions.csv
    python -m uld_jax.main --config=EXPERIMENT --workdir=runs/tested \\
        --init_from=FOLDER --config.train.epochs=0
    python -m uld_jax.main --config=EXPERIMENT --workdir=runs/tuned \\
        --init_from=FOLDER

The first localizes recordings, the second tests the network as it is on an experiment's
data, and the third trains it further on them.
"""


def _training(record: dict) -> str:
    """Return in words what a network was trained on, and what it began from."""
    data = record["data"]
    fresh = data.get("training", {}).get("examples_per_epoch")
    count = fresh or data.get("sizes", {}).get("train")
    facts = [data["name"]]
    if not record["settings"]["train"]["epochs"]:
        facts = [f"nothing more; tested on {data['name']}"]
    elif count:
        facts.append(f"{count:,} {'fresh examples an epoch' if fresh else 'examples'}")
    for kind, key in (("speech", "corpus"), ("noise", "noise")):
        if name := (data.get(key) or {}).get("name"):
            facts.append(f"{kind} {name}")
    if before := record["init"]:
        facts.append(f"begun from {before['run']}, trained on {before['data']}")
    return ", ".join(facts)


def _scores(scores: dict | None, epoch: int | None = None) -> str:
    if not scores:
        return "none"
    texts = [f"MAE {scores['mae']:.3f} m"]
    if (accuracy := scores.get("accuracy")) is not None:
        texts.append(f"ACC {100 * accuracy:.2f} %")
    return ", ".join(texts) + (f" (epoch {epoch}, the best)" if epoch else "")
