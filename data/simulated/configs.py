"""The simulated data sets: their names, sizes and recipes."""

import dataclasses
from collections.abc import Mapping

import tensorflow_datasets as tfds

from uld_jax.audio import corpora
from uld_jax.simulation import recipes
from uld_jax.storage import dataset_names

PART_OF_SPLIT = {
    "train": "train",
    "validation": "dev",
    "test": "test",
}  # To the corpus's.
ENGINES = ("jax", "pyroomacoustics")
LATE_FIELDS = {"train": "thinned", "validation": "full", "test": "full"}
ALL_THINNED = dict.fromkeys(PART_OF_SPLIT, "thinned")

# Time of one core for one source of one example, by late field, engine or form.
_SECONDS = {
    "anechoic": {"thinned": 1 / 400, "full": 1 / 400, "compact": 1 / 400},
    "reverberant": {
        "thinned": 0.12,
        "full": 0.65,
        "pyroomacoustics": 11.0,
        "compact": 0.01,
    },
}


@dataclasses.dataclass(kw_only=True)
class SimulatedConfig(tfds.core.BuilderConfig):
    """Sizes and recipe of a simulated data set.

    Attributes:
        sizes: Examples in train, validation and test; a split of none is left out.
        recipe: How examples are drawn and rendered.
        late_fields: Late field of reverberant rooms by split.
        compact: Store dry speech instead of rendered audio.
        speech: "builtin" for built-in speech; empty for a corpus given by the command,
            or by `--manual_dir`.
        examples_per_shard: Examples in one file.
        seed: Seed of every random stream.
    """

    sizes: tuple[int, int, int]
    recipe: recipes.Recipe = recipes.L1
    late_fields: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: dict(LATE_FIELDS)
    )
    compact: bool = False
    speech: str = ""
    examples_per_shard: int = 1000
    seed: int = 2024

    @property
    def size_of_split(self) -> dict[str, int]:
        """Number of examples by split."""
        sizes = zip(PART_OF_SPLIT, self.sizes, strict=True)
        return {split: size for split, size in sizes if size}

    @property
    def expected_bytes(self) -> int:
        """Disk space of the examples' signals, before compression."""
        samples = self.recipe.num_nodes * self.recipe.num_samples
        if self.compact:
            samples = self.recipe.num_sources * self.recipe.num_dry
        return sum(self.sizes) * samples * 2

    def core_seconds(self, engine: str) -> float:
        """Estimate the seconds that one core of 2023 takes to build it."""
        seconds = _SECONDS[self.recipe.kind]
        return sum(
            size
            * self.recipe.num_sources
            * (
                seconds["compact"]
                if self.compact
                else seconds.get(engine, seconds[self.late_fields[split]])
            )
            for split, size in self.size_of_split.items()
        )

    def late_fields_by(self, engine: str) -> dict[str, str]:
        """Get the late field by split; pyroomacoustics takes every image."""
        return {
            split: self.late_fields[split] if engine == "jax" else "full"
            for split in self.size_of_split
        }

    def held_out(self) -> "SimulatedConfig":
        """Make the configuration of the validation and test splits alone."""
        return dataclasses.replace(
            self,
            name=self.name + dataset_names.FORM_SUFFIXES["held_out"],
            description=f"The validation and test splits of {self.name} alone.",
            sizes=(0, *self.sizes[1:]),
        )

    def compact_form(self) -> "SimulatedConfig":
        """Make the configuration of the same examples with dry speech."""
        return dataclasses.replace(
            self,
            name=self.name + dataset_names.FORM_SUFFIXES["compact"],
            description=f"{self.name} in compact form: dry speech, geometry and seeds.",
            compact=True,
        )


_DESCRIPTIONS = {
    "twin": "trained at the loudspeakers of its training layout",
    "twin_dev": "trained at the dev positions, by other talkers",
    "twin_anywhere": "trained at any places",
}


def _twins() -> list[SimulatedConfig]:
    """List the twins of Libri-adhoc40's room, at every size.

    Twins of one size and number of sources have the same test split.
    """
    small = {"num_nodes": 4, "num_samples": 8000}
    sizes = {
        "": {"sizes": (18_000, 1_800, 2_468), "examples_per_shard": 100},
        "_reduced": {"sizes": (1_600, 200, 400), "examples_per_shard": 100},
        "_tiny": {"sizes": (4, 2, 4), "examples_per_shard": 2},
    }
    suffixes = dataset_names.TRAINED_AT_SUFFIXES
    endings = {
        "twin": suffixes["train"],
        "twin_dev": suffixes["dev"],
        "twin_anywhere": suffixes["anywhere"],
    }
    return [
        SimulatedConfig(
            name=f"twin_r{num_sources}{size}{ending}",
            description=(
                f"Ad-r{num_sources} in a simulated room like the real one, "
                f"{_DESCRIPTIONS[rooms]}."
            ),
            recipe=dataclasses.replace(
                recipes.TWIN1,
                num_sources=num_sources,
                rooms=rooms,
                **(small if size == "_tiny" else {}),
            ),
            late_fields=dict(LATE_FIELDS if not size else ALL_THINNED),
            speech=corpora.BUILTIN if size == "_tiny" else "",
            **facts,
        )
        for num_sources in (1, 2)
        for size, facts in sizes.items()
        for rooms, ending in endings.items()
    ]


