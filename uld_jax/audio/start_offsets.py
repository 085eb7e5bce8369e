"""When recorders started, from how loud each was in every 10 ms.

Coarse: within some tens of milliseconds, which localization bears. It is found whatever
clocks, gains and rates are, as long as the recorders picked up the same talkers.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.fft
import scipy.ndimage
from jaxtyping import Bool, Float

_MOST_LAG = 6000  # Levels: a minute.
_LEAST_LAG = 5  # Levels: less is left to localization.
_LEAST_OVERLAP = 100  # Levels, and half of a recording.
# The evidence that an offset needs, beyond that of as many tries as there are lags.
_EVIDENCE = 5.0
_RANGE_DB = 40.0  # Levels this far below the loudest say nothing.
_TEMPLATES = 4  # Recorders that others are compared with, at most.
_SMOOTH = 200  # Levels: slower changes are those of noise, distance and gain.


def estimate(
    powers: Float[np.ndarray, "M T"],
    lengths: Sequence[int],
    files: Sequence[Hashable],
    usable: Sequence[bool],
) -> tuple[Float[np.ndarray, " M"], Bool[np.ndarray, " M"]]:
    """Estimate when each recorder started.

    Args:
        powers: Of each node, at equal steps of its own time.
        lengths: Steps of each node; what is after them is not looked at.
        files: Nodes in one file have one start.
        usable: Nodes to compare.

    Returns:
        Steps after the first recorder, [M], and which are known, [M]. The others, whose
        levels have nothing in common with the rest, are taken to be zero.
    """
    groups: dict[Hashable, list[int]] = {}
    for node, file in enumerate(files):
        if usable[node]:
            groups.setdefault(file, []).append(node)
    late, known = np.zeros(len(files)), np.array(usable, bool)
    if len(groups) < 2:
        return late, known
    levels = [
        np.mean([_to_levels(powers[node, : lengths[node]]) for node in nodes], axis=0)
        for nodes in groups.values()
    ]
    shifts = _align_with_one(levels)
    if all(shift is None for shift in shifts):
        return late, np.zeros(len(files), bool)
    template = _average(levels, shifts)
    shifts = [_find_shift(own, template) for own in levels]
    if all(shift is None for shift in shifts):
        return late, np.zeros(len(files), bool)
    first = min(shift for shift in shifts if shift is not None)
    for nodes, shift in zip(groups.values(), shifts, strict=True):
        late[nodes] = 0 if shift is None else shift - first
        known[nodes] = shift is not None
    return late, known


def _align_with_one(levels: list[np.ndarray]) -> list[int | None]:
    """Find the shifts of all recorders against a lively one that most have to do with."""
    found: list[list[int | None]] = []
    for template in sorted(levels, key=np.std, reverse=True)[:_TEMPLATES]:
        found.append([_find_shift(own, template) for own in levels])
        if found[-1].count(None) < len(levels) / 2:
            break
    return min(found, key=lambda shifts: shifts.count(None))


def _to_levels(powers: np.ndarray) -> np.ndarray:
    """Convert powers to levels in dB above a floor, without slow changes."""
    floor = max(np.quantile(powers, 0.1), powers.max() * 10 ** (-_RANGE_DB / 10))
    levels = 10 * np.log10(np.maximum(powers, floor))
    return levels - scipy.ndimage.uniform_filter1d(levels, _SMOOTH)


def _find_shift(levels: np.ndarray, template: np.ndarray) -> int | None:
    """Find by how many steps levels must be moved later to coincide with a template.

    Returns:
        Zero for less than `_LEAST_LAG`; None if the two have too little in common.
    """
    lags, likeness, overlap = _correlate(levels, template)
    if not lags.size:
        return None
    independent = overlap / _common_memory(levels, template)
    evidence = -0.5 * independent * np.log1p(-np.square(likeness))
    evidence[likeness <= 0] = 0.0
    best = int(evidence.argmax())
    in_time = evidence[np.abs(lags) <= _LEAST_LAG].max(initial=0.0)
    if evidence[best] > in_time + np.log(len(lags)) + _EVIDENCE:
        return int(lags[best])
    return 0 if in_time > _EVIDENCE else None


def _common_memory(levels: np.ndarray, template: np.ndarray) -> float:
    """Count the levels that say as much as one independent one (Bartlett's formula)."""
    both = [_autocorrelate(levels), _autocorrelate(template)]
    count = min(map(len, both))
    return max(1.0, 1.0 + 2.0 * float(both[0][1:count] @ both[1][1:count]))


def _autocorrelate(signal: np.ndarray) -> np.ndarray:
    """Compute the autocorrelation up to twice `_SMOOTH`."""
    size = scipy.fft.next_fast_len(2 * len(signal), real=True)
    power = np.square(np.abs(scipy.fft.rfft(signal - signal.mean(), size)))
    found = scipy.fft.irfft(power, size)[: min(len(signal), 2 * _SMOOTH)]
    return found / max(found[0], 1e-9)


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
