"""One process at a time in a folder."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from uld_jax import errors

FILE_NAME = "lock"  # In the folder of a run.


class LockedError(errors.InputError):
    """A folder that another process works in."""


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[None]:
    """Hold a lock file; the lock ends with the process, however that ends.

    Raises:
        LockedError: If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"another process is at work in {str(path.parent)!r} "
                f"(it holds {path.name}); wait for it or stop it"
            ) from None
        yield
