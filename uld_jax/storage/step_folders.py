"""Folders of a run's steps, by number: each whole or not there, whenever one is killed.

A step is written beside its place and renamed. Where one is there already, the new one
takes its place when it is complete; only then anything older is deleted.
"""

import pathlib
import re
import shutil

from uld_jax.storage import atomic

# Names that steps have while they come and go; in order, they are before numbers.
_SAVING, _REPLACED, _DELETED = ".saving-", ".replaced-", ".deleted-"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def steps(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Return where each step in a folder lies, whole or damaged, the oldest first."""
    found = {}
    for path in _children(folder):
        # Killed between two names, a step has that of one that is replaced.
        if _NUMBER.fullmatch(path.name.removeprefix(_REPLACED)):
            found[number(path)] = path
    return dict(sorted(found.items()))


def number(path: pathlib.Path) -> int:
    """Return the step that a path of `steps` is of."""
    return int(path.name.removeprefix(_REPLACED))


def foreign(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return what in a folder is no step, nor on the way to be or not to be one."""
    own = set(steps(folder).values())
    return [p for p in _children(folder) if p not in own and not _passing(p)]


def partial(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Return where to write a step, until `put_in_place`."""
    return folder / f"{_SAVING}{step}"


def put_in_place(folder: pathlib.Path, step: int) -> None:
    """Give a step that is written, and on the disk, its name.

    One of the same name has another until `clean`, which gives it back if the new one
    is not there.
    """
    place = folder / str(step)
    if _there(place):
        place.rename(folder / f"{_REPLACED}{step}")
    partial(folder, step).rename(place)
    atomic.sync_folder(folder)


def keep(folder: pathlib.Path, step: int, count: int) -> None:
    """Delete all steps but one and those right before it.

    Args:
        folder: With the steps.
        step: The newest to keep.
        count: How many to keep.
    """
    there = steps(folder)
    kept = [number for number in there if number <= step][-count:]
    for old in there.keys() - set(kept):
        # No step that is half deleted is ever seen.
        there[old].rename(folder / f"{_DELETED}{old}")
    clean(folder)


def clean(folder: pathlib.Path) -> None:
    """Remove what a process has left that was killed while it saved or deleted."""
    for path in filter(_passing, _children(folder)):
        place = folder / path.name.removeprefix(_REPLACED)
        if path.name.startswith(_REPLACED) and not _there(place):
            path.rename(place)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def put_aside(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Move a step into another folder, under a free name; return where it is then."""
    folder.mkdir(exist_ok=True)
    name = f"{path.parent.name}-{number(path)}"
    place, count = folder / name, 1
    while _there(place):
        count += 1
        place = folder / f"{name}-{count}"
    path.rename(place)
    return place


def _children(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _passing(path: pathlib.Path) -> bool:
    return path.name.startswith((_SAVING, _REPLACED, _DELETED))


def _there(path: pathlib.Path) -> bool:
    return path.exists() or path.is_symlink()
