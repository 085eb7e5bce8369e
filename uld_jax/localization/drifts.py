"""Find how fast clocks drift apart, from the correlations of nodes in many windows.

While a talker stays, the correlation of two nodes has the same peaks, of direct sound and
of reflections, and a drift moves all of them alike. So correlations of two windows are
correlated with each other, where no peak has to be found nor understood (double-cross-
correlation: A. Chinaev, P. Thuene, G. Enzner, Proc. EUSIPCO, 2018). Of the sums over all
pairs of windows, one for each pair of nodes and each drift, the highest total is searched.
Nothing has to be known of places, nodes or offsets, nor which windows are of one place.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Num

from uld_jax.acoustics import constants

_LARGEST, _STEP = 1.5e-4, 1e-6  # Of what is tried, in seconds a second.
_NUM_STEPS = round(_LARGEST / _STEP)  # To either side.
_LONGEST = 25.0  # Seconds from window to window: talkers seldom stay longer.
_FRAME, _HOP = 4096, 1024  # Samples: sound at nodes is less than 0.1 s apart.
_BAND = (200.0, 4000.0)  # Hz.
_SWEEPS = 6
# Parts of the recording, each left out once for standard errors.
_PARTS = 5
_LEAST_WINDOWS = 4
# Standard errors from 0; and the largest that means anything, since five parts do not tell
# well how large an error is where talkers never stay.
_SURE, _VAGUE = 4.0, 6e-6
# Less is an error where talkers stay for 2 s: up to 1.1e-5 in one of five.
_LEAST = 1e-5
_LEAST_CONTRAST = 1e-6


class Drifts(NamedTuple):
    """Drifts of M clocks, relative to their median.

    Attributes:
        values: Seconds a second, [M]; NaN where nothing is known.
        errors: Their standard errors.
    """

    values: Float[np.ndarray, " M"]
    errors: Float[np.ndarray, " M"]

    @property
    def sure(self) -> Float[np.ndarray, " M"]:
        """The drifts that are surely none of 0; 0 for all others."""
        with np.errstate(invalid="ignore"):
            far = np.abs(self.values) > np.fmax(_LEAST, _SURE * self.errors)
            return np.where(far & (self.errors < _VAGUE), self.values, 0.0)


def find(windows: Num[np.ndarray, "W M N"], times: Float[np.ndarray, " W"]) -> Drifts:
    """Find the drift of each clock, relative to their median.

    Args:
        windows: At 16 kHz; nodes that cannot be used are zero.
        times: Of the windows, in seconds.

    >>> rng = np.random.default_rng(0)
    >>> windows = np.repeat(rng.normal(size=(6, 1, 16_000)), 3, axis=1)
    >>> find(windows, 2.0 * np.arange(6)).values.tolist()
    [0.0, 0.0, 0.0]
    """
    num_nodes = windows.shape[1]
    if len(windows) < _LEAST_WINDOWS or num_nodes < 2:
        return Drifts(*np.full((2, num_nodes), np.nan))
    parts = _sum(windows.astype(np.float32), times)
    total = parts.sum(axis=0)
    found = _search(total, num_nodes)
    without = np.array([_search(total - part, num_nodes) for part in parts])
    spread = without.var(axis=0) * (len(parts) - 1)  # By the jackknife.
    errors = np.sqrt(spread + _STEP**2)
    known = np.isfinite(found)
    return Drifts(found, np.where(known, errors, np.nan))


def _sum(
    windows: Float[np.ndarray, "W M N"], times: Float[np.ndarray, " W"]
) -> Float[np.ndarray, "P Q D"]:
    """Sum double cross-correlations by parts, pairs of nodes, and drifts that are tried."""
    frequencies = np.fft.rfftfreq(_FRAME, 1 / constants.SAMPLE_RATE)
    used = (frequencies > _BAND[0]) & (frequencies < _BAND[1])
    one, other = np.triu_indices(windows.shape[1], 1)
    coherences = np.array([_cohere(window, used)[one, other] for window in windows])
    first, second = np.triu_indices(len(windows), 1)
    since = times[second] - times[first]
    near = since <= _LONGEST
    first, second, since = first[near], second[near], since[near]
    part = first * _PARTS // len(windows)
    tried = _STEP * np.arange(-_NUM_STEPS, _NUM_STEPS + 1)
    summed = np.zeros((_PARTS, len(one), len(tried)))
    for apart in np.unique(since.round(3)):
        turns = np.exp(2j * np.pi * np.outer(frequencies[used], tried * apart))
        for number in range(_PARTS):
            own = np.isclose(since, apart, atol=1e-3) & (part == number)
            if own.any():
                products = coherences[second[own]] * coherences[first[own]].conj()
                both = np.complex64(products.sum(axis=0))
                summed[number] += (both @ np.complex64(turns)).real
    return summed


def _cohere(
    window: Float[np.ndarray, "M N"], used: np.ndarray
) -> Complex[np.ndarray, "M M F"]:
    """Compute the coherence of all nodes with all others, in short frames."""
    frames = np.lib.stride_tricks.sliding_window_view(window, _FRAME, axis=-1)
    spectra = np.fft.rfft(frames[:, ::_HOP] * np.hanning(_FRAME), axis=-1)[..., used]
    spectra = np.complex64(spectra).transpose(2, 0, 1)
    cross = spectra @ spectra.conj().swapaxes(1, 2)
    powers = np.einsum("fmm->fm", cross).real
    scale = np.sqrt(powers[:, :, None] * powers[:, None])
    return (cross / np.maximum(scale, 1e-30)).transpose(1, 2, 0)


def _search(summed: Float[np.ndarray, "Q D"], num_nodes: int) -> np.ndarray:
    """Search the drifts of highest sum, one node after the other; NaN where all are alike."""
    pairs = list(itertools.combinations(range(num_nodes), 2))
    steps = np.arange(-_NUM_STEPS, _NUM_STEPS + 1)
    drifts = np.zeros(num_nodes, int)
    known = np.zeros(num_nodes, bool)
    for _ in range(_SWEEPS):
        for node in range(num_nodes):
            total = np.zeros(len(steps))
            for row, (one, other) in zip(summed, pairs, strict=True):
                if node in (one, other):
                    apart = steps - drifts[other if node == one else one]
                    apart = apart if node == one else -apart
                    total += row[np.clip(apart, -_NUM_STEPS, _NUM_STEPS) + _NUM_STEPS]
            known[node] = np.ptp(total) > _LEAST_CONTRAST
            if known[node]:
                drifts[node] = steps[total.argmax()]
        if known.any():
            drifts -= round(np.median(drifts[known]))
    return np.where(known, _STEP * drifts, np.nan)
