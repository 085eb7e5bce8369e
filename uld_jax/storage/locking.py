"""Lock a folder for one process."""

import contextlib
import datetime
import errno
import fcntl
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import TextIO

from uld_jax.runtime import errors, progress

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class NoLocksError(errors.InputError):
    """A folder on a file system without locks."""


@contextlib.contextmanager
def hold(path: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; the lock ends with the process, however that ends.

    The file names the process that holds the lock, which is a `flock`. Hosts that share
    a folder need a file system with locks across hosts, such as NFS 4, or Lustre
    mounted with `flock`. Buckets mounted by FUSE have none: two hosts would both hold
    the lock.

    Args:
        path: The lock file. It is created, and stays.
        wait: Whether to wait for another process that holds it, which is logged.

    Raises:
        errors.LockedError: If another process holds it.
        NoLocksError: If the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # NFS needs a file opened for writing; "a+" does not erase the holder's name.
    with path.open("a+") as file:
        if not _try(file, path):
            if not wait:
                raise errors.LockedError(
                    f"another process works in {_holder(file, path)}; wait for it or "
                    "stop it"
                )
            progress.log(f"Waiting for a process that works in {_holder(file, path)}")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        now = datetime.datetime.now().astimezone()
        file.write(f"process {os.getpid()} on {platform.node()} since {now:%F %T %z}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _try(file: TextIO, path: pathlib.Path) -> bool:
    """Lock a file if it is free; return whether it was."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise NoLocksError(
            f"{str(path)!r} cannot be locked: {error.strerror}; choose a folder on a "
            "file system with locks"
        ) from None
    return True


def _holder(file: TextIO, path: pathlib.Path) -> str:
    """Name the locked folder, and the holder if the file has its name."""
    file.seek(0)
    holder = file.readline(200).strip()
    return f"{str(path.parent)!r} ({holder or 'it holds ' + path.name})"
