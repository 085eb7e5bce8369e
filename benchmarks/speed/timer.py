"""Time functions by turns, so that other work on the machine slows all of them alike."""

import time
from collections.abc import Callable, Sequence

import numpy as np

CLOCKS = (time.perf_counter, time.process_time)


def seconds(function: Callable, calls: int = 1) -> np.ndarray:
    """Time a function by the wall clock and by the processor time of this process.

    Args:
        function: Function to time; it must wait for its own results.
        calls: Number of calls.

    Returns:
        Seconds per call: wall clock, then processor.
    """
    started = np.array([clock() for clock in CLOCKS])
    for _ in range(calls):
        function()
    return (np.array([clock() for clock in CLOCKS]) - started) / calls


def by_turns(measures: Sequence[Callable], turns: int) -> np.ndarray:
    """Call each measure once per turn, in reverse order in every second turn.

    Args:
        measures: Functions that return seconds [2], as `seconds` does.
        turns: Number of turns.

    Returns:
        Seconds [turns, measures, 2].
    """
    found = np.zeros((turns, len(measures), len(CLOCKS)))
    for turn in range(turns):
        numbers = range(len(measures))
        for number in reversed(numbers) if turn % 2 else numbers:
            found[turn, number] = measures[number]()
    return found


def ratio(numerators: np.ndarray, denominators: np.ndarray, digits: int = 2) -> str:
    """Format the median of the ratios turn by turn, with the quartiles."""
    quartiles = np.percentile(numerators / denominators, (25, 50, 75))
    low, middle, high = (f"{value:.{digits}f}" for value in quartiles)
    return f"{middle} ({low} to {high})"
