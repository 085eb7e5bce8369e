"""The folder of a run: it belongs to one run, and no other may write into it."""

import json
import os
import pathlib

from uld_jax.runtime import errors, progress
from uld_jax.storage import records

SETTINGS_FILE = "settings.json"


class RunConflictError(errors.InputError):
    """A folder that a run cannot have."""


def check(workdir: str | pathlib.Path, settings: dict) -> None:
    """Raise unless a folder can be that of a run, begun or new.

    Raises:
        RunConflictError: If it holds a run with other settings, with the differences;
            if it holds folders of runs; or if it cannot be read or written.
        records.RecordError: If its record cannot be used.
    """
    folder = pathlib.Path(workdir).expanduser()
    _check_place(folder)
    old = settings_in(folder)
    if old is None:
        _check_above_no_run(folder)
        return
    if lines := records.differences(old, settings):
        raise RunConflictError(
            f"{str(workdir)!r} holds a run with other settings:\n  "
            + "\n  ".join(lines)
            + "\nGive the old settings to go on with it, or another --workdir."
        )


def check_for_many(workdir: str | pathlib.Path) -> None:
    """Raise unless a folder can be that of several runs, each in its own below it.

    Raises:
        RunConflictError: If it is a run's own, or if it cannot be read or written.
        records.RecordError: If its record cannot be used.
    """
    folder = pathlib.Path(workdir).expanduser()
    _check_place(folder)
    if settings_in(folder) is not None:
        raise RunConflictError(
            f"--workdir: {str(folder)!r} is the folder of one run; name another for "
            "the folders of several"
        )


def settings_in(folder: pathlib.Path) -> dict | None:
    """Return the settings of the run that a folder holds; None where it holds none.

    Raises:
        RunConflictError: If they cannot be read.
        records.RecordError: If its record cannot be used.
    """
    path = folder / SETTINGS_FILE
    if path.exists():
        try:
            settings = json.loads(path.read_text())
            if not isinstance(settings, dict):
                raise ValueError(f"it holds {settings!r:.40}")
            return settings
        except ValueError as error:
            raise RunConflictError(
                f"{str(path)!r} cannot be read: {error}; remove this file to go on with "
                "the run by the command it was begun with, or give another --workdir"
            ) from None
    path = folder / records.FILE_NAME  # Of what others have run, only this is kept.
    return records.read([path])[0]["settings"] if path.exists() else None


def _check_place(folder: pathlib.Path) -> None:
    """Raise if a folder cannot be made or written."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise RunConflictError(
            f"--workdir: {str(there)!r} is a file; name a folder for the run"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunConflictError(
            f"--workdir: {str(there)!r} cannot be written; name another folder"
        )
    if (folder / records.CARD_FILE).exists():
        raise RunConflictError(
            f"--workdir: {str(folder)!r} holds shared weights; name another folder"
        )


def _check_above_no_run(folder: pathlib.Path) -> None:
    """Raise if there are runs right below a folder, which is no run's then."""
    for path in folder.glob(f"*/{records.FILE_NAME}"):
        raise RunConflictError(
            f"--workdir: {str(folder)!r} is a folder of runs, among them "
            f"{path.parent.name!r}; name a new folder in it for this one"
        )


def read(workdir: pathlib.Path) -> dict | None:
    """Return the record in a run's folder if there is one.

    Raises:
        records.RecordError: If it cannot be used.
    """
    path = workdir / records.FILE_NAME
    try:
        return records.read([path])[0] if path.exists() else None
    except records.RecordError as error:
        raise records.RecordError(
            f"{error}; remove this file to go on from the states that were saved"
        ) from None


def read_record(workdir: pathlib.Path) -> dict | None:
    """Return the record in a run's folder if there is one; say so if the run is over.

    Raises:
        records.RecordError: If it cannot be used.
    """
    record = read(workdir)
    if record and record["status"] != "running":
        progress.log(f"{workdir}: this run is {record['status']} already")
    return record
