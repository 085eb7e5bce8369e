"""Start from another run's network: fine-tuning and zero-shot tests (Sec. 3.3).

A run, or its shared weights, gives the parameters and running means of its best epoch.
The optimizer, the learning rate and all counters start from scratch.
"""

import hashlib
import pathlib
from typing import Any

import jax
import numpy as np

from uld_jax import config as config_lib
from uld_jax.datasets import prepare
from uld_jax.networks import build
from uld_jax.pretrained import loading, weights
from uld_jax.runtime import errors, progress
from uld_jax.storage import run_folder
from uld_jax.storage import settings as settings_lib

# Settings of a network that its parameters do not depend on.
_FREE = frozenset({"model.dtype", "model.dropout", "model.remat"})
_MAX_LINES = 5  # Of each list in a message.


class InitError(errors.InputError):
    """A network that a run cannot start from, with the reason."""


def settle(
    config: config_lib.ConfigDict, folder: str | None, partial: bool = False
) -> config_lib.ConfigDict:
    """Resolve settings of a run that starts from another run's network, or from scratch.

    Args:
        config: Settings, resolved or not.
        folder: Folder of a finished run or of shared weights; None to train from
            scratch.
        partial: Whether to initialize the parameters that do not fit. Otherwise label
            scheme, resolution and network must be the same.

    Raises:
        ConfigError: If a setting cannot be used.
        RecordError: If the folder holds no finished run of a network.
        WeightsError: If it holds shared weights that are damaged.
        InitError: If only its record was kept, or, unless `partial`, if it has another
            label or network, with the differences.
    """
    if any(config.init.values()):
        raise config_lib.ConfigError(
            f"--config.init is {dict(config.init)}; pass --init_from=FOLDER instead"
        )
    if folder is None:
        if partial:
            raise InitError("--init_partial is for --init_from, which is not given")
        config = config_lib.resolve(config)
        if not config.train.epochs:
            raise config_lib.ConfigError(
                "--config.train.epochs is 0, which tests the network of another run; "
                "name that run with --init_from"
            )
        return config
    run = weights.read_run(folder, "--init_from")
    _saved(run)
    config = config_lib.copy(config)
    config.init.folder, config.init.partial = folder, partial
    config.init.data = run["settings"]["data"]["name"]
    config = config_lib.resolve(config)
    if not partial:
        _check_same_network(run, config)
    elif not config.train.epochs and not _same_label(run, config):
        raise InitError(
            f"--init_partial: {folder!r} has another label, so some parameters are "
            "initialized; train them, with --config.train.epochs above 0"
        )
    return config


def _saved(run: dict[str, Any]) -> dict[str, np.ndarray]:
    """Load a run's arrays; raise if only its record was kept."""
    saved = loading.arrays_of(run)
    if saved is None:
        raise InitError(
            f"--init_from: {run['folder']!r} holds no network of epoch "
            f"{run['best_epoch']}, its best; only its record was kept"
        )
    return saved


def _same_label(run: dict[str, Any], config) -> bool:
    """Check whether a run's parameters mean the same with the label of settings."""
    if build.get_spec(config.model.name).any_label:
        return True
    return run["settings"]["label"] == config_lib.to_dict(config.label)


def _check_same_network(run: dict[str, Any], config) -> None:
    """Check that a run has the label, network and number of sources of settings."""
    spec = build.get_spec(config.model.name)
    free = _FREE | {f"model.{key}" for key in spec.free_settings}
    sections = ("model",) if spec.any_label else ("label", "model")

    def parts(settings, num_sources):
        chosen = {key: settings[key] for key in sections}
        flat = settings_lib.identity(chosen) | {"number of sources": num_sources}
        return {key: value for key, value in flat.items() if key not in free}

    maker = prepare.builders_by_name().get(config.data.name)
    wanted = maker.num_sources if maker else None
    had = run["data"].get("law", {}).get("num_sources", wanted)
    old = parts(run["settings"], had)
    new = parts(config_lib.to_dict(config), had if wanted is None else wanted)
    if lines := errors.describe_changes(old, new):
        raise InitError(
            f"--init_from: the run in {run['folder']!r} has another label or network:"
            "\n  "
            + "\n  ".join(lines)
            + "\nPass the same --config.label... and the same size of the experiment, as "
            "in ad_r1:twin_reduced or own:reduced; or --init_partial to take the "
            "parameters that fit and initialize the others."
        )


