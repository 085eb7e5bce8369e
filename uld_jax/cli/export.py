r"""Write a trained network to one file that runs without this package.

    uld_jax export ad1_uld --out=ad1_uld.zip
    uld_jax export runs/my_lab --out=my_lab.zip

Takes the folder of a finished run or of shared weights, or the name of a network that comes
with the package (`uld_jax weights list`). The file holds a StableHLO program with the
parameters, which JAX runs on CPUs, GPUs and TPUs for any number of recordings and, if the
network allows, of nodes: docs/weights.md.
"""

from typing import Any

from uld_jax.cli.flags import Flag, single_folder
from uld_jax.runtime import progress

FLAGS = (Flag("out", "string", "New file to write; it ends in .zip.", required=True),)
TAKES_PATHS = True


def main(values: Any, paths: list[str]) -> None:
    """Export the network, and report what was written."""
    folder = single_folder(paths, "export", "run or network")

    from uld_jax.pretrained import exporting

    exporting.check_new(values.out)  # Before JAX compiles anything.
    progress.log(exporting.export(folder, values.out))
