"""Memory that is free for data: of devices, and of the host."""

import pathlib
from typing import Any

# What is left is for the network, its gradients, and what XLA needs meanwhile.
_SHARE_OF_DEVICE, _SHARE_OF_HOST = 0.8, 0.5
_MEMINFO = pathlib.Path("/proc/meminfo")
_CGROUP = pathlib.Path("/sys/fs/cgroup")  # Of a container, its limit is less.


def free_on_device(device: Any) -> int | None:
    """Count the bytes of a device that data may take; None where it is unknown.

    Those of a CPU are the host's.

    Args:
        device: A device of JAX.
    """
    if device.platform == "cpu":
        return free_on_host()
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit")
    if not limit:
        return None
    return int(_SHARE_OF_DEVICE * (limit - stats.get("bytes_in_use", 0)))


def free_on_host() -> int | None:
    """Count the bytes of memory that data may take; None where it is unknown."""
    try:
        lines = _MEMINFO.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        free = 1024 * int(line.split()[1])
    except (OSError, ValueError):
        return None
    try:
        limit, used = (
            int((_CGROUP / name).read_text())
            for name in ("memory.max", "memory.current")
        )
        free = min(free, limit - used)
    except (OSError, ValueError):  # No limit, or none that is written there.
        pass
    return int(_SHARE_OF_HOST * max(free, 0))
