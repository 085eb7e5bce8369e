"""TFDS builder of the data sets from Libri-adhoc40 (Sec. 3.1, Ad-r1 and Ad-r2).

Real recordings of one room with 40 microphones on one clock. An example holds 2 s
of 30 of them, drawn for it; one of two sources is the sum of two recordings by the
same microphones from two positions. Example k of a split depends on the seed, the
split, k and the recordings alone.

In this folder and with the extra `tfds`, which brings TensorFlow:

    tfds build --config=ad_r1_test --file_format=array_record --manual_dir=FOLDER

Examples of all splits have 30 nodes; in training, a network may be given other ones of
them each time.
"""

import functools
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from uld_jax.audio import libri_adhoc40, libri_adhoc40_files
from uld_jax.audio import signals as signals_lib
from uld_jax.runtime import progress
from uld_jax.simulation import scenes
from uld_jax_data import shards
from uld_jax_data.libri_adhoc40 import configs

_DESCRIPTION = """
Libri-adhoc40: LibriSpeech, replayed by a loudspeaker in a real room of 9.8 x 10.3 x
4.2 m that reverberates for 0.9 s, recorded by 40 scattered microphones on one clock.

Utterances of 2 s by 30 of the microphones, at 16 kHz. Ad-r1 has one source, Ad-r2 the
sum of two from different positions. Audio and geometry are stored.
"""

_CITATION = """
@inproceedings{guan2021libri,
  title = {Libri-adhoc40: A dataset collected from synchronized ad-hoc microphone
    arrays},
  author = {Guan, Shanzheng and others},
  booktitle = {Asia-Pacific Signal and Information Processing Association Annual
    Summit and Conference},
  year = {2021}
}
"""


