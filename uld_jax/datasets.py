"""Prepare the data set an experiment names, where it is missing.

The one place where the package reaches for its builders: whatever trains or
evaluates reads prepared data by name and folder.
"""

import functools
import os
import pathlib
import shlex

from uld_jax import corpora, input_pipeline, progress

_DATA_FLAGS = ("name", "dir", "speech", "speech_splits")


def ensure_prepared(
    config,
    processes: int | None = None,
    allowed: bool = True,
    beam_options: str | None = None,
):
    """Return the folder of an experiment's data set, preparing a missing one.

    Args:
        config: Settings; `data` says which data set, where, from what.
        processes: Worker processes; one for each core by default.
        allowed: Whether a missing data set may be prepared.
        beam_options: Options of the Apache Beam pipeline that prepares it; without
            them, this machine's own processes do.

    Raises:
        input_pipeline.DatasetError: If the data set is missing and may not be
            prepared, is unknown, or was prepared from another corpus.
        uld_jax_data.shards.PrepareError: If it could not be prepared.
        corpora.CorpusError: If the corpus cannot be used.
    """
    data = config.data
    path = input_pipeline.dataset_path(data.name, data.dir)
    if input_pipeline.is_prepared(path):
        _check_corpus(path, data)
        return path
    if not allowed:
        command = [
            *("python", "-m", "uld_jax.prepare"),
            *(f"--config.data.{key}={_flag_value(data[key])}" for key in _DATA_FLAGS),
        ]
        raise input_pipeline.DatasetError(
            f"data set {data.name} is not in {data.dir!r}; prepare it with\n  "
            + shlex.join(command)
        )
    return _prepare(config, path, processes, beam_options)


def _flag_value(value) -> str:
    """Return a setting as a shell takes it, with single quotes around it."""
    return str(value).replace("'", '"') if isinstance(value, tuple) else str(value)


def _check_corpus(path: pathlib.Path, data) -> None:
    """Raise if a data set was prepared from other speech than is asked for."""
    stored = input_pipeline.describe(path).get("corpus") or {}
    wanted = pathlib.Path(data.speech).expanduser().resolve().name
    if stored and wanted != stored["name"]:
        raise input_pipeline.DatasetError(
            f"{str(path)!r} was prepared from the corpus {stored['name']!r}, not "
            f"{wanted!r}; say --config.data.speech={stored['name']} to use it, or "
            "choose another --config.data.dir to prepare your own"
        )
    folders = stored.get("folders", corpora.SPLITS)
    if tuple(folders) not in (tuple(data.speech_splits), corpora.SPLITS):
        raise input_pipeline.DatasetError(
            f"{str(path)!r} was prepared from the splits {tuple(folders)}; say "
            f"--config.data.speech_splits='{_flag_value(tuple(folders))}' to use "
            "it, or choose another --config.data.dir to prepare your own"
        )


def _prepare(
    config, path: pathlib.Path, processes: int | None, beam_options: str | None
) -> pathlib.Path:
    from uld_jax_data import pool, shards
    from uld_jax_data.simulated import simulated_dataset_builder as simulated

    data = config.data
    builders = {"simulated": simulated.Builder}
    known = {
        f"{builder}/{config.name}:{cls.VERSION}": (cls, config)
        for builder, cls in builders.items()
        for config in cls.BUILDER_CONFIGS
    }
    if data.name not in known:
        raise input_pipeline.DatasetError(
            f"no data set {data.name!r} to prepare; there are {', '.join(known)}"
        )
    cls, builder_config = known[data.name]
    # What training would refuse later, it refuses before the work.
    input_pipeline.epoch_order(
        builder_config.sizes[0], config.train.batch_size, seed=config.seed, epoch=0
    )
    if builder_config.num_nodes % config.model.num_encoders:
        raise input_pipeline.DatasetError(
            f"--config.model.num_encoders is {config.model.num_encoders}; the "
            f"{builder_config.num_nodes} nodes of {data.name} cannot be divided so"
        )
    if builder_config.speech not in ("", data.speech):
        raise input_pipeline.DatasetError(
            f"{data.name} is made of the speech {builder_config.speech!r}; set "
            f"--config.data.speech={builder_config.speech}"
        )
    processes = processes or len(os.sched_getaffinity(0))
    seconds = sum(builder_config.sizes) / (processes * cls.EXAMPLES_PER_SECOND) + 10
    how = f"about {max(1, round(seconds / 60))} min with {processes} processes"
    executor = pool.executor(processes)
    if beam_options is not None:
        from uld_jax_data import beam_pipeline

        how = "with Apache Beam"
        executor = beam_pipeline.executor(beam_options, processes)
    corpus = corpora.open_speech(
        data.speech, tuple(data.speech_splits), builder_config.num_samples
    )
    progress.say(
        f"Preparing {data.name} in {path}: {sum(builder_config.sizes):,} examples, "
        f"{builder_config.expected_bytes / 1e9:.2f} GB, {how}; speech: "
        f"{corpus.name} ({len(corpus.skipped)} files skipped)"
    )
    shards.prepare(
        functools.partial(
            cls,
            config=builder_config.name,
            data_dir=str(pathlib.Path(data.dir).expanduser()),
            file_format="array_record",
            corpus=corpus,
        ),
        executor,
    )
    return path
