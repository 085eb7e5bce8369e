"""JAX and C library settings that training and evaluation rely on."""

import ctypes
import hashlib
import os
import pathlib
import platform

import jax

# Parameters of glibc's `mallopt`, and the value that turns trimming off.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = -1
_MOST_PROGRAMS = 4 * 2**30  # Bytes of compiled programs that are kept.


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
    keep_programs()


def keep_programs() -> pathlib.Path | None:
    """Make JAX keep compiled programs on disk, so that later processes start faster.

    In the folder that JAX_COMPILATION_CACHE_DIR names; otherwise in the user's cache
    folder, apart for each kind of processor, since a program for one can be wrong on
    another, and at most 4 GiB: those that were used least recently go first. An empty
    JAX_COMPILATION_CACHE_DIR keeps none.

    Returns:
        The folder; None if nothing is kept.
    """
    if folder := jax.config.jax_compilation_cache_dir:
        return pathlib.Path(folder)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        folder = pathlib.Path(caches).expanduser() / "uld_jax"
        folder /= f"programs-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # No home, or one that cannot be written.
        return None
    jax.config.update("jax_compilation_cache_max_size", _MOST_PROGRAMS)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _processor() -> str:
    """Identify the kind of processor by what its programs may use."""
    facts = [platform.machine(), platform.processor()]
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        named = ("flags", "Features", "model name")
        facts += [line for line in lines if line.startswith(named)][:2]
    except OSError:
        pass
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


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
