r"""Ad-1 by learned multilateration: every node votes for a ring, every pair for a hyperbola.

    uld_jax train --config=ad1_multilateration --workdir=runs/ad1_multilateration
    uld_jax train --config=ad1_multilateration:reduced --workdir=runs/ad1_votes
    uld_jax sweep --config=ad1_multilateration:reduced --workdir=runs/ad1_labels \
        --resolution=4,16 --scheme=uld,one_hot --seed=0,1,2

The data are Ad-1's in compact form, so its test examples are those of `ad1.py`. The
network is trained with everything off that can be off: clocks, positions, gains, few
nodes, noise. Votes are counted on 64 x 64 cells, whatever the label; a coarser code is
the posterior's expectation. Other grids need no other training:

    uld_jax train --config=ad1_multilateration:reduced --config.label.resolution=64 \
        --config.model.cells=128 --config.train.epochs=0 --init_from=runs/ad1_votes \
        --workdir=runs/ad1_votes_I64
"""

from uld_jax import config as config_lib
from uld_jax_experiments import ad1

sweep = ad1.sweep


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of ULD at I = 16.

    Args:
        size: "full"; "reduced" for a machine with two cores: 3,200 training utterances
            and half an hour on one of them; or "tiny", to try the commands in a minute.
    """
    config_lib.check_size(size, ("full", "reduced", "tiny"))
    return configure(ad1.get_config(size), size)


def configure(config: config_lib.ConfigDict, size: str) -> config_lib.ConfigDict:
    """Set the network of votes and its training, for the data of an experiment.

    Args:
        config: Settings of `ad1.py` or `ad2.py`.
        size: Their size.
    """
    config.unlock()
    config.model = config_lib.default("multilateration").model
    config.lock()
    config.model.cells = 64
    config.data.source = "compact"
    config.data.noisier_copies = 1
    config.data.nodes_in_training = None  # The steps' shapes say how many.
    config.data.clock_offset = 0.05
    config.data.position_error = 0.4
    config.data.gain_error = 8.0
    config.data.coloring = 5.0
    config.data.drawn_errors = True
    config.label.resolution = 16
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 200
    config.train.clip_norm = 1.0
    config.train.schedule = "cosine"
    config.train.batch_size = 32
    config.train.epochs = 12
    # Votes are counted on fine grids: few nodes can afford more examples.
    config.train.step_shapes = "30x8x4 30x4x8 20x12x4 12x16x4 8x24x4 5x32x4"
    if size == "tiny":
        config.data.noisier_copies = 0
        config.train.batch_size = 2
        config.train.epochs = 2
        config.train.step_shapes = "4x1 3x2x2"
        config.model.cells = 16
        config.train.warmup_steps = 1
    return config
