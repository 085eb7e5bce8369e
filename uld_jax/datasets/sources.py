"""Prepare the data set an experiment names, where it is missing.

Whatever trains or evaluates reads prepared data by name and folder, or has fresh
rooms from here.

An experiment names a data set. By `data.source` its examples come from the data set
("prepared"), from its compact twin, which is rendered batch by batch ("compact"), or
are drawn anew for every training step, with held-out splits of the data set ("fresh").
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from uld_jax.audio import corpora, sessions
from uld_jax.datasets import compact, files, on_the_fly, pipeline, prepare
from uld_jax.storage.dataset_names import DatasetName


def ensure_prepared(
    config,
    processes: int | None = None,
    allowed: bool = True,
    beam_options: str | None = None,
    splits: tuple[str, ...] = (),
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
        splits: Splits that are needed; what would lack one is not prepared.

    Raises:
        files.DatasetError: If the data set is missing and may not be
            prepared, is unknown, is damaged, lacks a split, has another sample rate,
            or was prepared from another corpus or by other settings of its builder.
        uld_jax_data.shards.PrepareError: If it could not be prepared.
        CorpusError, ArchiveError, SessionError, SignalError: If speech, noise or
            recordings cannot be used.
    """
    data = config.data
    path = prepared_path(config)
    if files.is_prepared(path):
        _check_origin(path, data)
        return path
    if not allowed:
        raise files.DatasetError(
            f"{str(path)!r} is not there; prepare it with uld_jax prepare, "
            f"the same --config and --config... flags and --config.data.source="
            f"{data.source}, or leave --noprepare out"
        )
    maker = prepare.find(data.name)
    prepare.prepare(config, maker, path, processes, beam_options, splits)
    return path


def prepared_path(config) -> pathlib.Path:
    """Return where the prepared data set of an experiment is, or is to be.

    Raises:
        files.DatasetError: If its name cannot be one, or it has recordings
            and is asked for in a form that is rendered.
    """
    name = DatasetName.parse(config.data.name)
    whole = name.folder(config.data.dir)
    if config.data.source == "prepared":
        return whole
    if not _is_of(prepare.SIMULATED, config.data):
        raise files.DatasetError(
            f"{config.data.name} is made of recordings, which cannot be rendered "
            f"{config.data.source}: say --config.data.source=prepared. Nor can they be "
            "put to worse conditions"
        )
    if config.data.source == "compact":
        return name.with_form("compact").folder(config.data.dir)
    held_out = name.with_form("held_out").folder(config.data.dir)
    ready = [path for path in (held_out, whole) if files.is_prepared(path)]
    return (ready or [held_out])[0]


def planned_sources(config) -> int | None:
    """Return the sources of what is yet to be prepared; None where that is not known.

    Raises:
        files.DatasetError: If there is no such data set.
    """
    if files.is_prepared(prepared_path(config)):
        return None
    return prepare.find(config.data.name).num_sources


def describe(config) -> dict[str, Any]:
    """Return the name, sizes and origin of an experiment's data set, for its record."""
    path = prepared_path(config)
    if config.data.source == "compact":
        return compact.describe(path, config.data.noise_field)
    return files.describe(path)


def open_split(config, name: str) -> pipeline.Split:
    """Return a split of an experiment's data set, to be opened as data.

    Raises:
        files.DatasetError: If the data set or the split is not there.
    """
    path = prepared_path(config)
    if config.data.source == "compact":
        return compact.open_split(path, name)
    return pipeline.Split(path, name)


def open_data(config, split: pipeline.Split, devices: Sequence) -> list:
    """Return a split's data for each of some devices, in the way the settings ask for.

    Raises:
        files.DatasetError: If it is damaged.
    """
    module = compact if config.data.source == "compact" else pipeline
    return module.open_data(split, config.data, devices)


