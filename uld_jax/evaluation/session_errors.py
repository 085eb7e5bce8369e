"""Errors of located recordings whose true positions are known."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Errors of some windows in meters, and their radii that hold 90 %; None if unknown.
Misses = tuple[Float[np.ndarray, " W"], Float[np.ndarray, " W"] | None]
ALL, DETERMINED, SMOOTHED = "all windows", "determined", "smoothed, in turns"


class Errors(NamedTuple):
    """Errors of some windows.

    Attributes:
        windows: Their number.
        share: Of all windows.
        median: In meters.
        within_90: Meters that 90 % of them are within.
        coverage: Share whose radius holds the true position; None without radii.
    """

    windows: int
    share: float
    median: float
    within_90: float
    coverage: float | None

    def __str__(self) -> str:
        text = f"{100 * self.share:.0f} %, " if self.share < 1 else ""
        text += f"median {self.median:.3f} m, 90 % within {self.within_90:.3f} m"
        if self.coverage is not None:
            text += f", {100 * self.coverage:.0f} % inside their radii"
        return text


def measure(recordings: Iterable[Mapping[str, Misses]]) -> dict[str, Errors]:
    """Measure the errors of each kind of windows, of several recordings together.

    Args:
        recordings: Errors and radii of each kind, `ALL` among them; empty if true
            positions are not known.

    Returns:
        Kinds that have windows.

    >>> errors, radii = np.array([0.1, 0.2, 0.6]), np.array([0.2, 0.2, 0.5])
    >>> print(measure([{ALL: (errors, radii)}, {}])[ALL])
    median 0.200 m, 90 % within 0.520 m, 67 % inside their radii
    """
    joined: dict[str, list[Misses]] = {}
    for one in recordings:
        for kind, misses in one.items():
            joined.setdefault(kind, []).append(misses)
    total = sum(len(errors) for errors, _ in joined.get(ALL, []))
    found = {}
    for kind, parts in joined.items():
        errors = np.concatenate([errors for errors, _ in parts])
        held = [errors <= radii for errors, radii in parts if radii is not None]
        if not len(errors):
            continue
        median, within = (float(one) for one in np.quantile(errors, [0.5, 0.9]))
        share = len(errors) / total
        coverage = float(np.concatenate(held).mean()) if held else None
        found[kind] = Errors(len(errors), share, median, within, coverage)
    return found


def describe(found: Mapping[str, Errors]) -> list[str]:
    """Describe errors in a line for each kind."""
    return [f"error, {kind}: {errors}" for kind, errors in found.items()]
