r"""Write the network of a finished run to a folder that others can use.

    python -m uld_jax.share --run=runs/ad1_uld --out=ad1_uld_weights --license=CC-BY-4.0

It holds the weights of the run's best epoch as safetensors, a card that tells what they
are, and a README. --init_from, and --run of `uld_jax.locate`, take such a folder in
place of a run's. docs/sharing.md tells more.
"""

from absl import flags

from uld_jax import commands, progress, sharing

_RUN = flags.DEFINE_string(
    "run", None, "Folder of a finished run of a network.", required=True
)
_OUT = flags.DEFINE_string("out", None, "New folder to write.", required=True)
_LICENSE = flags.DEFINE_string(
    "license", None, "Name of the license you share it under, for the card."
)


def main(_) -> None:
    """Share the network, and tell what was written."""
    progress.say(sharing.share(_RUN.value, _OUT.value, _LICENSE.value))
    if _LICENSE.value is None:
        progress.say("Its license is not said: nobody knows what they may do with it.")


if __name__ == "__main__":
    commands.run(main)
