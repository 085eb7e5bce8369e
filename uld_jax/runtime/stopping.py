"""Stopping a run between two steps, by a signal or when its time is up."""

import math
import signal
import time


class Stopped(Exception):
    """A run that ended before it was done, with its state saved."""


class StopFlag:
    """Notes the signals to stop, and the deadline, without breaking a step."""

    def __init__(self, seconds: float | None = None):
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._signal = None

    def __enter__(self):
        def note(number, _):
            # A second signal ends the process as it would have.
            self._signal = signal.Signals(number).name
            self._restore()

        self._old = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, note)
        return self

    def _restore(self):
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def __exit__(self, *_):
        self._restore()

    def reason(self) -> str | None:
        """Return why to stop now, if so."""
        if time.monotonic() > self._deadline:
            return "the time given is up"
        return self._signal and f"{self._signal} received"
