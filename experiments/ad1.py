r"""Ad-1: one source, 30 scattered nodes, reverberant rooms (Sec. 3.1, Table 2).

    uld_jax train --config=ad1 --workdir=runs/ad1_uld
    uld_jax train --config=ad1:reduced --workdir=runs/ad1_reduced
    python -m uld_jax.main --config=experiments/ad1.py --workdir=runs/ad1_uld
    uld_jax sweep --config=ad1 --workdir=runs/ad1 \
        --resolution=1,2,4,8,16 --scheme=uld,one_hot

Speech comes from the folder LibriSpeech, or from --config.data.speech=FOLDER.
Paper, ULD at I = 16: ACC 56.20 %, MAE 0.193 m.
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax.audio import corpora
from uld_jax.labels import schemes

RESOLUTIONS = (1, 2, 4, 8, 16)


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of Table 2, column ULD at I = 16.

    The paper does not say whether it warms up or clips. At its rate of 1e-3 the network
    rarely starts to learn: what all examples have in common grows in the first steps,
    until nothing else is left (docs/collapse.md). We take 4e-4, warm up and clip;
    --config.train.schedule=paper does as the paper says, without either.

    Args:
        size: "full"; "medium" for a machine with two cores and an hour and a half: the
            same network with 3,200 training utterances, 8 nodes in training, and 18
            frames averaged to one time step; "reduced" for twenty minutes: width 64,
            six frames, and I = 4; or "tiny", to try the commands in a minute: a few
            small rooms with built-in signals.
    """
    config_lib.check_size(size, ("full", "medium", "reduced", "tiny"))
    config = config_lib.default("adhoc")
    config.data.name = "simulated/ad1:1.0.0"
    config.data.nodes_in_training = 15  # Of 30; validation and test use all.
    config.label.scheme, config.label.resolution = "uld", 16
    config.train.batch_size = 32
    config.train.learning_rate = 4e-4
    config.train.warmup_steps = 400
    config.train.clip_norm = 1.0
    if size == "medium":
        config.data.name = "simulated/ad1_reduced:1.0.0"
        config.data.nodes_in_training = 8
        config.model.frames_per_step = 18
        config.train.batch_size = 16
        config.train.schedule = "cosine"
        config.train.epochs = 60
        return config
    if size != "full":
        config.data.name = f"simulated/ad1_{size}:1.0.0"
        config.label.resolution = 4
        config.model.width = 64
        config.model.frames_per_step = 6
        config.model.num_temporal_blocks = 1
        config.train.batch_size = 8
        config.train.warmup_steps = 0  # A narrow network needs neither.
        config.train.clip_norm = None
        config.train.schedule = "cosine"  # 10 epochs are too few for a plateau.
        config.train.epochs = 10
    if size == "tiny":
        config.data.speech = corpora.BUILTIN
        config.data.nodes_in_training = 2  # Of 4.
        config.model.width = 8
        config.train.batch_size = 2
        config.train.epochs = 2
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the overrides for each cell of Table 2."""
    for scheme in schemes.PAPER:
        for resolution in RESOLUTIONS:
            if schemes.is_feasible(scheme, resolution):
                yield {"label.scheme": scheme, "label.resolution": resolution}
