"""Worker processes of this machine: one thread each, ended with their parent.

The death of one is an outcome of what it worked on, and of nothing else.
"""

import collections
import contextlib
import ctypes
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from uld_jax.runtime import progress, stopping

_PR_SET_PDEATHSIG = 1
_SECONDS_BETWEEN_LOOKS = 0.2
# Of XLA and of the libraries that NumPy and SciPy may be built with.
_NUMBERS_OF_THREADS = (
    *("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
)


@dataclasses.dataclass(frozen=True)
class Death:
    """The end of a worker process before it had a result.

    Attributes:
        code: Its exit code; minus the number of the signal that ended it.
    """

    code: int

    def __str__(self) -> str:
        """Describe it, with the likely reason."""
        if self.code == -signal.SIGKILL:
            return "its process was killed, perhaps for lack of memory"
        if self.code < 0:
            return f"its process died of {signal.Signals(-self.code).name}"
        return f"its process ended with exit code {self.code}"


def end_with_parent(signal_number: int) -> None:
    """Signal this process when its parent dies, on systems that can."""
    # Otherwise a killed parent would release its locks while its workers still write.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)


def use_one_core() -> None:
    """Give this process, and those that it starts, one thread on the CPU.

    Last bits of what XLA computes depend on the number of its threads, so workers get the
    same number however many there are. Call it before NumPy and JAX are imported.
    """
    for name in _NUMBERS_OF_THREADS:
        os.environ[name] = "1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_platforms", "cpu")


def run_all(
    function: Callable[[Any], Any], items: Iterable[Any], num_processes: int
) -> Iterator[tuple[Any, Any]]:
    """Call a function with each item in worker processes; yield results as they come.

    Workers log nothing, and leave signals from the keyboard to this process. They are
    killed when the iterator is closed, or a `stopping.StopFlag` says so.

    Args:
        function: Sent to the workers, with the items.
        items: Each is worked on once.
        num_processes: Most that run at once.

    Yields:
        An item and its result, or the `Death` of its process. An error of the function
        ends its process with code 1.

    Raises:
        stopping.Stopped: If there is a reason to stop.
    """
    waiting = collections.deque(items)
    workers: dict[Any, _Worker] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < num_processes:
                worker = _Worker(function)
                workers[worker.connection] = worker
                worker.give(waiting.popleft())
            ready = multiprocessing.connection.wait(
                list(workers), _SECONDS_BETWEEN_LOOKS
            )
            stopping.check()
            for connection in ready:
                worker = workers[connection]
                item, result, alive = worker.take()
                if alive and waiting:
                    worker.give(waiting.popleft())
                else:
                    workers.pop(connection).end()
                yield item, result
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.end()


class _Worker:
    """A process, the end of the pipe to it, and what it works on."""

    def __init__(self, function):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other,))
        with _keeping_signals():
            self.process.start()
        other.close()
        self._item = None
        self._function = function

    def give(self, item) -> None:
        self._item = item
        # What died before it could read is noticed when its result is taken.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send((self._function, item))

    def take(self) -> tuple[Any, Any, bool]:
        """Return the item, its result or the worker's death, and if it is alive."""
        try:
            return self._item, self.connection.recv(), True
        except (EOFError, ConnectionResetError):
            self.process.join()
            return self._item, Death(self.process.exitcode), False

    def end(self) -> None:
        self.connection.close()
        self.process.join()
        self.process.close()


@contextlib.contextmanager
def _keeping_signals() -> Iterator[None]:
    """Keep signals to stop from the processes that are started within the block."""
    # A mask is inherited, a handler is not: no moment is left in which one could die.
    stops = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection) -> None:
    """Call functions with what comes, until the other end is closed."""
    end_with_parent(signal.SIGKILL)
    use_one_core()  # Before the first function is received, which imports its module.
    progress.silence()
    while True:
        try:
            function, item = connection.recv()
        except EOFError:
            return
        connection.send(function(item))
