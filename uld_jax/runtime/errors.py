"""Errors that a user can fix, and the exit codes of commands."""

from typing import Any

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_LOCKED = 3  # Another process works in the folder.
EXIT_COLLAPSED = 4  # The training collapsed, as often as it may go back.
EXIT_STOPPED = 75  # EX_TEMPFAIL: the run is saved and can be resumed.


class InputError(ValueError):
    """Bad input; the message names the value and the fix."""


class LockedError(InputError):
    """A folder that another process works in."""


class Failed(Exception):
    """The failure of a command that ran to its end; the message says what failed.

    Args:
        message: What failed.
        code: Exit code of the command.
    """

    def __init__(self, message: str, code: int = EXIT_FAILED):
        super().__init__(message)
        self.code = code


def describe_changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """List the keys whose values differ, as "key: old -> new" lines."""
    return [
        f"{key}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
