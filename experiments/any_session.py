r"""Any session: a network of votes for rooms, nodes and noise of every kind.

    uld_jax train --config=any_session:reduced --workdir=runs/any_session

Rooms of 3 to 12 m, nodes at heights of 0.4 to 2.3 m, talkers at 0.8 to 1.9 m, SNR of
-10 to 30 dB; in training 3 to 30 nodes, with clocks, positions, gains and colorings
that are off. The talker's height is not known: the posterior is summed over three.
"""

from uld_jax import config as config_lib
from uld_jax.audio import corpora
from uld_jax_experiments import ad1_multilateration


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of ULD at I = 16.

    Args:
        size: "full"; "reduced" for a machine with two cores: 6,400 training
            utterances and half an hour of training; "medium": 16,000 and 45 minutes,
            which made the weights of `uld_jax.localize`; or "tiny", to try the commands.
    """
    config_lib.check_size(size, ("full", "medium", "reduced", "tiny"))
    config = ad1_multilateration.get_config("reduced" if size == "medium" else size)
    suffix = "" if size == "full" else f"_{size}"
    config.data.name = f"simulated/any{suffix}:1.0.0"
    config.data.noisier_copies = 0  # Its own noise is as loud.
    config.model.source_heights = (0.95, 1.35, 1.75)
    config.train.step_shapes = "30x8x4 20x12x4 12x16x4 8x24x4 5x32x4 4x32x4 3x32x4"
    if size == "medium":
        config.train.epochs = 8
    if size == "tiny":
        config.data.speech = corpora.BUILTIN
        config.train.step_shapes = "4x1 3x2"
    return config
