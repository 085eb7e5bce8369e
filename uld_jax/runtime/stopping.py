"""Stop a run between two steps, after a signal or when its time is up."""

import contextlib
import math
import os
import signal
import time
from typing import Any

_STDERR = 2  # The file descriptor.
_active: "StopFlag | None" = None  # The one whose `with` block runs.


class Stopped(Exception):
    """The end of an unfinished run, whose state is saved if it has one."""


def check() -> None:
    """Stop here if there is a reason to: nothing has to be saved.

    Raises:
        Stopped: With the reason.
    """
    if _active is not None and (reason := _active.reason()):
        raise Stopped(reason)


class StopFlag:
    """Record signals to stop, and the deadline, without interrupting a step.

    Use as a context manager. A second signal ends the process at once.

    Args:
        seconds: Seconds until the deadline; None for no deadline.
    """

    def __init__(self, seconds: float | None = None):
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._signal = None

    def __enter__(self) -> "StopFlag":
        def record(number, _):
            self._signal = signal.Signals(number).name
            self._restore()
            # Not by `print`: the signal may have interrupted a write to the same
            # stream, and Python refuses to enter it again.
            with contextlib.suppress(OSError):
                os.write(
                    _STDERR,
                    f"{self._signal}: stopping; once more quits at once\n".encode(),
                )

        self._old = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, record)
        global _active
        self._before, _active = _active, self
        return self

    def _restore(self):
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def __exit__(self, *_: Any) -> None:
        global _active
        _active = self._before
        self._restore()

    def reason(self) -> str | None:
        """Explain why to stop now; None if there is no reason."""
        if time.monotonic() > self._deadline:
            return "the time limit is reached"
        return self._signal and f"{self._signal} received"
