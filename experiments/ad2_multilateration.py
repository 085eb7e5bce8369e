r"""Ad-2 by learned multilateration: two talkers, one posterior for each.

    uld_jax train --config=ad2_multilateration:reduced --workdir=runs/ad2_multilateration
    uld_jax train --config=ad2_multilateration:reduced --init_from=runs/ad1_multilateration \
        --init_partial --workdir=runs/ad2_multilateration

The second command starts from the network of one talker, with the same votes of nodes and
pairs. See `ad1_multilateration.py`.
"""

from uld_jax import config as config_lib
from uld_jax_experiments import ad1_multilateration, ad2

sweep = ad2.sweep


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of ULD at I = 16.

    Args:
        size: "full", "reduced" or "tiny", as of `ad1_multilateration.py`.
    """
    config = ad1_multilateration.configure(ad2.get_config(size), size)
    # From the network of one talker, the parts of two are new.
    config.train.fine_tuning_rate = config.train.learning_rate
    return config
