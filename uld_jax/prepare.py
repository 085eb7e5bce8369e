"""Prepare the data set of an experiment, without TensorFlow.

python -m uld_jax.prepare --config=experiments/l1.py
"""

from absl import flags

from uld_jax import commands, datasets, progress
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "Worker processes; one a core by default.", lower_bound=1
)


def main(_) -> None:
    """Prepare the data set of the configuration."""
    config = config_lib.resolve(_CONFIG.value)
    path = datasets.ensure_prepared(config, processes=_PROCESSES.value)
    progress.say(f"Prepared: {path}")


if __name__ == "__main__":
    commands.run(main)
