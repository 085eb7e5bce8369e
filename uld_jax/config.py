"""The settings all experiments share, and their checks (Sec. 3.3)."""

import pathlib

from ml_collections import config_dict

from uld_jax import models, schemes

ConfigDict = config_dict.ConfigDict


class ConfigError(ValueError):
    """A setting that cannot be used; the message names its flag."""


def default() -> ConfigDict:
    """Return the settings of every experiment, to be changed by its file."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                # Prepared data set as name/config:version, below the folder `dir`.
                "name": "simulated/l1:1.0.0",
                "dir": "datasets",
                # Dry speech to prepare it from: a folder, or "builtin".
                "speech": "LibriSpeech",
                "speech_splits": ("train-clean-360", "dev-clean", "test-clean"),
                # Hold the whole data set on the device, as int16.
                "on_device": True,
                # Without that: batches read ahead, and threads that read them.
                "prefetch_batches": 4,
                "read_threads": 4,
            },
            "label": {
                "scheme": "uld",
                # Cells per axis I. Unset: as many as give outputs_per_axis outputs.
                "resolution": config_dict.placeholder(int),
                "outputs_per_axis": 6,
            },
            "model": {
                "name": "encoder_decoder",
                "width": 128,
                "num_blocks": 5,
                # 1: all nodes in one encoder; 2: one encoder for each array.
                "num_encoders": 2,
                # Average over frames "early" (before the blocks) or "late".
                "average_frames": "early",
            },
            "train": {
                "epochs": 50,
                "batch_size": 128,
                "learning_rate": 1e-3,
                # From the plateau on: this times learning_rate.
                "plateau_factor": 0.1,
                "plateau_patience": 3,
                "stop_patience": 10,
                "weight_decay": 0.01,
                # Also save the state every so many steps within an epoch.
                "checkpoint_steps": 1000,
            },
        }
    )


def resolve(config: ConfigDict) -> ConfigDict:
    """Return checked settings with I and the number of outputs filled in, frozen.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    config = config.copy_and_resolve_references()
    label = config.label
    try:
        schemes.get(label.scheme)
        if label.resolution is None:
            label.resolution = schemes.resolution_for(
                label.scheme, label.outputs_per_axis
            )
        label.outputs_per_axis = schemes.Label(
            label.scheme, label.resolution
        ).outputs_per_axis
    except ValueError as error:
        raise ConfigError(f"--config.label: {error}") from None
    if config.model.name not in models.MODELS:
        raise ConfigError(
            f"--config.model.name is {config.model.name!r}; there are "
            f"{', '.join(models.MODELS)}"
        )
    if config.model.average_frames not in ("early", "late"):
        raise ConfigError(
            f"--config.model.average_frames is {config.model.average_frames!r}; "
            "it must be 'early' or 'late'"
        )
    for section, key, least in (
        ("model", "width", 2),
        ("model", "num_blocks", 0),
        ("model", "num_encoders", 1),
        ("train", "epochs", 1),
        ("train", "batch_size", 1),
        ("train", "plateau_patience", 1),
        ("train", "stop_patience", 1),
        ("train", "checkpoint_steps", 1),
        ("data", "prefetch_batches", 1),
        ("data", "read_threads", 1),
    ):
        if config[section][key] < least:
            raise ConfigError(
                f"--config.{section}.{key} is {config[section][key]}; "
                f"it must be at least {least}"
            )
    if not config.train.learning_rate > 0:
        raise ConfigError(
            f"--config.train.learning_rate is {config.train.learning_rate}; "
            "it must be above 0"
        )
    return config_dict.FrozenConfigDict(config)


def to_dict(config) -> dict:
    """Return settings as plain dictionaries and lists, as JSON holds them."""
    return {
        key: to_dict(value)
        if isinstance(value, config_dict.ConfigDict)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in config.items()
    }


# Where data lie and how they are read changes no result.
_FREE_TO_CHANGE = frozenset(
    {
        "data.dir",
        "data.speech",
        "data.speech_splits",
        "data.on_device",
        "data.prefetch_batches",
        "data.read_threads",
        "train.checkpoint_steps",
    }
)


def differences(old: dict, new: dict, prefix: str = "") -> list[str]:
    """Return the settings that make another run, as "key: old -> new" lines."""
    lines = []
    for key in sorted(old.keys() | new.keys()):
        name, before, after = prefix + key, old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{name}.")
        elif before != after and name not in _FREE_TO_CHANGE:
            lines.append(f"{name}: {before!r} -> {after!r}")
    return lines


def find_experiment(path: str) -> str:
    """Return an experiment file's path: as given, or the installed one of that name.

    `experiments/l1.py` is thus found outside a checkout too.
    """
    if not pathlib.Path(path).exists():
        import uld_jax_experiments

        for folder in uld_jax_experiments.__path__:
            shipped = pathlib.Path(folder) / pathlib.Path(path).name
            if shipped.exists():
                return str(shipped)
    return path
