r"""Ad-r2: two sources, 30 of 40 nodes of a real room, Libri-adhoc40 (Sec. 3.1, Table 4).

    uld_jax train --config=ad_r2 --workdir=runs/ad_r2_uld --init_from=runs/ad2_uld
    python -m uld_jax.main --config=experiments/ad_r2.py --workdir=runs/ad_r2_uld \
        --init_from=runs/ad2_uld
    uld_jax sweep --config=ad_r2:twin --workdir=runs/twin_r2 \
        --scheme=uld,one_hot --resolution=1,2,4,8,16 --init_from=runs/ad2

Recordings come from the folder Libri-adhoc40, or from --config.data.recordings=FOLDER.
docs/real_rooms.md lists the parts of the corpus and what each size needs.
Paper, ULD at I = 16: ACC 57.05 %, MAE 0.385 m.
"""

from uld_jax import config as config_lib
from uld_jax_experiments import ad_r1

sweep = ad_r1.sweep


def get_config(size: str = "paper") -> config_lib.ConfigDict:
    """Make the settings of Table 4, Ad-r2, column ULD at I = 16.

    Args:
        size: As for Ad-r1.
    """
    config = ad_r1.get_config(size)
    config.data.name = config.data.name.replace("_r1", "_r2")
    return config
