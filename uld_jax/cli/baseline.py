r"""Test a localization method to compare networks with, as if it were a run.

    uld_jax baseline --config=ad1 --method=srp_phat --workdir=runs/ad1/srp_phat
    uld_jax baseline --config=l1 --method=music --workdir=runs/l1/music

music and stage_wise need compact arrays, as those of l1. Nothing is trained, but
stage_wise takes its networks from a run of l1_azimuth: --run=runs/l1/azimuth_I36_seed0.

Its record and predictions lie beside those of networks, in the same tables.
"""

import dataclasses
import pathlib
from typing import Any

from uld_jax.cli.flags import CONFIG, PREPARE, WORKDIR, Flag
from uld_jax.runtime import progress

METHOD = Flag(
    "method",
    "string",
    "Method: fused, analytic, srp_phat, tdoa_ls, music or stage_wise.",
)
RUN = Flag("run", "string", "Folder of the run whose networks stage_wise uses.")
FLAGS = (
    CONFIG,
    dataclasses.replace(METHOD, required=True),
    WORKDIR,
    RUN,
    PREPARE,
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Test the method, or report what it gave."""
    from uld_jax import config as config_lib
    from uld_jax.evaluation import baseline
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    config = config_lib.resolve_for_testing(values.config)
    workdir = pathlib.Path(values.workdir).expanduser()
    record = baseline.test_method(
        config, values.method, workdir, prepare=values.prepare, run=values.run
    )
    test = record["test"]
    progress.log(
        f"Test: MAE {test['mae']:.3f} m, median {test['median']:.3f} m, 90th "
        f"percentile {test['p90']:.3f} m"
    )
