"""What every part of the package runs on: errors, progress, stopping, devices.

- `devices`: The devices of a run: a batch is divided among them by rows.
- `distributed`: Several processes that train one network: join them, share data, agree.
- `errors`: Errors that a user can fix, and the exit codes of commands.
- `experiments`: Find experiment files, by path or by the name of an installed one.
- `jax_setup`: JAX and C library settings that training and evaluation rely on.
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
        "distributed",
        "errors",
        "experiments",
        "jax_setup",
        "profiling",
        "progress",
        "stopping",
    ],
)
