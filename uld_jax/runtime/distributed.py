"""Several processes that train one network: join them, share data, agree.

Every function but `join` and the two questions must be called by all processes, in the
same order. In a process that has joined no others they communicate with nobody.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from uld_jax.runtime import errors, progress, stopping

# How XLA and its transports report that another process has ended.
_LOST = r"^(UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED|CANCELLED)\b|Gloo|NCCL|[Cc]onnection"
_MAX_TEXT = 64  # Bytes that `agree` exchanges: arrays must have the same size.


class DeviceError(errors.InputError):
    """Devices or processes that cannot be used together; the message has the fix."""


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Join the other processes of a run, before JAX computes anything.

    Without arguments they are found through the cluster's environment: Cloud TPU,
    Slurm and others that `jax.distributed.initialize` knows.

    Args:
        coordinator: HOST:PORT of process 0.
        num_processes: Number of processes.
        process_id: Number of this process, from 0.

    Raises:
        DeviceError: If only some arguments are given, or the others are not found.
    """
    given = coordinator, num_processes, process_id
    if len({value is None for value in given}) > 1:
        raise DeviceError(
            f"--coordinator={coordinator}, --num_processes={num_processes} and "
            f"--process_id={process_id}: give all three, or --distributed alone"
        )
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise DeviceError(
                f"--coordinator={coordinator} is not of the form HOST:PORT, such as "
                "10.0.0.2:8476"
            )
        if not 0 <= process_id < num_processes:
            raise DeviceError(
                f"--process_id={process_id}: with --num_processes={num_processes} it "
                f"must be from 0 to {num_processes - 1}"
            )
    try:
        jax.distributed.initialize(*given)
    except (ValueError, RuntimeError) as error:
        raise DeviceError(
            f"cannot join the other processes: {error}; pass "
            "--coordinator=HOST:PORT --num_processes=N --process_id=K"
        ) from None
    if jax.process_index():
        progress.silence()


def is_one_of_many() -> bool:
    """Check whether this process has joined others."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Check whether this process is the one that writes files."""
    return not is_one_of_many() or jax.process_index() == 0


def broadcast(content: Any) -> Any:
    """Send JSON-compatible content from process 0 to all; return it."""
    if not is_one_of_many():
        return content
    text = json.dumps(content).encode() if is_first() else b""
    # Receivers need the length first, to pass an array of the same size.
    length = multihost_utils.broadcast_one_to_all(np.int32(len(text)))
    array = np.frombuffer(text.ljust(int(length)), np.uint8)
    array = multihost_utils.broadcast_one_to_all(array)
    return json.loads(np.asarray(array).tobytes())


def broadcast_arrays(tree: Any) -> Any:
    """Send a tree of host arrays from process 0 to all, bit for bit; return it."""
    if not is_one_of_many():
        return tree
    leaves, structure = jax.tree.flatten(tree)
    leaves = [np.asarray(leaf) for leaf in leaves]
    # As bytes, because JAX broadcasts by adding zeros, which turns -0.0 into 0.0.
    mine = np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)
    first = np.asarray(multihost_utils.broadcast_one_to_all(mine))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    parts = np.split(first, ends[:-1])
    values = [
        part.view(leaf.dtype).reshape(leaf.shape)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, values)


def check_stop() -> None:
    """Stop here if there is a reason to, where nothing has to be saved.

    One of several processes goes on: they stop together, between two steps.

    Raises:
        stopping.Stopped: With the reason.
    """
    if not is_one_of_many():
        stopping.check()


def call_in_first(function: Callable[[], Any], share: bool = True) -> Any:
    """Call a function in process 0 alone.

    Args:
        function: Called without arguments. Its `InputError` or `OSError` is raised in
            all processes.
        share: Whether to send the result, which must be JSON-compatible, to the other
            processes. Otherwise they return None.

    Raises:
        DeviceError: In the other processes, if process 0 had an error.
    """
    if not is_one_of_many():
        return function()
    result = error = None
    if is_first():
        try:
            result = function()
        except (errors.InputError, OSError) as raised:
            error = raised
    message = broadcast(error and (str(error) or type(error).__name__))
    if error:
        raise error
    if message:
        raise DeviceError(f"process 0 had an error: {message}")
    return broadcast(result) if share else result


def agree(text: str | None) -> str | None:
    """Return the text of the first process that has one, in all processes."""
    if not is_one_of_many():
        return text
    padded = (text or "").encode()[:_MAX_TEXT].ljust(_MAX_TEXT)
    rows = multihost_utils.process_allgather(np.frombuffer(padded, np.uint8))
    texts = [row.tobytes().decode(errors="ignore").strip() for row in rows]
    return next(filter(None, texts), None)


def check_same(facts: dict[str, Any]) -> None:
    """Raise in all processes unless all of them have the same facts.

    Args:
        facts: Values by name; those that JSON cannot hold are compared as text.

    Raises:
        DeviceError: With the differences from process 0.
    """
    if not is_one_of_many():
        return
    mine = json.loads(json.dumps(facts, default=str))
    lines = errors.describe_changes(broadcast(mine), mine)
    if multihost_utils.process_allgather(np.int32(len(lines))).any():
        where = "process 0 -> this process:\n  " + "\n  ".join(lines)
        raise DeviceError(
            "the processes differ in flags, data or versions; give all of them the same "
            "command except for --process_id. "
            + (where if lines else "The other processes list the differences.")
        )


@contextlib.contextmanager
def stopping_together() -> Iterator[None]:
    """Turn the loss of another process into `Stopped`, within a `with` block.

    Raises:
        Stopped: If another process has ended.
    """
    try:
        yield
    except stopping.Stopped:
        broadcast(None)  # Wait for process 0, which saves the state.
        raise
    except errors.InputError:  # Bad input, even if its message names a connection.
        raise
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        if not is_one_of_many() or not re.search(_LOST, reason):
            raise
        raise stopping.Stopped(
            f"another of the {jax.process_count()} processes has ended or cannot be "
            f"reached ({reason}); start all of them again"
        ) from None
