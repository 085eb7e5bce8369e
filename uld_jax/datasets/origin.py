"""Checks that a prepared data set was made from what the settings ask for."""

import dataclasses
import pathlib
from typing import Any

from uld_jax.audio import corpora, sessions
from uld_jax.datasets import files

_CHOOSE = "or choose another --config.data.dir to prepare your own"


def check_signals(path: pathlib.Path, stored: dict[str, Any], data: Any) -> None:
    """Raise if a simulated data set was prepared from other signals.

    What a data set does not record is not compared.

    Args:
        path: Folder of the data set.
        stored: Its metadata.
        data: The settings' `data`.

    Raises:
        files.DatasetError: With the stored value and the flag that takes it.
    """
    speech, noise = stored.get("corpus") or {}, stored.get("noise") or {}
    compared = {
        "speech": (speech.get("name"), _folder_name(data.speech)),
        "noise": (noise.get("name"), _folder_name(data.noise)),
        "noise_field": (stored.get("law", {}).get("noise"), data.noise_field),
        "engine": (stored.get("engine"), data.engine),
    }
    for key, (have, wanted) in compared.items():
        if have is not None and have != wanted:
            raise files.DatasetError(
                f"{str(path)!r} was prepared with {key} {have!r}, not {wanted!r}; pass "
                f"--config.data.{key}={have} to use it, {_CHOOSE}"
            )
    folders = tuple(speech.get("folders", corpora.PARTS))
    if folders not in (tuple(data.speech_splits), corpora.PARTS):
        for_shell = str(folders).replace("'", '"')
        raise files.DatasetError(
            f"{str(path)!r} was prepared from the splits {folders}; pass "
            f"--config.data.speech_splits='{for_shell}' to use it, {_CHOOSE}"
        )


def check_recordings(
    path: pathlib.Path, stored: dict[str, Any], data: Any, is_session: bool
) -> None:
    """Raise if a data set was prepared from other recordings.

    Args:
        path: Folder of the data set.
        stored: Its metadata.
        data: The settings' `data`; without `recordings`, nothing is compared.
        is_session: Whether it is a session of one's own. Its tables may have been
            corrected since, so their fingerprint is compared as well.

    Raises:
        files.DatasetError: With what differs.
        SessionError: If the session cannot be used.
    """
    if not data.recordings:
        return
    name, recorded = _folder_name(data.recordings), stored.get("corpus") or {}
    if recorded.get("name") != name:
        raise files.DatasetError(
            f"{str(path)!r} was prepared from the recordings {recorded.get('name')!r}, "
            f"not {name!r}; pass --config.data.recordings={recorded.get('name')} to "
            f"use it, {_CHOOSE}"
        )
    folder = pathlib.Path(data.recordings).expanduser()
    if not (is_session and folder.is_dir()):
        return
    if sessions.open_session(folder).fingerprint() != recorded.get("fingerprint"):
        raise files.DatasetError(
            f"{str(folder)!r} has changed since {str(path)!r} was prepared from it; "
            "remove that folder to prepare it again, or choose another name "
            "sessions/NAME:1.0.0"
        )


def check_settings(
    path: pathlib.Path, stored: dict[str, Any], builder_config: Any, data: Any
) -> None:
    """Raise if a simulated data set was prepared by other settings of its builder.

    Args:
        path: Folder of the data set.
        stored: Its metadata.
        builder_config: The builder's configuration of today.
        data: The settings' `data`.

    Raises:
        files.DatasetError: With the setting, its stored value and that of today.
    """
    recipe, late_fields = stored.get("law", {}), stored.get("late_fields", {})
    wanted_recipe = dataclasses.asdict(builder_config.recipe)
    wanted_late_fields = builder_config.late_fields_by(data.engine)
    keys = ("kind", "num_sources", "num_nodes", "num_samples", "rooms")
    compared = [(f"recipe.{key}", recipe.get(key), wanted_recipe[key]) for key in keys]
    compared += [
        (f"late_fields.{split}", late, wanted_late_fields.get(split))
        for split, late in late_fields.items()
    ]
    for name, have, wanted in compared:
        if have is not None and have != wanted:
            raise files.DatasetError(
                f"{str(path)!r} was prepared with {name} {have!r}; "
                f"{data.name} now has {wanted!r}. Remove that folder, or choose another "
                "--config.data.dir, to prepare it again"
            )


def _folder_name(folder: str) -> str:
    return pathlib.Path(folder).expanduser().resolve().name
