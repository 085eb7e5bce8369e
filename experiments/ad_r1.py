r"""Ad-r1: one source, 30 of 40 nodes of a real room, Libri-adhoc40 (Sec. 3.1, Table 4).

    uld_jax train --config=ad_r1 --workdir=runs/ad_r1_uld --init_from=runs/ad1_uld
    python -m uld_jax.main --config=experiments/ad_r1.py --workdir=runs/ad_r1_uld \
        --init_from=runs/ad1_uld
    uld_jax sweep --config=ad_r1:twin --workdir=runs/twin_r1 \
        --scheme=uld,one_hot --resolution=1,2,4,8,16 --init_from=runs/ad1

Recordings come from the folder Libri-adhoc40, or from --config.data.recordings=FOLDER.
docs/real_rooms.md lists the parts of the corpus and what each size needs.
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
_SMALL = ("reduced", "tiny")  # Sizes of the network and of the twin.


def get_config(size: str = "paper") -> config_lib.ConfigDict:
    """Make the settings of Table 4, Ad-r1, column ULD at I = 16.

    Args:
        size: The data: "paper", all parts of the corpus; "dev", trained on its dev
            part; "test", only tested, on its test part; or a simulated twin of the
            room: "twin", trained at the loudspeaker positions of the training part,
            "twin_dev", at those of the dev part, or "twin_anywhere". Add "_reduced" for
            the network and training of ad1:reduced, or "_tiny" to try the commands; a
            twin then has 1,600 training utterances, or a few short ones from built-in
            signals, while recordings stay as many as they are.
    """
    kinds = [*DATA, *(f"{kind}_{ending}" for kind in DATA for ending in _SMALL)]
    config_lib.check_size(size, tuple(kinds))
    kind, _, ending = size.rpartition("_")
    if ending not in _SMALL:
        kind, ending = size, ""
    config = ad1.get_config(ending or "full")
    name = DATA[kind]
    if ending:  # Only a twin has sizes.
        name = name.replace("twin_r1", f"twin_r1_{ending}")
    config.data.name = f"{name}:1.0.0"
    config.data.recordings = "Libri-adhoc40"
    if not kind.startswith("twin"):
        config.train.warmup_steps = 0  # Few steps, as a rule from a trained network.
    if kind == "test":
        config.train.epochs = 0
    return config
