"""The folder of a run: its files, its lock, and which run it belongs to."""

import contextlib
import json
import os
import pathlib
from typing import Any

from uld_jax.runtime import errors
from uld_jax.storage import atomic, checkpoints, locking, records
from uld_jax.storage import settings as settings_lib


class RunConflictError(errors.InputError):
    """A folder that cannot be used for a run, with the reason."""


class RunFolder:
    """The folder of one run, which may not exist yet.

    Args:
        path: The folder; "~" is expanded.

    Attributes:
        path: The folder.
        record: File of the record.
        settings: File of the settings that the run was started with.
        predictions: File of the predictions for the test split.
        conditions: File of the results under worse conditions.
        condition_errors: File of the error of each example under each.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path: pathlib.Path = pathlib.Path(path).expanduser()
        self.record: pathlib.Path = self.path / records.FILE_NAME
        self.settings: pathlib.Path = self.path / "settings.json"
        self.predictions: pathlib.Path = self.path / records.PREDICTIONS_FILE
        self.conditions: pathlib.Path = self.path / records.CONDITIONS_FILE
        self.condition_errors: pathlib.Path = self.path / records.CONDITION_ERRORS_FILE

    def __str__(self) -> str:
        return str(self.path)

    def check(self, settings: dict[str, Any]) -> None:
        """Check that the folder is free, or holds the run with these settings.

        Raises:
            RunConflictError: If it holds a run with other settings, with the
                differences; if it holds folders of runs; or if it cannot be read or
                written.
            records.RecordError: If its record cannot be used.
        """
        self._check_writable()
        old = self.read_settings()
        if old is None:
            for path in self.path.glob(f"*/{records.FILE_NAME}"):
                raise RunConflictError(
                    f"--workdir: {str(self)!r} is a folder of runs, among them "
                    f"{path.parent.name!r}; name a new folder in it for this one"
                )
        elif lines := settings_lib.differences(old, settings):
            raise RunConflictError(
                f"{str(self)!r} holds a run with other settings:\n  "
                + "\n  ".join(lines)
                + "\nGive the old settings to resume it, or another --workdir."
            )

    def check_for_runs(self) -> None:
        """Check that folders of runs can be made in this one.

        Raises:
            RunConflictError: If it is the folder of a run, or cannot be read or
                written.
            records.RecordError: If its record cannot be used.
        """
        self._check_writable()
        if self.read_settings() is not None:
            raise RunConflictError(
                f"--workdir: {str(self)!r} is the folder of one run; name another for "
                "the folders of several"
            )

    def _check_writable(self) -> None:
        there = atomic.nearest_existing(self.path)
        if not there.is_dir():
            raise RunConflictError(
                f"--workdir: {str(there)!r} is a file; name a folder for the run"
            )
        if not os.access(there, os.W_OK | os.X_OK):
            raise RunConflictError(
                f"--workdir: {str(there)!r} cannot be written; name another folder"
            )
        if (self.path / records.CARD_FILE).exists():
            raise RunConflictError(
                f"--workdir: {str(self)!r} holds shared weights; name another folder"
            )

    def lock(self, wait: bool = False) -> contextlib.AbstractContextManager[None]:
        """Lock the folder for a `with` block: see `locking.hold`."""
        return locking.hold(self.path / "lock", wait)

    def read_settings(self) -> dict[str, Any] | None:
        """Read the settings of the run; None without a run.

        Raises:
            RunConflictError: If they cannot be read.
            records.RecordError: If the record cannot be used.
        """
        if not self.settings.exists():
            # Shared results keep the record alone.
            record = self.read_record()
            return record and record["settings"]
        try:
            settings = json.loads(self.settings.read_text())
            if not isinstance(settings, dict):
                raise ValueError(f"it holds {settings!r:.40}")
            return settings
        except ValueError as error:
            raise RunConflictError(
                f"{str(self.settings)!r} cannot be read: {error}; remove this file to "
                "resume the run with the command that started it, or give another "
                "--workdir"
            ) from None

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings of the run."""
        atomic.write_json(self.settings, settings)

    def read_record(self) -> dict[str, Any] | None:
        """Read the record of the run; None without one.

        Raises:
            records.RecordError: If it cannot be used.
        """
        try:
            return (
                records.read_records(self.record)[0] if self.record.exists() else None
            )
        except records.RecordError as error:
            raise records.RecordError(
                f"{error}; remove this file to resume from the saved states"
            ) from None

    def write_record(self, record: dict[str, Any]) -> None:
        """Write the record of the run."""
        atomic.write_json(self.record, record)

    def open_checkpoints(self) -> checkpoints.Checkpoints:
        """Open the checkpoints of the run, as a context manager."""
        return checkpoints.Checkpoints(self.path)
