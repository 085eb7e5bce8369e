r"""Ad-2: two sources, 30 scattered nodes, reverberant rooms (Sec. 3.1, Table 3).

    python -m uld_jax.main --config=experiments/ad2.py --workdir=runs/ad2_uld
    python -m uld_jax.main --config=experiments/ad2.py:reduced --workdir=runs/ad2_reduced
    uld_jax sweep --config=experiments/ad2.py --workdir=runs/ad2 \
        --resolution=1,2,4,8,16 --scheme=uld,one_hot

Speech is looked for in the folder LibriSpeech: --config.data.speech=FOLDER.
Paper, ULD at I = 16: ACC 41.83 %, MAE 0.289 m.
"""

from uld_jax import config as config_lib
from uld_jax_experiments import ad1

sweep = ad1.sweep


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Return the settings of Table 3, column ULD at I = 16.

    Args:
        size: "full", "reduced" or "tiny", as those of Ad-1.
    """
    config = ad1.get_config(size)
    config.data.name = config.data.name.replace("ad1", "ad2")
    return config
