"""Settings of all experiments: defaults, checks, loading by name (Sec. 3.3)."""

import difflib
import pathlib
import runpy
from collections.abc import Iterable
from typing import Any

from ml_collections import config_dict

from uld_jax.labels import schemes
from uld_jax.networks import build, spec, step_shapes
from uld_jax.runtime import errors, experiments
from uld_jax.simulation import furniture, rooms

ConfigDict = config_dict.ConfigDict


class ConfigError(errors.InputError):
    """A setting that cannot be used; the message names its flag."""


def default(network: str = "encoder_decoder") -> ConfigDict:
    """Make the default settings, which an experiment's file then changes.

    They are locked: setting a misspelled key raises AttributeError.

    Args:
        network: Name of the network that `model` holds the settings of.
    """
    settings = build.get_spec(network).settings
    config = ConfigDict(
        {
            "seed": 0,
            "data": {
                # Prepared data set as builder/config:version, below the folder `dir`.
                "name": "simulated/l1:1.0.0",
                "dir": "datasets",
                # What it is prepared from. Recordings: a folder.
                "recordings": "",
                # Dry speech: a folder, or "builtin".
                "speech": "LibriSpeech",
                "speech_splits": ("train-clean-360", "dev-clean", "test-clean"),
                # Noise for reverberant rooms: a folder, or "builtin".
                "noise": "builtin",
                # Noise at the nodes: from a "point", "diffuse", or "independent".
                "noise_field": "point",
                # Rooms that are trained on: "bare"; "furnished", as the tests' are; or
                # "any", with furniture drawn for each.
                "furnishing": "bare",
                # Simulator of reverberant rooms: "jax" or "pyroomacoustics".
                "engine": "jax",
                # Examples: "prepared" on disk; "compact", dry speech on disk, rendered
                # once; or "fresh", new rooms simulated for each batch.
                "source": "prepared",
                # Fresh: most hours of speech, and of noise, held on the device; and
                # examples per epoch. Unset: as many as the prepared training split has.
                "speech_hours": 10.0,
                "epoch_examples": config_dict.placeholder(int),
                # Where the signals of all examples are held, as int16: on the "device",
                # in memory of the "host", on "disk"; or "auto", where there is room.
                "held_on": "auto",
                # On disk: batches read ahead, and threads that read them.
                "prefetch_batches": 4,
                "read_threads": 4,
                # Nodes per training example, drawn at random each time. Unset: all.
                "nodes_in_training": config_dict.placeholder(int),
                # Perturbations in training: standard deviations of the nodes' clock
                # offsets in seconds, and of their positions along x and y in meters.
                "clock_offset": 0.0,
                "position_error": 0.0,
                # Of their gains in dB; and of a smooth coloring of their bands in dB,
                # for networks that get levels alone.
                "gain_error": 0.0,
                "coloring": 0.0,
                # Draw these four for each example, with the above as the largest.
                "drawn_errors": False,
                # Measure what a network needs of the signals once, and keep it on disk;
                # for networks that need levels and correlations alone.
                "keep_evidence": True,
                # Of each training example: renderings to keep besides its own, of SNR
                # -10 to 20 dB.
                "noisier_copies": 0,
            },
            "label": {
                "scheme": "azimuth" if "arrays" in settings else "uld",
                # Cells per axis I. Unset: those with outputs_per_axis outputs.
                "resolution": config_dict.placeholder(int),
                "outputs_per_axis": 6,
            },
            "model": {
                "name": network,
                # Of the computation: "float32" or "bfloat16". Parameters, logits and
                # loss are float32.
                "dtype": "float32",
                **settings,
            },
            # Where the first parameters come from; set by --init_from, never by hand.
            # The folder of a run, the data set it was trained on, and whether to
            # initialize what does not fit. Unset: train from scratch.
            "init": {
                "folder": config_dict.placeholder(str),
                "data": config_dict.placeholder(str),
                "partial": False,
            },
            "train": {
                # 0: test the network of --init_from without training.
                "epochs": 50,
                # Over all devices and processes together.
                "batch_size": 128,
                # Examples per evaluation batch. Unset: batch_size.
                "evaluation_batch_size": config_dict.placeholder(int),
                "learning_rate": 1e-3,
                # Replaces learning_rate with --init_from.
                "fine_tuning_rate": 1e-4,
                # "plateau", or "cosine" down to zero; "paper" is plateau with the
                # paper's rate, without clipping, warm-up or rollbacks (Sec. 3.3).
                "schedule": "plateau",
                # The learning rate is multiplied by it once, after plateau_patience
                # epochs without a better validation loss; training ends after
                # stop_patience such epochs.
                "plateau_factor": 0.1,
                "plateau_patience": 3,
                "stop_patience": 10,
                "weight_decay": 0.01,
                # Largest norm of the gradient. Unset: any.
                "clip_norm": config_dict.placeholder(float),
                # Steps over which the learning rate rises from zero.
                "warmup_steps": 0,
                # How often a training that collapses goes back to its best state, with a
                # lower rate and a longer warm-up, before it ends.
                "rollbacks": 3,
                # Shapes of steps, drawn each time: nodes x examples, or nodes x
                # examples x times a finer grid than the label's, as in
                # "30x8 5x32x4". Empty: all nodes or nodes_in_training, batch_size.
                "step_shapes": "",
                # Several sources: loss of each example's best permutation (PIT).
                "permutation_invariant": True,
                # Within an epoch, save the state every so many steps.
                "checkpoint_steps": 1000,
            },
        }
    )
    return config.lock()


