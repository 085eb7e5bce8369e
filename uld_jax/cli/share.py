r"""Write the network of a finished run to a folder that others can use.

    uld_jax share --run=runs/ad1_uld --out=ad1_uld_weights --license=CC-BY-4.0

The folder holds the weights of the run's best epoch as safetensors, a card that
describes them, and a README. --init_from, and --run of `uld_jax locate`, take such a
folder in place of a run's: docs/sharing.md.
"""

from typing import Any

from uld_jax.cli.flags import Flag
from uld_jax.runtime import progress

FLAGS = (
    Flag("run", "string", "Folder of a finished run of a network.", required=True),
    Flag("out", "string", "New folder to write.", required=True),
    Flag("license", "string", "License you share it under, for the card."),
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Share the network, and report what was written."""
    from uld_jax.pretrained import card

    progress.log(card.share(values.run, values.out, values.license))
    if values.license is None:
        progress.log(
            "The card names no license, so nobody knows what they may do with the "
            "weights; --license=NAME adds one."
        )
