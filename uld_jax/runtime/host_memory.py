"""Memory of the host, kept by the process instead of given back after every step."""

import ctypes

# Of `mallopt` in glibc.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = -1


def keep() -> bool:
    """Have the process keep memory that is freed, for the next to ask for it.

    A step on a CPU needs hundreds of megabytes, which XLA asks for and frees each time.
    As it comes, glibc gives such pieces back to the system at once, which then has to
    clear them page by page for the next step: a fifth to a quarter of the processor
    time of a training step (docs/speed.md). What was needed once is not given back before
    the process ends, and a hole that is too small for the next piece stays beside it: in
    trainings, peaks were between the same and a third higher.

    Returns:
        Whether it is so from now on; not where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
