"""Folders of steps by number; a killed process leaves each of them whole or absent.

A step is written under another name and renamed. If the step exists already, the old
folder is renamed first and deleted once the new one is in place.
"""

import pathlib
import re
import shutil

from uld_jax.storage import atomic

# Prefixes of temporary names. They sort before digits, so that a whole step is found
# after one that it replaces.
_SAVING, _REPLACED, _DELETED = ".saving-", ".replaced-", ".deleted-"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def steps(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """List the path of each step, whole or damaged, the oldest first."""
    found = {}
    for path in _children(folder):
        # Killed between two renames, a process leaves only the replaced folder.
        if _NUMBER.fullmatch(path.name.removeprefix(_REPLACED)):
            found[number(path)] = path
    return dict(sorted(found.items()))


def number(path: pathlib.Path) -> int:
    """Parse the number of a step from its path."""
    return int(path.name.removeprefix(_REPLACED))


def foreign(folder: pathlib.Path) -> list[pathlib.Path]:
    """List the paths that are neither steps nor temporary."""
    own = set(steps(folder).values())
    return [p for p in _children(folder) if p not in own and not _is_temporary(p)]


def partial(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Name the folder to write a step to, before `put_in_place`."""
    return folder / f"{_SAVING}{step}"


def put_in_place(folder: pathlib.Path, step: int) -> None:
    """Rename a step that is completely on the disk to its final name.

    A step that it replaces stays, renamed, until `clean`.
    """
    place = folder / str(step)
    if _exists(place):
        place.rename(folder / f"{_REPLACED}{step}")
    partial(folder, step).rename(place)
    atomic.sync_folder(folder)


def keep(folder: pathlib.Path, step: int, count: int) -> None:
    """Delete all steps but the last ones up to a step.

    Args:
        folder: Folder of the steps.
        step: The newest step to keep.
        count: How many to keep.
    """
    there = steps(folder)
    kept = [number for number in there if number <= step][-count:]
    for old in there.keys() - set(kept):
        # Renamed first, so that a step is never seen half deleted.
        there[old].rename(folder / f"{_DELETED}{old}")
    clean(folder)


def clean(folder: pathlib.Path) -> None:
    """Remove temporary folders of a killed process; restore a step without successor."""
    for path in filter(_is_temporary, _children(folder)):
        place = folder / path.name.removeprefix(_REPLACED)
        if path.name.startswith(_REPLACED) and not _exists(place):
            path.rename(place)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def put_aside(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Move a step to another folder under an unused name; return its new path."""
    folder.mkdir(exist_ok=True)
    name = f"{path.parent.name}-{number(path)}"
    place, count = folder / name, 1
    while _exists(place):
        count += 1
        place = folder / f"{name}-{count}"
    path.rename(place)
    return place


def _children(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_temporary(path: pathlib.Path) -> bool:
    return path.name.startswith((_SAVING, _REPLACED, _DELETED))


def _exists(path: pathlib.Path) -> bool:
    """Check whether a path exists, broken links included."""
    return path.exists() or path.is_symlink()
