r"""A room of your own: recordings in a folder, as docs/own_recordings.md describes.

    uld_jax train --config=own --workdir=runs/my_lab \
        --config.data.name=sessions/my_lab:1.0.0 --config.data.recordings=my_lab \
        --init_from=runs/ad1_uld --config.train.epochs=0

This tests a network as it is. Without the last flag it is fine-tuned first.
`python -m uld_jax.main --config=experiments/own.py` is the same command.
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax_experiments import ad1


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of a network for recordings of your own.

    Args:
        size: Size of the network to start from, as for Ad-1.
    """
    config = ad1.get_config(size)
    config.data.name = "sessions/my_lab:1.0.0"
    config.data.recordings = "my_lab"
    config.data.nodes_in_training = None  # All.
    config.train.warmup_steps = 0  # Few steps, as a rule from a trained network.
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the single run, without overrides."""
    yield {}
