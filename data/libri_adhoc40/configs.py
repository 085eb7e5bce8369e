"""The data sets of Libri-adhoc40: their names, splits, sizes and features."""

import collections
import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds

from uld_jax.audio import libri_adhoc40
from uld_jax.storage import dataset_names
from uld_jax_data import scene_features

SPLITS = ("train", "validation", "test")
_DEV = dataset_names.TRAINED_AT_SUFFIXES["dev"]
_NOWHERE = dataset_names.TRAINED_AT_SUFFIXES["nowhere"]
_DESCRIPTIONS = {
    "": "from the parts train, dev and test",
    _DEV: "trained on most talkers of the part dev, tested on the part test",
    _NOWHERE: "from the part test alone",
}


@dataclasses.dataclass(kw_only=True)
class LibriAdhoc40Config(tfds.core.BuilderConfig):
    """Sizes and splits of a data set from Libri-adhoc40.

    Attributes:
        num_sources: Sources S of an example, each at another position.
        parts: The part of the corpus that each split is taken from.
        sizes: Examples in train, validation and test, if there are so many
            utterances; a split of none is left out.
        num_nodes: Nodes M of an example, of 40.
        num_samples: Samples N of an example, at 16 kHz.
        examples_per_shard: Examples in one file.
        seed: Seed of every random stream.
    """

    num_sources: int
    parts: Mapping[str, str]
    sizes: tuple[int, int, int]
    num_nodes: int = 30
    num_samples: int = 32_000
    examples_per_shard: int = 100
    seed: int = 2024

    @property
    def size_of_split(self) -> dict[str, int]:
        """Intended number of examples, by split."""
        sizes = zip(SPLITS, self.sizes, strict=True)
        return {split: size for split, size in sizes if size}

    @property
    def needed_parts(self) -> tuple[str, ...]:
        """The parts of the corpus that are needed."""
        return tuple(dict.fromkeys(self.parts.values()))

    @property
    def training_positions(self) -> list[list[float]]:
        """Positions [(x, y)] of the training split's sources, in meters."""
        if "train" not in self.parts:
            return []
        return libri_adhoc40.part(self.parts["train"]).floor_positions

    def talkers(self, split: str) -> frozenset[str]:
        """List the talkers of a split.

        If one part feeds two splits, every fifth talker of each position, by number,
        belongs to the validation split, whether recorded or not.
        """
        part = libri_adhoc40.part(self.parts[split])
        everyone = frozenset(part.position_of)
        if list(self.parts.values()).count(part.name) == 1:
            return everyone
        at_position = collections.defaultdict(list)
        for talker in sorted(everyone, key=int):
            at_position[part.position_of[talker]].append(talker)
        held_out = frozenset(t for names in at_position.values() for t in names[4::5])
        return held_out if split == "validation" else everyone - held_out


def features(config: LibriAdhoc40Config) -> tfds.features.FeaturesDict:
    """Make the features of an example."""
    numbers = functools.partial(scene_features.tensor, dtype=np.int32)
    M, S = config.num_nodes, config.num_sources
    own = {
        "nodes": numbers(shape=(M,), doc="Numbers of the nodes, 1 to 40."),
        "positions": numbers(
            shape=(S,), doc="Numbers of the sources' loudspeaker positions."
        ),
        "utterances": tfds.features.Text(
            doc="The sources' utterances, talker-chapter-number, one a line."
        ),
        "starts": numbers(
            shape=(S,),
            doc="Where the excerpt starts in each recording, in samples at 16 kHz.",
        ),
        "levels_db": scene_features.tensor(
            shape=(S,),
            dtype=np.float32,
            doc="Mean power of the sources over all nodes, the first's at 0 dB.",
        ),
    }
    return tfds.features.FeaturesDict(
        scene_features.signals(M, config.num_samples)
        | scene_features.geometry(M, S)
        | own
        | scene_features.index()
    )


def _config(num_sources: int, ending: str, **facts) -> LibriAdhoc40Config:
    return LibriAdhoc40Config(
        name=f"ad_r{num_sources}{ending}",
        description=f"Ad-r{num_sources}, {_DESCRIPTIONS[ending]}.",
        num_sources=num_sources,
        **facts,
    )


# Data sets with one number of sources have the same test split.
CONFIGS = [
    _config(num_sources, ending, parts=parts, sizes=sizes)
    for num_sources in (1, 2)
    for ending, parts, sizes in (
        (
            "",
            {"train": "train", "validation": "dev", "test": "test"},
            (18_000, 1_800, 2_468),
        ),
        (
            _DEV,
            {"train": "dev", "validation": "dev", "test": "test"},
            (18_000, 1_800, 2_468),
        ),
        (_NOWHERE, {"test": "test"}, (0, 0, 2_468)),
    )
]
