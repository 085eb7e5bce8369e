r"""Write the network of a finished run to a folder that others can use.

    uld_jax share --run=runs/ad1_uld --out=ad1_uld_weights --license=CC-BY-4.0
    uld_jax share --run=runs/ad1_uld --out=ad1_uld_weights --half --tested=runs/as_it_is

The folder holds the weights of the run's best epoch as safetensors, a card that
describes them, and a README. --init_from, and --run of `uld_jax locate`, take such a
folder in place of a run's: docs/sharing.md.
"""

import pathlib
from typing import Any

from uld_jax.cli.flags import Flag
from uld_jax.runtime import progress

FLAGS = (
    Flag("run", "string", "Folder of a finished run of a network.", required=True),
    Flag("out", "string", "New folder to write.", required=True),
    Flag("license", "string", "License you share it under, for the card."),
    Flag("half", "bool", "Store the arrays in half precision.", default=False),
    Flag(
        "tested",
        "string",
        "Run that tested this network as it is (--config.train.epochs=0): the card has "
        "its scores, its radii and its results under worse conditions, too.",
    ),
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Share the network, and report what was written."""
    from uld_jax.pretrained import card

    facts = _facts(values)
    progress.log(
        card.share(
            values.run, values.out, values.license, values.half, values.tested, facts
        )
    )
    if values.license is None:
        progress.log(
            "The card names no license, so nobody knows what they may do with the "
            "weights; --license=NAME adds one."
        )


def _facts(values: Any) -> dict[str, Any]:
    """Collect the command of the training, and results under worse conditions."""
    from uld_jax.evaluation import conditions
    from uld_jax.pretrained import weights
    from uld_jax.storage import records
    from uld_jax.training import reproduction

    run = weights.read_run(values.run, "--run")
    if "card" in run:  # Which has both.
        return {}
    name = pathlib.PurePath(values.out).name
    facts = {"command": reproduction.find_command(run["settings"], f"runs/{name}")}
    tested = weights.read_run(values.tested, "--tested") if values.tested else run
    found = records.read_conditions(tested) or records.read_conditions(run)
    if found:
        facts["conditions"] = [
            one
            | {
                "title": conditions.title(
                    one["name"], one["value"], conditions.rooms_of(one)
                )
            }
            for one in found["conditions"]
        ]
    return facts
