r"""A room of your own: recordings in a folder, as docs/own_recordings.md describes.

    uld_jax train --config=own --workdir=runs/my_lab \
        --config.data.name=sessions/my_lab:1.0.0 --config.data.recordings=my_lab \
        --init_from=runs/ad1_uld --config.train.epochs=0

This tests a network as it is. Without the last flag it is fine-tuned first. With the name of
a network that comes with the package as the size, settings are those of that network:

    uld_jax train --config=own:ad1_uld --workdir=runs/my_lab \
        --config.data.name=sessions/my_lab:1.0.0 --config.data.recordings=my_lab \
        --init_from=ad1_uld

`python -m uld_jax.main --config=experiments/own.py` is the same command.
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax.pretrained import shipped, weights
from uld_jax_experiments import ad1

_BATCH_SIZE = 16  # Sessions have tens or hundreds of windows.


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of a network for recordings of your own.

    Args:
        size: Size of the network to start from, as for Ad-1; or the name of one that
            comes with the package.
    """
    is_shipped = size in shipped.names()
    config = _settings_of(size) if is_shipped else ad1.get_config(size)
    config.data.name = "sessions/my_lab:1.0.0"
    config.data.recordings = "my_lab"
    config.data.nodes_in_training = None  # All.
    config.train.warmup_steps = 0  # Few steps, as a rule from a trained network.
    return config


def _settings_of(name: str) -> config_lib.ConfigDict:
    """Make settings with the network and the label of one that comes with the package."""
    settings = weights.read_run(shipped.folder(name), "own")["settings"]
    config = config_lib.default(settings["model"]["name"])
    config.model.update(settings["model"])
    config.label.update(settings["label"])
    config.train.batch_size = _BATCH_SIZE
    config.train.schedule = "cosine"
    config.train.clip_norm = 1.0
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the single run, without overrides."""
    yield {}