def load(
    config: config_lib.ConfigDict, items: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Load another run's network into that of a new run.

    With another label, the parts that mean cells or grid points are not taken, even
    where their shapes fit.

    Args:
        config: Settings, as `settle` returns them.
        items: "params" and "statistics" of the new network.

    Returns:
        The items with the loaded arrays, and facts for the record.

    Raises:
        InitError: If the run has kept no network, or, unless `init.partial`, one of
            other shapes or types.
    """
    init = config.init
    run = weights.read_run(init.folder, "--init_from")
    saved = _saved(run)
    other_label = not _same_label(run, config)
    spec = build.get_spec(config.model.name)
    label_parts = spec.label_parts if other_label else ()
    items, new, left = loading.put(items, saved, label_parts)
    count = len(jax.tree.leaves(items))
    _report_misfits(run["folder"], new, left, count, init.partial)
    facts = {
        "run": run.get("card", {}).get("name", pathlib.Path(run["folder"]).name),
        "data": run["data"]["name"],
        "kind": _kind(run),
        "trained_places": run["trained_places"],
        "epoch": run["best_epoch"],
        "seed": run["seed"],
        "commit": run.get("commit"),
        "parameters": weights.digest(saved),
        "begun_anew": new,
        "radii": run.get("radii"),
    }
    return items, facts


def _kind(run: dict[str, Any]) -> str:
    """Hash how a network was trained, without its seed and label.

    Tables compare runs that start from networks of the same kind.
    """
    settings = settings_lib.identity(run["settings"])
    before = run["init"] and run["init"]["kind"]
    lines = [
        f"{key} {value}"
        for key, value in sorted(settings.items())
        if key != "seed" and not key.startswith("label.")
    ]
    return hashlib.sha256("\n".join([*lines, str(before)]).encode()).hexdigest()[:8]


def check_same_start(
    record: dict[str, Any], config: config_lib.ConfigDict, workdir: Any
) -> None:
    """Check that a run has started from the network that settings name.

    A network of which only the record was kept passes.

    Raises:
        RunConflictError: If it has started from another one.
        RecordError: If the folder of settings holds no finished run of a network.
    """
    before = record["init"]
    if config.init.folder is None or before is None:
        return
    run = weights.read_run(config.init.folder, "--init_from")
    try:
        now = weights.digest(_saved(run))
    except InitError:
        return
    if now != before["parameters"]:
        raise run_folder.RunConflictError(
            f"{str(workdir)!r} holds a run that started from another network: "
            f"{before['run']!r} with the parameters {before['parameters']}, while "
            f"{config.init.folder!r} has {now}; pass another --workdir"
        )


def _report_misfits(
    folder: str, new: list[str], left: list[str], count: int, partial: bool
) -> None:
    """Log which parameters are initialized; raise if none may be, or all would be."""
    if not new and not left:
        return
    lines = new[:_MAX_LINES]
    lines += [f"{name}: not in this network" for name in left[:_MAX_LINES]]
    more = len(new) + len(left) - len(lines)
    text = "\n  ".join(lines) + (f"\n  and {more} more" if more > 0 else "")
    if not partial:
        raise InitError(
            f"--init_from: the network in {folder!r} has other parameters:\n  "
            f"{text}\nName one that fits, or pass --init_partial to take what fits."
        )
    if len(new) == count:
        raise InitError(
            f"--init_from: no parameter of the network in {folder!r} fits:\n  {text}"
        )
    progress.log(
        f"{count - len(new)} of {count} arrays are taken from {folder}; these are "
        f"initialized or left out:\n  {text}"
    )