CONFIGS = [
    SimulatedConfig(
        name="l1",
        description="L-1 at the paper's size.",
        sizes=(100_000, 5_000, 5_000),
    ),
    SimulatedConfig(
        name="l1_reduced",
        description="L-1 with 16,000 training segments, for a machine of 2 cores.",
        sizes=(16_000, 2_000, 5_000),
    ),
    SimulatedConfig(
        name="l1_demo",
        description="A small L-1 from built-in signals.",
        sizes=(4_000, 500, 1_000),
        speech=corpora.BUILTIN,
    ),
    SimulatedConfig(
        name="l1_tiny",
        description="A few scenes from built-in signals, for tests.",
        sizes=(48, 12, 20),
        speech=corpora.BUILTIN,
        examples_per_shard=16,
    ),
    SimulatedConfig(
        name="ad1",
        description="Ad-1 at the paper's size.",
        sizes=(18_000, 1_800, 1_800),
        recipe=recipes.AD1,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="ad2",
        description="Ad-2 at the paper's size.",
        sizes=(18_000, 1_800, 1_800),
        recipe=recipes.AD2,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="ad1_reduced",
        description="Ad-1 with 3,200 training utterances, for a machine of 2 cores.",
        sizes=(3_200, 400, 400),
        recipe=recipes.AD1,
        late_fields=ALL_THINNED,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="ad2_reduced",
        description="Ad-2 with 3,200 training utterances, for a machine of 2 cores.",
        sizes=(3_200, 400, 400),
        recipe=recipes.AD2,
        late_fields=ALL_THINNED,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="ad1_tiny",
        description="A few small rooms from built-in signals, for tests.",
        sizes=(4, 2, 2),
        recipe=dataclasses.replace(recipes.AD1, num_nodes=4, num_samples=8000),
        speech=corpora.BUILTIN,
        examples_per_shard=2,
    ),
    SimulatedConfig(
        name="ad2_tiny",
        description="The same with two talkers.",
        sizes=(4, 2, 2),
        recipe=dataclasses.replace(recipes.AD2, num_nodes=4, num_samples=8000),
        speech=corpora.BUILTIN,
        examples_per_shard=2,
    ),
    SimulatedConfig(
        name="any",
        description="Any session: rooms, heights and noise of every kind.",
        sizes=(36_000, 1_800, 1_800),
        recipe=recipes.ANY,
        late_fields=ALL_THINNED,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="any_reduced",
        description="Any session with 6,400 training utterances.",
        sizes=(6_400, 400, 400),
        recipe=recipes.ANY,
        late_fields=ALL_THINNED,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="any_medium",
        description="Any session with 16,000 training utterances.",
        sizes=(16_000, 400, 400),
        recipe=recipes.ANY,
        late_fields=ALL_THINNED,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="any_tiny",
        description="A few rooms of any session from built-in signals, for tests.",
        sizes=(4, 2, 2),
        recipe=dataclasses.replace(recipes.ANY, num_nodes=4, num_samples=8000),
        speech=corpora.BUILTIN,
        examples_per_shard=2,
    ),
    SimulatedConfig(
        name="benchmark",
        description="The benchmark: tests in seen and new rooms, by seen and new talkers.",
        sizes=(18_000, 1_800, 3_600),
        recipe=dataclasses.replace(recipes.AD1, rooms="pool:600"),
        late_fields=ALL_THINNED,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="benchmark_reduced",
        description="The benchmark from built-in signals, for a machine of 2 cores.",
        sizes=(3_200, 400, 800),
        recipe=dataclasses.replace(recipes.AD1, rooms="pool:100"),
        late_fields=ALL_THINNED,
        speech=corpora.BUILTIN,
        examples_per_shard=100,
    ),
    SimulatedConfig(
        name="benchmark_tiny",
        description="A few scenes of the benchmark in small rooms, for tests.",
        sizes=(16, 4, 16),
        recipe=dataclasses.replace(
            recipes.AD1, num_nodes=4, num_samples=8000, rooms="pool:2"
        ),
        late_fields=ALL_THINNED,
        speech=corpora.BUILTIN,
        examples_per_shard=4,
    ),
    *_twins(),
]
