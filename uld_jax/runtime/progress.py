"""Log lines and progress: a bar with ETA on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

import tqdm

_SECONDS_BETWEEN_LINES = 20.0
_quiet = False


def silence() -> None:
    """Turn off all output of this process, for all but one of several processes."""
    global _quiet
    _quiet = True


def log(message: str) -> None:
    """Print a line above any progress bar."""
    if not _quiet:
        tqdm.tqdm.write(message)
        sys.stdout.flush()


class Progress:
    """Show how much of a known amount of work is done.

    Use as a context manager.

    Args:
        title: Description of the work.
        total: Amount of work.
        unit: What the amount counts, in the plural.
        done: Amount done in an earlier process; it does not count for the speed.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0):
        self._title, self._total, self._unit = title, total, unit
        self._done = self._done_before = done
        self._started = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and not _quiet:
            self._bar = tqdm.tqdm(
                desc=title,
                total=total,
                initial=done,
                unit=f" {unit}",
                leave=False,
                dynamic_ncols=True,
            )

    @property
    def left(self) -> int:
        """Amount of work still to do."""
        return self._total - self._done

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, error_type: Any, error: Any, trace: Any) -> None:
        if self._bar is not None:
            self._bar.close()
        elif error_type is None and self._last_line != self._started:
            self._line()

    def update(self, amount: int = 1, note: str = "") -> None:
        """Count finished work, with a short note such as the current loss."""
        self._done += amount
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(amount)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._line(note)

    def _line(self, note: str = "") -> None:
        self._last_line = time.monotonic()
        seconds = self._last_line - self._started
        speed = (self._done - self._done_before) / max(seconds, 1e-9)
        pace = (
            f", {speed:.3g} per second, {self.left / speed:.0f} s left" if speed else ""
        )
        log(
            f"{self._title}: {self._done:,} of {self._total:,} {self._unit}{pace}"
            + (f", {note}" if note else "")
        )
