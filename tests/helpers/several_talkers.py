"""Several talkers of built-in speech at once, in free field."""

import numpy as np

from uld_jax.audio import builtin

RATE = 16_000


def speak(places, nodes, seconds=2.0):
    """Add built-in speech of other talkers from each place: delays and 1 / r.

    Args:
        places: Of the talkers in meters, [S, 3].
        nodes: In meters, [M, 3].
        seconds: Of the recording.

    Returns:
        Signals [M, N] at 16 kHz, with noise of each node's own at 40 dB.
    """
    names = builtin.speech_names()["train"]
    total = np.zeros((len(nodes), int(RATE * seconds)))
    for number, place in enumerate(places):
        speech = np.asarray(builtin.synthesize(names[7 * number]), np.float64)
        paths = np.linalg.norm(nodes - place, axis=1)
        when = np.arange(total.shape[1])[None] - RATE * paths[:, None] / 343.0 + 800
        total += np.interp(when, np.arange(len(speech)), speech) / paths[:, None]
    noise = np.random.default_rng(1).normal(size=total.shape)
    return total + 1e-2 * np.sqrt((total**2).mean()) * noise
