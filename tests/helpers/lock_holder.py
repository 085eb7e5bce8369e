"""A process that holds a lock."""

import contextlib
import subprocess
import sys

HOLD = """
import pathlib, sys
from uld_jax.storage import locking

with locking.hold(pathlib.Path(sys.argv[1]), wait=len(sys.argv) > 2):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def child(path, *words):
    """Yield a process that locks a file until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
