"""The devices that a run computes on: one program over all, each with rows of a batch.

Data parallel: parameters are the same on all devices, and a batch is divided among
them by rows. What a row holds depends on its number in the batch alone, so that
batches are the same whatever the number of devices and processes.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from uld_jax.runtime import errors, progress, stopping

_AXIS = "data"
# What is said of a process that has ended, by XLA and what it sends by.
_LOST = r"^(UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED|CANCELLED)\b|Gloo|NCCL|[Cc]onnection"
_LONGEST = 64  # Letters that processes tell each other in one go.


class DeviceError(errors.InputError):
    """Devices or processes that a run cannot have, with the remedy."""


def join_processes(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Join the processes that train one network together; call it before all else.

    Without arguments, the cluster says where they are: Cloud TPU, Slurm and others
    that `jax.distributed.initialize` knows.

    Args:
        coordinator: HOST:PORT of process 0.
        num_processes: How many there are.
        process_id: Number of this one, from 0.

    Raises:
        DeviceError: If only some are given, or the others cannot be found.
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
            f"the processes cannot be joined: {error}; say where they are with "
            "--coordinator=HOST:PORT --num_processes=N --process_id=K"
        ) from None
    if jax.process_index():
        progress.silence()


def is_one_of_many() -> bool:
    """Return whether this process has joined others."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


