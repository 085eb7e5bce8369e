"""TFDS builder of the simulated data sets (Sec. 3.1).

Audio and geometry are stored; labels and features are made in training, so one
data set serves every label scheme and resolution. Example k of a split depends
on the seed, the split and k alone, whatever was built before it and wherever.

    python -m uld_jax.prepare --config=experiments/l1.py

or, in this folder and with the extra `tfds`, which brings TensorFlow:

    tfds build --config=l1 --file_format=array_record --manual_dir=LIBRISPEECH
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

import uld_jax
from uld_jax import corpora, rendering, scenes

SPLITS = {"train": "train", "validation": "dev", "test": "test"}  # To the corpus's.

_RENDER_BATCH = 50
_PEAK = 30_000

_DESCRIPTION = """
Rooms with scattered microphones and one talker, simulated, at 16 kHz.

L-1: one room of 6 x 6 x 4.2 m without reflections or noise; two linear arrays of
four microphones at the middle of the left and the bottom wall; the talker is
anywhere on the floor plan. Segments of 160 ms of active speech. The signals arrive
with their exact delays and with amplitude 1 / r; each scene has one gain.
"""

_CITATION = """
@inproceedings{feng2024quantization,
  title = {Quantization-Error-Free Soft Label for 2D Sound Source Localization},
  author = {Feng, Linfeng and Zhang, Xiao-Lei and Li, Xuelong},
  booktitle = {International Symposium on Chinese Spoken Language Processing},
  year = {2024}
}
"""


@dataclasses.dataclass(kw_only=True)
class SimulatedConfig(tfds.core.BuilderConfig):
    """How many examples of which law.

    Attributes:
        sizes: Examples in train, validation and test.
        speech: "builtin" for built-in signals; empty for a speech corpus that
            the command or `--manual_dir` names.
        num_samples: Segment length N.
        num_nodes: Nodes M of a scene.
        num_sources: Sources S of a scene.
        examples_per_shard: Examples in one file.
        seed: Seed of every random stream.
    """

    sizes: tuple[int, int, int]
    speech: str = ""
    num_samples: int = 2560
    num_nodes: int = 2 * scenes.L1_NODES_PER_ARRAY
    num_sources: int = 1
    examples_per_shard: int = 1000
    seed: int = 2024

    @property
    def size_of_split(self) -> dict[str, int]:
        """Number of examples by split."""
        return dict(zip(SPLITS, self.sizes, strict=True))

    @property
    def num_shards(self) -> dict[str, int]:
        """Number of files by split."""
        return {
            split: -(-size // self.examples_per_shard)
            for split, size in self.size_of_split.items()
        }

    @property
    def expected_bytes(self) -> int:
        """Disk space of the audio, before compression."""
        return sum(self.sizes) * self.num_nodes * self.num_samples * 2


class Builder(tfds.core.ShardBasedBuilder):
    """Builder of the simulated data sets."""

    VERSION = tfds.core.Version("1.0.0")
    EXAMPLES_PER_SECOND = 400  # Of one process, on a core of 2023.
    RELEASE_NOTES = {  # noqa: RUF012
        "1.0.0": "L-1 by exact delays in the frequency domain.",
    }
    BUILDER_CONFIGS = [  # noqa: RUF012
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
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put train-clean-360, dev-clean and test-clean of LibriSpeech (openslr.org/12), "
        "or folders train, dev and test of audio files, into the manual folder."
    )

    def __init__(self, *, corpus: corpora.Corpus | None = None, **kwargs):
        """Make the builder; `corpus` is the speech, else the configuration's."""
        self._corpus = corpus
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        tensor = functools.partial(tfds.features.Tensor, encoding="bytes")
        M, S = config.num_nodes, config.num_sources
        features = {
            "audio": tensor(
                shape=(M, config.num_samples),
                dtype=np.int16,
                doc="Signals at the nodes, 16 kHz, on one clock; divide by `gain`.",
            ),
            "gain": tensor(
                shape=(),
                dtype=np.float32,
                doc="Factor of the whole scene between the signals and `audio`.",
            ),
            "node_positions": tensor(
                shape=(M, 3), dtype=np.float32, doc="(x, y, z) of the nodes in meters."
            ),
            "source_positions": tensor(
                shape=(S, 3),
                dtype=np.float32,
                doc="(x, y, z) of the sources in meters.",
            ),
            "room_size": tensor(
                shape=(3,), dtype=np.float32, doc="Sides of the room in meters."
            ),
            "utterances": tfds.features.Text(
                doc="The sources' dry files below the corpus folder, one a line."
            ),
            "starts": tensor(
                shape=(S,),
                dtype=np.int32,
                doc="Where the segment starts in each utterance, in samples at 16 kHz.",
            ),
            "index": tensor(
                shape=(), dtype=np.int32, doc="Number of the example in its split."
            ),
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
        """Return what the content depends on, for the stored metadata."""
        return {
            "seed": self.builder_config.seed,
            "sample_rate": rendering.SAMPLE_RATE,
            "simulator": f"uld_jax {uld_jax.__version__}, anechoic",
            "corpus": self._corpus.summary() if self._corpus else {},
        }

    def _shard_iterators_per_split(self, dl_manager):
        """Return one generator a shard; TFDS's own way to build."""
        if self._corpus is None:
            speech = self.builder_config.speech or dl_manager.manual_dir
            self._corpus = corpora.open_speech(
                speech, min_samples=self.builder_config.num_samples
            )
            self.info.metadata.update(self._origin())
        return {
            split: [functools.partial(self.shard, split, s) for s in range(num_shards)]
            for split, num_shards in self.builder_config.num_shards.items()
        }

    @property
    def skipped(self) -> dict[str, str]:
        """Files of the corpus left out so far, name to reason."""
        return self._corpus.skipped

    def shard(self, split: str, shard: int) -> Iterator[tuple[int, dict]]:
        """Yield the examples of one shard with their indices.

        Raises:
            corpora.CorpusError: If the corpus has no usable speech.
        """
        config = self.builder_config
        first = shard * config.examples_per_shard
        last = min(first + config.examples_per_shard, config.size_of_split[split])
        indices = iter(range(first, last))
        while batch := list(itertools.islice(indices, _RENDER_BATCH)):
            yield from zip(batch, self._render(split, batch), strict=True)

    def _render(self, split: str, indices: list[int]) -> Iterator[dict]:
        """Yield the examples of a few indices, rendered together."""
        config = self.builder_config
        before, after = rendering.excerpt_margins(_largest_distance())
        drawn = []
        for index in indices:
            rng = example_rng(config.seed, split, index)
            scene = scenes.draw_l1(rng)
            excerpts = [
                self._corpus.draw(SPLITS[split], rng, config.num_samples, before, after)
                for _ in range(config.num_sources)
            ]
            drawn.append((scene, excerpts))
        # Batches have one size, so that one compilation serves them all.
        padded = drawn + drawn[-1:] * (_RENDER_BATCH - len(drawn))
        signals = _render_batch(
            jnp.asarray(np.stack([[e.samples for e in ex] for _, ex in padded])),
            _direct_paths([scene for scene, _ in padded]),
            before=before,
            num_samples=config.num_samples,
        )
        for index, (scene, excerpts), signal in zip(
            indices, drawn, np.asarray(signals), strict=False
        ):
            gain = np.float32(_PEAK / max(np.abs(signal).max(), 1e-9))
            yield {
                "audio": np.round(signal * gain).astype(np.int16),
                "gain": gain,
                "node_positions": scene.node_positions,
                "source_positions": scene.source_positions,
                "room_size": scene.room_size,
                "utterances": "\n".join(e.utterance.name for e in excerpts),
                "starts": np.array([e.start for e in excerpts], np.int32),
                "index": np.int32(index),
            }


@functools.partial(jax.jit, static_argnames=("before", "num_samples"))
def _render_batch(dry, paths, *, before, num_samples):
    render = functools.partial(
        rendering.render_anechoic, before=before, num_samples=num_samples
    )
    return jax.vmap(render)(dry, paths)


def _direct_paths(drawn: list[scenes.Scene]) -> rendering.DirectPaths:
    """Return the direct paths of several scenes, stacked."""
    paths = [
        rendering.direct_paths(scene.source_positions, scene.node_positions)
        for scene in drawn
    ]
    return jax.tree.map(lambda *parts: np.stack(parts), *paths)


def _largest_distance() -> float:
    """Return the diagonal of the room of L-1, in meters."""
    return float(np.linalg.norm([scenes.L1_SIDE, scenes.L1_SIDE, scenes.HEIGHT]))


def example_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Return the random stream of one example, whatever is built before it."""
    return np.random.default_rng([seed, list(SPLITS).index(split), index])
