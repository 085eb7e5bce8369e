r"""Speech masks: which bins of a node's spectrogram are speech.

    uld_jax train --config=speech_mask:reduced --workdir=runs/speech_mask

One small network for all nodes, trained on fresh mixtures of reverberant speech and noise
from -15 to 40 dB. It knows no positions: `data.name` says which rooms are drawn, the label
is not used. Some kinds of noise are left out, so that it can be tested on them.
"""

from uld_jax import config as config_lib
from uld_jax.audio import corpora

# By the beginning of a file's name.
LEFT_OUT = ("esc10_helicopter", "esc10_clock-tick")


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of the network of speech masks.

    Steps are small and many: a batch of rooms costs more to render than to learn from.

    Args:
        size: "full", for an accelerator or a day of a core; "reduced" for 25 minutes on
            one core; or "tiny", to try the commands.
    """
    config_lib.check_size(size, ("full", "reduced", "tiny"))
    config = config_lib.default("speech_mask")
    config.unlock()
    config.mixtures = {"noises_left_out": LEFT_OUT}
    config.lock()
    config.data.name = "simulated/any:1.0.0"
    config.data.nodes_in_training = 2  # Clips of each room.
    config.data.epoch_examples = 8_000  # Rooms.
    config.train.batch_size = 8  # Rooms of a step.
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 100
    config.train.clip_norm = 1.0
    config.train.schedule = "cosine"
    config.train.epochs = 60
    if size == "reduced":
        config.data.epoch_examples = 2_000
        config.train.batch_size = 2
        config.train.epochs = 12
    if size == "tiny":
        config.data.name = "simulated/any_tiny:1.0.0"
        config.data.speech = corpora.BUILTIN
        config.mixtures.noises_left_out = ()
        config.data.epoch_examples = 4
        config.train.batch_size = 2
        config.train.epochs = 2
        config.train.warmup_steps = 1
        config.model.width = 8
        config.model.num_blocks = 2
    return config