class Builder(tfds.core.ShardBasedBuilder):
    """Builder of the data sets from Libri-adhoc40."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {  # noqa: RUF012
        "1.0.0": "One source, and sums of two from different positions.",
    }
    BUILDER_CONFIGS = configs.CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Unpack the archives of Libri-adhoc40 into the manual folder: adhoc40-test for
    ad_r1_test and ad_r2_test; adhoc40-dev, too, for ad_r1_dev and ad_r2_dev; all
    three for ad_r1 and ad_r2. The README of github.com/ISmallFish/Libri-adhoc40 links
    the first two. The training part had no public link in April 2023: ask the authors
    of Libri-adhoc40 for it. Then there are, each for channels 1 to 40,

        adhoc40-train/pos <1 to 8, 9u, 9d>/<talker>/<chapter>/<utterance>-ch-1.wav
        adhoc40-dev/pos <5 to 8>/<talker>/<chapter>/<utterance>-ch-1.wav
        adhoc40-test/pos <1 to 4>/<talker>/<chapter>/<utterance>-ch-1.wav

    such as adhoc40-test/pos 2/61/70968/61-70968-0000-ch-1.wav. With a folder for each
    utterance, adhoc40-test/pos2/61/70968/61-70968-0000/61-70968-0000-ch-1.wav, they
    are as good.
    """

    def __init__(
        self, *, material: libri_adhoc40_files.Material | None = None, **kwargs
    ):
        """Make the builder.

        Args:
            material: The recordings; by default those in `manual_dir`.
            **kwargs: Arguments of TFDS's builders.

        Raises:
            ArchiveError: If there are none for a split, or at too few positions.
        """
        self._material = material
        super().__init__(**kwargs)
        if material is not None:
            self._check()

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=configs.features(self.builder_config),
            homepage="https://github.com/ISmallFish/Libri-adhoc40",
            citation=_CITATION,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(self._origin()),
        )

    def _origin(self) -> dict:
        """Describe all that the content depends on, for the stored metadata."""
        config, corpus = self.builder_config, {}
        if self._material and config.parts["test"] in self._material.utterances:
            corpus = self._material.summary()
            # The same for all data sets with the same test split.
            test = self._material.fingerprint([config.parts["test"]])
            corpus["test_fingerprint"] = test
        return {
            "seed": config.seed,
            "sample_rate": signals_lib.SAMPLE_RATE,
            "corpus": corpus,
            "parts": dict(config.parts),
            "training_places": config.training_positions,
            "room": libri_adhoc40.ROOM,
            "law": {
                "num_sources": config.num_sources,
                "num_nodes": config.num_nodes,
                "num_samples": config.num_samples,
            },
        }

    def _shard_iterators_per_split(self, dl_manager):
        """Make one generator per shard, for `tfds build`."""
        if self._material is None:
            self._material = libri_adhoc40_files.open_material(
                dl_manager.manual_dir, self.builder_config.needed_parts
            )
            self._check()
        for sentence in self.shortfall():
            progress.log(sentence)
        self.info.metadata.update(self._origin())
        return shards.iterators(self)

    def _check(self) -> None:
        """Check that there are recordings for every split."""
        config, material = self.builder_config, self._material
        if missing := set(config.needed_parts) - material.utterances.keys():
            raise libri_adhoc40_files.ArchiveError(
                f"{config.name} needs the part {min(missing)!r} of Libri-adhoc40, and "
                f"{material.name!r} was opened with {', '.join(material.utterances)}; "
                f"open {', '.join(config.needed_parts)}"
            )
        for split in config.size_of_split:
            positions = {u.position for u in self._first_sources[split]}
            if len(positions) < config.num_sources:
                talkers = ", ".join(sorted(config.talkers(split), key=int)[:5])
                raise libri_adhoc40_files.ArchiveError(
                    f"split {split!r} of {config.name} has utterances at "
                    f"{len(positions)} positions and needs {config.num_sources}; "
                    f"add more talkers of adhoc40-{config.parts[split]} to "
                    f"{str(material.folder)!r}, such as {talkers}"
                )

    @functools.cached_property
    def _first_sources(
        self,
    ) -> dict[str, tuple[libri_adhoc40_files.RecordedUtterance, ...]]:
        """Utterances of each split, in the order in which they are first sources."""
        config = self.builder_config
        ordered = {}
        for split, part in config.parts.items():
            talkers = config.talkers(split)
            mine = [u for u in self._material.utterances[part] if u.talker in talkers]
            # Four numbers, so that this stream differs from that of any example.
            rng = np.random.default_rng(
                [config.seed, configs.SPLITS.index(split), 0, 1]
            )
            ordered[split] = tuple(mine[k] for k in rng.permutation(len(mine)))
        return ordered

    @property
    def size_of_split(self) -> dict[str, int]:
        """Number of examples by split; before recordings are opened, the intended one.

        Each utterance is the first source of at most one example.
        """
        wanted = self.builder_config.size_of_split
        if self._material is None:
            return wanted
        return {
            split: min(size, len(self._first_sources[split]))
            for split, size in wanted.items()
        }

    def shortfall(self) -> list[str]:
        """Describe each part and split that is smaller than it should be."""
        config, sizes = self.builder_config, self.size_of_split
        return self._material.shortfall() + [
            f"split {split!r} of {config.name} has {sizes[split]:,} examples, not "
            f"{wanted:,}: adhoc40-{config.parts[split]} has no more utterances for it"
            for split, wanted in config.size_of_split.items()
            if sizes[split] < wanted
        ]

    @property
    def skipped(self) -> dict[str, str]:
        """Nothing: an unusable file is an error."""
        return {}

    @property
    def expected_bytes(self) -> int:
        """Disk space of the data set, before compression."""
        config = self.builder_config
        samples = config.num_nodes * config.num_samples
        return sum(self.size_of_split.values()) * samples * 2

    def write_beside(self, folder: pathlib.Path) -> None:
        """Write nothing: the shards hold everything."""

    def shard(self, split: str, shard: int) -> Iterator[tuple[int, dict]]:
        """Yield the examples of one shard with their indices.

        Raises:
            ArchiveError: If a recording turns out to be unusable.
        """
        for index in shards.shard_range(self, split, shard):
            yield index, self._example(split, index)

    def _example(self, split: str, index: int) -> dict:
        """Make an example.

        The paper does not say how it mixes two sources. We draw the second from the
        other positions of the split, hence of another talker, and its mean power over
        all nodes within 2.5 dB of the first's.
        """
        config = self.builder_config
        rng = example_rng(config.seed, split, index)
        part = libri_adhoc40.part(config.parts[split])
        nodes = np.sort(rng.choice(len(part.nodes), config.num_nodes, replace=False))
        utterance = self._first_sources[split][index]
        signals, start = self._excerpt(utterance, nodes + 1, rng)
        utterances, starts, levels = [utterance], [start], [0.0]
        power = (signals**2).mean()
        for _ in range(1, config.num_sources):
            utterance = self._elsewhere(split, utterances, rng)
            level = rng.uniform(-scenes.LEVEL_RANGE_DB, scenes.LEVEL_RANGE_DB)
            more, start = self._excerpt(utterance, nodes + 1, rng)
            scale = np.sqrt(power * 10 ** (level / 10) / (more**2).mean())
            signals = signals + scale * more
            utterances.append(utterance)
            starts.append(start)
            levels.append(level)
        audio, gain = signals_lib.to_stored(signals)
        positions = [u.position for u in utterances]
        return {
            "audio": audio,
            "gain": gain,
            "node_positions": np.float32(part.nodes[nodes]),
            "source_positions": np.float32([part.positions[n] for n in positions]),
            "room_size": np.float32(libri_adhoc40.room_size()),
            "nodes": np.int32(nodes + 1),
            "positions": np.int32(positions),
            "utterances": "\n".join(u.name for u in utterances),
            "starts": np.int32(starts),
            "levels_db": np.float32(levels),
            "index": np.int32(index),
        }

    def _elsewhere(
        self,
        split: str,
        utterances: list[libri_adhoc40_files.RecordedUtterance],
        rng: np.random.Generator,
    ) -> libri_adhoc40_files.RecordedUtterance:
        """Draw an utterance of a split from another position than the given ones."""
        taken = {u.position for u in utterances}
        free = [u for u in self._first_sources[split] if u.position not in taken]
        return free[rng.integers(len(free))]

    def _excerpt(
        self,
        utterance: libri_adhoc40_files.RecordedUtterance,
        nodes: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, int]:
        """Draw a stretch of active speech; return it [M, N], and its first sample."""
        first, last = utterance.usable
        signals = self._material.read(utterance, nodes, first, last).astype(np.float64)
        num_samples = self.builder_config.num_samples
        try:
            starts = signals_lib.active_starts(signals, num_samples)
        except signals_lib.CorpusError as error:
            raise libri_adhoc40_files.ArchiveError(
                f"{str(self._material.folder / utterance.file('*'))!r} is {error} "
                "between its head and its tail; remove that utterance"
            ) from None
        start = int(starts[rng.integers(len(starts))])
        return signals[:, start : start + num_samples], first + start


def example_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Seed the random stream of one example, whatever is built before it."""
    return np.random.default_rng([seed, configs.SPLITS.index(split), index])
