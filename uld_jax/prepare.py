"""Prepare the data set of an experiment, without TensorFlow.

python -m uld_jax.prepare --config=experiments/l1.py
python -m uld_jax.prepare --config=experiments/l1.py --beam

The second way, with Apache Beam, is for clusters: docs/data_at_scale.md.
"""

from absl import flags

from uld_jax import commands, datasets, errors, progress
from uld_jax import config as config_lib

_CONFIG = commands.define_config()
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "Worker processes; one a core by default.", lower_bound=1
)
_BEAM = flags.DEFINE_bool(
    "beam", False, "Prepare with Apache Beam; see docs/data_at_scale.md."
)
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options", "", "With --beam: options such as '--runner=FlinkRunner ...'."
)


def main(_) -> None:
    """Prepare the data set of the configuration."""
    config = config_lib.resolve(_CONFIG.value)
    if _BEAM_OPTIONS.value and not _BEAM.value:
        raise errors.InputError("--beam_options is for --beam, which is not given")
    path = datasets.ensure_prepared(
        config,
        processes=_PROCESSES.value,
        beam_options=_BEAM_OPTIONS.value if _BEAM.value else None,
    )
    progress.say(f"Prepared: {path}")


if __name__ == "__main__":
    commands.run(main)
