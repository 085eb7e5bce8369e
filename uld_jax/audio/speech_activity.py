"""Find when somebody speaks in a recording, from the levels of its nodes.

Each node's level every 0.1 s is compared with its own noise and its own speech, the levels
that a tenth and 95 % of its time stay below. Somebody speaks where the nodes' mean is
nearer to speech, in decibels. What is steady for the whole recording is taken for speech.
"""

import numpy as np
import scipy.ndimage
from jaxtyping import Float

from uld_jax.audio import signals as signals_lib
from uld_jax.audio import surveys

_FRAME = 10  # Levels of 10 ms.
_NOISE, _SPEECH = 0.1, 0.95
_LEAST_RANGE_DB = 8.0  # From noise to speech: of a node with less, levels say nothing.
_LONGEST_GAP, _SHORTEST = 5, 2  # Frames: pauses within speech, and what is a click.
_SILENT = 1e-12  # Power: digital silence has no level.


def find_speech(survey: surveys.Survey) -> Float[np.ndarray, "S 2"]:
    """Find the stretches in which somebody speaks.

    Args:
        survey: Of the recording.

    Returns:
        Start and end of each in seconds, from the first recorder's start, in order.
    """
    frames = -(-survey.num_samples // (surveys.HOP * _FRAME))
    seconds = surveys.HOP * _FRAME / signals_lib.SAMPLE_RATE
    total, count = np.zeros((2, frames))
    for node, powers in enumerate(survey.powers):
        if not signals_lib.is_usable(survey.faults[node]):
            continue
        own = powers[: survey.lengths[node] // surveys.HOP // _FRAME * _FRAME]
        levels = np.log10(own.reshape(-1, _FRAME).mean(axis=1) + _SILENT)
        noise, speech = (
            np.quantile(levels, [_NOISE, _SPEECH]) if len(levels) else (0, 0)
        )
        if 10 * (speech - noise) < _LEAST_RANGE_DB:
            continue
        begin = round(survey.starts[node] / (surveys.HOP * _FRAME))
        share = (levels - noise) / (speech - noise)
        share = np.clip(share, 0.0, 1.0)[: frames - begin]
        total[begin : begin + len(share)] += share
        count[begin : begin + len(share)] += 1
    if not count.any():
        return np.array([[0.0, survey.num_samples / signals_lib.SAMPLE_RATE]])
    active = total > 0.5 * np.maximum(count, 1)
    # Padded, so that the ends are no pauses.
    padded = np.pad(active, _LONGEST_GAP)
    padded = scipy.ndimage.binary_closing(padded, np.ones(_LONGEST_GAP + 1))
    padded = scipy.ndimage.binary_opening(padded, np.ones(_SHORTEST))
    edges = np.flatnonzero(np.diff(np.pad(padded, 1).astype(int))) - _LONGEST_GAP
    return seconds * edges.reshape(-1, 2).astype(float)


def speech_within(
    speech: Float[np.ndarray, "S 2"], start: float, end: float
) -> Float[np.ndarray, "s 2"]:
    """Cut stretches to those between two times, in seconds.

    >>> speech_within(np.array([[0.0, 1.0], [2.0, 4.0]]), 0.5, 3.0).tolist()
    [[0.5, 1.0], [2.0, 3.0]]
    """
    cut = np.clip(speech, start, end)
    return cut[cut[:, 1] > cut[:, 0]]
