"""Batches of recordings, as methods that need no training take them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from uld_jax.runtime import errors

_AT_ONCE = 8  # Recordings, where there is an accelerator.


class RecordingError(errors.InputError):
    """Recordings that cannot be localized, with the reason."""


def check(
    signals: Any, node_positions: Any, room_size: Any, mask: Any, *, least_nodes: int
) -> None:
    """Raise unless recordings have the right shapes and can be localized.

    Shapes are always checked. Values are known only outside of `jax.jit`, and
    signals on a device are not waited for.

    Args:
        signals: [B, M, N].
        node_positions: [B, M, 3] in meters.
        room_size: [B, 3] in meters.
        mask: [B, M], True where there is a node; None for everywhere.
        least_nodes: How many nodes a method needs.

    Raises:
        RecordingError: With the first thing that is wrong, and where.
    """
    shape = np.shape(signals)
    if len(shape) != 3 or 0 in shape:
        raise RecordingError(
            f"signals has shape {shape}; it must be [B, M, N], at least one of each"
        )
    batch, num_nodes, _ = shape
    wanted = {
        "node_positions": (node_positions, (batch, num_nodes, 3)),
        "room_size": (room_size, (batch, 3)),
        "mask": (mask, (batch, num_nodes)),
    }
    for name, (value, shape) in wanted.items():
        if value is not None and np.shape(value) != shape:
            raise RecordingError(
                f"{name} has shape {np.shape(value)}; it must be {shape}"
            )
    if not isinstance(mask, jax.core.Tracer):
        present = np.ones((batch, num_nodes), bool) if mask is None else mask
        _check_nodes(signals, node_positions, np.asarray(present), least_nodes)
    if not isinstance(room_size, jax.core.Tracer):
        sides = np.asarray(room_size)
        if not (np.isfinite(sides) & (sides > 0)).all():
            raise RecordingError(
                f"room_size is {sides.tolist()} m; every side must be finite and above 0"
            )


def _check_nodes(signals, node_positions, present: np.ndarray, least_nodes: int):
    """Raise unless enough nodes are present, and what is known of them is finite."""
    few = present.sum(axis=1) < least_nodes
    if few.any():
        at = int(few.argmax())
        raise RecordingError(
            f"recording {at} has {present[at].sum()} nodes; this method needs at least "
            f"{least_nodes}: leave the recording out"
        )
    known = {}
    if not isinstance(node_positions, jax.core.Tracer):
        known["node_positions"] = np.asarray(node_positions)
    if isinstance(signals, np.ndarray):
        known["signals"] = signals
    for name, value in known.items():
        wrong = present & ~np.isfinite(value).all(axis=2)
        if wrong.any():
            at, node = np.argwhere(wrong)[0].tolist()
            raise RecordingError(
                f"{name} of node {node} of recording {at} holds NaN or infinity; mend "
                "it, or leave the node out by the mask"
            )


def in_groups(
    locate: Callable[..., Array],
    arrays: tuple[Array | np.ndarray, ...],
    at_once: int | None = None,
) -> Array:
    """Return what a function makes of every recording, group by group.

    On a CPU one recording after the other, which is as fast and keeps Fourier
    transforms from running side by side: with jax 0.11.2 they would wait for each
    other forever.

    Args:
        locate: Takes the arrays of one recording.
        arrays: Arrays with a leading axis B.
        at_once: Recordings handled at once; by default one on a CPU, else 8.
    """
    if at_once is None:
        at_once = 1 if jax.default_backend() == "cpu" else _AT_ONCE
    if at_once == 1:
        return jax.lax.map(lambda one: locate(*one), arrays)
    num = len(arrays[0])
    rows = jnp.minimum(jnp.arange(-(-num // at_once) * at_once), num - 1)
    groups = jax.tree.map(
        lambda array: jnp.asarray(array)[rows].reshape(-1, at_once, *array.shape[1:]),
        arrays,
    )
    found = jax.lax.map(lambda group: jax.vmap(locate)(*group), groups)
    return found.reshape(-1, *found.shape[2:])[:num]


def finish(found: Array) -> Array:
    """Return a result, on a CPU once it is there.

    Nor may transforms of two programs run side by side.
    """
    if jax.default_backend() == "cpu" and not isinstance(found, jax.core.Tracer):
        found.block_until_ready()
    return found
