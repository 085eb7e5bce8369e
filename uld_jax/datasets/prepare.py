"""Prepare the data set that an experiment names, where it is missing.

Only this module imports the builders (`data/`), and only when one is needed: training
on prepared data works without the libraries that make them.
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
from typing import Any

import numpy as np

from uld_jax.audio import corpora, libri_adhoc40_files, sessions
from uld_jax.datasets import files, origin, perturbations, pipeline
from uld_jax.networks import build
from uld_jax.runtime import progress
from uld_jax.simulation import scenes
from uld_jax.storage import dataset_names

_SIMULATED, _SESSIONS = "simulated", "sessions"


@dataclasses.dataclass(frozen=True)
class DatasetBuilder:
    """A builder and the configuration with which it makes one data set.

    Attributes:
        kind: Name of the builder: "simulated", "libri_adhoc40" or "sessions".
        builder: Its class.
        config: Its configuration.
    """

    kind: str
    builder: type[Any]
    config: Any

    @property
    def simulated(self) -> bool:
        """Whether it renders signals; otherwise they were recorded."""
        return self.kind == _SIMULATED

    @property
    def num_sources(self) -> int | None:
        """Sources of an example; None where the recordings decide."""
        if self.simulated:
            return self.config.recipe.num_sources
        return getattr(self.config, "num_sources", None)


def builders_by_name() -> dict[str, DatasetBuilder]:
    """List the builders of all data sets that have a name of their own, by name."""
    from uld_jax_data.libri_adhoc40 import libri_adhoc40_dataset_builder as adhoc40
    from uld_jax_data.simulated import simulated_dataset_builder as simulated

    classes = {_SIMULATED: simulated.Builder, "libri_adhoc40": adhoc40.Builder}
    builders = {
        f"{kind}/{config.name}:{cls.VERSION}": DatasetBuilder(kind, cls, config)
        for kind, cls in classes.items()
        for config in cls.BUILDER_CONFIGS
    }
    # `data.source` asks for the other forms, no name does.
    return {
        name: builder
        for name, builder in builders.items()
        if dataset_names.DatasetName.parse(name).form == "whole"
    }


def find_builder(name: str) -> DatasetBuilder:
    """Find the builder of a data set by its name.

    Raises:
        files.DatasetError: If there is none.
    """
    builders = builders_by_name()
    if name in builders:
        return builders[name]
    from uld_jax_data.sessions import sessions_dataset_builder

    cls = sessions_dataset_builder.Builder
    parsed = dataset_names.DatasetName.parse(name)
    if parsed.builder == _SESSIONS and parsed.version == str(cls.VERSION):
        config = sessions_dataset_builder.SessionConfig(name=parsed.config)
        return DatasetBuilder(_SESSIONS, cls, config)
    raise files.DatasetError(
        f"no data set {name!r} to prepare; there are {', '.join(builders)}, and "
        f"{_SESSIONS}/NAME:{cls.VERSION} for recordings of your own"
    )


def dataset_path(config: Any) -> pathlib.Path:
    """Locate the data set of an experiment, prepared or not.

    For training on the fly, that is its validation and test splits alone, or, where
    it is prepared, the whole.

    Raises:
        dataset_names.DatasetNameError: If no data set can have its name.
        files.DatasetError: If it has recordings, and `data.source` asks to render it.
    """
    data, name = config.data, dataset_names.DatasetName.parse(config.data.name)
    whole = name.folder(data.dir)
    if data.source == "prepared":
        return whole
    if name.builder != _SIMULATED:
        raise files.DatasetError(
            f"{data.name} has recordings, which cannot be rendered {data.source} or "
            "under other conditions; pass --config.data.source=prepared"
        )
    if data.source == "compact":
        return name.with_form("compact").folder(data.dir)
    held_out = name.with_form("held_out").folder(data.dir)
    ready = [path for path in (held_out, whole) if files.is_prepared(path)]
    return (ready or [held_out])[0]


def planned_sources(config: Any) -> int | None:
    """Count the sources of a data set yet to be prepared; None where that is unknown.

    Raises:
        files.DatasetError: If there is no such data set.
    """
    if files.is_prepared(dataset_path(config)):
        return None
    return find_builder(config.data.name).num_sources


def planned_scene(config) -> scenes.Scene | None:
    """Draw a scene as a data set yet to be prepared will have; None where unknown.

    Raises:
        files.DatasetError: If there is no such data set.
    """
    if files.is_prepared(dataset_path(config)):
        return None
    found = find_builder(config.data.name)
    if not found.simulated:
        return None
    return found.config.recipe.draw_scene(np.random.default_rng(0), "test")


def ensure_prepared(
    config: Any,
    processes: int | None = None,
    allowed: bool = True,
    beam_options: str | None = None,
    splits: tuple[str, ...] = (),
) -> pathlib.Path:
    """Prepare the data set of an experiment, unless it is there.

    What training would refuse is refused before the work.

    Args:
        config: Settings, as `config.resolve` returns them.
        processes: Worker processes; one for each core by default.
        allowed: Whether a missing data set may be prepared.
        beam_options: Options of the Apache Beam pipeline that prepares it; without
            them, processes of this machine do.
        splits: Splits that are needed; a data set without one is not prepared.

    Returns:
        Its folder.

    Raises:
        files.DatasetError: If it is missing and may not be prepared, is unknown, is
            damaged, lacks a split, does not fit the network, has another sample rate,
            or was prepared from other signals or by other settings of its builder.
        uld_jax_data.shards.PrepareError: If it could not be prepared.
        CorpusError, ArchiveError, SessionError, SignalError: If speech, noise or
            recordings cannot be used.
    """
    path = dataset_path(config)
    if files.is_prepared(path):
        _check_origin(path, config.data)
        return path
    if not allowed:
        raise files.DatasetError(
            f"{str(path)!r} is not there; prepare it with uld_jax prepare, the same "
            f"--config and --config... flags and --config.data.source="
            f"{config.data.source}, or leave --noprepare out"
        )
    from uld_jax_data import pool, shards

    found = find_builder(config.data.name)
    make_builder, made_of = (_simulated if found.simulated else _recorded)(
        config, found
    )
    builder = make_builder()
    _check_splits(config, builder.size_of_split, splits)
    if "train" in splits and not found.simulated:
        _check_size(config, builder.size_of_split["train"])
    processes = processes or len(os.sched_getaffinity(0))
    executor, how = pool.executor(processes), f"with {processes} processes"
    if beam_options is not None:
        from uld_jax_data import beam_pipeline

        executor = beam_pipeline.executor(beam_options, processes)
        how = "with Apache Beam"
    elif found.simulated:
        seconds = builder.builder_config.core_seconds(config.data.engine)
        how = f"about {max(1, round((seconds / processes + 10) / 60))} min {how}"
    progress.log(
        f"Preparing {found.kind}/{builder.builder_config.name} in {path}: "
        f"{sum(builder.size_of_split.values()):,} examples, "
        f"{builder.expected_bytes / 1e9:.2f} GB, {how}; {made_of}"
    )
    shards.prepare(make_builder, executor)
    return path


def _check_origin(path: pathlib.Path, data) -> None:
    """Raise if a prepared data set is not the one that the settings ask for."""
    stored = files.describe(path)
    files.check_sample_rate(path, stored)
    kind = dataset_names.DatasetName.parse(data.name).builder
    if kind != _SIMULATED:
        origin.check_recordings(path, stored, data, is_session=kind == _SESSIONS)
        return
    origin.check_signals(path, stored, data)
    # The builder of a stored data set may no longer exist.
    if builder := builders_by_name().get(data.name):
        origin.check_settings(path, stored, builder.config, data)


def open_corpora(
    data: Any, builder_config: Any
) -> tuple[corpora.Corpus, corpora.Corpus | None]:
    """Open the speech of an experiment and, where its rooms are noisy, the noise.

    Raises:
        files.DatasetError: If the data set needs other speech.
        CorpusError: If a corpus cannot be used.
    """
    if builder_config.speech not in ("", data.speech):
        raise files.DatasetError(
            f"{data.name} is made of the speech {builder_config.speech!r}; set "
            f"--config.data.speech={builder_config.speech}"
        )
    recipe = builder_config.recipe
    speech = corpora.open_speech(
        data.speech, tuple(data.speech_splits), recipe.num_samples
    )
    return speech, corpora.open_noise(data.noise) if recipe.noisy else None


def epoch_size(config: Any, builder_config: Any) -> int:
    """Count the examples of an epoch on the fly: by default as many as prepared.

    Raises:
        files.DatasetError: If they are fewer than a batch.
    """
    examples = config.data.epoch_examples
    if examples is None:
        examples = builder_config.sizes[0]
    if examples < config.train.batch_size:
        raise files.DatasetError(
            f"an epoch has {examples} fresh examples, fewer than the batch size of "
            f"{config.train.batch_size}; raise --config.data.epoch_examples"
        )
    return examples


def _simulated(config, found: DatasetBuilder) -> tuple[functools.partial, str]:
    """Make the factory of a simulated data set's builder, and a line on its signals."""
    data, builder_config = config.data, found.config
    if data.source == "fresh":
        epoch_size(config, builder_config)
    else:
        _check_size(config, builder_config.sizes[0])
    _check_network(config, builder_config.recipe.num_nodes, found.num_sources)
    if data.engine != "jax" and importlib.util.find_spec(data.engine) is None:
        raise files.DatasetError(
            f"--config.data.engine={data.engine} needs it installed: "
            "pip install 'uld-jax[data]'"
        )
    if data.source == "fresh":
        builder_config = builder_config.held_out()
    elif data.source == "compact":
        builder_config = builder_config.compact_form()
    speech, noise = open_corpora(data, builder_config)
    make_builder = _factory(
        found,
        data,
        config=builder_config.name,
        corpus=speech,
        noise=noise,
        noise_field=data.noise_field,
        engine=data.engine,
    )
    by = "" if data.source == "compact" else f"; engine: {data.engine}"
    made_of = f"speech: {speech.name} ({len(speech.skipped)} files skipped)"
    return make_builder, made_of + (f"; noise: {noise.name}{by}" if noise else "")


