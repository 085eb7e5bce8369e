"""The devices of a run: a batch is divided among them by rows.

Parameters are the same on all devices. The content of a row depends only on its number
in the batch, so batches do not depend on the number of devices or processes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from uld_jax.runtime import distributed, progress

_AXIS = "data"


class Devices:
    """Devices in one mesh, and the part of it that belongs to this process.

    As many devices are used as divide the batch size.

    Args:
        batch_size: Rows of a batch, over all processes.
        among: Devices to choose from; by default all devices of all processes.

    Attributes:
        num: Number of devices.
        here: The devices of this process.

    Raises:
        DeviceError: If a batch cannot be divided among several processes.
    """

    def __init__(self, batch_size: int, among: Sequence[Any] | None = None):
        found = list(jax.devices() if among is None else among)
        found.sort(key=lambda device: (device.process_index, device.id))
        count = len({device.process_index for device in found})
        if count > 1 and batch_size % len(found):
            raise distributed.DeviceError(
                f"--config.train.batch_size is {batch_size}; with {len(found)} devices "
                f"in {count} processes it must be a multiple of {len(found)}"
            )
        self.num: int = max(n for n in range(1, len(found) + 1) if batch_size % n == 0)
        me = jax.process_index()
        self._among, self._num_processes = found[: self.num], count
        self._numbers = [n for n, d in enumerate(self._among) if d.process_index == me]
        self.here: list[Any] = [self._among[number] for number in self._numbers]
        mesh = jax.sharding.Mesh(np.array(self._among), (_AXIS,))
        spec = jax.sharding.PartitionSpec
        self._replicated = jax.sharding.NamedSharding(mesh, spec())
        self._by_rows = jax.sharding.NamedSharding(mesh, spec(_AXIS))
        self._num_found, self._batch_size = len(found), batch_size

    def log(self) -> None:
        """Log the number of devices, unless there is only one."""
        if self._num_found == 1:
            return
        text = f"Devices: {self.num} x {self._among[0].device_kind} in "
        text += (
            f"{self._num_processes} process{'es' if self._num_processes > 1 else ''}"
        )
        if idle := self._num_found - self.num:
            text += f"; {idle} more are idle, because a batch of {self._batch_size} "
            text += f"cannot be divided among {self._num_found}"
        progress.log(text)

    def round_up(self, size: int, multiple: int = 1) -> int:
        """Round a number of rows up so that each device gets the same number.

        Args:
            size: Least number of rows.
            multiple: Each device gets a multiple of this number.
        """
        return -(-size // (self.num * multiple)) * self.num * multiple

    def rows(self, size: int) -> list[range]:
        """Compute the rows of a batch that belong to each device of this process."""
        each = size // self.num
        return [range(number * each, (number + 1) * each) for number in self._numbers]

    def assemble(self, parts: Sequence[dict[str, Any]]) -> dict[str, jax.Array]:
        """Assemble a global batch from the parts of this process's devices."""
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
        """Copy the arrays of process 0 to all devices."""
        if self._num_processes > 1:
            tree = distributed.broadcast_arrays(jax.device_get(tree))
        if self.num == 1:
            return jax.device_put(tree, self.here[0])

        def spread(array):
            pieces = [jax.device_put(array, device) for device in self.here]
            return jax.make_array_from_single_device_arrays(
                np.shape(array), self._replicated, pieces
            )

        return jax.tree.map(spread, tree)

    def jit(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """Jit a function of batches; all devices hold its results."""
        if self.num > 1:
            options["out_shardings"] = self._replicated
        return jax.jit(function, **options)

    def by_rows(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Map a function from batches to batches over the devices, each with its rows.

        Without it, XLA gathers the operands of some operations, such as FFTs, from all
        devices first.
        """
        if self.num == 1:
            return function
        spec = self._by_rows.spec
        return jax.shard_map(
            function,
            mesh=self._by_rows.mesh,
            in_specs=spec,
            out_specs=spec,
            # The check requires the initial values of loops to be sharded, too.
            check_vma=False,
        )


def describe() -> dict[str, Any]:
    """List the accelerators of all processes, for a record."""
    found = jax.devices()
    return {
        "backend": found[0].platform,
        "devices": [device.device_kind for device in found],
    }


def one() -> Devices:
    """Select the first device of this process."""
    return Devices(1, jax.local_devices()[:1])
