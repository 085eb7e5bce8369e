"""Prepare the data set of an experiment, without TensorFlow.

    uld_jax prepare --config=l1
    uld_jax prepare --config=l1 --beam

The second way, with Apache Beam, is for clusters: docs/data_at_scale.md.
"""

from typing import Any

from uld_jax.cli.flags import CONFIG, Flag
from uld_jax.runtime import errors, progress

FLAGS = (
    CONFIG,
    Flag("processes", "integer", "Worker processes; by default one a core.", least=1),
    Flag(
        "beam",
        "bool",
        "Prepare with Apache Beam; see docs/data_at_scale.md.",
        default=False,
    ),
    Flag(
        "beam_options",
        "string",
        "With --beam: its options, such as '--runner=FlinkRunner ...'.",
        default="",
    ),
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Prepare the data set of the configuration."""
    from uld_jax import config as config_lib
    from uld_jax.datasets import prepare

    config = config_lib.resolve(values.config)
    if values.beam_options and not values.beam:
        raise errors.InputError("--beam_options is for --beam, which is not given")
    path = prepare.ensure_prepared(
        config,
        processes=values.processes,
        beam_options=values.beam_options if values.beam else None,
    )
    progress.log(f"Prepared: {path}")
