"""Find recorders whose signals have the sign of the others changed, as crossed wires do."""

import numpy as np
import scipy.fft
from jaxtyping import Float

_MOST_LAG = 1000  # Samples at 16 kHz.
_LOWEST = 100.0  # Hz: below are hum and handling.
_SURE = 0.6  # Mean sign of a node's correlations; without a decision it is near zero.
_LEAST_NODES = 3


def find_inverted(windows: Float[np.ndarray, "W M N"], sample_rate: int) -> list[int]:
    """Find the nodes whose polarity is not that of most.

    Two signals of one talker have a whitened cross-correlation whose highest peak is
    positive, or negative if one of them is inverted. Reverberation hides that in some
    pairs and windows; all pairs and windows of a node have to show it.

    Args:
        windows: W excerpts of M nodes, without clocks that are far apart.
        sample_rate: In hertz.

    >>> import numpy as np
    >>> from uld_jax.audio import polarity
    >>> noise = np.random.default_rng(0).normal(size=(1, 1, 8000))
    >>> polarity.find_inverted(noise * [[[1.0], [1.0], [-0.5], [1.0]]], 16_000)
    [2]
    """
    signs = np.mean([_compare_signs(one, sample_rate) for one in windows], axis=0)
    if len(signs) < _LEAST_NODES:
        return []
    # The eigenvector of the largest eigenvalue fits the signs of all pairs best.
    own = np.sign(np.linalg.eigh(signs)[1][:, -1])
    own *= 1.0 if own.sum() >= 0 else -1.0
    fit = own[:, None] * own * signs
    sure = fit.sum(axis=1) / (len(signs) - 1)
    if sure.mean() < _SURE or 2 * (own < 0).sum() >= len(own):
        return []
    return np.flatnonzero((own < 0) & (sure > _SURE)).tolist()


def _compare_signs(
    window: Float[np.ndarray, "M N"], sample_rate: int
) -> Float[np.ndarray, "M M"]:
    """Find the sign of the highest peak of each pair's correlation; zero on the diagonal."""
    size = scipy.fft.next_fast_len(window.shape[1] + _MOST_LAG, real=True)
    spectra = scipy.fft.rfft(window, size, axis=1)
    spectra[:, : round(_LOWEST * size / sample_rate)] = 0.0
    spectra /= np.maximum(np.abs(spectra), 1e-12)
    signs = np.zeros((len(window), len(window)))
    for first in range(len(window)):
        others = scipy.fft.irfft(spectra[first + 1 :].conj() * spectra[first], size)
        near = np.concatenate([others[:, :_MOST_LAG], others[:, -_MOST_LAG:]], axis=1)
        signs[first, first + 1 :] = np.sign(
            near.max(axis=1, initial=0) + near.min(axis=1, initial=0)
        )
    return signs + signs.T
