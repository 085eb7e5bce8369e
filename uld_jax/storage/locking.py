"""One process at a time in a folder."""

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

    The file says who has it. It is locked by `flock`: where hosts share a folder,
    its file system must have locks across hosts, as NFS 4 has, or Lustre mounted
    with `flock`. Buckets mounted by FUSE have none, so that two hosts would both
    hold the lock.

    Args:
        path: The lock file; it is made, and stays.
        wait: Wait for another process that holds it, telling once for whom.

    Raises:
        errors.LockedError: If another process holds it.
        NoLocksError: If the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for writing as NFS wants it, without emptying what the holder wrote.
    with path.open("a+") as file:
        if not _try(file, path):
            if not wait:
                raise errors.LockedError(
                    f"another process is at work in {_holder(file, path)}; wait for "
                    "it or stop it"
                )
            progress.log(f"Waiting for a process at work in {_holder(file, path)}")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        now = datetime.datetime.now().astimezone()
        file.write(f"process {os.getpid()} on {platform.node()} since {now:%F %T %z}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)  # Whoever asks now is told of nobody.


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
    """Return what a lock is for, and who holds it, where the file says so."""
    file.seek(0)
    words = file.readline(200).strip()
    return f"{str(path.parent)!r} ({words or 'it holds ' + path.name})"
