r"""Ad-2: two sources, 30 scattered nodes, reverberant rooms (Sec. 3.1, Table 3).

    uld_jax train --config=ad2 --workdir=runs/ad2_uld
    uld_jax train --config=ad2:reduced --workdir=runs/ad2_reduced
    python -m uld_jax.main --config=experiments/ad2.py --workdir=runs/ad2_uld
    uld_jax sweep --config=ad2 --workdir=runs/ad2 \
        --resolution=1,2,4,8,16 --scheme=uld,one_hot

Speech comes from the folder LibriSpeech, or from --config.data.speech=FOLDER.
Paper, ULD at I = 16: ACC 41.83 %, MAE 0.289 m.
"""

from uld_jax import config as config_lib
from uld_jax_experiments import ad1

sweep = ad1.sweep


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of Table 3, column ULD at I = 16.

    Args:
        size: "full", "medium", "reduced" or "tiny", as for Ad-1.
    """
    config = ad1.get_config(size)
    config.data.name = config.data.name.replace("ad1", "ad2")
    return config