class Devices:
    """Some devices, in one mesh, and the part of this process in it.

    Args:
        batch_size: Rows of a batch, over all processes. As many devices are taken as
            divide it.
        among: Devices to take from; by default all, of all processes.

    Attributes:
        is_first: Whether this process is the one that writes.
        is_only: Whether there is no other.
        num: Number of devices.
        here: Those of this process.

    Raises:
        DeviceError: If a batch cannot be divided among several processes.
    """

    def __init__(self, batch_size: int, among: Sequence | None = None):
        found = list(jax.devices() if among is None else among)
        found.sort(key=lambda device: (device.process_index, device.id))
        count = len({device.process_index for device in found})
        if count > 1 and batch_size % len(found):
            raise DeviceError(
                f"--config.train.batch_size is {batch_size}; with {len(found)} devices "
                f"in {count} processes it must be a multiple of {len(found)}"
            )
        self.num = max(n for n in range(1, len(found) + 1) if batch_size % n == 0)
        me = jax.process_index()
        self.is_first = me == 0
        self.is_only = count == 1
        self._among, self._count = found[: self.num], count
        self._numbers = [n for n, d in enumerate(self._among) if d.process_index == me]
        self.here = [self._among[number] for number in self._numbers]
        mesh = jax.sharding.Mesh(np.array(self._among), (_AXIS,))
        spec = jax.sharding.PartitionSpec
        self._replicated = jax.sharding.NamedSharding(mesh, spec())
        self._by_rows = jax.sharding.NamedSharding(mesh, spec(_AXIS))
        self._left = len(found) - self.num

    def tell(self) -> None:
        """Say how many devices there are, unless it is one of one."""
        if self.num > 1 or self._left:
            kind = self._among[0].device_kind
            idle = f"; {self._left} more are left idle, since the batch cannot be "
            idle += f"divided among {self.num + self._left}"
            progress.log(
                f"Devices: {self.num} x {kind} in {self._count} "
                f"process{'es' if self._count > 1 else ''}{idle if self._left else ''}"
            )

    def whole(self, size: int, each: int = 1) -> int:
        """Return the least number of rows, from `size` on, that can be divided.

        Args:
            size: Rows at least.
            each: Of what number each device has a multiple.
        """
        return -(-size // (self.num * each)) * self.num * each

    def rows(self, size: int) -> list[range]:
        """Return which of a batch's rows each device of this process has."""
        each = size // self.num
        return [range(number * each, (number + 1) * each) for number in self._numbers]

    def assemble(self, parts: Sequence[dict[str, Any]]) -> dict[str, jax.Array]:
        """Return a batch of which each device of this process has a part."""
        if self.num == 1:
            return parts[0]

        def join(*arrays):
            pieces = [
                jax.device_put(array, device)
                for array, device in zip(arrays, self.here, strict=True)
            ]
            shape = (self.num * len(pieces[0]), *pieces[0].shape[1:])
            return jax.make_array_from_single_device_arrays(
                shape, self._by_rows, pieces
            )

        return jax.tree.map(join, *parts)

    def replicate(self, tree: Any) -> Any:
        """Return arrays that all devices hold; process 0 says what they are."""
        if not self.is_only:
            tree = _share(jax.device_get(tree))
        if self.num == 1:
            return jax.device_put(tree, self.here[0])

        def spread(array):
            pieces = [jax.device_put(array, device) for device in self.here]
            return jax.make_array_from_single_device_arrays(
                np.shape(array), self._replicated, pieces
            )

        return jax.tree.map(spread, tree)

    def jit(self, function: Callable, **options) -> Callable:
        """Return a function jitted for batches of these devices; all hold its results."""
        if self.num > 1:
            options["out_shardings"] = self._replicated
        return jax.jit(function, **options)

    def by_rows(self, function: Callable) -> Callable:
        """Return a function of batches, and to them, that each device does for its rows.

        For what XLA would otherwise gather from all devices first, as it does for FFTs.
        """
        if self.num == 1:
            return function
        spec = self._by_rows.spec
        return jax.shard_map(
            function,
            mesh=self._by_rows.mesh,
            in_specs=spec,
            out_specs=spec,
            check_vma=False,  # It wants each loop's first value to be divided, too.
        )

    def check_same(self, facts: dict[str, Any]) -> None:
        """Raise in all processes unless all of them say the same.

        Args:
            facts: By name, what JSON can hold.

        Raises:
            DeviceError: With what differs here from process 0.
        """
        if self.is_only:
            return
        mine = json.loads(json.dumps(facts, default=str))
        lines = errors.describe_changes(self.told_by_first(mine), mine)
        if multihost_utils.process_allgather(np.int32(len(lines))).any():
            where = "here, against process 0:\n  " + "\n  ".join(lines)
            raise DeviceError(
                "the processes have not all the same flags, data and versions; give the "
                "same command to all but for --process_id. "
                + (where if lines else "The others say what differs.")
            )

    def agree(self, value: str | None) -> str | None:
        """Return what the first process that has a text says; None if none has."""
        if self.is_only:
            return value
        letters = (value or "").encode()[:_LONGEST].ljust(_LONGEST)
        said = multihost_utils.process_allgather(np.frombuffer(letters, np.uint8))
        texts = [row.tobytes().decode(errors="ignore").strip() for row in said]
        return next((text for text in texts if text), None)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Do what cannot be done without the other processes.

        Raises:
            Stopped: If one of them has ended meanwhile.
        """
        try:
            yield
        except stopping.Stopped:
            if not self.is_only:
                self.told_by_first(None)  # Whoever saves is waited for.
            raise
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            if self.is_only or not re.search(_LOST, reason):
                raise
            raise stopping.Stopped(
                f"another of the {self._count} processes has ended, or could not be "
                f"reached ({reason}); start all of them again"
            ) from None

    def told_by_first(self, content: Any) -> Any:
        """Return what process 0 has, as JSON carries it."""
        return content if self.is_only else _share_json(content)

    def by_first(self, function: Callable[[], Any], told: bool = True) -> Any:
        """Return what a function returns in process 0; it is called nowhere else.

        Args:
            function: What to call. What it raises of bad input is raised everywhere.
            told: Whether the others are told, as by JSON; else they have None.

        Raises:
            DeviceError: In the others, if process 0 had an error.
        """
        if self.is_only:
            return function()
        result = error = None
        if self.is_first:
            try:
                result = function()
            except (errors.InputError, OSError) as raised:
                error = raised
        message = self.told_by_first(error and (str(error) or type(error).__name__))
        if error:
            raise error
        if message:
            raise DeviceError(f"process 0 had an error: {message}")
        return self.told_by_first(result) if told else result


def one() -> Devices:
    """Return this process's first device alone."""
    return Devices(1, jax.local_devices()[:1])


def _share_json(content: Any, source: int = 0) -> Any:
    is_source = jax.process_index() == source
    text = json.dumps(content).encode() if is_source else b""
    length = multihost_utils.broadcast_one_to_all(np.int32(len(text)), is_source)
    letters = np.frombuffer(text.ljust(int(length)), np.uint8)
    letters = multihost_utils.broadcast_one_to_all(letters, is_source)
    return json.loads(np.asarray(letters).tobytes())


def _share(tree: Any) -> Any:
    """Return the arrays of process 0, bit for bit."""
    leaves, structure = jax.tree.flatten(tree)
    leaves = [np.asarray(leaf) for leaf in leaves]
    # As bytes: the sum with zeros by which they are sent would change the sign of -0.0.
    mine = np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)
    first = np.asarray(multihost_utils.broadcast_one_to_all(mine))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    parts = np.split(first, ends[:-1])
    values = [
        part.view(leaf.dtype).reshape(leaf.shape)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, values)
