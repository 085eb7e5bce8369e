"""JAX and C library settings that training and evaluation rely on."""

import ctypes

import jax

# Parameters of glibc's `mallopt`, and the value that turns trimming off.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = -1


def configure() -> None:
    """Set JAX and the C library up for training and evaluation.

    Commands and `train_and_evaluate` call it. Call it before JAX computes anything:
    later on, JAX keeps the dispatch mode that its CPU client was created with.
    Repeated calls do nothing further.
    """
    # With jax 0.11.2, Fourier transforms of two programs that run at once on a CPU
    # can wait for each other forever. Synchronous dispatch keeps a training step from
    # overlapping with the rendering of the next batch.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    keep_host_memory()


def keep_host_memory() -> bool:
    """Make the process keep freed host memory for its next allocation.

    XLA allocates and frees hundreds of megabytes in each step on a CPU. By default,
    glibc returns such blocks to the system, which clears them page by page for the
    next step: a fifth to a quarter of the processor time of a training step
    (docs/speed.md). The price is a peak up to a third higher, because memory is
    returned only when the process ends, and because of fragmentation.

    Returns:
        Whether it worked; False where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
