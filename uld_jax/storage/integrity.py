"""Checks that a saved state is the one that was saved: of its step, whole and finite.

Besides the files that Orbax writes, the arrays have checksums of their own, because
other software lies between a file and an array.
"""

import hashlib
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from uld_jax.storage import checksums, step_folders

_FINITE = ("params", "statistics", "opt_state")  # Items that must be finite.
_MAX_LINES = 5
_COPY = "copy it again from an undamaged copy"
_FIT = "give the settings it was saved with"
_DIVERGED = "train from scratch at a lower learning rate"


class UnusableError(Exception):
    """A step that cannot be used.

    Attributes:
        reasons: A line for each file or array.
        remedy: What the user can do.
    """

    def __init__(self, reasons: Iterable[str], remedy: str = _COPY):
        self.reasons: list[str] = list(reasons)
        self.remedy: str = remedy
        super().__init__("; ".join(self.reasons))

    def shown(self, prefix: str = "") -> list[str]:
        """List the first reasons, and the number of further ones."""
        more = len(self.reasons) - _MAX_LINES
        last = [f"and {more} more"] if more > 0 else []
        return [prefix + line for line in self.reasons[:_MAX_LINES] + last]


def describe(folder: pathlib.Path, step: int, state: dict[str, Any]) -> dict[str, Any]:
    """Describe a state, to be stored with the checksums of its files.

    Args:
        folder: Folder of the steps of its kind.
        step: The step it is saved under.
        state: Items of NumPy arrays.
    """
    arrays = {
        name: {"array": _type_and_shape(leaf), "sha256": _digest(leaf)}
        for name, leaf in by_name(state).items()
    }
    return {"of": f"{folder.name}/{step}", "arrays": arrays}


def verify(
    path: pathlib.Path, like: dict[str, Any] | None = None, below: str = ""
) -> dict[str, Any]:
    """Verify the files of a step; return the content of its checksum file.

    Args:
        path: Folder of the step.
        like: Items whose arrays it must have; None for any.
        below: Start of the names of the files to verify; "" for all.

    Raises:
        UnusableError: If the step is damaged or has other arrays.
        checksums.NewerFormatError: If a newer uld_jax wrote it.
    """
    if path.is_symlink() or not path.is_dir():
        raise UnusableError(["not a folder"])
    try:
        content = checksums.read_sums(path)
    except checksums.NewerFormatError:
        raise
    except checksums.ChecksumError as error:
        raise UnusableError([str(error)]) from None
    own = f"{path.parent.name}/{step_folders.number(path)}"
    if content.get("of") != own:
        raise UnusableError([f"{checksums.FILE_NAME}: that of {content.get('of')}"])
    if like is not None and (lines := _differences(content["arrays"], like)):
        raise UnusableError(lines, _FIT)
    if lines := checksums.find_damage(path, content, below):
        raise UnusableError(lines)
    return content


def _differences(saved: dict[str, Any], like: dict[str, Any]) -> list[str]:
    """List the arrays of some items that differ, as "name: old -> new" lines."""
    old = {k: v["array"] for k, v in saved.items() if k.split("/")[0] in like}
    new = {k: _type_and_shape(v) for k, v in by_name(like).items()}
    return [
        f"{name}: {old.get(name, 'not there')} -> {new.get(name, 'not there')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def check_arrays(saved: dict[str, dict[str, Any]], trees: dict[str, Any]) -> None:
    """Check that arrays are the ones that were saved, and finite.

    Args:
        saved: Their descriptions by name, from `describe`.
        trees: Items of arrays.

    Raises:
        UnusableError: If they are not.
    """
    arrays = by_name(trees)
    if arrays.keys() != saved.keys() or any(
        _digest(arrays[name]) != facts["sha256"] for name, facts in saved.items()
    ):
        raise UnusableError(["not the arrays that were saved"])
    if lines := [
        f"{name}: {np.sum(~np.isfinite(array)):,} of {array.size:,} are not finite"
        for name, array in arrays.items()
        if name.split("/")[0] in _FINITE and not np.isfinite(array).all()
    ]:
        raise UnusableError(lines, _DIVERGED)


def unflatten(like: Any, tree: Any) -> Any:
    """Put the arrays of a tree into the structure of another with the same names."""
    arrays = by_name(tree)
    return jax.tree.unflatten(
        jax.tree.structure(like), [arrays[name] for name in by_name(like)]
    )


def by_name(tree: Any) -> dict[str, Any]:
    """Flatten a tree of arrays, by the keys that lead to them, as in "params/w"."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _type_and_shape(leaf) -> str:
    return f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"


def _digest(array: np.ndarray) -> str:
    """Hash the type, shape and bits of an array."""
    total = hashlib.sha256(_type_and_shape(array).encode())
    total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return total.hexdigest()