_LARGEST = spec.LARGEST
# Cells of a centimeter in the largest room, ten meters long. With more, a layer from
# 5,120 features to all outputs would exceed the memory of any device.
_FINEST = 1000
_RANGES = (
    ("seed", 0, _LARGEST),
    ("data.prefetch_batches", 1, _LARGEST),
    ("data.read_threads", 1, _LARGEST),
    ("data.speech_hours", 1e-3, 37.0),
    ("data.nodes_in_training", 1, _LARGEST),
    ("data.clock_offset", 0.0, 1.0),
    ("data.position_error", 0.0, 100.0),
    ("data.gain_error", 0.0, 100.0),
    ("data.coloring", 0.0, 100.0),
    ("data.noisier_copies", 0, 100),
    ("train.epochs", 0, _LARGEST),
    ("train.batch_size", 1, _LARGEST),
    ("train.evaluation_batch_size", 1, _LARGEST),
    ("train.learning_rate", 1e-12, 1e3),
    ("train.fine_tuning_rate", 1e-12, 1e3),
    ("train.plateau_factor", 1e-6, 1.0),
    ("train.plateau_patience", 1, _LARGEST),
    ("train.stop_patience", 1, _LARGEST),
    ("train.weight_decay", 0.0, 1e3),
    ("train.clip_norm", 1e-12, 1e12),
    ("train.warmup_steps", 0, _LARGEST),
    ("train.rollbacks", 0, 100),
    ("train.checkpoint_steps", 1, _LARGEST),
)

# Settings of the data that apply in training alone.
_OF_TRAINING = (
    *("nodes_in_training", "clock_offset", "position_error", "gain_error"),
    *("coloring", "drawn_errors", "noisier_copies", "furnishing"),
)

_CHOICES = (
    ("data.engine", ("jax", "pyroomacoustics")),
    ("data.source", ("prepared", "compact", "fresh")),
    ("data.held_on", ("auto", "device", "host", "disk")),
    ("data.noise_field", rooms.NOISES),
    ("data.furnishing", tuple(furniture.FURNISHINGS)),
    ("model.dtype", ("float32", "bfloat16")),
    ("train.schedule", ("plateau", "cosine", "paper")),
)
_PAPERS_TRAINING = {
    "learning_rate": 1e-3,
    "clip_norm": None,
    "warmup_steps": 0,
    "rollbacks": 0,
}


def load_config(experiment: str, **overrides: Any) -> ConfigDict:
    """Load an experiment's settings, checked and complete.

    >>> import uld_jax
    >>> config = uld_jax.load_config("ad1:reduced", **{"label.resolution": 8})
    >>> config.label.scheme, config.label.resolution, config.train.batch_size
    ('uld', 8, 8)

    Args:
        experiment: Name of an installed experiment or path of a file, with a size where
            it has several: "l1", "ad1:reduced", "my_experiment.py".
        **overrides: Settings to change, by dotted key.

    Returns:
        The settings, frozen.

    Raises:
        ConfigError: If there is no such experiment, size or setting, or if a setting
            cannot be used.
    """
    path, _, size = experiments.find(experiment).partition(":")
    if not pathlib.Path(path).is_file():
        raise ConfigError(
            f"no experiment {experiment!r}; there are "
            f"{', '.join(experiments.installed())}"
        )
    get_config = runpy.run_path(path)["get_config"]
    try:
        config = get_config(size) if size else get_config()
        _check_keys(overrides, config)
        config.update_from_flattened_dict(overrides)
    except (TypeError, ValueError) as error:  # An unknown size, or a wrong type.
        raise ConfigError(f"{experiment}: {error}") from None
    return resolve(config)


