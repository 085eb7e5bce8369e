"""TFDS builder of data sets from a user's own recordings: `uld_jax.audio.sessions`.

    uld_jax prepare --config=experiments/own.py \
        --config.data.name=sessions/my_lab:1.0.0 --config.data.recordings=my_lab

An example is a window of a recording with known positions of its talkers. Example k of a
split depends on the recordings alone.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from uld_jax.audio import sessions, signals
from uld_jax.runtime import progress
from uld_jax.simulation import scenes
from uld_jax_data import scene_features, shards

_DESCRIPTION = """
Recordings by scattered microphones in one room, resampled to 16 kHz, in windows in
which somebody speaks. Audio and geometry are stored.
"""


@dataclasses.dataclass(kw_only=True)
class SessionConfig(tfds.core.BuilderConfig):
    """A data set from a session, under a name that the user chooses.

    Attributes:
        num_samples: Samples N of an example, at 16 kHz.
        examples_per_shard: Examples in one file.
        seed: Stored as in every data set; nothing is drawn.
        num_nodes: Nodes M of the session; needed only for `tfds build`, which asks for
            shapes before it opens the session.
        num_sources: Talkers S of an example; the same.
    """

    num_samples: int = sessions.NUM_SAMPLES
    examples_per_shard: int = 100
    seed: int = 2024
    num_nodes: int | None = None
    num_sources: int | None = None


class Builder(tfds.core.ShardBasedBuilder):
    """Builder of the data set of a session."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Windows end to end, of all nodes."}  # noqa: RUF012
    BUILDER_CONFIGS = ()  # Each session has its own `SessionConfig`.
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put room.csv, nodes.csv, recordings.csv and the recordings into the manual "
        "folder: docs/own_recordings.md."
    )

    def __init__(
        self,
        *,
        config: SessionConfig,
        session: sessions.Session | None = None,
        **kwargs,
    ):
        """Make the builder.

        Args:
            config: Its name is the data set's.
            session: The session, `listed`; by default that in `manual_dir`.
            **kwargs: Arguments of TFDS's builders.

        Raises:
            ValueError: If the session is not listed, or has other shapes than the
                configuration, or there is none and the configuration has none.
        """
        self._session = session
        if session is None and None in (config.num_nodes, config.num_sources):
            raise ValueError(
                "the shapes of the session are unknown; give session=sessions."
                "open_session(FOLDER).listed(), or num_nodes and num_sources of "
                "SessionConfig"
            )
        if session is not None:
            _check(session, config)
        with _no_warning():
            super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        recipe = self._recipe()
        M, S, N = recipe["num_nodes"], recipe["num_sources"], recipe["num_samples"]
        own = {
            "recording": tfds.features.Text(
                doc="Path of the recording below the session's folder."
            ),
            "start": scene_features.tensor(
                shape=(),
                dtype=np.int32,
                doc="Its first sample after the first recorder's start, at 16 kHz.",
            ),
        }
        features = scene_features.signals(M, N) | scene_features.geometry(M, S)
        features |= own | scene_features.index()
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(self._origin()),
        )

    def _recipe(self) -> dict[str, int]:
        config, session = self.builder_config, self._session
        num_nodes, num_sources = config.num_nodes, config.num_sources
        if session is not None:
            num_nodes, num_sources = len(session.nodes), session.num_sources
        return {
            "num_sources": num_sources,
            "num_nodes": num_nodes,
            "num_samples": config.num_samples,
        }

    def _origin(self) -> dict:
        """Describe all that the content depends on, for the stored metadata."""
        origin = {
            "seed": self.builder_config.seed,
            "sample_rate": signals.SAMPLE_RATE,
            "corpus": self._session.summary() if self._session else {},
            "law": self._recipe(),
        }
        if self._session:
            origin["room"] = f"session {self._session.name}"
            positions = self._training_positions()
            if len(positions) <= scenes.MOST_POSITIONS:
                origin["training_places"] = positions
        return origin

    def _training_positions(self) -> list[list[float]]:
        """List the positions [(x, y)] of the training sources, to a centimeter."""
        positions = {
            (round(float(x), 2), round(float(y), 2))
            for recording in self._session.labeled("train")
            for x, y, _ in recording.source_positions
        }
        return [list(position) for position in sorted(positions)]

    def _shard_iterators_per_split(self, dl_manager):
        """Make one generator per shard, for `tfds build`."""
        if self._session is None:
            config = self.builder_config
            opened = sessions.open_session(
                str(dl_manager.manual_dir), config.num_samples
            )
            self._session = opened.listed()
            _check(self._session, config)
        for sentence in self.shortfall():
            progress.log(sentence)
        self.info.metadata.update(self._origin())
        return shards.iterators(self)

    @property
    def size_of_split(self) -> dict[str, int]:
        """Number of examples by split."""
        sizes = {s: len(self._session.examples(s)) for s in sessions.SPLITS}
        return {split: size for split, size in sizes.items() if size}

    def shortfall(self) -> list[str]:
        """Describe the recordings that are left out, if there are any."""
        return self._session.shortfall()

    @property
    def skipped(self) -> dict[str, str]:
        """Nothing: an unusable file is an error."""
        return {}

    @property
    def expected_bytes(self) -> int:
        """Disk space of the data set, before compression."""
        recipe = self._recipe()
        samples = recipe["num_nodes"] * recipe["num_samples"]
        return sum(self.size_of_split.values()) * samples * 2

    def write_beside(self, folder: pathlib.Path) -> None:
        """Write nothing: the shards hold everything."""

    def shard(self, split: str, shard: int) -> Iterator[tuple[int, dict]]:
        """Yield the examples of one shard with their indices.

        Raises:
            signals.SignalError: If a recording turns out to be unusable.
        """
        examples = self._session.examples(split)
        for index in shards.shard_range(self, split, shard):
            recording, start = examples[index]
            window = self._session.load_window(recording, start)
            audio, gain = signals.to_stored(window)
            yield (
                index,
                {
                    "audio": audio,
                    "gain": gain,
                    "node_positions": np.float32(self._session.node_positions),
                    "source_positions": np.float32(recording.source_positions),
                    "room_size": np.float32(self._session.room_size),
                    "recording": recording.name,
                    "start": np.int32(start),
                    "index": np.int32(index),
                },
            )


@contextlib.contextmanager
def _no_warning() -> Iterator[None]:
    """Keep TFDS from warning that a configuration is not one of its builder's."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _check(session: sessions.Session, config: SessionConfig) -> None:
    """Check that a session is listed and has the configuration's shapes."""
    if session.starts is None:
        raise ValueError("the session's examples are not listed; give session.listed()")
    shapes = {
        "num_nodes": len(session.nodes),
        "num_sources": session.num_sources,
        "num_samples": session.num_samples,
    }
    for name, have in shapes.items():
        if (wanted := getattr(config, name)) not in (None, have):
            raise sessions.SessionError(
                f"{name} of {config.name!r} is {wanted}, and session "
                f"{str(session.folder)!r} has {have}; set it in SessionConfig"
            )
