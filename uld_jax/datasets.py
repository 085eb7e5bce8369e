"""Prepare the data set an experiment names, where it is missing.

The one place where the package reaches for its builders: whatever trains or
evaluates reads prepared data by name and folder, or has fresh rooms from here.

An experiment names a data set. By `data.source` its examples come from the data set
("prepared"), from its compact twin, which is rendered batch by batch ("compact"), or
are drawn anew for every training step, with held-out splits of the data set ("fresh").
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
from typing import Any

from uld_jax import (
    acoustics,
    compact,
    corpora,
    fresh,
    input_pipeline,
    models,
    perturbations,
    progress,
    records,
)


def ensure_prepared(
    config,
    processes: int | None = None,
    allowed: bool = True,
    beam_options: str | None = None,
) -> pathlib.Path:
    """Return the folder of an experiment's data set, preparing a missing one.

    Training on fresh rooms needs the validation and test splits alone, which are a
    data set of their own; a whole one serves as well.

    Args:
        config: Settings; `data` says which data set, where, from what.
        processes: Worker processes; one for each core by default.
        allowed: Whether a missing data set may be prepared.
        beam_options: Options of the Apache Beam pipeline that prepares it; without
            them, this machine's own processes do.

    Raises:
        input_pipeline.DatasetError: If the data set is missing and may not be
            prepared, is unknown, or was prepared from another corpus or by other
            settings of its builder.
        uld_jax_data.shards.PrepareError: If it could not be prepared.
        CorpusError: If the corpus cannot be used.
    """
    data = config.data
    path = prepared_path(config)
    if input_pipeline.is_prepared(path):
        _check_origin(path, data)
        return path
    if not allowed:
        raise input_pipeline.DatasetError(
            f"{str(path)!r} is not there; prepare it with python -m uld_jax.prepare, "
            f"the same --config and --config... flags and --config.data.source="
            f"{data.source}, or leave --noprepare out"
        )
    _prepare(config, path, processes, beam_options)
    return path


def prepared_path(config) -> pathlib.Path:
    """Return where the prepared data set of an experiment is, or is to be.

    Raises:
        input_pipeline.DatasetError: If its name cannot be one.
    """
    path = input_pipeline.dataset_path(config.data.name, config.data.dir)
    if config.data.source == "prepared":
        return path

    def twin(ending):
        return path.parents[1] / f"{path.parent.name}{ending}" / path.name

    if config.data.source == "compact":
        return twin(records.COMPACT)
    held_out = twin(records.HELD_OUT)
    ready = [p for p in (held_out, path) if input_pipeline.is_prepared(p)]
    return (ready or [held_out])[0]


def planned_law(config):
    """Return the law of what is yet to be prepared; None where nothing is.

    Raises:
        input_pipeline.DatasetError: If there is no such data set.
    """
    if input_pipeline.is_prepared(prepared_path(config)):
        return None
    return _known_builder(config.data.name)[1].law


def describe(config) -> dict[str, Any]:
    """Return the name, sizes and origin of an experiment's data set, for its record."""
    path = prepared_path(config)
    if config.data.source == "compact":
        return compact.describe(path, config.data.noise_field)
    return input_pipeline.describe(path)


def open_split(config, name: str) -> input_pipeline.Split:
    """Return a split of an experiment's data set, to be opened as data.

    Raises:
        input_pipeline.DatasetError: If the data set or the split is not there.
    """
    path = prepared_path(config)
    if config.data.source == "compact":
        return compact.open_split(path, name)
    return input_pipeline.Split(path, name)


def open_data(config, split: input_pipeline.Split):
    """Return a split's data in the way the settings ask for.

    Raises:
        input_pipeline.DatasetError: If it is damaged.
    """
    if config.data.source == "compact":
        return compact.open_data(split, config.data)
    return input_pipeline.open_data(split, config.data)


