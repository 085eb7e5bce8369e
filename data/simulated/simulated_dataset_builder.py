"""TFDS builder of the simulated data sets (Sec. 3.1).

Audio and geometry are stored; labels and features are computed in training, so one data
set serves every label scheme and resolution. Example k of a split depends on the seed,
the split and k alone, not on what was built before it or where.

    uld_jax prepare --config=experiments/l1.py

or, in this folder and with the extra `tfds`, which brings TensorFlow:

    tfds build --config=l1 --file_format=array_record --manual_dir=LIBRISPEECH

Reverberant rooms are rendered by `uld_jax.simulation.rendering`, with sums whose bits do
not depend on their order: training examples with the thinned late field, validation and
test with every image (the reduced sets: thinned, too). The engine "pyroomacoustics"
renders the same scenes.

Each data set has a compact form that stores the dry speech of the same examples instead
of their audio; `uld_jax.datasets.compact` renders it to the same audio.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

import uld_jax
from uld_jax.acoustics import constants
from uld_jax.audio import corpora, libri_adhoc40
from uld_jax.audio import signals as signals_lib
from uld_jax.datasets import compact
from uld_jax.simulation import recipes
from uld_jax_data import scene_features, shards
from uld_jax_data.simulated.configs import CONFIGS, ENGINES, PART_OF_SPLIT

_RENDER_BATCH = {"anechoic": 50, "reverberant": 10}

_DESCRIPTION = """
Rooms with scattered microphones and talkers, simulated, at 16 kHz.

L-1: one room of 6 x 6 x 4.2 m without reflections or noise; two linear arrays of
four microphones at the middle of the left and the bottom wall; the talker is
anywhere on the floor plan. Segments of 160 ms of active speech. The signals arrive
with their exact delays and with amplitude 1 / r; each scene has one gain.

