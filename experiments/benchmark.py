r"""The benchmark for others' labels and networks: seen and new rooms and talkers.

    uld_jax benchmark --network=adhoc --workdir=runs/benchmark/adhoc
    uld_jax benchmark --network=multilateration --config=benchmark:reduced_votes \
        --workdir=runs/benchmark/votes

Rooms, nodes and noise are Ad-1's, but each part has a fixed number of rooms, whose nodes
and reverberation stay, so that a test can be in a room of the training. docs/benchmark.md
describes it, and how to bring a network or a label of one's own.
"""

from collections.abc import Iterator

from uld_jax import config as config_lib
from uld_jax.audio import corpora
from uld_jax_experiments import ad1, ad1_multilateration

_VOTES = "_votes"
_SIZES = ("full", "reduced", "tiny")


def get_config(size: str = "reduced") -> config_lib.ConfigDict:
    """Make the settings of ULD at I = 16, with the network of Ad-1.

    Args:
        size: "reduced", of built-in signals, 3,200 training utterances in 100 rooms;
            "full", of LibriSpeech, 18,000 in 600 rooms; or "tiny", to try the commands.
            With "_votes" after it, the network of votes.
    """
    config_lib.check_size(size, (*_SIZES, *(size + _VOTES for size in _SIZES)))
    plain = size.removesuffix(_VOTES)
    config = (ad1 if plain == size else ad1_multilateration).get_config(plain)
    suffix = "" if plain == "full" else f"_{plain}"
    config.data.name = f"simulated/benchmark{suffix}:1.0.0"
    if plain != "full":
        config.data.speech = corpora.BUILTIN
    config.data.source = "compact"
    config.label.resolution = 4 if plain == "tiny" else 16
    return config


def sweep() -> Iterator[dict[str, str | int]]:
    """Yield the single run, without overrides."""
    yield {}
