"""When recorders started, from how loud each was in every 10 ms.

Coarse: within some tens of milliseconds, which localization bears. It is found whatever
clocks, gains and rates are, as long as the recorders picked up the same talkers.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.fft
from jaxtyping import Float

_MOST_LAG = 1000  # Levels: 10 s.
_LEAST_LAG = 5  # Levels: less is left to localization.
_LEAST_OVERLAP = 100  # Levels, and half of a recording.
# Levels that say as much as one independent one, and the evidence that an offset needs,
# beyond that of as many tries as there are lags.
_INDEPENDENT, _EVIDENCE = 10, 5.0
_RANGE_DB = 40.0  # Levels this far below the loudest say nothing.


def estimate(
    powers: Float[np.ndarray, "M T"],
    lengths: Sequence[int],
    files: Sequence[Hashable],
    usable: Sequence[bool],
) -> Float[np.ndarray, " M"]:
    """Estimate when each recorder started.

    Args:
        powers: Of each node, at equal steps of its own time.
        lengths: Steps of each node; what is after them is not looked at.
        files: Nodes in one file have one start.
        usable: Nodes to compare; others are taken to have started with the first.

    Returns:
        Steps after the first recorder, [M]; zeros where levels do not show otherwise.
    """
    groups: dict[Hashable, list[int]] = {}
    for node, file in enumerate(files):
        if usable[node]:
            groups.setdefault(file, []).append(node)
    late = np.zeros(len(files))
    if len(groups) < 2:
        return late
    levels = [
        np.mean([_to_levels(powers[node, : lengths[node]]) for node in nodes], axis=0)
        for nodes in groups.values()
    ]
    template = max(levels, key=np.std)
    for _ in range(2):  # Against the liveliest recorder, then against all.
        shifts = [_find_shift(own, template) for own in levels]
        if all(shift is None for shift in shifts):
            return late
        template = _average(levels, shifts)
    known = [shift for shift in shifts if shift is not None]
    for nodes, shift in zip(groups.values(), shifts, strict=True):
        late[nodes] = 0 if shift is None else shift - min(known)
    return late


def _to_levels(powers: np.ndarray) -> np.ndarray:
    """Convert powers to levels in dB above a floor."""
    floor = max(np.quantile(powers, 0.1), powers.max() * 10 ** (-_RANGE_DB / 10))
    return 10 * np.log10(np.maximum(powers, floor))


def _find_shift(levels: np.ndarray, template: np.ndarray) -> int | None:
    """Find by how many steps levels must be moved later to coincide with a template.

    Returns:
        Zero for less than `_LEAST_LAG`; None if the two have too little in common.
    """
    lags, likeness, overlap = _correlate(levels, template)
    if not lags.size:
        return None
    evidence = -0.5 * overlap / _INDEPENDENT * np.log1p(-np.square(likeness))
    evidence[likeness <= 0] = 0.0
    best = int(evidence.argmax())
    in_time = evidence[np.abs(lags) <= _LEAST_LAG].max(initial=0.0)
    if evidence[best] > in_time + np.log(len(lags)) + _EVIDENCE:
        return int(lags[best])
    return 0 if in_time > _EVIDENCE else None


def _correlate(
    levels: np.ndarray, template: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlate levels, moved later by each lag, with a template where both are.

    Returns:
        The lags, the correlation coefficients, and how many steps overlap.
    """
    count = len(levels) + len(template)
    size = scipy.fft.next_fast_len(count, real=True)

    def spectrum(signal):
        return scipy.fft.rfft(signal, size)

    def correlate(first, second):
        return scipy.fft.irfft(first.conj() * second, size)

    levels, template = levels - levels.mean(), template - template.mean()
    one = [spectrum(part) for part in (np.ones(len(levels)), levels, levels**2)]
    other = [spectrum(part) for part in (np.ones(len(template)), template, template**2)]
    most = min(_MOST_LAG, size // 2 - 1)
    lags = np.arange(-most, most + 1)
    overlap = np.rint(correlate(one[0], other[0])[lags])
    least = max(_LEAST_OVERLAP, min(len(levels), len(template)) / 2)
    kept = overlap >= least
    lags, overlap = lags[kept], overlap[kept]
    product = correlate(one[1], other[1])[lags]
    sums = correlate(one[1], other[0])[lags], correlate(one[0], other[1])[lags]
    squares = correlate(one[2], other[0])[lags], correlate(one[0], other[2])[lags]
    spreads = [
        np.maximum(square - total**2 / overlap, 1e-9)
        for square, total in zip(squares, sums, strict=True)
    ]
    likeness = (product - sums[0] * sums[1] / overlap) / np.sqrt(
        spreads[0] * spreads[1]
    )
    return lags, np.clip(likeness, -0.999, 0.999), overlap


def _average(levels: list[np.ndarray], shifts: list[int | None]) -> np.ndarray:
    """Average levels, each relative to its own mean and spread, moved by its shift."""
    moved = [
        (own, shift)
        for own, shift in zip(levels, shifts, strict=True)
        if shift is not None
    ]
    first = min(shift for _, shift in moved)
    length = max(len(own) + shift - first for own, shift in moved)
    total, count = np.zeros((2, length))
    for own, shift in moved:
        if own.std() > 0:
            where = slice(shift - first, shift - first + len(own))
            total[where] += (own - own.mean()) / own.std()
            count[where] += 1
    return total / np.maximum(count, 1)
