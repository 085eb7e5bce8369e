"""A small L-1 from built-in signals: no download, a few minutes on two cores.

make demo
uld_jax sweep --config=demo --workdir=runs/demo
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax.audio import corpora
from uld_jax_experiments import l1


def get_config() -> config_lib.ConfigDict:
    """Make the settings of the demonstration."""
    config = l1.get_config("reduced")
    config.data.name = "simulated/l1_demo:1.0.0"
    config.data.speech = corpora.BUILTIN
    config.train.epochs = 8
    config.train.batch_size = 64
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the overrides for the two runs to compare."""
    for scheme in ("one_hot", "uld"):
        yield {"label.scheme": scheme}
