"""Foundations of all other sub-packages: errors, progress, devices, processes.

- `errors`: Errors that a user can fix, and the exit codes of commands.
- `experiments`: Find experiment files, by path or by the name of an installed one.
- `jax_setup`: JAX and C library settings that training and evaluation rely on.
- `devices`: The devices of a run: a batch is divided among them by rows.
- `distributed`: Several processes that train one network: join them, share data, agree.
- `memory`: Memory that is free for data.
- `progress`: Log lines and progress bars.
- `stopping`: Stop a run between two steps, after a signal or when its time is up.
- `worker_processes`: Worker processes of this machine, of which each may die alone.
- `beam_runs`: Pipelines of Apache Beam, in a process that can be ended.
- `profiling`: A trace of some training steps by JAX's profiler.
"""

from collections.abc import Callable
from typing import Any

import lazy_loader

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__: list[str]
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "beam_runs",
        "devices",
        "distributed",
        "errors",
        "experiments",
        "jax_setup",
        "memory",
        "profiling",
        "progress",
        "stopping",
        "worker_processes",
    ],
)