Ad-1, Ad-2: reverberant rooms of 4 to 10 m by 4 to 10 m by 4.2 m, T60 from 0.2 to
1.2 s, 30 nodes, one or two talkers and one point source of noise, all in cells of
their own. Utterances of 2 s.
"""

_CITATION = """
@inproceedings{feng2024quantization,
  title = {Quantization-Error-Free Soft Label for 2D Sound Source Localization},
  author = {Feng, Linfeng and Zhang, Xiao-Lei and Li, Xuelong},
  booktitle = {International Symposium on Chinese Spoken Language Processing},
  year = {2024}
}
"""


class Builder(tfds.core.ShardBasedBuilder):
    """Builder of the simulated data sets."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {  # noqa: RUF012
        "1.0.0": "L-1 by exact delays in the frequency domain; rooms by images.",
    }
    BUILDER_CONFIGS = (
        CONFIGS
        + [config.held_out() for config in CONFIGS]
        + [config.compact_form() for config in CONFIGS]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put train-clean-360, dev-clean and test-clean of LibriSpeech (openslr.org/12), "
        "or folders train, dev and test of audio files, into the manual folder."
    )

    def __init__(
        self,
        *,
        corpus: corpora.Corpus | None = None,
        noise: corpora.Corpus | None = None,
        noise_field: str = "point",
        engine: str = "jax",
        **kwargs,
    ):
        """Make the builder.

        Args:
            corpus: The speech; by default the configuration's.
            noise: The noise, for a noisy recipe; by default the built-in.
            noise_field: Where the noise comes from, one of `rooms.NOISES`.
            engine: The renderer of reverberant rooms, one of `ENGINES`.
            **kwargs: Arguments of TFDS's builders.

        Raises:
            ValueError: If the engine is unknown, or cannot make such noise.
        """
        if engine == "pyroomacoustics" and noise_field != "point":
            raise ValueError(
                f"engine 'pyroomacoustics' has no {noise_field} noise; use 'jax'"
            )
        if engine not in ENGINES:
            raise ValueError(f"engine is {engine!r}; there are {', '.join(ENGINES)}")
        self._corpus = corpus
        self._noise = noise
        self._noise_field = noise_field
        self._engine = engine
        super().__init__(**kwargs)

    @property
    def recipe(self) -> recipes.Recipe:
        """How examples are drawn and rendered."""
        return dataclasses.replace(self.builder_config.recipe, noise=self._noise_field)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        tensor = scene_features.tensor
        M, S = config.recipe.num_nodes, config.recipe.num_sources
        signals = scene_features.signals(M, config.recipe.num_samples)
        if config.compact:
            signals = {
                "dry": tensor(
                    shape=(S, config.recipe.num_dry),
                    dtype=np.int16,
                    doc="Dry speech of the sources, 16 kHz, each with its own peak.",
                )
            }
        own = {
            "utterances": tfds.features.Text(
                doc="The sources' dry files below the corpus folder, one a line."
            ),
            "starts": tensor(
                shape=(S,),
                dtype=np.int32,
                doc="Where the segment starts in each utterance, in samples at 16 kHz.",
            ),
        }
        features = signals | scene_features.geometry(M, S) | own
        features |= scene_features.index()
        if config.recipe.noisy:
            scalar = functools.partial(tensor, shape=(), dtype=np.float32)
            features |= {
                "t60": scalar(doc="Reverberation time by Sabine, in seconds."),
                "snr_db": scalar(
                    doc="Power of the speech over the noise, means over the nodes, dB."
                ),
                "levels_db": tensor(
                    shape=(S,), dtype=np.float32, doc="Power of the sources' segments."
                ),
                "noise_position": tensor(
                    shape=(3,), dtype=np.float32, doc="(x, y, z) in meters."
                ),
                "noise": tfds.features.Text(
                    doc="The noise's file below the corpus folder."
                ),
                "noise_start": scalar(
                    dtype=np.int32, doc="Where its segment starts, in samples."
                ),
                "seed": scalar(dtype=np.uint32, doc="Seed of the thinned late field."),
            }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            homepage="https://openreview.net/forum?id=lZYA16POxK",
            citation=_CITATION,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(self._origin()),
        )

    def _origin(self) -> dict:
        """Describe all that the content depends on, for the stored metadata."""
        config = self.builder_config
        origin = {
            "seed": config.seed,
            "sample_rate": constants.SAMPLE_RATE,
            "corpus": self._corpus.summary() if self._corpus else {},
        }
        if (positions := config.recipe.training_positions) is not None:
            origin |= {"room": libri_adhoc40.ROOM, "training_places": positions}
        if config.recipe.noisy:
            origin["noise"] = self._noise.summary() if self._noise else {}
        if config.compact:
            # The noise field and what is in the rooms are chosen later, when the
            # examples are rendered.
            recipe = dataclasses.asdict(config.recipe)
            del recipe["noise"], recipe["furnishing"]
            return origin | {"law": recipe, "late_fields": config.late_fields_by("jax")}
        version = f"uld_jax {uld_jax.__version__}"
        if config.recipe.kind == "anechoic":
            return origin | {"simulator": f"{version}, anechoic"}
        return origin | {
            "simulator": f"{version}, {self._engine}",
            "engine": self._engine,
            "late_fields": config.late_fields_by(self._engine),
            "law": self.recipe.describe("thinned", deterministic=True),
        }

    def _shard_iterators_per_split(self, dl_manager):
        """Make one generator per shard, for `tfds build`."""
        if self._corpus is None:
            speech = self.builder_config.speech or dl_manager.manual_dir
            self._corpus = corpora.open_speech(
                speech, min_samples=self.builder_config.recipe.num_samples
            )
        if self._noise is None and self.builder_config.recipe.noisy:
            self._noise = corpora.open_noise(corpora.BUILTIN)
        self.info.metadata.update(self._origin())
        self.write_beside(self.data_path)
        return shards.iterators(self)

    @property
    def size_of_split(self) -> dict[str, int]:
        """Number of examples by split."""
        return self.builder_config.size_of_split

    @property
    def skipped(self) -> dict[str, str]:
        """Files of the corpus left out so far, name to reason."""
        return self._corpus.skipped | (self._noise.skipped if self._noise else {})

    @property
    def expected_bytes(self) -> int:
        """Disk space of the data set, before compression."""
        recordings = [u for split in self._noise_files for u in self._recordings(split)]
        noise_bytes = 2 * sum(map(signals_lib.num_samples, recordings))
        return self.builder_config.expected_bytes + noise_bytes

    def write_beside(self, folder: pathlib.Path) -> None:
        """Write the noises of a compact data set beside its shards."""
        for split, name in self._noise_files.items():
            if not (path := pathlib.Path(folder) / name).exists():
                compact.write_noises(path, self._recordings(split))

    @property
    def _noise_files(self) -> dict[str, str]:
        config = self.builder_config
        if not (config.compact and config.recipe.noisy):
            return {}
        return {split: compact.noise_file(split) for split in config.size_of_split}

    def _recordings(self, split: str) -> tuple[signals_lib.Utterance, ...]:
        return self._noise.utterances[PART_OF_SPLIT[split]]

    def shard(self, split: str, shard: int) -> Iterator[tuple[int, dict]]:
        """Yield the examples of one shard with their indices.

        Raises:
            signals.CorpusError: If the corpus has no usable speech.
        """
        indices = iter(shards.shard_range(self, split, shard))
        batch_size = _RENDER_BATCH[self.builder_config.recipe.kind]
        while batch := list(itertools.islice(indices, batch_size)):
            yield from zip(batch, self._examples(split, batch), strict=True)

    def _draw(self, split: str, index: int) -> recipes.Drawn:
        """Draw an example."""
        rng = example_rng(self.builder_config.seed, split, index)
        part = self.recipe.group(PART_OF_SPLIT[split], index)
        return self.recipe.draw_from(self._corpus, self._noise, part, rng)

    def _examples(self, split: str, indices: list[int]) -> Iterator[dict]:
        """Yield the examples of a few indices, made together."""
        recipe = self.recipe
        drawn = [self._draw(split, index) for index in indices]
        if self.builder_config.compact:
            stored = [{"dry": _speech(example)} for example in drawn]
        else:
            stored = self._rendered(split, indices, drawn)
        for index, example, signals in zip(indices, drawn, stored, strict=True):
            features = signals | {
                "node_positions": example.scene.node_positions,
                "source_positions": example.scene.source_positions,
                "room_size": example.scene.room_size,
                "utterances": "\n".join(e.utterance.name for e in example.speech),
                "starts": np.array([e.start for e in example.speech], np.int32),
                "index": np.int32(index),
            }
            if recipe.noisy:
                features |= {
                    "t60": np.float32(example.scene.t60),
                    "snr_db": np.float32(example.scene.snr_db),
                    "levels_db": example.levels_db,
                    "noise_position": example.scene.noise_position,
                    "noise": example.noise.utterance.name,
                    "noise_start": np.int32(example.noise.start),
                    "seed": np.uint32(example.seed),
                }
            yield features

    def _rendered(
        self, split: str, indices: list[int], drawn: list[recipes.Drawn]
    ) -> list[dict]:
        """Render the audio of examples, and its gain."""
        filling = []
        if self._engine == "jax":
            # All batches have one size, so that they share one compilation.
            filling = drawn[-1:] * (_RENDER_BATCH[self.recipe.kind] - len(drawn))
        signals = self._signals(split, drawn + filling)
        for index, signal in zip(indices, signals, strict=False):
            if not np.isfinite(signal).all():
                raise FloatingPointError(f"example {index} of {split!r} is not finite")
        audio, gain = map(np.asarray, recipes.to_stored(signals))
        return [{"audio": audio[k], "gain": gain[k]} for k in range(len(drawn))]

    def _signals(self, split: str, drawn: list[recipes.Drawn]) -> np.ndarray:
        """Render the signals at the nodes, [B, M, N].

        Reverberant rooms are rendered from 16-bit signals, as the compact form stores.
        """
        recipe, noise = self.recipe, None
        if recipe.noisy:
            dry = signals_lib.to_float(
                np.stack([_speech(example) for example in drawn])
            )
            noise = signals_lib.to_float(
                np.stack([_noise(example) for example in drawn])
            )
        else:
            dry = np.stack([[e.samples for e in example.speech] for example in drawn])
        if recipe.noisy and self._engine == "pyroomacoustics":
            from uld_jax_data.simulated import pyroomacoustics_engine

            return pyroomacoustics_engine.render(recipe, drawn, dry, noise)
        late = self.builder_config.late_fields[split]
        return np.asarray(
            recipe.render(drawn, dry, noise, late=late, deterministic=True)
        )


def _speech(example: recipes.Drawn) -> np.ndarray:
    """Convert dry speech [S, D] to 16 bits."""
    return np.stack(
        [signals_lib.to_int16(excerpt.samples) for excerpt in example.speech]
    )


def _noise(example: recipes.Drawn) -> np.ndarray:
    """Convert noise [D] to 16 bits, as cut from its recording in 16 bits."""
    peak = float(np.abs(signals_lib.load(example.noise.utterance)).max())
    return signals_lib.to_int16(example.noise.samples, peak)


def example_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Seed the random stream of one example, whatever is built before it."""
    return np.random.default_rng([seed, list(PART_OF_SPLIT).index(split), index])
