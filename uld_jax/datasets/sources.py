"""Open data as an experiment's settings ask for.

By `data.source`, examples come from the data set that the settings name ("prepared"),
from its compact form, which is rendered batch by batch ("compact"), or, in training,
from new rooms rendered on the fly ("fresh").
"""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import jax

from uld_jax.datasets import (
    compact,
    files,
    held,
    kept,
    on_the_fly,
    pipeline,
    prepare,
    splits,
)
from uld_jax.runtime import progress
from uld_jax.simulation import furniture


def describe(config: Any) -> dict[str, Any]:
    """Collect the name, sizes and origin of an experiment's data set, for its record.

    Raises:
        files.DatasetError: If the data set is not there or damaged.
    """
    path = prepare.dataset_path(config)
    if config.data.source == "compact":
        return compact.describe(path, config.data.noise_field)
    return files.describe(path)


def open_split(config: Any, name: str) -> splits.Split:
    """Open a split of an experiment's data set.

    Raises:
        files.DatasetError: If the data set or the split is not there or damaged.
    """
    path = prepare.dataset_path(config)
    if config.data.source == "compact":
        return compact.open_split(path, name)
    return splits.Split(path, name)


def open_data(
    config: Any, split: splits.Split, devices: Sequence[Any]
) -> list[pipeline.Source]:
    """Open the data of a split for each of some devices, to be read batch by batch.

    Compact data are rendered batch by batch, too.

    Raises:
        files.DatasetError: If the data set is damaged.
    """
    module = compact if config.data.source == "compact" else pipeline
    return module.open_data(split, config.data, devices)


def facts_of(config: Any, split: splits.Split, facts: dict[str, Any]) -> dict[str, Any]:
    """Add to the facts of a data set those of a split: what is in its rooms.

    Args:
        config: Settings.
        split: The split.
        facts: As `describe` returns them.
    """
    bare = split.name != "train" or config.data.furnishing == furniture.BARE
    return facts if bare else facts | {"furnishing": config.data.furnishing}


def choose_place(
    config: Any,
    opened: Collection[splits.Split],
    devices: Sequence[jax.Device],
    facts: dict[str, Any],
    before: str | None = None,
) -> str:
    """Choose where the signals of all splits are held, and say it.

    Args:
        config: Settings.
        opened: The splits.
        devices: The devices.
        facts: As `describe` returns them.
        before: Where an interrupted run held them.

    Raises:
        files.DatasetError: If there is too little room where the settings want them.
    """
    is_compact = config.data.source == "compact"
    on_disk = not is_compact or all(
        kept.is_kept(
            split, kept.signals, config.data.dir, facts_of(config, split, facts)
        )
        for split in opened
    )
    place = held.choose(
        config.data.held_on,
        held.num_bytes(opened),
        config.data.dir,
        on_disk,
        devices,
        before,
    )
    if not is_compact and place == "host":
        place = "disk"  # Whose pages the system keeps in memory.
    progress.log(held.describe(opened, place, is_compact))
    return place


def hold(
    config: Any,
    split: splits.Split,
    devices: Sequence[Any],
    place: str,
    facts: dict[str, Any],
) -> list[pipeline.Source]:
    """Hold a split for each of some devices: load it, or render it once.

    Args:
        config: Settings.
        split: The split.
        devices: The devices.
        place: As `choose_place` returns it.
        facts: As `describe` returns them.

    Raises:
        files.DatasetError: If an example is damaged, or the disk is full.
    """
    if config.data.source == "compact":
        renderers = open_data(config, split, devices)
        facts = facts_of(config, split, facts)
        return held.hold(renderers, split, place, config.data.dir, facts, devices)
    if place != "device":
        return open_data(config, split, devices)
    arrays = split.load()
    return [held.DeviceData(arrays, device) for device in devices]


def open_on_the_fly(config: Any) -> on_the_fly.OnTheFlyData:
    """Open training data that is rendered on the fly, as an experiment's data set is.

    Raises:
        files.DatasetError: If the data set is not a simulated one, or an epoch has no
            batch.
        CorpusError: If a corpus cannot be used.
    """
    data = config.data
    builder_config = prepare.find_builder(data.name).config
    size = prepare.epoch_size(config, builder_config)
    recipe = dataclasses.replace(
        builder_config.recipe, noise=data.noise_field, furnishing=data.furnishing
    )
    hours = {"seed": config.seed, "hours": data.speech_hours}
    speech, noise = prepare.open_corpora(data, builder_config)
    return on_the_fly.OnTheFlyData(
        recipe,
        on_the_fly.speech_bank(speech, recipe, **hours),
        on_the_fly.noise_bank(noise, recipe, **hours) if noise else None,
        seed=config.seed,
        batch_size=config.train.batch_size,
        size=size,
    )
