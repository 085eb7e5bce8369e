"""What runs were tested on, by which they are compared or kept apart."""

from typing import NamedTuple

from uld_jax.report import paper
from uld_jax.storage import records

# What tells the data that runs were tested on, and not how they were trained.
SETTINGS = ("data.name", "data.noise_field", "data.engine")

# Data sets of one room that share their test split, by the beginning of their names.
_ROOMS = ("simulated/twin_r", "libri_adhoc40/")
_TRAINED_AT = {
    records.DEV: "the dev positions",
    records.ANYWHERE: "any places",
    records.TEST_ONLY: "no places",
}


class Data(NamedTuple):
    """What runs were tested on; only those that share it are compared.

    A data set, its twin without a training split, its compact twin, and those that
    differ from it in where they train alone, have the same test examples, and so the
    same name here.
    """

    name: str
    speech: str  # Fingerprint of the corpus, or of its test part.
    noise: str  # Likewise.
    noise_field: str
    engine: str
    test_size: int

    @property
    def table(self) -> str | None:
        """Name of the paper's table on such data; None for other data."""
        return (paper.table_of(self.name) or (None, None))[0]

    @property
    def printed(self) -> paper.Printed | None:
        """What the paper prints about such data by resolution, if it does."""
        return (paper.table_of(self.name) or (None, None))[1]

    @classmethod
    def of(cls, run: dict) -> "Data":
        """Return what a run was tested on."""
        data, settings = run["data"], run["settings"]["data"]
        name, _ = split_name(data["name"])
        corpus = data["corpus"]
        return cls(
            name=name,
            speech=corpus.get("test_fingerprint", corpus.get("fingerprint", "")),
            noise=data.get("noise", {}).get("fingerprint", ""),
            noise_field=settings["noise_field"],
            engine=settings["engine"],
            test_size=data["sizes"]["test"],
        )


def split_name(name: str) -> tuple[str, str | None]:
    """Return what the test split of a data set is called, and where it trains.

    The second is None where nothing but the name says so.
    """
    name, colon, version = name.partition(":")
    for ending in (records.HELD_OUT, records.COMPACT):
        name = name.removesuffix(ending)
    trained_at = None
    if name.startswith(_ROOMS):
        trained_at = "the training positions"
        for ending, words in _TRAINED_AT.items():
            if name.endswith(ending):
                name, trained_at = name.removesuffix(ending), words
    return name + colon + version, trained_at
