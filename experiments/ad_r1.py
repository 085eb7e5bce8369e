r"""Ad-r1: one source, 30 of 40 nodes of a real room, Libri-adhoc40 (Sec. 3.1, Table 4).

    python -m uld_jax.main --config=experiments/ad_r1.py --workdir=runs/ad_r1_uld \
        --init_from=runs/ad1_uld
    uld_jax sweep --config=experiments/ad_r1.py:twin --workdir=runs/twin_r1 \
        --scheme=uld,one_hot --resolution=1,2,4,8,16 --init_from=runs/ad1

Recordings are looked for in the folder Libri-adhoc40: --config.data.recordings=FOLDER.
docs/real_rooms.md tells what of them there is, and which size needs what.
Paper, ULD at I = 16: ACC 74.63 %, MAE 0.207 m; its best is at I = 8, 0.180 m.
"""

from uld_jax import config as config_lib
from uld_jax_experiments import ad1

sweep = ad1.sweep

DATA = {
    "paper": "libri_adhoc40/ad_r1",
    "dev": "libri_adhoc40/ad_r1_dev",
    "test": "libri_adhoc40/ad_r1_test",
    "twin": "simulated/twin_r1",
    "twin_dev": "simulated/twin_r1_dev",
    "twin_anywhere": "simulated/twin_r1_anywhere",
}
_SMALL = ("reduced", "tiny")  # Sizes of the networks, and of the twins.


def get_config(size: str = "paper") -> config_lib.ConfigDict:
    """Return the settings of Table 4, Ad-r1, column ULD at I = 16.

    Args:
        size: "paper", all parts of the corpus; "dev", trained on its dev part; "test",
            tested on its test part alone; or a simulated twin of the room: "twin",
            trained at the loudspeakers of the training part, "twin_dev", at those of
            the dev part, "twin_anywhere". Any of them may end in "_reduced", for the
            network and training of ad1.py:reduced, or in "_tiny", to try the commands.
            So ending, a twin has 1,600 training utterances, or a few short ones from
            built-in signals; of recordings there are as many as without.
    """
    kinds = [*DATA, *(f"{kind}_{ending}" for kind in DATA for ending in _SMALL)]
    config_lib.check_size(size, tuple(kinds))
    kind, _, ending = size.rpartition("_")
    if ending not in _SMALL:
        kind, ending = size, ""
    config = ad1.get_config(ending or "full")
    name = DATA[kind]
    if ending:  # Recordings are as they are.
        name = name.replace("twin_r1", f"twin_r1_{ending}")
    config.data.name = f"{name}:1.0.0"
    config.data.recordings = "Libri-adhoc40"
    if kind == "test":
        config.train.epochs = 0
    return config
