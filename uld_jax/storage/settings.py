"""Settings of a run: what identifies it, and what a record keeps of them."""

import pathlib
from typing import Any

from uld_jax.runtime import errors

# A run keeps its identity when its data move or are read in another way.
_FREE_TO_CHANGE = frozenset(
    {
        "init.folder",
        "data.dir",
        "data.recordings",
        "data.speech",
        "data.speech_splits",
        "data.noise",
        "data.held_on",
        "data.prefetch_batches",
        "data.read_threads",
        "data.keep_evidence",
        "train.checkpoint_steps",
        "train.evaluation_batch_size",
    }
)
# Settings that came later, with the value that runs without them had.
CAME_LATER = {"data.furnishing": "bare"}
# Settings that users know as flags of their own.
_FLAGS = {
    "init.data": "--init_from, trained on",
    "init.partial": "--init_partial",
}
_FOLDERS = ("dir", "recordings", "speech", "noise")  # Settings of the data.


def identity(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten the settings that identify a run, by dotted key."""
    flat = {}
    for key, value in settings.items():
        name = prefix + key
        if isinstance(value, dict):
            flat |= identity(value, f"{name}.")
        elif name not in _FREE_TO_CHANGE and CAME_LATER.get(name, ...) != value:
            flat[name] = value
    return flat


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """List the settings that make two runs different, as "key: old -> new" lines."""

    def named(settings):
        return {_FLAGS.get(key, key): v for key, v in identity(settings).items()}

    return errors.describe_changes(named(old), named(new))


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Shorten absolute paths to their last part, as records keep them.

    The rest of a path means nothing on another machine.
    """

    def shorten(value):
        absolute = pathlib.Path(value).expanduser().is_absolute()
        return pathlib.PurePath(value).name if absolute else value

    data = {
        key: shorten(value) if key in _FOLDERS else value
        for key, value in settings["data"].items()
    }
    kept = settings | {"data": data}
    if folder := settings.get("init", {}).get("folder"):  # Baselines have no init.
        kept["init"] = settings["init"] | {"folder": shorten(folder)}
    return kept
