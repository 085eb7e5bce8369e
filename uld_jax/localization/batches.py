"""Batches of recordings for methods that need no training: checks and groups."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from uld_jax.runtime import errors

_AT_ONCE = 8  # Recordings, where there is an accelerator.


class RecordingError(errors.InputError):
    """Recordings that cannot be localized, with the reason."""


def check_whitening(whitening: int | float) -> None:
    """Raise `RecordingError` unless a power that spectra are whitened with is 0 to 1."""
    if not 0 <= whitening <= 1:
        raise RecordingError(
            f"whitening is {whitening!r}; give 0 (none) to 1 (the phase transform)"
        )


def prepare(
    signals: ArrayLike,
    node_positions: ArrayLike,
    room_size: ArrayLike,
    mask: ArrayLike | None,
    *,
    least_nodes: int,
) -> list[Array | np.ndarray]:
    """Convert recordings to arrays, with a mask, and check that they can be localized.

    Shapes are always checked. Values are known only outside of `jax.jit`, and the
    checks do not wait for signals on a device.

    Args:
        signals: [B, M, N].
        node_positions: [B, M, 3] in meters.
        room_size: [B, 3] in meters.
        mask: [B, M], True where there is a node; None for everywhere.
        least_nodes: Nodes that the method needs.

    Raises:
        RecordingError: With the first problem, and where it is.
    """
    if mask is None:
        mask = np.ones(np.shape(signals)[:2], bool)
    arrays = {
        "signals": signals,
        "node_positions": node_positions,
        "room_size": room_size,
        "mask": mask,
    }
    arrays = {
        # JAX's arrays stay on their device, and tracers have no values.
        name: value if isinstance(value, jax.Array) else np.asarray(value)
        for name, value in arrays.items()
    }
    shape = arrays["signals"].shape
    if len(shape) != 3 or 0 in shape:
        raise RecordingError(
            f"signals has shape {shape}; it must be [B, M, N], at least one of each"
        )
    batch, num_nodes, _ = shape
    expected = {
        "node_positions": (batch, num_nodes, 3),
        "room_size": (batch, 3),
        "mask": (batch, num_nodes),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise RecordingError(
                f"{name} has shape {arrays[name].shape}; it must be {shape}"
            )
    signals, node_positions, room_size, mask = arrays.values()
    if not isinstance(mask, jax.core.Tracer):
        _check_nodes(signals, node_positions, np.asarray(mask), least_nodes)
    if not isinstance(room_size, jax.core.Tracer):
        sides = np.asarray(room_size)
        if not (np.isfinite(sides) & (sides > 0)).all():
            raise RecordingError(
                f"room_size is {sides.tolist()} m; every side must be finite and above 0"
            )
    return [signals, node_positions, room_size, mask]


def _check_nodes(signals, node_positions, present: np.ndarray, least_nodes: int):
    """Raise unless enough nodes are present and their known values are finite."""
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
                f"{name} of node {node} of recording {at} holds NaN or infinity; correct "
                "it, or leave the node out by the mask"
            )


def in_groups(
    locate: Callable[..., Array],
    arrays: tuple[Array | np.ndarray, ...],
    at_once: int | None = None,
) -> Array:
    """Localize every recording, group by group.

    Args:
        locate: Localizes one recording, from its arrays.
        arrays: Arrays with a leading axis B.
        at_once: Recordings handled at once; by default one on a CPU, else 8.
    """
    # On a CPU one by one is as fast, and keeps Fourier transforms from running side by
    # side: with jax 0.11.2 they would wait for each other forever.
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
    """Wait for a result on a CPU, and return it."""
    # Transforms of two programs must not run side by side: see `in_groups`.
    if jax.default_backend() == "cpu" and not isinstance(found, jax.core.Tracer):
        found.block_until_ready()
    return found