def _recorded(config, found: DatasetBuilder) -> tuple[functools.partial, str]:
    """Make the factory of a recorded data set's builder, and a line on its recordings."""
    data = config.data
    if not data.recordings:
        raise files.DatasetError(
            f"{data.name} is made of recordings; pass their folder with "
            "--config.data.recordings=FOLDER"
        )
    folder = pathlib.Path(data.recordings).expanduser()
    if found.kind == _SESSIONS:
        session = sessions.open_session(folder).listed()
        opened = {"config": found.config, "session": session}
    else:
        material = libri_adhoc40_files.open_material(folder, found.config.needed_parts)
        opened = {"config": found.config.name, "material": material}
    make_builder = _factory(found, data, **opened)
    builder = make_builder()
    features = builder.info.features
    _check_network(
        config,
        features["node_positions"].shape[0],
        features["source_positions"].shape[0],
    )
    for sentence in builder.shortfall():
        progress.log(sentence)
    sizes = builder.size_of_split
    if lacking := [split for split in sessions.SPLITS if not sizes.get(split)]:
        progress.log(
            f"{data.name} has no split {', '.join(lacking)}: networks are trained on "
            "train and validation, and tested on test"
        )
    return make_builder, f"recordings: {folder.resolve().name}"


def _factory(found: DatasetBuilder, data, **more) -> functools.partial:
    """Make a function that makes the builder, here and in every worker process."""
    return functools.partial(
        found.builder,
        data_dir=str(pathlib.Path(data.dir).expanduser()),
        file_format="array_record",
        **more,
    )


def _check_splits(config, sizes: dict[str, int], splits: tuple[str, ...]) -> None:
    """Raise if a split that is needed would have no example."""
    if config.data.source == "fresh":
        splits = tuple(split for split in splits if split != "train")
    if missing := [split for split in splits if not sizes.get(split)]:
        raise files.DatasetError(
            f"{config.data.name} would have no split {missing[0]!r}, only "
            f"{', '.join(sizes)}: add recordings of it, or, without training, test a "
            "network with --config.train.epochs=0 and --init_from"
        )


def _check_size(config, train_size: int) -> None:
    """Raise if a training split has no batch."""
    pipeline.epoch_order(train_size, config.train.batch_size, seed=config.seed, epoch=0)


def _check_network(config, num_nodes: int, num_sources: int) -> None:
    """Raise if the network cannot take so many nodes or find so many sources."""
    model = config.model
    try:
        build.get_spec(model.name).check(dict(model), num_nodes, num_sources)
    except ValueError as error:
        raise files.DatasetError(f"--config.{error}") from None
    perturbations.Perturbation(config.data.nodes_in_training).check(num_nodes)
