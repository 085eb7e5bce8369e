"""The settings all experiments share, and their checks (Sec. 3.3)."""

from ml_collections import config_dict

from uld_jax.labels import schemes
from uld_jax.networks import ad_hoc, build, front_ends
from uld_jax.runtime import errors
from uld_jax.simulation import rooms

ConfigDict = config_dict.ConfigDict


class ConfigError(errors.InputError):
    """A setting that cannot be used; the message names its flag."""


_MODELS = {
    "encoder_decoder": {
        "width": 128,
        "num_blocks": 5,
        # 1: all nodes in one encoder; 2: one encoder for each array.
        "num_encoders": 2,
    },
    "adhoc": {
        # What is fed of the spectra: one of front_ends.NAMES.
        "front_end": "level_compressed",
        # Frames averaged to one step of time before the blocks.
        "frames_per_step": 1,
        "width": 256,
        "num_heads": 4,
        "num_blocks": 2,
        "num_temporal_blocks": 2,
        # How the layers of codes and logits begin: "smooth" over the grid, or
        # "independent".
        "grid_init": "smooth",
        "dropout": 0.1,
        # Compute the blocks anew in the backward pass: less memory, more time.
        "remat": False,
    },
}


def default(network: str = "encoder_decoder") -> ConfigDict:
    """Return the settings of every experiment, to be changed by its file.

    They are locked: a misspelled key raises an error.

    Args:
        network: Name of the network, whose settings are in `model`.
    """
    config = ConfigDict(
        {
            "seed": 0,
            "data": {
                # Prepared data set as name/config:version, below the folder `dir`.
                "name": "simulated/l1:1.0.0",
                "dir": "datasets",
                # Real recordings to prepare it from: a folder.
                "recordings": "",
                # Or dry speech: a folder, or "builtin".
                "speech": "LibriSpeech",
                "speech_splits": ("train-clean-360", "dev-clean", "test-clean"),
                # Noise for reverberant rooms: a folder, or "builtin".
                "noise": "builtin",
                # How it comes to the nodes: "point", "diffuse" or "independent".
                "noise_field": "point",
                # What renders reverberant rooms: "jax" or "pyroomacoustics".
                "engine": "jax",
                # Examples: "prepared"; "compact", which is prepared as dry speech and
                # rendered for every step; or "fresh" rooms for every training step.
                "source": "prepared",
                # Fresh: hours of speech, and of noise, held on the device at most, and
                # examples called an epoch. Unset: as many as the data set trains on.
                "speech_hours": 10.0,
                "epoch_examples": config_dict.placeholder(int),
                # Hold the whole data set on the device, as int16.
                "on_device": True,
                # Without that: batches read ahead, and threads that read them.
                "prefetch_batches": 4,
                "read_threads": 4,
                # Nodes heard in training, drawn anew each time. Unset: all.
                "nodes_in_training": config_dict.placeholder(int),
                # Training: standard deviation of the nodes' clocks in seconds, and of
                # what is believed of their places, along x and y, in meters.
                "clock_offset": 0.0,
                "position_error": 0.0,
            },
            "label": {
                "scheme": "uld",
                # Cells per axis I. Unset: as many as give outputs_per_axis outputs.
                "resolution": config_dict.placeholder(int),
                "outputs_per_axis": 6,
            },
            "model": {
                "name": network,
                # Of the computation: "float32" or "bfloat16". Parameters, logits and
                # loss are float32.
                "dtype": "float32",
                **_MODELS[network],
            },
            # What a network begins from: filled in by --init_from, by which `folder`
            # is a run's, `data` the data set it was trained on, and `partial` whether
            # what does not fit begins anew. Unset: from scratch.
            "init": {
                "folder": config_dict.placeholder(str),
                "data": config_dict.placeholder(str),
                "partial": False,
            },
            "train": {
                # 0: what --init_from names is tested as it is.
                "epochs": 50,
                # Over all devices and processes.
                "batch_size": 128,
                # Examples evaluated at once, at least. Unset: as many.
                "evaluation_batch_size": config_dict.placeholder(int),
                "learning_rate": 1e-3,
                # In its place where the network begins from another run's.
                "fine_tuning_rate": 1e-4,
                # "plateau", the paper's, or "cosine": down to nothing by the end.
                "schedule": "plateau",
                # From the plateau on: this times learning_rate.
                "plateau_factor": 0.1,
                "plateau_patience": 3,
                "stop_patience": 10,
                "weight_decay": 0.01,
                # Several sources: each example's best assignment counts (PIT).
                "permutation_invariant": True,
                # Also save the state every so many steps within an epoch.
                "checkpoint_steps": 1000,
            },
        }
    )
    return config.lock()


_LARGEST = 2**31 - 1
# Cells of a centimeter in the largest room of ten meters. A layer from 5,120 features
# to more outputs would be larger than the memory of any device.
_FINEST = 1000
_RANGES = (
    ("seed", 0, _LARGEST),
    ("data.prefetch_batches", 1, _LARGEST),
    ("data.read_threads", 1, _LARGEST),
    ("data.speech_hours", 1e-3, 37.0),
    ("data.nodes_in_training", 1, _LARGEST),
    ("data.clock_offset", 0.0, 1.0),
    ("data.position_error", 0.0, 100.0),
    ("model.width", 2, _LARGEST),
    ("model.num_blocks", 0, _LARGEST),
    ("model.num_encoders", 1, _LARGEST),
    ("model.frames_per_step", 1, _LARGEST),
    ("model.num_heads", 1, _LARGEST),
    ("model.num_temporal_blocks", 0, _LARGEST),
    ("model.dropout", 0.0, 0.99),
    ("train.epochs", 0, _LARGEST),
    ("train.batch_size", 1, _LARGEST),
    ("train.evaluation_batch_size", 1, _LARGEST),
    ("train.learning_rate", 1e-12, 1e3),
    ("train.fine_tuning_rate", 1e-12, 1e3),
    ("train.plateau_factor", 1e-6, 1.0),
    ("train.plateau_patience", 1, _LARGEST),
    ("train.stop_patience", 1, _LARGEST),
    ("train.weight_decay", 0.0, 1e3),
    ("train.checkpoint_steps", 1, _LARGEST),
)

