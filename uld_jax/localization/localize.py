"""Localize a talker with its uncertainty: votes, amplitudes and times.

The posterior of the network's `votes` is computed on 64 x 64 cells and finer around its
modes. Positions that the nodes' times of arrival confirm (`times`) are added to it. Where
times confirm none, clocks may be off: nodes are aligned then, and the posterior is
multiplied by the likelihood of direct sound's amplitudes (`alignment`). Several talkers are
found one after the other (`talkers`). `uld_jax.localize` is the entry.
"""

import numbers

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.localization import (
    analytic,
    answers,
    batches,
    conclusions,
    fusion,
    observation,
    recordings,
    talkers,
    votes,
)

LEAST_NODES = observation.LEAST_NODES
FUSED, ANALYTIC = METHODS = ("fused", "analytic")
# Of one talker, or of each of several.
Answers = answers.Localization | tuple[answers.Localization, ...]


def localize(
    signals: ArrayLike,
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None = None,
    *,
    num_sources: int = 1,
    source_height: int | float | None = None,
    method: str = FUSED,
    speech_masks: bool = False,
) -> Answers | list[Answers]:
    """Localize talkers who stay in one place each, from the signals of scattered nodes.

    Recordings longer than 2 s are cut into windows of 2 s, and the logarithms of their
    posteriors are averaged; of those longer than 30 s, 15 windows are used.

    Args:
        signals: [M, N] of M nodes, up to 60, or [B, M, N] of B recordings with the same
            nodes: of any level, with clocks up to 50 ms off. Fewer than 3 nodes
            determine nothing.
        sample_rate: In Hz, 8,000 or more. Below 16,000, high frequencies are missing.
        node_positions: (x, y, z) or (x, y) in meters, [M, 3] or [M, 2]. Without
            heights, all are taken to be at 1.2 m.
        room_size: Sides along x and y in meters, and the height or not. None for
            unknown: up to 2 m around the nodes are searched then.
        num_sources: Talkers who speak at once, 1 to 3. Several are told apart only if
            the nodes have one clock.
        source_height: Of the talkers' mouths in meters; None for 0.8 to 1.9.
        method: "fused"; or "analytic", which asks no network: times and amplitudes alone
            say where one talker is. It is worse where clocks are off or a noise is
            louder, and its radii are not calibrated.
        speech_masks: Whether times of arrival are read from signals out of which a
            network has taken what is not speech, bin by bin. So far it has shown no gain
            here, since votes do not use it: see docs/localizer.md.

    Returns:
        A `Localization`, or a tuple of one for each of several talkers; a list of these
        for signals with an axis B.

    Raises:
        RecordingError: If shapes do not agree, `num_sources` is not 1 to 3, or above 1
            without the network, `method` is another, a value is not finite, the sample
            rate or a unit cannot be right, signals are too short, nodes are too many, or
            two in one place, or one outside of the room.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = [[0.2, 0.3, 1.0], [5.8, 0.4, 1.3], [0.3, 4.2, 1.1], [5.5, 4.1, 1.2]]
    >>> distances = np.linalg.norm(np.array(nodes) - [2.0, 3.0, 1.4], axis=1)
    >>> delays = np.rint(distances / 343.0 * 16_000).astype(int)
    >>> noise = np.random.default_rng(0).normal(size=33_000)
    >>> signals = [noise[500 - d : 32_500 - d] / r for d, r in zip(delays, distances)]
    >>> found = uld_jax.localize(signals, 16_000, nodes, [6.0, 4.5])
    >>> bool(np.linalg.norm(found.position - [2.0, 3.0]) < max(0.3, found.radius_90))
    True
    """
    signals = recordings.to_array(signals)
    if method not in METHODS:
        raise batches.RecordingError(
            f"method is {method!r}; give one of {', '.join(METHODS)}"
        )
    given = (sample_rate, node_positions, room_size, source_height, num_sources)
    how = {"method": method, "speech_masks": speech_masks}
    if signals.ndim != 3:
        return _localize(signals, *given, **how)
    if not len(signals):
        raise batches.RecordingError("signals has no recording")
    return [_localize(one, *given, **how) for one in signals]


