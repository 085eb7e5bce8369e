"""SHA-256 sums of a folder's files, in a file beside them that knows its own.

What lies there is what was written, or it is said which file is not. Links are no
files: what they lead to may change with the folder as it was.
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
FORMAT = 1  # Of the file; any later one has its own sum as this one has.


class ChecksumError(errors.InputError):
    """A file of sums that cannot be used, with the reason."""


class NewerFormatError(ChecksumError):
    """A file of sums that a newer uld_jax has written."""


def of_folder(folder: pathlib.Path, sync: bool = False) -> dict[str, dict[str, Any]]:
    """Return "size", in bytes, and "sha256" of each file in a folder, by relative path.

    Args:
        folder: Where to look, folders in it included. The file of sums is left out.
        sync: Whether to see to it that all is on the disk, not only in memory.

    Raises:
        OSError: If a file cannot be read, or is a link.
    """
    return {name: _sum(path, sync) for name, path in sorted(_files(folder).items())}


def write(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Write the sums of a folder's files into it, when all is on the disk.

    Args:
        folder: With its files as they are to be.
        facts: What else to keep in the file, in JSON's types.

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


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Return what `write` has written, when it is as it was written.

    Raises:
        NewerFormatError: If a newer uld_jax has written it.
        ChecksumError: If it is not there or not as it was written.
    """
    try:
        written = _contained(folder, FILE_NAME).read_bytes()
    except FileNotFoundError:
        raise ChecksumError(f"{FILE_NAME}: not there, so nothing is known") from None
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
            f"written by uld_jax {content['uld_jax']}, whose format {content['format']} "
            f"this one, {uld_jax.__version__}, does not know; update uld_jax"
        )
    return content


def damages(
    folder: pathlib.Path, content: dict[str, Any], below: str = ""
) -> list[str]:
    """Return a line for each file that is not as it was written; none if all are.

    Args:
        folder: With the files.
        content: What `read` has returned.
        below: What the names of the files to look at begin with; "" for all.
    """
    written = {k: v for k, v in content["files"].items() if k.startswith(below)}
    found = {k: v for k, v in _files(folder).items() if k.startswith(below)}
    lines = []
    for name in sorted(written.keys() | found.keys()):
        if name not in found:
            lines.append(f"{name}: not there")
        elif name not in written:
            lines.append(f"{_printable(name)}: not a file that was written here")
        elif damage := _damage(found[name], written[name]):
            lines.append(f"{name}: {damage}")
    return lines


def _damage(path: pathlib.Path, written: dict[str, Any]) -> str | None:
    """Return how a file differs from what was written."""
    try:
        size = _contained(path.parent, path.name).stat().st_size
        if size != written["size"]:
            return f"{size:,} bytes, not {written['size']:,}"
        if _sum(path) != written:
            return "not the bytes that were written"
    except OSError as error:
        return _reason(error)
    return None


def _sum(path: pathlib.Path, sync: bool = False) -> dict[str, Any]:
    """Return a file's size and sum."""
    with _contained(path.parent, path.name).open("rb") as file:
        total = hashlib.file_digest(file, "sha256").hexdigest()
        if sync:
            os.fsync(file.fileno())
        return {"size": file.tell(), "sha256": total}


def _contained(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Return the path of a file that lies in a folder itself.

    Raises:
        OSError: If it is a link, or another thing that is no file.
    """
    path = folder / name
    if path.is_symlink():
        raise OSError("a link, not a file")
    if path.exists() and not path.is_file():  # To open a pipe would wait for ever.
        raise OSError("not a file")
    return path


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return all that is no folder in a folder, the file of sums left out."""
    found = {}
    for root, folders, names in os.walk(folder):
        here = pathlib.Path(root)
        for path in [here / name for name in (*folders, *names)]:
            if path.is_symlink() or not path.is_dir():
                found[path.relative_to(folder).as_posix()] = path
    found.pop(FILE_NAME, None)
    return found


def _sealed(content: dict[str, Any]) -> bytes:
    """Return the file that holds a content and the sum over it."""
    text = json.dumps(content, indent=1, sort_keys=True)
    total = hashlib.sha256(text.encode()).hexdigest()
    sealed = json.dumps(content | {"sha256": total}, indent=1, sort_keys=True)
    return (sealed + "\n").encode()


def _reason(error: OSError) -> str:
    """Return in words why a file cannot be read, without its path."""
    return f"cannot be read: {error.strerror or error}"


def _printable(name: str) -> str:
    """Return a name that any terminal takes, whoever has given it."""
    return name.encode("unicode_escape").decode()