_CHOICES = (
    ("data.engine", ("jax", "pyroomacoustics")),
    ("data.source", ("prepared", "compact", "fresh")),
    ("data.noise_field", rooms.NOISES),
    ("model.dtype", ("float32", "bfloat16")),
    ("model.front_end", front_ends.NAMES),
    ("model.grid_init", ad_hoc.GRID_INITS),
    ("train.schedule", ("plateau", "cosine")),
)


def resolve(config: ConfigDict) -> ConfigDict:
    """Return checked settings with I and the number of outputs filled in, frozen.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    config = config.copy_and_resolve_references()
    _check_types(config, default())
    label = config.label
    try:
        if label.resolution is None:
            label.resolution = schemes.resolution_for(
                label.scheme, label.outputs_per_axis
            )
        label.outputs_per_axis = schemes.Label(
            label.scheme, label.resolution
        ).outputs_per_axis
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
    model = config.model
    if model.name not in _MODELS:
        raise ConfigError(
            f"--config.model.name is {model.name!r}; there are {', '.join(_MODELS)}"
        )
    _check_types(model, default(model.name).model, "--config.model")
    if _MODELS[model.name].keys() != set(model) - {"name", "dtype"}:
        raise ConfigError(
            f"--config.model.name is {model.name!r} and the other settings are not "
            "those of this network; choose it in the experiment's file, by "
            f"config.default({model.name!r})"
        )
    for key, known in _CHOICES:
        section, _, name = key.partition(".")
        if name in config[section] and config[section][name] not in known:
            raise ConfigError(
                f"--config.{key} is {config[section][name]!r}; there are "
                f"{', '.join(known)}"
            )
    data = config.data
    if data.nodes_in_training is not None and model.name not in build.ANY_NODES:
        raise ConfigError(
            f"--config.data.nodes_in_training is {data.nodes_in_training}; the network "
            f"{model.name!r} hears all nodes, or none of it fits"
        )
    if data.engine == "pyroomacoustics" and data.noise_field != "point":
        raise ConfigError(
            f"--config.data.noise_field is {data.noise_field!r}; by the engine "
            "pyroomacoustics noise comes from a point"
        )
    if data.engine != "jax" and data.source == "compact":
        raise ConfigError(
            f"--config.data.engine is {data.engine!r}; compact data sets are rendered "
            "by jax"
        )
    examples = data.epoch_examples
    if examples is not None and examples < config.train.batch_size:
        raise ConfigError(
            f"--config.data.epoch_examples is {examples}; it must be at least the "
            f"batch size, {config.train.batch_size}"
        )
    for key, least, most in _RANGES:
        section, _, name = key.rpartition(".")
        value = (config[section] if section else config).get(name)
        if value is not None and not least <= value <= most:
            raise ConfigError(
                f"--config.{key} is {value}; it must be from {least} to {most}"
            )
    if config.model.get("num_heads") and model.width % (2 * model.num_heads):
        raise ConfigError(
            f"--config.model.width is {model.width}; it must be a multiple of twice "
            f"the {model.num_heads} heads"
        )
    return config_dict.FrozenConfigDict(config)


_TYPES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "three texts, as in ('train', 'dev', 'test')",
}


def _check_types(given: ConfigDict, known: ConfigDict, flag: str = "--config") -> None:
    """Raise if settings that an experiment has are of other types than they can be.

    A flag's type is checked where it is parsed, but a file may also say None or True.
    """
    for key in filter(given.__contains__, known):
        value, here, kind = given[key], f"{flag}.{key}", known.get_type(key)
        if isinstance(known[key], ConfigDict):
            if not isinstance(value, ConfigDict):
                raise ConfigError(f"{here} is {value!r}; it must hold settings")
            _check_types(value, known[key], here)
        elif not _is_of_type(value, kind) and not value is known[key] is None:
            raise ConfigError(f"{here} is {value!r}; it must be {_TYPES[kind]}")


def _is_of_type(value: object, kind: type) -> bool:
    if kind is tuple:
        return isinstance(value, tuple | list) and [*map(type, value)] == 3 * [str]
    if isinstance(value, bool) or kind is bool:
        return type(value) is kind
    return isinstance(value, int | float if kind is float else kind)


def resolve_for_testing(config: ConfigDict, **data) -> ConfigDict:
    """Return checked settings for what tests alone: without those of training's data.

    Args:
        config: Settings.
        **data: Settings of the data to set.

    Raises:
        ConfigError: If a setting cannot be used.
    """
    config = config.copy_and_resolve_references()
    shared = default()
    for key in ("nodes_in_training", "clock_offset", "position_error"):
        config.data[key] = shared.data[key]
    config.train.batch_size = 1  # However small the training split.
    config.data.update(data)
    return resolve(config)


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


def check_size(size: str, known: tuple[str, ...]) -> None:
    """Raise unless an experiment has a size, as in --config=experiments/ad1.py:size.

    Raises:
        ValueError: With the sizes that there are.
    """
    if size not in known:
        raise ValueError(f"no size {size!r} of this experiment; there are {known}")