def _localize(
    signals,
    sample_rate,
    node_positions,
    room_size,
    source_height,
    num_sources,
    *,
    method,
    speech_masks=False,
) -> Answers:
    """Localize one talker, or several, in one recording."""
    given = (signals, sample_rate, node_positions, room_size, source_height)
    is_number = isinstance(num_sources, numbers.Integral)
    if not is_number or not 1 <= num_sources <= talkers.MOST:
        raise batches.RecordingError(
            f"num_sources is {num_sources!r}; ask for 1 to {talkers.MOST}"
        )
    if num_sources == 1:
        return localize_one(*given, method=method, speech_masks=speech_masks)
    if method != FUSED:
        raise batches.RecordingError(
            f"method is {method!r}, which cannot tell talkers apart, and num_sources is "
            f"{num_sources}; give 1, or method={FUSED!r}"
        )
    observed = observation.observe(*given, speech_masks=speech_masks)
    return talkers.localize_several(observed, num_sources)


def localize_one(
    signals: np.ndarray,
    sample_rate: int | float,
    node_positions: ArrayLike,
    room_size: ArrayLike | None,
    source_height: int | float | None,
    calibrated: bool = True,
    late: Float[np.ndarray, " M"] | None = None,
    method: str = FUSED,
    speech_masks: bool = False,
) -> answers.Localization:
    """Localize a talker in one recording: see `localize`.

    Args:
        signals: [M, N].
        sample_rate: In Hz.
        node_positions: In meters.
        room_size: In meters, or None.
        source_height: In meters, or None.
        calibrated: Whether the radius is what calibration makes of the posterior's own.
        late: Seconds by which each node's clock is known to be late; None for unknown.
        method: One of `METHODS`.
        speech_masks: Whether to read times from what is speech.
    """
    observed = observation.observe(
        *(signals, sample_rate, node_positions, room_size, source_height),
        late=late,
        speech_masks=speech_masks,
    )
    if not observed.usable:
        return conclusions.undetermined(observed)
    if method == ANALYTIC:  # What radii are calibrated for is the posterior with votes.
        evidence, calibrated = analytic.compute_evidence(observed), False
    else:
        evidence = _compute_evidence(observed)
    return conclusions.conclude(observed, evidence, calibrated)


def _compute_evidence(observed: observation.Observation) -> fusion.Evidence:
    """Compute the posterior of votes, times and, where these do not fit, amplitudes."""
    padded = observed.padded
    voted = votes.compute_posterior(padded, observed.plan, observed.all_heights)
    correlations = fusion.correlate(observed.spoken, observed.nodes, observed.whitening)
    fits = fusion.fit_times(correlations, padded, voted[2], observed.height)
    return fusion.weigh(observed, voted, fits)


def fused(
    signals: ArrayLike,
    node_positions: ArrayLike,
    room_size: ArrayLike,
    mask: ArrayLike | None = None,
    num_sources: int = 1,
    *,
    source_height: int | float | None = None,
    method: str = FUSED,
) -> tuple[Float[np.ndarray, "B S 2"], Float[np.ndarray, "B S"]]:
    """Localize the sources in each recording of a batch by `localize`.

    Args:
        signals: Recordings at 16 kHz, [B, M, N].
        node_positions: Node positions in meters, [B, M, 3].
        room_size: Sides along x, y, z in meters, [B, 3].
        mask: True where there is a node, [B, M]; None for everywhere.
        num_sources: Sources S, 1 to 3.
        source_height: Height of the sources in meters; None for 0.8 to 1.9.
        method: One of `METHODS`.

    Returns:
        Positions in meters, and the radii around them that hold 90 %.

    Raises:
        RecordingError: As `localize`.
    """
    arrays = batches.prepare(
        signals, node_positions, room_size, mask, least_nodes=LEAST_NODES
    )
    rate, given = constants.SAMPLE_RATE, (source_height, num_sources)
    found = [
        _localize(one[there], rate, nodes[there], room, *given, method=method)
        for one, nodes, room, there in zip(*map(np.asarray, arrays), strict=True)
    ]
    each = [one if isinstance(one, tuple) else (one,) for one in found]
    positions = np.float32([[talker.position for talker in one] for one in each])
    return positions, np.float32([[talker.radius_90 for talker in one] for one in each])
