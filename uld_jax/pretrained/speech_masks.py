"""Weights of the network of speech masks: share those of a run, and load them."""

import pathlib
from typing import Any

import jax
import numpy as np
from flax import nnx

from uld_jax.acoustics import stft
from uld_jax.audio import signals
from uld_jax.networks import speech_mask
from uld_jax.pretrained import loading, weights
from uld_jax.runtime import errors
from uld_jax.storage import integrity
from uld_jax.storage import settings as settings_lib


class MaskWeightsError(errors.InputError):
    """Weights that are not those of a network of speech masks, with the reason."""


def load(folder: str | pathlib.Path) -> tuple[nnx.GraphDef, dict[str, Any]]:
    """Load the network of a finished run or of shared weights.

    Args:
        folder: Folder of the run, or of the weights.

    Returns:
        Its graph and its parameters.

    Raises:
        RecordError: If there is no finished run of a network.
        WeightsError: If shared weights are damaged or of a newer format.
        CheckpointError: If the run's checkpoint is damaged.
        MaskWeightsError: If it is another network, or only its record was kept.
    """
    return restore(weights.read_run(folder, "speech masks"))


def restore(run: dict[str, Any]) -> tuple[nnx.GraphDef, dict[str, Any]]:
    """Restore the network of a run: see `load`.

    Args:
        run: A record, as `weights.read_run` returns it.

    Raises:
        CheckpointError: If the run's checkpoint is damaged.
        WeightsError: If shared weights are damaged.
        MaskWeightsError: If it is another network, or only its record was kept.
    """
    folder, model = run["folder"], run["settings"]["model"]
    if model["name"] != speech_mask.NAME:
        raise MaskWeightsError(
            f"{folder!r} holds the network {model['name']!r}; name a folder of "
            f"{speech_mask.NAME!r}"
        )
    arrays = loading.arrays_of(run)
    if arrays is None:
        raise MaskWeightsError(
            f"{folder!r} holds no network of epoch {run['best_epoch']}, its best; only "
            "its record was kept"
        )
    shapes = nnx.eval_shape(lambda: speech_mask.build(model, 0))
    graph, params = nnx.split(shapes, nnx.Param)
    items, misfits, unused = loading.put({"params": nnx.to_pure_dict(params)}, arrays)
    if lines := misfits + [f"{name}: not in this network" for name in unused]:
        raise MaskWeightsError(
            f"the network in {folder!r} does not fit its settings in {len(lines)} "
            f"arrays, as {lines[0]}"
        )
    return graph, items["params"]


def share(run: dict[str, Any], out: pathlib.Path, license_name: str | None) -> str:
    """Write the weights of a run to a new folder, in half precision; describe it.

    Args:
        run: A record, as `weights.read_run` returns it.
        out: The new folder.
        license_name: Name of the license.

    Raises:
        WeightsError: If an array is not finite, or the folder exists.
        MaskWeightsError: As `restore`.
    """
    _, params = restore(run)
    arrays = integrity.by_name({"params": jax.tree.map(np.asarray, params)})
    content = _content(run, arrays, license_name)
    size = weights.write_folder(out, content, arrays, _readme(content), half=True)
    return (
        f"{out} holds {content['parameters']:,} parameters, {len(arrays)} arrays, in "
        f"{size / 1e6:.3g} MB"
    )


def describe(run: dict[str, Any]) -> str:
    """Describe shared weights for people, by their card: the text of their README.

    Args:
        run: As `weights.read_run` returns it for shared weights.
    """
    return _readme(run["card"] | {"record": run})


def _content(run: dict, arrays: dict, license_name: str | None) -> dict[str, Any]:
    before = run.get("card", {})
    record = {key: run[key] for key in run if key not in ("folder", "card")}
    best = run["best_epoch"]
    settings = settings_lib.without_paths(run["settings"])
    return {
        "name": before.get("name", pathlib.Path(run["folder"]).resolve().name),
        "license": license_name or before.get("license"),
        "output": {"logits": ["mask of each bin", "a talker is there"]},
        "input": {
            "nodes": 1,
            "sample_rate": signals.SAMPLE_RATE,
            "features": "powers",
            "window_length": stft.WINDOW_LENGTH,
            "hop_length": stft.HOP_LENGTH,
        },
        "parameters": sum(array.size for array in arrays.values()),
        "validation": run["epochs"][best - 1]["validation"],
        "record": record | {"settings": settings},
    }


def _readme(content: dict[str, Any]) -> str:
    record, data = content["record"], content["record"]["data"]
    left_out = ", ".join(record["settings"]["mixtures"]["noises_left_out"]) or "none"
    low, high = data["snr_db"]
    test = record["test"]
    return _README.format(
        name=content["name"],
        parameters=content["parameters"],
        speech=data["corpus"]["name"],
        talkers=data["corpus"]["train_talkers"],
        noise=data["noise"]["name"],
        noises=data["noise"]["train_utterances"],
        left_out=left_out,
        low=low,
        high=high,
        loss=test["loss"],
        free=record["input_free_loss"],
        error=test["mask_error"],
        converged="yes" if record["converged"] else "**no**: train it longer",
        commit=record.get("commit"),
        seed=record["seed"],
        written=record["times"]["written"],
        license=content["license"] or "none given; ask the author",
    )


_README = """# {name}

Weights of the network of speech masks of uld_jax: which bins of a microphone's spectrogram
are speech, and whether anybody talks. `card.json` has all details; `weights.safetensors`
holds the arrays in half precision.

- **Output**: a logit for each bin, of the share of speech in its power; one for a talker
- **Input**: one node at a time; powers of bins, 16000 Hz, windows of 512 samples, hop 256
- **Network**: speech_mask, {parameters:,} parameters
- **Trained on**: fresh mixtures in rooms of any session, {low:g} to {high:g} dB; speech
  `{speech}` ({talkers} talkers), noise `{noise}` ({noises} recordings); kinds left out: {left_out}
- **Test**: cross entropy {loss:.3f} (always the mean mask: {free:.3f}), mean error of masks {error:.3f}
- **Converged**: {converged}
- **Made by**: commit {commit}, seed {seed}, {written}
- **License**: {license}

It has met no music, no second talker and no language but English; babble is speech to it.
"""
