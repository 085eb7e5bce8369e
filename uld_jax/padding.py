"""Trees of arrays of several runs as one: stacked, and padded to the largest.

Parameters of a finer grid have more entries. Padded ones get no gradient, and so stay
zero whatever AdamW does: zeros have neither moments nor decay.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def stack(trees: Sequence[Any]) -> Any:
    """Return trees as one, on the host, whose leaves have a first axis of runs.

    Args:
        trees: Of the same structure, their leaves of the same types and ranks; what is
            smaller than in another is filled with zeros at the end of each axis.

    Raises:
        ValueError: If structures, ranks or types differ.
    """

    def join(*leaves):
        leaves = [np.asarray(leaf) for leaf in leaves]
        if len({(leaf.dtype, leaf.ndim) for leaf in leaves}) > 1:
            kinds = ", ".join(f"{leaf.dtype} {list(leaf.shape)}" for leaf in leaves)
            raise ValueError(f"arrays of several runs cannot be stacked: {kinds}")
        shape = np.max([leaf.shape for leaf in leaves], axis=0, initial=0)
        joined = np.zeros((len(leaves), *shape.astype(int)), leaves[0].dtype)
        for number, leaf in enumerate(leaves):
            joined[number, *_place(leaf)] = leaf
        return joined

    return jax.tree.map(join, *trees)


def unstack(stacked: Any, likes: Sequence[Any]) -> list[Any]:
    """Return the trees that `stack` has made one of, copied to the host, not padded.

    Args:
        stacked: The tree of all.
        likes: Trees of the shapes that each has.
    """
    on_host = jax.device_get(stacked)
    return [
        jax.tree.map(
            lambda leaf, one, number=number: np.array(leaf[number, *_place(one)]),
            on_host,
            like,
        )
        for number, like in enumerate(likes)
    ]


def _place(leaf: Any) -> tuple[slice, ...]:
    return tuple(slice(size) for size in np.shape(leaf))