def _check_keys(keys: Iterable[str], config: ConfigDict) -> None:
    """Check that settings exist, by dotted key."""
    known = ["seed"]
    known += [
        f"{name}.{key}" for name in config if name != "seed" for key in config[name]
    ]
    for key in keys:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ConfigError(f"no setting {key!r}{hint}")


def copy(config: ConfigDict) -> ConfigDict:
    """Copy settings so that they can be changed, frozen ones too."""
    if isinstance(config, config_dict.FrozenConfigDict):
        config = config.as_configdict()
    return config.copy_and_resolve_references()


def resolve(config: ConfigDict) -> ConfigDict:
    """Check settings and fill in the resolution and the outputs per axis.

    Returns:
        The settings, frozen.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    config = copy(config)
    _check_types(config, default())
    _check_model(config.model)
    _resolve_label(config.label, config.model)
    _check_choices(config)
    if config.train.schedule == "paper":
        config.train.update(_PAPERS_TRAINING)
    _check_ranges(config)
    _check_combinations(config)
    return config_dict.FrozenConfigDict(config)


def _resolve_label(label: ConfigDict, model: ConfigDict) -> None:
    """Fill in the resolution I and the outputs per axis K, in place."""
    try:
        if label.resolution is None:
            label.resolution = schemes.resolution_for(
                label.scheme, label.outputs_per_axis
            )
        resolved = build.make_label(to_dict(label), to_dict(model))
        label.outputs_per_axis = resolved.outputs_per_axis
    except ValueError as error:
        raise ConfigError(f"--config.label: {error}") from None
    if label.resolution > _FINEST:
        raise ConfigError(
            f"--config.label.resolution is {label.resolution}; it must be at most "
            f"{_FINEST} cells per axis, of a centimeter in the largest rooms"
        )
    if not schemes.is_feasible(label.scheme, label.resolution):
        raise ConfigError(
            f"--config.label.resolution is {label.resolution}; with one cell "
            f"{label.scheme} has nothing to choose: it must be at least 2"
        )


def _check_model(model: ConfigDict) -> None:
    """Check the name of the network and its own settings."""
    try:
        network = build.get_spec(model.name)
    except ValueError as error:
        raise ConfigError(f"--config.{error}") from None
    _check_types(model, default(model.name).model, "--config.model")
    try:
        network.check(dict(model))
    except ValueError as error:
        raise ConfigError(f"--config.{error}") from None


def _check_choices(config: ConfigDict) -> None:
    for key, known in _CHOICES:
        section, _, name = key.partition(".")
        if config[section][name] not in known:
            raise ConfigError(
                f"--config.{key} is {config[section][name]!r}; there are "
                f"{', '.join(known)}"
            )


def _check_ranges(config: ConfigDict) -> None:
    for key, least, most in _RANGES:
        section, _, name = key.rpartition(".")
        value = (config[section] if section else config).get(name)
        if value is not None and not least <= value <= most:
            raise ConfigError(
                f"--config.{key} is {value}; it must be from {least} to {most}"
            )


def _check_combinations(config: ConfigDict) -> None:
    """Check settings that can be used, but not together."""
    data, model = config.data, config.model
    network = build.get_spec(model.name)
    any_nodes = network.any_nodes
    for key, value in (
        ("data.coloring", data.coloring),
        ("data.noisier_copies", data.noisier_copies),
        ("train.step_shapes", config.train.step_shapes),
    ):
        if value and network.measure is None:
            raise ConfigError(
                f"--config.{key} is {value!r}; network {model.name!r} has no use for "
                "it: it is for those that get levels and correlations"
            )
    try:
        shapes = step_shapes.parse(config.train.step_shapes)
    except ValueError as error:
        raise ConfigError(f"--config.{error}") from None
    if shapes and data.nodes_in_training is not None:
        raise ConfigError(
            f"--config.data.nodes_in_training is {data.nodes_in_training}; "
            "--config.train.step_shapes says how many nodes a step has: leave one unset"
        )
    numbers = [shape.num_nodes for shape in shapes]
    numbers += [data.nodes_in_training] * (data.nodes_in_training is not None)
    if numbers and min(numbers) < network.least_nodes:
        raise ConfigError(
            f"training would use {min(numbers)} nodes; network {model.name!r} needs at "
            f"least {network.least_nodes}: change --config.train.step_shapes or "
            "--config.data.nodes_in_training"
        )
    if data.noisier_copies and (data.source != "compact" or not data.keep_evidence):
        raise ConfigError(
            f"--config.data.noisier_copies is {data.noisier_copies}; it needs "
            "--config.data.source=compact and --config.data.keep_evidence; or set it to 0"
        )
    if data.nodes_in_training is not None and not any_nodes:
        raise ConfigError(
            f"--config.data.nodes_in_training is {data.nodes_in_training}; network "
            f"{model.name!r} needs all nodes: leave it unset"
        )
    if data.engine == "pyroomacoustics" and data.noise_field != "point":
        raise ConfigError(
            f"--config.data.noise_field is {data.noise_field!r}; with the engine "
            "pyroomacoustics it must be point"
        )
    if data.furnishing != furniture.BARE and data.source == "prepared":
        raise ConfigError(
            f"--config.data.furnishing is {data.furnishing!r}; prepared rooms are bare: "
            "pass --config.data.source=compact or fresh"
        )
    if data.engine != "jax" and data.source == "compact":
        raise ConfigError(
            f"--config.data.engine is {data.engine!r}; compact data sets need jax, "
            "which renders them"
        )


_TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "three texts, as in ('train', 'dev', 'test')",
    "numbers": "numbers, as in (0.95, 1.6)",
}


def _check_types(given: ConfigDict, known: ConfigDict, flag: str = "--config") -> None:
    """Check the types of the settings that an experiment's file has set.

    ml_collections checks the type of a flag, but lets a file set None or, for a number,
    True.
    """
    for key in filter(given.__contains__, known):
        value, here, kind = given[key], f"{flag}.{key}", known.get_type(key)
        if isinstance(known[key], ConfigDict):
            if not isinstance(value, ConfigDict):
                raise ConfigError(f"{here} is {value!r}; it must hold settings")
            _check_types(value, known[key], here)
            continue
        if kind is tuple and not isinstance(known[key][0], str):
            kind = "numbers"
        if not _is_of_type(value, kind) and not value is known[key] is None:
            raise ConfigError(f"{here} is {value!r}; it must be {_TYPES[kind]}")


def _is_of_type(value: object, kind: type[Any] | str) -> bool:
    if kind == "numbers":
        return isinstance(value, tuple | list) and all(
            isinstance(one, int | float) for one in value
        )
    if kind is tuple:
        return isinstance(value, tuple | list) and [*map(type, value)] == 3 * [str]
    if isinstance(value, bool) or kind is bool:
        return type(value) is kind
    return isinstance(value, int | float if kind is float else kind)


def resolve_for_testing(config: ConfigDict, **data: Any) -> ConfigDict:
    """Check and complete settings for a test alone, without perturbations of training.

    Args:
        config: Settings.
        **data: Settings of the section `data` to set.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    config = copy(config)
    shared = default()
    for key in _OF_TRAINING:
        config.data[key] = shared.data[key]
    config.train.step_shapes = ""
    config.train.batch_size = 1  # A small training split does not matter here.
    config.data.update(data)
    return resolve(config)


def to_dict(config: Any) -> dict[str, Any]:
    """Convert settings to plain dictionaries and lists, as JSON holds them."""
    return {
        key: to_dict(value)
        if isinstance(value, config_dict.ConfigDict)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in config.items()
    }


def check_size(size: str, known: tuple[str, ...]) -> None:
    """Check the size of an experiment, as in --config=ad1:reduced.

    Raises:
        ValueError: If it is not one of those known.
    """
    if size not in known:
        raise ValueError(f"no size {size!r} of this experiment; there are {known}")