def open_fresh(config) -> fresh.FreshRooms:
    """Return the fresh rooms that an experiment trains on.

    Raises:
        input_pipeline.DatasetError: If its data set is not a simulated one.
        CorpusError: If a corpus cannot be used.
    """
    data = config.data
    _, builder_config = _known_builder(data.name)
    law = _law(builder_config, data)
    hours = {"seed": config.seed, "hours": data.speech_hours}
    corpus, noise = _open_corpora(data, builder_config)
    return fresh.FreshRooms(
        law,
        fresh.speech_bank(corpus, law, **hours),
        fresh.noise_bank(noise, law, **hours) if noise else None,
        seed=config.seed,
        batch_size=config.train.batch_size,
    )


def examples_per_epoch(config) -> int:
    """Return how many fresh examples are called an epoch.

    Raises:
        input_pipeline.DatasetError: If they are fewer than a batch.
    """
    examples = config.data.epoch_examples
    if examples is None:
        examples = _known_builder(config.data.name)[1].sizes[0]
    if examples < config.train.batch_size:
        raise input_pipeline.DatasetError(
            f"an epoch has {examples} fresh examples, fewer than the batch size of "
            f"{config.train.batch_size}; raise --config.data.epoch_examples"
        )
    return examples


def _law(builder_config, data):
    return dataclasses.replace(builder_config.law, noise=data.noise_field)


def _check_origin(path: pathlib.Path, data) -> None:
    """Raise if a data set was prepared from other signals than are asked for."""
    stored = input_pipeline.describe(path)
    speech, noise = stored.get("corpus") or {}, stored.get("noise") or {}

    def folder(name):
        return pathlib.Path(name).expanduser().resolve().name

    facts = [
        ("speech", "corpus", speech.get("name"), folder(data.speech)),
        ("noise", "noise", noise.get("name"), folder(data.noise)),
        (
            "noise_field",
            "noise field",
            stored.get("law", {}).get("noise"),
            data.noise_field,
        ),
        ("engine", "engine", stored.get("engine"), data.engine),
    ]
    for key, what, have, wanted in facts:
        if have is not None and have != wanted:
            raise input_pipeline.DatasetError(
                f"{str(path)!r} was prepared from the {what} {have!r}, not "
                f"{wanted!r}; say --config.data.{key}={have} to use it, or "
                "choose another --config.data.dir to prepare your own"
            )
    folders = speech.get("folders", corpora.SPLITS)
    if tuple(folders) not in (tuple(data.speech_splits), corpora.SPLITS):
        for_shell = str(tuple(folders)).replace("'", '"')
        raise input_pipeline.DatasetError(
            f"{str(path)!r} was prepared from the splits {tuple(folders)}; say "
            f"--config.data.speech_splits='{for_shell}' to use "
            "it, or choose another --config.data.dir to prepare your own"
        )
    # What is stored may be of a builder that is no longer there.
    if data.name in (known := _builders()):
        _check_settings(path, stored, known[data.name][1], data)


def _check_settings(path: pathlib.Path, stored: dict, builder_config, data) -> None:
    """Raise if a data set was prepared by other settings than its builder has now."""
    law = stored.get("law", {})
    wanted_law = dataclasses.asdict(builder_config.law)
    late_fields = stored.get("late_fields", {})
    wanted_late = builder_config.late_fields_by(data.engine)
    facts = [
        ("sample_rate", stored.get("sample_rate"), acoustics.SAMPLE_RATE),
        *(
            (f"law.{key}", law.get(key), wanted_law[key])
            for key in ("kind", "num_sources", "num_nodes", "num_samples", "rooms")
        ),
        *(
            (f"late_fields.{split}", late, wanted_late.get(split))
            for split, late in late_fields.items()
        ),
    ]
    for name, have, wanted in facts:
        if have is not None and have != wanted:
            raise input_pipeline.DatasetError(
                f"{str(path)!r} was prepared with {name} {have!r}, and {data.name} now "
                f"has {wanted!r}; remove that folder, or choose another "
                "--config.data.dir, to prepare it anew"
            )


