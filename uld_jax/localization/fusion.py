"""Join what votes, times and amplitudes say into one posterior.

Positions that times of arrival confirm are added to the posterior of the votes as normal
distributions. Where times confirm nothing, the posterior is multiplied by the likelihood of
the direct sound's amplitudes at nodes that were aligned. Both count little between one
place and another: a source of noise has times and amplitudes, too.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Float

from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import (
    alignment,
    observation,
    posterior,
    srp_phat,
    times,
    votes,
)

_SRP_PEAKS = 3  # Positions whose times are fitted besides the posterior's own peaks.
MERGE_DISTANCE = 0.3  # Meters: fits or peaks that are no farther apart are one.
# How far around a position its times count against the votes, in meters; the most that
# they count there and against other places, as logarithms; what share of how far it is
# behind the most of all positions counts against one; and the least votes for a position.
_SURROUNDINGS, _MOST_WITHIN, _MOST_BETWEEN = 0.6, 9.0, 2.0
_SHARE_BEHIND, _LEAST_VOTES = 0.04, 1e-6
# Where times have less evidence than this, clocks cannot be believed, and amplitudes of
# aligned nodes count.
BELIEVED = 9.0
# Peaks that nodes are aligned from; the share of belief that no alignment is right; and
# the power of the likelihood, since votes know of levels, too.
_GUIDES, _NOT_ALIGNED, _AMPLITUDES_COUNT = 2, 0.3, 0.5
# Talker's heights that amplitudes are looked at, in deviations from the mean.
_HEIGHTS = (-1.0, 0.0, 1.0)
_POINTS = 8192  # Points of a posterior are padded to this number.


class Evidence(NamedTuple):
    """The posterior from votes, times and amplitudes, and what it rests on.

    Attributes:
        cloud: The posterior.
        peaks: Of it, (x, y) in meters, [P, 2].
        confirmed: Positions that times confirm, the surest first.
        delays: Of aligned nodes in seconds, [M]; None if times needed no alignment.
        evidence: Of the amplitudes of aligned nodes.
    """

    cloud: posterior.Cloud
    peaks: np.ndarray
    confirmed: list[times.Fit]
    delays: np.ndarray | None
    evidence: float


def correlate(
    padded: list[dict[str, Any]],
    node_positions: Float[np.ndarray, "M 3"],
    whitening: float = times.WHITENING,
) -> Float[np.ndarray, "Q L"]:
    """Correlate the signals of all pairs, summed over windows.

    Args:
        padded: Windows, from `votes.pad`.
        node_positions: Of the nodes that are present, in meters.
        whitening: As in `correlations.whiten`.
    """
    _, mask = votes.nodes_of(padded)
    max_lag = correlations_lib.lag_bound(node_positions)
    return sum(
        np.asarray(_correlate(batch["audio"][0], mask, max_lag, whitening))
        for batch in padded
    )


def fit_times(
    correlations: Float[np.ndarray, "Q L"],
    padded: list[dict[str, Any]],
    peaks: Float[np.ndarray, "P 2"],
    height: tuple[float, float],
    num_strongest: int = _SRP_PEAKS,
) -> list[times.Fit]:
    """Fit positions to times of arrival, from the votes' peaks and SRP-PHAT's.

    Args:
        correlations: From `correlate`.
        padded: Windows.
        peaks: One to four (x, y) in meters.
        height: Mean and standard deviation of the talker's, in meters.
        num_strongest: Peaks of SRP-PHAT to start from.
    """
    nodes, mask = votes.nodes_of(padded)
    sides = padded[0]["room_size"][0]
    starts = np.float32(np.resize(peaks, (posterior.MAX_MODES, 2)))  # Always as many.
    given = (correlations, nodes, mask, starts, sides[:2], np.float32(height))
    fits = jax.device_get(_fit(*given, num_strongest))
    return [times.Fit(*parts) for parts in zip(*fits, strict=True)]


def weigh(
    observed: observation.Observation,
    prior: tuple[Float[np.ndarray, "K K"], posterior.Cloud, Float[np.ndarray, "P 2"]],
    fits: list[times.Fit],
    voted: bool = True,
) -> Evidence:
    """Weigh a posterior by times and, where these do not fit, amplitudes.

    Args:
        observed: The recording.
        prior: The posterior at the grid points; the same, finer around its peaks; and
            these, as `votes.compute_posterior` returns them.
        fits: Positions and their times.
        voted: Whether it is that of the votes: see `confirm`.
    """
    probability, cloud, peaks = prior
    plan = observed.plan
    delays, evidence = None, math.inf
    if max(float(fit.evidence) for fit in fits) < BELIEVED:
        cloud, delays, evidence = weigh_amplitudes(
            cloud, peaks, observed.padded, observed.height, voted
        )
        probability = posterior.encode(cloud, plan, votes.RESOLUTION)
        peaks = posterior.find_peaks(probability, plan)
    cloud, confirmed = confirm(cloud, probability, plan, fits, voted)
    return Evidence(cloud, join_peaks(peaks, confirmed), confirmed, delays, evidence)


def weigh_amplitudes(
    cloud: posterior.Cloud,
    peaks: np.ndarray,
    padded: list[dict[str, Any]],
    height: tuple[float, float],
    voted: bool = True,
) -> tuple[posterior.Cloud, np.ndarray, float]:
    """Multiply a posterior by the likelihood of direct amplitudes, whatever the clocks.

    Nodes are aligned from the correlations alone and from the highest peaks. Each of
    these alignments may be the right one, or none. Between peaks, amplitudes count up to
    exp(2), as times do: those of a source of noise fit its place, too. Without votes
    (`voted`), they count in full.

    Returns:
        The posterior; each node's delay in seconds in the alignment that fits it best,
        NaN where it is not known; and how much likelier the amplitudes of that are by
        the posterior than by chance, as a logarithm.
    """
    count = len(cloud.points)
    points = np.pad(cloud.points, ((0, _POINTS - count), (0, 0)), mode="edge")
    heights = np.float32(height[0] + height[1] * np.array(_HEIGHTS))
    nodes, mask = votes.nodes_of(padded)
    found = _align(
        *(votes.signals_of(padded), nodes, mask),
        *(np.float32(np.resize(peaks, (_GUIDES, 2))), np.float32(points), heights),
    )
    delays, known, logs = map(np.asarray, found)
    logs = logs.astype(np.float64)[:, :count]
    right = math.log((1 - _NOT_ALIGNED) / len(logs))
    none = np.full((1, count), math.log(_NOT_ALIGNED))
    weights = scipy.special.logsumexp(
        np.concatenate([none, right + (_AMPLITUDES_COUNT if voted else 1.0) * logs]),
        axis=0,
    )
    most_between = _MOST_BETWEEN if voted else math.inf
    cloud = posterior.multiply(cloud, peaks, weights, most_between)
    evidence = scipy.special.logsumexp(logs, b=cloud.masses, axis=1)
    best = int(evidence.argmax())
    delays = np.where(known[best], delays[best], np.nan)
    return cloud, delays[mask], float(evidence[best])


def confirm(
    cloud: posterior.Cloud,
    probability: np.ndarray,
    plan: np.ndarray,
    fits: list[times.Fit],
    voted: bool = True,
) -> tuple[posterior.Cloud, list[times.Fit]]:
    """Add what times of arrival confirm to the posterior of the votes.

    The posterior around such a position is multiplied by how much likelier its times are
    than by chance, exp(2) at most: sources of noise make nodes agree, too.
    There, between the position and what the votes say around it, it counts up to exp(9).

    Args:
        cloud: The posterior.
        probability: The same at the grid points, rows y.
        plan: Sides of the room in meters.
        fits: Positions and their times.
        voted: Whether the votes are evidence against other places. They are not where
            a talker besides those found is looked for, or without votes: times count up
            to exp(9) between places, too, then, and half as much less where they are
            behind the most.

    Returns:
        The posterior, and the positions that times confirm, the surest first.
    """
    most_between = _MOST_BETWEEN if voted else _MOST_WITHIN
    share_behind = _SHARE_BEHIND * (1.0 if voted else 0.5)
    confirmed = []
    most = max(float(fit.evidence) for fit in fits)
    added = []
    masses = cloud.masses.copy()
    for fit in sorted(fits, key=lambda fit: -fit.evidence):
        position, evidence = fit.position[:2].astype(np.float64), float(fit.evidence)
        known = [np.linalg.norm(position - one.position[:2]) for one in confirmed]
        if not evidence > 0 or min(known, default=np.inf) < MERGE_DISTANCE:
            continue
        column, row = np.rint(position / plan * votes.RESOLUTION).astype(int)
        around = probability[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        voted = max(around.sum(), _LEAST_VOTES)
        near = np.linalg.norm(cloud.points - position, axis=1) < _SURROUNDINGS
        total = max(cloud.masses[near].sum(), voted)
        times_say = voted * math.exp(min(evidence, _MOST_WITHIN))
        share = times_say / (times_say + total)
        behind = most - evidence
        gain = math.exp(min(evidence, most_between) - share_behind * behind)
        masses[near] = (1 - share) * gain * cloud.masses[near]
        added.append(
            (position, fit.covariance.astype(np.float64), share * gain * total)
        )
        confirmed.append(fit)
    return posterior.add(cloud._replace(masses=masses), added), confirmed


def join_peaks(
    peaks: Float[np.ndarray, "P 2"], confirmed: list[times.Fit]
) -> Float[np.ndarray, "J 2"]:
    """Join the positions that times confirm and the peaks away from them."""
    if not confirmed:
        return peaks
    apart = [np.linalg.norm(peaks - fit.position[:2], axis=1) for fit in confirmed]
    peaks = peaks[np.min(apart, axis=0) > MERGE_DISTANCE]
    return np.stack([*(fit.position[:2] for fit in confirmed), *peaks])


@jax.jit
def _align(signals, nodes, mask, guides, plan, heights):
    """Compute delays and which are known [H, M], and amplitudes' likelihood [H, P]."""
    pairs = alignment.correlate(signals, mask)
    guides = jnp.column_stack([guides, jnp.full(len(guides), heights[1])])
    found = jax.lax.map(
        lambda guide: alignment.align_guided(pairs, nodes, mask, guide), guides
    )
    blind = alignment.align_blind(pairs)
    aligned = alignment.measure(signals, mask, jnp.stack([blind, *found]))

    def at_height(height):
        points = jnp.column_stack([plan, jnp.full(len(plan), height)])
        return alignment.log_likelihoods(points, nodes, mask, aligned)

    logs = jax.lax.map(at_height, heights)
    logs = jax.nn.logsumexp(logs, axis=0) - math.log(len(heights))
    return aligned.delays, alignment.find_known(aligned, mask), logs


# Static: a traced power has other last bits.
_correlate = jax.jit(times.correlate, static_argnames=("max_lag", "whitening"))


@functools.partial(jax.jit, static_argnames="num_strongest")
def _fit(correlations, nodes, mask, starts, sides, height, num_strongest):
    strongest = srp_phat.search(correlations, nodes, sides, height[0], num_strongest)
    starts = jnp.concatenate([starts, strongest])
    return times.fit(correlations, nodes, mask, starts, sides, height)
