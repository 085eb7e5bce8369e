"""A network that begins from another run's: fine-tuning and zero-shot tests (Sec. 3.3).

Parameters alone are taken, of the run's best epoch, with the running means of layers
that have such: optimizer, learning rate and counters begin anew.
"""

import hashlib
import pathlib
from typing import Any

import jax
import numpy as np

from uld_jax import checkpoints, errors, progress, records
from uld_jax import config as config_lib

# Settings of a network that leave its parameters what they are.
_FREE = frozenset({"model.dtype", "model.dropout", "model.remat"})
_SHOWN = 5


class InitError(errors.InputError):
    """A run that a network cannot begin from, with the reason."""


def settle(
    config: config_lib.ConfigDict, folder: str | None, partial: bool = False
) -> config_lib.ConfigDict:
    """Return checked settings of a run that begins from another, or from scratch.

    Args:
        config: Settings before they are resolved.
        folder: Folder of the run to begin from; None to begin from scratch.
        partial: Whether parameters that do not fit begin anew. Otherwise label scheme,
            resolution and network have to be the same.

    Raises:
        ConfigError: If a setting cannot be used.
        InitError: If the folder holds no finished run, or, unless partial, one with
            another label or network, with the differences.
    """
    if folder is None:
        if partial:
            raise InitError("--init_partial is for --init_from, which is not given")
        config = config_lib.resolve(config)
        if not config.train.epochs:
            raise config_lib.ConfigError(
                "--config.train.epochs is 0, which tests the network of another run as "
                "it is; name that run with --init_from"
            )
        return config
    run = _read(pathlib.Path(folder).expanduser())
    config = config.copy_and_resolve_references()
    config.init.folder, config.init.partial = folder, partial
    config.init.data = run["settings"]["data"]["name"]
    config = config_lib.resolve(config)
    if not partial:
        _check_same_network(run, config)
    return config


def _read(folder: pathlib.Path) -> dict:
    """Return the record of a finished run in a folder."""
    if not (folder / records.FILE_NAME).exists():
        below = sorted(path.parent.name for path in folder.glob("*/record.json"))
        remedy = f"name one of its runs: {', '.join(below)}" if below else ""
        if not folder.exists():
            remedy = "it does not exist"
        raise InitError(
            f"--init_from: {str(folder)!r} is not the folder of a run; "
            f"{remedy or 'it holds no ' + records.FILE_NAME}"
        )
    (run,) = records.read([folder / records.FILE_NAME])
    if run["status"] != "done" or "method" in run:
        state = "of a baseline" if "method" in run else run["status"]
        raise InitError(
            f"--init_from: the run in {str(folder)!r} is {state}; name a finished "
            "run of a network"
        )
    return run


def _check_same_network(run: dict, config) -> None:
    """Raise if a run's label or network differs from that of settings."""

    def parts(settings):
        chosen = {key: settings[key] for key in ("label", "model")}
        flat = records.identity(chosen)
        return {key: value for key, value in flat.items() if key not in _FREE}

    old, new = parts(run["settings"]), parts(config_lib.to_dict(config))
    lines = [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if lines:
        raise InitError(
            f"--init_from: the run in {run['folder']!r} has another label or network:"
            "\n  "
            + "\n  ".join(lines)
            + "\nGive the same, or --init_partial to take what fits of its parameters."
        )


def load(init, items: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a network's items with another run's values, and facts for the record.

    Args:
        init: The settings' part `init`.
        items: "params" and "statistics" of the network as it begins from scratch.

    Raises:
        InitError: If the run has kept no network, or, unless partial, one of another
            shape.
    """
    folder = pathlib.Path(init.folder).expanduser()
    run = _read(folder)
    saved = checkpoints.read_arrays(folder, run["best_epoch"], tuple(items))
    if saved is None:
        raise InitError(
            f"--init_from: {str(folder)!r} holds no network of epoch "
            f"{run['best_epoch']}, its best; only its record was kept"
        )
    found, values, new = _by_name(saved), [], []
    for name, leaf in _by_name(items).items():
        other = found.pop(name, None)
        if other is None or other.shape != leaf.shape:
            shape = "not there" if other is None else list(other.shape)
            new.append(f"{name}: {shape} -> {list(leaf.shape)}")
            other = leaf
        values.append(jax.numpy.asarray(other, leaf.dtype))
    _tell_differences(folder, new, sorted(found), len(values), init.partial)
    facts = {
        "run": folder.name,
        "data": run["data"]["name"],
        "training_places": run["data"].get("training_places"),
        "epoch": run["best_epoch"],
        "seed": run.get("seed"),
        "commit": run.get("commit"),
        "parameters": digest(saved),
        "begun_anew": new,
    }
    return jax.tree.unflatten(jax.tree.structure(items), values), facts


def _by_name(items: dict[str, Any]) -> dict[str, Any]:
    """Return all arrays by the keys that lead to them; files have no whole numbers."""
    return {
        "/".join(str(entry.key) for entry in path): leaf
        for path, leaf in jax.tree.flatten_with_path(items)[0]
    }


def _tell_differences(folder, new, left, count: int, partial: bool) -> None:
    """Say what of a network begins anew; raise if nothing may, or all would."""
    if not new and not left:
        return
    lines = new[:_SHOWN] + [f"{name}: not in this network" for name in left[:_SHOWN]]
    more = len(new) + len(left) - len(lines)
    text = "\n  ".join(lines) + (f"\n  and {more} more" if more > 0 else "")
    if not partial:
        raise InitError(
            f"--init_from: the network in {str(folder)!r} has other parameters:\n  "
            f"{text}\nGive a network that fits, or --init_partial to take what does."
        )
    if len(new) == count:
        raise InitError(
            f"--init_from: nothing of the network in {str(folder)!r} fits:\n  {text}"
        )
    progress.say(
        f"{count - len(new)} of {count} arrays are taken from {folder}; these begin "
        f"anew or are left:\n  {text}"
    )


def digest(items: dict[str, Any]) -> str:
    """Return a short hash of all arrays: names, types, shapes and bits."""
    total = hashlib.sha256()
    for name, leaf in sorted(_by_name(items).items()):
        array = np.asarray(leaf)
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()[:16]
