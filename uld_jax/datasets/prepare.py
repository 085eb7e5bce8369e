"""How each kind of data set is prepared: simulated ones, and those of real recordings.

The one module that reaches for the builders.
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
from typing import Any

from uld_jax.audio import corpora, libri_adhoc40_files, sessions
from uld_jax.datasets import files, perturbations, pipeline
from uld_jax.networks import build
from uld_jax.runtime import progress
from uld_jax.storage.dataset_names import DatasetName

SIMULATED = "simulated"
SESSIONS = "sessions"


@dataclasses.dataclass(frozen=True)
class Maker:
    """What makes a data set.

    Attributes:
        kind: Name of its builder: "simulated", "libri_adhoc40" or "sessions".
        builder: Class of its builder.
        config: The builder's configuration.
    """

    kind: str
    builder: type
    config: Any

    @property
    def simulated(self) -> bool:
        """Whether it is rendered, in place of recorded."""
        return self.kind == SIMULATED

    @property
    def num_sources(self) -> int | None:
        """Sources of an example; None where the recordings decide."""
        if self.simulated:
            return self.config.recipe.num_sources
        return getattr(self.config, "num_sources", None)


def known() -> dict[str, Maker]:
    """Return the makers of all data sets that have a name of their own, by name."""
    from uld_jax_data.libri_adhoc40 import libri_adhoc40_dataset_builder as adhoc40
    from uld_jax_data.simulated import simulated_dataset_builder as simulated

    builders = {SIMULATED: simulated.Builder, "libri_adhoc40": adhoc40.Builder}
    return {
        f"{kind}/{config.name}:{cls.VERSION}": Maker(kind, cls, config)
        for kind, cls in builders.items()
        for config in cls.BUILDER_CONFIGS
        if DatasetName.parse(f"{kind}/{config.name}:{cls.VERSION}").form == "whole"
    }


def find(name: str) -> Maker:
    """Return what makes a data set of a name.

    Raises:
        files.DatasetError: If there is no such data set.
    """
    makers = known()
    if name in makers:
        return makers[name]
    from uld_jax_data.sessions import sessions_dataset_builder

    kind, _, rest = name.partition("/")
    config_name, _, version = rest.partition(":")
    builder = sessions_dataset_builder.Builder
    own = f"{SESSIONS}/NAME:{builder.VERSION}"
    if kind == SESSIONS and version == str(builder.VERSION):
        config = sessions_dataset_builder.SessionConfig(name=config_name)
        return Maker(kind, builder, config)
    raise files.DatasetError(
        f"no data set {name!r} to prepare; there are {', '.join(makers)}, and {own} "
        "for recordings of your own"
    )


def open_corpora(data, builder_config):
    """Return the speech and, where a recipe has some, the noise of an experiment.

    Raises:
        files.DatasetError: If the data set is made of other speech.
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


def prepare(
    config,
    maker: Maker,
    path: pathlib.Path,
    processes: int | None,
    beam_options: str | None,
    splits: tuple[str, ...],
) -> None:
    """Prepare the data set of an experiment.

    Args:
        config: Settings.
        maker: What makes its data set.
        path: Where it is to be, for the message.
        processes: Worker processes; one for each core by default.
        beam_options: Options of the Apache Beam pipeline that prepares it; without
            them, this machine's own processes do.
        splits: Splits that it has to have.

    Raises:
        files.DatasetError: If training would refuse it.
        PrepareError, CorpusError, SessionError, ArchiveError, SignalError: If it
            could not be prepared.
    """
    from uld_jax_data import pool, shards

    processes = processes or len(os.sched_getaffinity(0))
    make = _simulated if maker.simulated else _recorded
    make_builder, made_of = make(config, maker)
    builder = make_builder()
    _check_splits(config, builder.size_of_split, splits)
    if "train" in splits and not maker.simulated:
        _check_size(config, builder.size_of_split["train"])
    executor, how = pool.executor(processes), f"with {processes} processes"
    if beam_options is not None:
        from uld_jax_data import beam_pipeline

        executor = beam_pipeline.executor(beam_options, processes)
        how = "with Apache Beam"
    elif maker.simulated:
        seconds = builder.builder_config.core_seconds(config.data.engine)
        how = f"about {max(1, round((seconds / processes + 10) / 60))} min {how}"
    progress.log(
        f"Preparing {maker.kind}/{builder.builder_config.name} in {path}: "
        f"{sum(builder.size_of_split.values()):,} examples, "
        f"{builder.expected_bytes / 1e9:.2f} GB, {how}; {made_of}"
    )
    shards.prepare(make_builder, executor)


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


def _factory(maker: Maker, data, **more) -> functools.partial:
    return functools.partial(
        maker.builder,
        data_dir=str(pathlib.Path(data.dir).expanduser()),
        file_format="array_record",
        **more,
    )


def _simulated(config, maker: Maker):
    """Return what makes the builder of a simulated data set, and of what, in words."""
    data, builder_config = config.data, maker.config
    recipe = builder_config.recipe
    # What training would refuse later, it refuses before the work.
    if data.source == "fresh":
        epoch_size(config, builder_config)
    else:
        _check_size(config, builder_config.sizes[0])
    _check_network(config, recipe.num_nodes, recipe.num_sources)
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
        maker,
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


def _recorded(config, maker: Maker):
    """Return what makes the builder of real recordings, and of what, in words."""
    data = config.data
    if not data.recordings:
        raise files.DatasetError(
            f"{data.name} is made of recordings; say where they are with "
            "--config.data.recordings=FOLDER"
        )
    folder = pathlib.Path(data.recordings).expanduser()
    if maker.kind == SESSIONS:
        session = sessions.open_session(folder).listed()
        opened = {"config": maker.config, "session": session}
    else:
        parts = maker.config.needed_parts
        material = libri_adhoc40_files.open_material(folder, parts)
        opened = {"config": maker.config.name, "material": material}
    make_builder = _factory(maker, data, **opened)
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


def epoch_size(config, builder_config) -> int:
    """Return how many fresh examples are called an epoch.

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


def _check_size(config, train_size: int) -> None:
    """Raise if a training split has no batch."""
    pipeline.epoch_order(train_size, config.train.batch_size, seed=config.seed, epoch=0)


def _check_network(config, num_nodes: int, num_sources: int) -> None:
    """Raise if a network cannot hear so many nodes or find so many sources."""
    model = config.model
    try:
        build.get_spec(model.name).check(dict(model), num_nodes, num_sources)
    except ValueError as error:
        raise files.DatasetError(f"--config.{error}") from None
    perturbations.Perturbation(config.data.nodes_in_training).check(num_nodes)