def _builders() -> dict[str, tuple]:
    """Return the builder class and configuration of every data set, by name."""
    from uld_jax_data.simulated import simulated_dataset_builder as simulated

    builders = {"simulated": simulated.Builder}
    return {
        f"{builder}/{config.name}:{cls.VERSION}": (cls, config)
        for builder, cls in builders.items()
        for config in cls.BUILDER_CONFIGS
        if not config.name.endswith((records.HELD_OUT, records.COMPACT))
    }


def _known_builder(name: str):
    """Return the builder class and configuration of a data set's name.

    Raises:
        input_pipeline.DatasetError: If there is none.
    """
    known = _builders()
    if name not in known:
        raise input_pipeline.DatasetError(
            f"no data set {name!r} to prepare; there are {', '.join(known)}"
        )
    return known[name]


def _open_corpora(data, builder_config):
    """Return the speech and, where a law has some, the noise of an experiment."""
    if builder_config.speech not in ("", data.speech):
        raise input_pipeline.DatasetError(
            f"{data.name} is made of the speech {builder_config.speech!r}; set "
            f"--config.data.speech={builder_config.speech}"
        )
    law = builder_config.law
    speech = corpora.open_speech(
        data.speech, tuple(data.speech_splits), law.num_samples
    )
    return speech, corpora.open_noise(data.noise) if law.noisy else None


def _prepare(
    config, path: pathlib.Path, processes: int | None, beam_options: str | None
) -> None:
    from uld_jax_data import pool, shards

    data = config.data
    cls, builder_config = _known_builder(data.name)
    law = builder_config.law
    # What training would refuse later, it refuses before the work.
    if data.source == "fresh":
        examples_per_epoch(config)
    else:
        input_pipeline.epoch_order(
            builder_config.sizes[0], config.train.batch_size, seed=config.seed, epoch=0
        )
    if law.num_nodes % config.model.get("num_encoders", 1):
        raise input_pipeline.DatasetError(
            f"--config.model.num_encoders is {config.model.num_encoders}; the "
            f"{law.num_nodes} nodes of {data.name} cannot be divided so"
        )
    if law.num_sources > models.MOST_SOURCES.get(config.model.name, law.num_sources):
        raise input_pipeline.DatasetError(
            f"--config.model.name is {config.model.name!r}, which finds fewer than the "
            f"{law.num_sources} sources of {data.name}"
        )
    perturbations.Perturbation(data.nodes_in_training).check(law.num_nodes)
    if data.engine != "jax" and importlib.util.find_spec(data.engine) is None:
        raise input_pipeline.DatasetError(
            f"--config.data.engine={data.engine} needs it installed: "
            "pip install 'uld-jax[data]'"
        )
    processes = processes or len(os.sched_getaffinity(0))
    if data.source == "fresh":
        builder_config = builder_config.held_out()
    elif data.source == "compact":
        builder_config = builder_config.compact_form()
    seconds = builder_config.core_seconds(data.engine) / processes + 10
    how = f"about {max(1, round(seconds / 60))} min with {processes} processes"
    executor = pool.executor(processes)
    if beam_options is not None:
        from uld_jax_data import beam_pipeline

        how = "with Apache Beam"
        executor = beam_pipeline.executor(beam_options, processes)
    corpus, noise = _open_corpora(data, builder_config)
    make_builder = functools.partial(
        cls,
        config=builder_config.name,
        data_dir=str(pathlib.Path(data.dir).expanduser()),
        file_format="array_record",
        corpus=corpus,
        noise=noise,
        noise_field=data.noise_field,
        engine=data.engine,
    )
    by = "" if data.source == "compact" else f"; engine: {data.engine}"
    progress.say(
        f"Preparing simulated/{builder_config.name} in {path}: {sum(builder_config.sizes):,} "
        f"examples, {make_builder().expected_bytes / 1e9:.2f} GB, {how}; speech: "
        f"{corpus.name} ({len(corpus.skipped)} files skipped)"
        + (f"; noise: {noise.name}{by}" if noise else "")
    )
    shards.prepare(make_builder, executor)
