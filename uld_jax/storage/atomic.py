"""Write files in one piece: a reader finds the old content or the new one, whole."""

import contextlib
import json
import math
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replace(path: pathlib.Path, unique: bool = False) -> Iterator[pathlib.Path]:
    """Write a file beside its path and rename it when the `with` block ends.

    After an error in the block, nothing of the new file is left. A killed process
    leaves a file whose name ends in ".part".

    Args:
        path: The file to create or replace.
        unique: Whether several processes may write it at the same time.

    Yields:
        The path to write to.
    """
    middle = f".{uuid.uuid4().hex}" if unique else ""
    partial = path.with_name(f"{path.name}{middle}.part")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # Or a power cut could leave an empty file.
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def nearest_existing(path: str | pathlib.Path) -> pathlib.Path:
    """Find the path itself or the nearest folder above it that exists."""
    path = pathlib.Path(path).expanduser()
    return next((one for one in (path, *path.parents) if one.exists()), path)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Write a file in one piece."""
    with replace(path) as partial:
        partial.write_bytes(content)


def write_json(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one piece; numbers that are not finite become null."""
    write_bytes(path, to_json(content).encode())


def to_json(content: dict[str, Any]) -> str:
    """Format content as the text of a JSON file."""
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def sync_folder(folder: pathlib.Path) -> None:
    """Make sure that the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
