"""What every part of the package runs on: errors, progress, stopping, devices.

- `devices`: The devices that a run computes on: one program over all, each with rows of
  a batch.
- `errors`: Errors that a user can fix, and the exit codes of commands.
- `experiments`: Find experiment files, by path or by the name of an installed one.
- `host_memory`: Memory of the host, kept by the process instead of given back after
  every step.
- `profiling`: A trace of some training steps by JAX's profiler.
- `progress`: Progress of long work: a bar with ETA on a terminal, plain lines
  elsewhere.
- `stopping`: Stopping a run between two steps, by a signal or when its time is up.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "devices",
        "errors",
        "experiments",
        "host_memory",
        "profiling",
        "progress",
        "stopping",
    ],
)
