"""L-1: one source, two linear arrays, no reflections (Sec. 3.1, Table 1).

    uld_jax train --config=l1 --workdir=runs/l1_uld
    python -m uld_jax.main --config=experiments/l1.py --workdir=runs/l1_uld
    uld_jax sweep --config=l1 --workdir=runs/l1
    uld_jax sweep --config=l1:reduced --workdir=runs/l1_reduced

Speech comes from the folder LibriSpeech, or from --config.data.speech=FOLDER.
Every scheme has 6 x 6 outputs: ULD runs at I = 5, the others at I = 6.
Paper, ULD: ACC 96.72 %, MAE 0.031 m.
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax.audio import corpora
from uld_jax.labels import schemes


def get_config(size: str = "full") -> config_lib.ConfigDict:
    """Make the settings of Table 1, column ULD.

    Args:
        size: "full"; "reduced" for a machine with two cores: 16,000 training
            segments, and a network half as wide with 2 blocks instead of 5; or "tiny",
            to try the commands in a minute: a few segments of built-in signals.
    """
    config_lib.check_size(size, ("full", "reduced", "tiny"))
    config = config_lib.default()
    config.data.name = "simulated/l1:1.0.0"
    config.label.outputs_per_axis = 6
    if size == "reduced":
        config.data.name = "simulated/l1_reduced:1.0.0"
        config.model.width = 64
        config.model.num_blocks = 2
        config.train.epochs = 20
    if size == "tiny":
        config.data.name = "simulated/l1_tiny:1.0.0"
        config.data.speech = corpora.BUILTIN
        config.model.width = 4
        config.model.num_blocks = 1
        config.train.batch_size = 8
        config.train.epochs = 2
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the overrides for each column of Table 1."""
    for scheme in schemes.PAPER:
        yield {"label.scheme": scheme}
