"""SHA-256 checksums of a folder's files, in a file that has a checksum of its own.

Symbolic links are never followed: their targets can change while the folder does not.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

import uld_jax
from uld_jax.runtime import errors
from uld_jax.storage import atomic

FILE_NAME = "sha256.json"
FORMAT = 1  # Later formats must keep the file's own checksum as it is.


class ChecksumError(errors.InputError):
    """A checksum file that cannot be used, with the reason."""


class NewerFormatError(ChecksumError):
    """A checksum file of a newer uld_jax."""


def of_folder(folder: pathlib.Path, sync: bool = False) -> dict[str, dict[str, Any]]:
    """Compute "size", in bytes, and "sha256" of each file in a folder, by relative path.

    Args:
        folder: The folder, with those below it. The checksum file is left out.
        sync: Whether to make sure that all is on the disk, not only in memory.

    Raises:
        OSError: If a file cannot be read, or is a link.
    """
    return {name: _sum(path, sync) for name, path in sorted(_files(folder).items())}


def write_sums(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Write the checksum file of a folder, once all files are on the disk.

    Args:
        folder: The finished folder.
        facts: What else to store in the file, in JSON's types.

    Raises:
        OSError: If something cannot be read or written.
    """
    content = facts | {
        "format": FORMAT,
        "uld_jax": uld_jax.__version__,
        "files": of_folder(folder, sync=True),
    }
    atomic.write_bytes(folder / FILE_NAME, _sealed(content))
    for root, _, _ in os.walk(folder):
        atomic.sync_folder(pathlib.Path(root))


def read_sums(folder: pathlib.Path) -> dict[str, Any]:
    """Read and verify the checksum file of a folder.

    Raises:
        NewerFormatError: If a newer uld_jax wrote it.
        ChecksumError: If it is missing or damaged.
    """
    try:
        written = _regular(folder / FILE_NAME).read_bytes()
    except FileNotFoundError:
        raise ChecksumError(
            f"{FILE_NAME}: not there, so nothing can be verified"
        ) from None
    except OSError as error:
        raise ChecksumError(f"{FILE_NAME}: {_reason(error)}") from None
    try:
        content = json.loads(written)
        content.pop("sha256")
        same = _sealed(content) == written and isinstance(content["format"], int)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        same = False
    if not same:
        raise ChecksumError(f"{FILE_NAME}: not as it was written")
    if content["format"] > FORMAT:
        raise NewerFormatError(
            f"written by uld_jax {content['uld_jax']} in format {content['format']}, "
            f"which uld_jax {uld_jax.__version__} cannot read; update uld_jax"
        )
    return content


def find_damage(
    folder: pathlib.Path, content: dict[str, Any], below: str = ""
) -> list[str]:
    """List the files that differ from what was written, a line each.

    Args:
        folder: The folder.
        content: Its checksum file, from `read_sums`.
        below: Start of the names of the files to verify; "" for all.
    """
    written = {k: v for k, v in content["files"].items() if k.startswith(below)}
    found = {k: v for k, v in _files(folder).items() if k.startswith(below)}
    lines = []
    for name in sorted(written.keys() | found.keys()):
        if name not in found:
            lines.append(f"{name}: not there")
        elif name not in written:
            # Escaped, because a stranger's file name may hold control characters.
            printable = name.encode("unicode_escape").decode()
            lines.append(f"{printable}: not a file that was written here")
        elif damage := _damage(found[name], written[name]):
            lines.append(f"{name}: {damage}")
    return lines


def _damage(path: pathlib.Path, written: dict[str, Any]) -> str | None:
    """Describe how a file differs from what was written; None if it does not."""
    try:
        size = _regular(path).stat().st_size
        if size != written["size"]:
            return f"{size:,} bytes, not {written['size']:,}"
        if _sum(path) != written:
            return "not the bytes that were written"
    except OSError as error:
        return _reason(error)
    return None


def _sum(path: pathlib.Path, sync: bool = False) -> dict[str, Any]:
    """Compute the size and checksum of a file."""
    with _regular(path).open("rb") as file:
        total = hashlib.file_digest(file, "sha256").hexdigest()
        if sync:
            os.fsync(file.fileno())
        return {"size": file.tell(), "sha256": total}


def _regular(path: pathlib.Path) -> pathlib.Path:
    """Check that a path is a regular file or nothing; return it.

    Raises:
        OSError: If it is a link or something else.
    """
    if path.is_symlink():
        raise OSError("a link, not a file")
    if path.exists() and not path.is_file():  # Opening a pipe would wait forever.
        raise OSError("not a file")
    return path


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """List all but folders, by relative path, without the checksum file."""
    found = {}
    for root, folders, names in os.walk(folder):
        here = pathlib.Path(root)
        for path in [here / name for name in (*folders, *names)]:
            if path.is_symlink() or not path.is_dir():
                found[path.relative_to(folder).as_posix()] = path
    found.pop(FILE_NAME, None)
    return found


def _sealed(content: dict[str, Any]) -> bytes:
    """Format a checksum file: the content and a checksum of it."""
    text = json.dumps(content, indent=1, sort_keys=True)
    total = hashlib.sha256(text.encode()).hexdigest()
    sealed = json.dumps(content | {"sha256": total}, indent=1, sort_keys=True)
    return (sealed + "\n").encode()


def _reason(error: OSError) -> str:
    """Explain why a file cannot be read, without its path."""
    return f"cannot be read: {error.strerror or error}"
