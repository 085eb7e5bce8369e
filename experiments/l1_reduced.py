"""L-1 with 16,000 training segments, for a machine of two cores.

    python -m uld_jax.sweep --config=experiments/l1_reduced.py \
        --workdir=runs/l1_reduced --config.data.speech=FOLDER

The network is half as wide as in `l1.py`, with 2 blocks in place of 5.
"""

from uld_jax import config as config_lib
from uld_jax_experiments import l1

sweep = l1.sweep


def get_config() -> config_lib.ConfigDict:
    """Return the settings of Table 1 at reduced size, column ULD."""
    config = l1.get_config()
    config.data.name = "simulated/l1_reduced:1.0.0"
    config.model.width = 64
    config.model.num_blocks = 2
    config.train.epochs = 20
    return config