def open_on_the_fly(config) -> on_the_fly.OnTheFlyData:
    """Return the rooms, rendered on the fly, that an experiment trains on.

    Raises:
        files.DatasetError: If its data set is not a simulated one.
        CorpusError: If a corpus cannot be used.
    """
    data = config.data
    builder_config = prepare.find(data.name).config
    recipe = dataclasses.replace(builder_config.recipe, noise=data.noise_field)
    hours = {"seed": config.seed, "hours": data.speech_hours}
    corpus, noise = prepare.open_corpora(data, builder_config)
    return on_the_fly.OnTheFlyData(
        recipe,
        on_the_fly.speech_bank(corpus, recipe, **hours),
        on_the_fly.noise_bank(noise, recipe, **hours) if noise else None,
        seed=config.seed,
        batch_size=config.train.batch_size,
        size=prepare.epoch_size(config, builder_config),
    )


def _is_of(kind: str, data) -> bool:
    """Return whether a data set is by its name of a kind of builder."""
    return data.name.startswith(f"{kind}/")


def _check_origin(path: pathlib.Path, data) -> None:
    """Raise if a data set was prepared from other signals than are asked for."""
    stored = files.describe(path)
    files.check_sample_rate(path, stored)
    speech, noise = stored.get("corpus") or {}, stored.get("noise") or {}

    def folder(name):
        return pathlib.Path(name).expanduser().resolve().name

    if not _is_of(prepare.SIMULATED, data):
        _check_recordings(path, speech, data)
        return
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
            raise files.DatasetError(
                f"{str(path)!r} was prepared from the {what} {have!r}, not "
                f"{wanted!r}; say --config.data.{key}={have} to use it, or "
                "choose another --config.data.dir to prepare your own"
            )
    folders = speech.get("folders", corpora.PARTS)
    if tuple(folders) not in (tuple(data.speech_splits), corpora.PARTS):
        for_shell = str(tuple(folders)).replace("'", '"')
        raise files.DatasetError(
            f"{str(path)!r} was prepared from the splits {tuple(folders)}; say "
            f"--config.data.speech_splits='{for_shell}' to use "
            "it, or choose another --config.data.dir to prepare your own"
        )
    # What is stored may be of a builder that is no longer there.
    if data.name in (known := prepare.known()):
        _check_settings(path, stored, known[data.name].config, data)


def _check_recordings(path: pathlib.Path, stored: dict, data) -> None:
    """Raise if a data set was prepared from other recordings than are named.

    Those of one's own may have been corrected since, so they are looked at again.
    """
    if not data.recordings:
        return
    folder = pathlib.Path(data.recordings).expanduser()
    if stored.get("name") != folder.resolve().name:
        raise files.DatasetError(
            f"{str(path)!r} was prepared from the recordings {stored.get('name')!r}, "
            f"not {folder.resolve().name!r}; say --config.data.recordings="
            f"{stored.get('name')} to use it, or choose another --config.data.dir to "
            "prepare your own"
        )
    if not (_is_of(prepare.SESSIONS, data) and folder.is_dir()):
        return
    if sessions.open_session(folder).fingerprint() != stored.get("fingerprint"):
        raise files.DatasetError(
            f"{str(folder)!r} has changed since {str(path)!r} was prepared from it; "
            "remove that folder to prepare it anew, or choose another name "
            f"{prepare.SESSIONS}/NAME:1.0.0"
        )


def _check_settings(path: pathlib.Path, stored: dict, builder_config, data) -> None:
    """Raise if a data set was prepared by other settings than its builder has now."""
    recipe = stored.get("law", {})
    wanted_recipe = dataclasses.asdict(builder_config.recipe)
    late_fields = stored.get("late_fields", {})
    wanted_late = builder_config.late_fields_by(data.engine)
    facts = [
        *(
            (f"recipe.{key}", recipe.get(key), wanted_recipe[key])
            for key in ("kind", "num_sources", "num_nodes", "num_samples", "rooms")
        ),
        *(
            (f"late_fields.{split}", late, wanted_late.get(split))
            for split, late in late_fields.items()
        ),
    ]
    for name, have, wanted in facts:
        if have is not None and have != wanted:
            raise files.DatasetError(
                f"{str(path)!r} was prepared with {name} {have!r}, and {data.name} now "
                f"has {wanted!r}; remove that folder, or choose another "
                "--config.data.dir, to prepare it anew"
            )
