"""What a saved state has to be: that of its step, unchanged, whole, finite.

Beside the sums of the files, Orbax's, those of the arrays are kept: what comes back is
what was saved, whatever lies between.
"""

import hashlib
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from uld_jax.storage import checksums, step_folders

_FINITE = ("params", "statistics", "opt_state")
_SHOWN = 5
_COPY = "copy it again from where it is whole"
_FIT = "give the settings it was saved with"
_DIVERGED = "train anew, at a lower learning rate"


class UnusableError(Exception):
    """A step that cannot be used: why, a line for each file or array; and the remedy."""

    def __init__(self, reasons: Iterable[str], remedy: str = _COPY):
        self.reasons, self.remedy = list(reasons), remedy
        super().__init__("; ".join(self.reasons))

    def shown(self, prefix: str = "") -> list[str]:
        """Return the first of the reasons, and how many there are besides."""
        more = len(self.reasons) - _SHOWN
        last = [f"and {more} more"] if more > 0 else []
        return [prefix + line for line in self.reasons[:_SHOWN] + last]


def facts(folder: pathlib.Path, step: int, state: dict) -> dict[str, Any]:
    """Return what to keep of a state beside its sums.

    Args:
        folder: Where the steps of its kind lie.
        step: The step it is saved under.
        state: Items, of NumPy arrays.
    """
    arrays = {
        name: {"array": _described(leaf), "sha256": _digest(leaf)}
        for name, leaf in by_name(state).items()
    }
    return {"of": f"{folder.name}/{step}", "arrays": arrays}


def verified(path: pathlib.Path, like: dict | None = None, below: str = "") -> dict:
    """Return what the sums of a step say, if they fit it.

    Args:
        path: Where it lies.
        like: Items that it is to hold, or it is not looked at any further.
        below: Which of its files to look at; "" for all.

    Raises:
        UnusableError: If they do not.
        checksums.NewerFormatError: If a newer uld_jax has written it.
    """
    if path.is_symlink() or not path.is_dir():
        raise UnusableError(["not a folder"])
    try:
        content = checksums.read(path)
    except checksums.NewerFormatError:
        raise
    except checksums.ChecksumError as error:
        raise UnusableError([str(error)]) from None
    own = f"{path.parent.name}/{step_folders.number(path)}"
    if content.get("of") != own:
        raise UnusableError([f"{checksums.FILE_NAME}: that of {content.get('of')}"])
    if like is not None and (lines := _differences(content["arrays"], like)):
        raise UnusableError(lines, _FIT)
    if lines := checksums.damages(path, content, below):
        raise UnusableError(lines)
    return content


def _differences(saved: dict, like: dict) -> list[str]:
    """Return the arrays of some items that differ, as "name: old -> new" lines."""
    old = {k: v["array"] for k, v in saved.items() if k.split("/")[0] in like}
    new = {k: _described(v) for k, v in by_name(like).items()}
    return [
        f"{name}: {old.get(name, 'not there')} -> {new.get(name, 'not there')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def check(wanted: dict[str, dict], trees: dict[str, Any]) -> None:
    """Raise unless arrays are those that were saved, and finite.

    Args:
        wanted: By name, what `facts` has said of each.
        trees: Items, as they were read.

    Raises:
        UnusableError: With the reason.
    """
    arrays = by_name(trees)
    if arrays.keys() != wanted.keys() or any(
        _digest(arrays[name]) != facts["sha256"] for name, facts in wanted.items()
    ):
        raise UnusableError(["not the arrays that were saved"])
    if lines := [
        f"{name}: {np.sum(~np.isfinite(array)):,} of {array.size:,} are not finite"
        for name, array in arrays.items()
        if name.split("/")[0] in _FINITE and not np.isfinite(array).all()
    ]:
        raise UnusableError(lines, _DIVERGED)


def shaped(like, tree):
    """Return the arrays of a tree in the structure of another of the same names."""
    arrays = by_name(tree)
    return jax.tree.unflatten(
        jax.tree.structure(like), [arrays[name] for name in by_name(like)]
    )


def by_name(tree) -> dict[str, Any]:
    """Return all arrays by the keys that lead to them."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _described(leaf) -> str:
    return f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"


def _digest(array: np.ndarray) -> str:
    """Return the sum of an array's type, shape and bits."""
    total = hashlib.sha256(_described(array).encode())
    total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return total.hexdigest()
