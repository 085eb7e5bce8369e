"""A trace of some training steps by JAX's profiler."""

import contextlib
import pathlib
from typing import Any

import jax

from uld_jax.runtime import progress

_FIRST, _LAST = 10, 20  # Steps of this process, from 1; earlier ones compile.
FOLDER = "profile"


class Profiler:
    """Trace steps 10 to 20 of a training, and those that share a call with them.

    Use as a context manager: leaving it writes what was traced so far.

    Args:
        folder: Folder of the trace; None for no trace.
    """

    def __init__(self, folder: pathlib.Path | None):
        self._folder, self._steps, self._running = folder, 0, False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop()

    def steps(self, number: int, count: int = 1) -> contextlib.AbstractContextManager:
        """Make the context to run a step in, or several that are one call.

        Args:
            number: Number of the first step in the run.
            count: How many.
        """
        if self._folder is None:
            return contextlib.nullcontext()
        before = self._steps
        self._steps += count
        if before < _FIRST <= self._steps:
            self._first = before + 1
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # Python calls would fill the trace.
            jax.profiler.start_trace(
                str(self._folder), create_perfetto_trace=True, profiler_options=options
            )
            self._running = True
        elif before >= _LAST:
            self._stop()
        if self._running:
            self._last = self._steps
        return jax.profiler.StepTraceAnnotation("train", step_num=number)

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            progress.log(
                f"{self._folder}: trace of steps {self._first} to {self._last}; open "
                "it with xprof, or "
                "perfetto_trace.json.gz in ui.perfetto.dev"
            )
