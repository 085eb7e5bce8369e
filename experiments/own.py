r"""A room of your own: recordings in a folder, as docs/own_recordings.md tells.

    python -m uld_jax.main --config=experiments/own.py --workdir=runs/my_lab \
        --config.data.name=sessions/my_lab:1.0.0 --config.data.recordings=my_lab \
        --init_from=runs/ad1_uld --config.train.epochs=0

That tests a network as it is; without the last flag it is fine-tuned first.
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax_experiments import ad1


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Return the settings of a network for recordings of your own.

    Args:
        size: That of the network it begins from: as those of Ad-1.
    """
    config = ad1.get_config(size)
    config.data.name = "sessions/my_lab:1.0.0"
    config.data.recordings = "my_lab"
    config.data.nodes_in_training = None  # All that there are.
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the one run of the settings."""
    yield {}
