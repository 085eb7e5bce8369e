"""How much of each node's signal is sound that the other nodes receive, too.

Whatever the clocks and the places are: nodes are aligned from their correlations alone, and
what a node has in common with the sum of the others is direct sound (`alignment`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from uld_jax.localization import alignment


def measure(windows: Float[np.ndarray, "W M N"]) -> Float[np.ndarray, "W M"]:
    """Measure how coherent each node is with the others in each window.

    The coherence of a node with the sound that all have in common is the root of that
    sound's share of the node's power, in the band of speech, all frequencies alike. Echoes
    and noise of its own make it less: a node at the far end of a room has 0.1, and one
    with nothing in common with the others a few hundredths.

    Args:
        windows: Signals at 16 kHz; nodes without sound are zero.

    Returns:
        From 0 to 1; NaN for a node that is silent, or alone with sound.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> sound = rng.normal(size=(1, 1, 8_000)) + [[[0], [0], [0]]]
    >>> measure(np.float32(sound)).round(1).tolist()
    [[1.0, 1.0, 1.0]]
    """
    found = np.full(windows.shape[:2], np.nan)
    for own, window in zip(found, windows, strict=True):
        # What is silent in a window leaves the others, as if it were absent.
        sounding = window.any(axis=1)
        if sounding.sum() > 1:
            scale = np.abs(window).max()
            coherent = np.asarray(_measure(np.float32(window / scale), sounding))
            own[sounding] = coherent[sounding]
    return found


@jax.jit
def _measure(window: Float[Array, "M N"], mask) -> Float[Array, " M"]:
    pairs = alignment.correlate(window[None], mask)
    blind = alignment.align_blind(pairs)
    found = alignment.measure(window[None], mask, blind[None])
    share = found.amplitudes[0] ** 2 / jnp.maximum(found.powers[0], 1e-30)
    return jnp.sqrt(jnp.clip(share, 0.0, 1.0))
