"""The share of an epoch in which devices compute steps."""

import collections
import contextlib
import time
from collections.abc import Hashable, Iterator
from typing import Any

import jax


class StepTimes:
    """Measures the time of training steps, by the shapes of their batches.

    To measure a step is to wait for the devices before and after it, which keeps the
    host from working ahead. So only some steps are measured: of each shape the second
    of an epoch, as the first may compile.

    Args:
        each: Whether to measure every step, where each is waited for anyway.
    """

    def __init__(self, each: bool):
        self._each = each
        self.clear()

    def clear(self) -> None:
        """Forget all steps, at the start of an epoch."""
        self._counts: dict[Hashable, int] = collections.Counter()
        # Of one step, call by call.
        self._seconds: dict[Hashable, list[float]] = collections.defaultdict(list)

    @contextlib.contextmanager
    def measure(
        self, program: Hashable, state: Any, batch: dict[str, jax.Array], steps: int = 1
    ) -> Iterator[bool]:
        """Measure a call, if it is one to measure, in which case to wait at its end.

        Args:
            program: What tells its program from others for the same shapes.
            state: The state before the call.
            batch: Its batch.
            steps: Steps that the call makes.
        """
        shapes = ((key, value.shape) for key, value in sorted(batch.items()))
        shape = (program, *shapes)
        first = shape not in self._counts
        second = not first and shape not in self._seconds
        self._counts[shape] += steps
        if not self._each and not second:
            yield False
            return
        if not self._each:
            jax.block_until_ready((state, batch))
        began = time.monotonic()
        yield True
        self._seconds[shape].append((time.monotonic() - began) / steps)

    def share(self, seconds: float) -> float | None:
        """Estimate the share of some time that was spent on the steps.

        None if the steps of a shape were too few to be measured.

        Args:
            seconds: The time since `clear`.
        """
        if not self._counts or self._counts.keys() - self._seconds.keys():
            return None
        busy = sum(
            count * sum(self._seconds[shape]) / len(self._seconds[shape])
            for shape, count in self._counts.items()
        )
        return min(1.0, busy / seconds)
