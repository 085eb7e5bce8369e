"""A kind of bad session, and what a user should see of it."""

import pathlib
from collections.abc import Callable


class Skipped(Exception):
    """A kind that cannot be made on this machine, with the reason."""


class Kind:
    """A change of the small session, and what commands should answer.

    Attributes:
        change: Changes the session in a folder.
        status: Exit status of `uld_jax doctor`: 0 where nothing is wrong, 1 with a remark,
            2 where the session, or a node of it, cannot be used, or no window is determined.
        says: What its message has to hold: file, line, column, value, fix.
    """

    def __init__(self, change: Callable[[pathlib.Path], None], status: int, *says: str):
        self.change, self.status, self.says = change, status, says
