"""Localize several talkers who speak at once, one after the other.

The first is where votes and times say together that one talker is. Its direct sound is
removed from the correlations of all pairs (`times.suppress`), and the next is searched in
what is left, away from those before. The votes are those of a network for one talker:
where it is sure of one, it knows little of others. So another may be anywhere, with a share
of belief, and times decide between places up to exp(2), as they do for one talker.

A source of noise has times, too: of the talkers in `simulated/ad2_reduced` (SNR 10-20 dB),
8 % of the answers are elsewhere. See docs/localizer.md.
"""

import dataclasses
import math

import jax
import numpy as np
from jaxtyping import Float

from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import (
    answers,
    conclusions,
    fusion,
    posterior,
    times,
    votes,
)
from uld_jax.localization import observation as observation_lib

MOST = 3
_STARTS = 8  # Peaks of SRP-PHAT that are looked at.
_APART = 0.4  # Meters between talkers, at least.
_ANYWHERE = 0.01  # Share of belief that another talker is where no votes are.

_NOT_CONFIRMED = (
    "Times confirm no talker there: fewer speak, or clocks or places differ"
)

_suppress = jax.jit(times.suppress)


def localize_several(
    observed: observation_lib.Observation, num_sources: int, calibrated: bool = True
) -> tuple[answers.Localization, ...]:
    """Localize talkers who stay in place, and say how sure each is.

    Args:
        observed: The recording.
        num_sources: Talkers, 2 to `MOST`.
        calibrated: See `conclusions.conclude`.

    Returns:
        An answer for each talker, in the order in which they were found.
    """
    if not observed.usable:
        return num_sources * (conclusions.undetermined(observed),)
    padded, plan, height = observed.padded, observed.plan, observed.height
    voted = votes.compute_posterior(padded, plan, observed.all_heights)
    nodes, _ = votes.nodes_of(padded)
    # Less than for one talker: a point noise, which votes do not tell from a second talker,
    # stands out less among voices (validation scenes of Ad-2: 0.27 m in place of 0.34 m).
    whitening = min(observed.whitening, correlations_lib.WHITENING)
    correlations = fusion.correlate(observed.spoken, observed.nodes, whitening)
    fits: list[times.Fit] = []
    places: list[np.ndarray] = []
    found: list[answers.Localization] = []
    near: list[times.Fit] = []
    for _ in range(num_sources):
        if near or not found:  # Else nothing was removed.
            fits += fusion.fit_times(correlations, padded, voted[2], height, _STARTS)
        evidence = _weigh(voted, plan, fits, places)
        found.append(_conclude(observed, evidence, calibrated))
        places.append(found[-1].position - observed.room.origin)
        near = [one for one in evidence.confirmed if not _is_away(one, places[-1:])]
        if near:
            correlations = np.asarray(_suppress(correlations, nodes, near[0]))
    # What made one doubtful may be another who was found after.
    for number, one in enumerate(found):
        others = [
            place
            for place, other in zip(places, found, strict=True)
            if other is not one and other.determined
        ]
        if others and not one.determined:
            evidence = _weigh(voted, plan, fits, others)
            found[number] = _conclude(observed, evidence, calibrated)
            places[number] = found[number].position - observed.room.origin
    return tuple(found)


def _conclude(observed, evidence, calibrated) -> answers.Localization:
    """Answer for one of several talkers: without times that confirm it, it is doubtful."""
    answer = conclusions.conclude(observed, evidence, calibrated, alone=False)
    if evidence.confirmed:
        return answer
    return dataclasses.replace(
        answer, determined=False, reasons=(_NOT_CONFIRMED, *answer.reasons)
    )


def _weigh(
    voted: tuple[np.ndarray, posterior.Cloud, np.ndarray],
    plan: Float[np.ndarray, "2"],
    fits: list[times.Fit],
    others: list[np.ndarray],
) -> fusion.Evidence:
    """Compute the posterior of a talker besides some others.

    Args:
        voted: The posterior of one talker, from `votes.compute_posterior`.
        plan: Sides of the room in meters.
        fits: Positions and their times.
        others: Where the other talkers are, in meters; none for the first.
    """
    probability, cloud, peaks = voted
    if others:
        cloud, probability = _spread(cloud, probability, plan, others)
        fits = [one for one in fits if _is_away(one, others)]
        peaks = np.array([one for one in peaks if _apart(one, others) > _APART])
        if not len(peaks):
            peaks = posterior.find_peaks(probability, plan)
    cloud, confirmed = fusion.confirm(cloud, probability, plan, fits, voted=not others)
    peaks = fusion.join_peaks(peaks, confirmed)
    return fusion.Evidence(cloud, peaks, confirmed, None, math.inf)


def _apart(place: Float[np.ndarray, "2"], others: list[np.ndarray]) -> float:
    """Compute how far a place is from the nearest of others, in meters."""
    return min((float(np.linalg.norm(place - one)) for one in others), default=np.inf)


def _is_away(fit: times.Fit, others: list[np.ndarray]) -> bool:
    """Whether a position that was fitted is none of the others'."""
    return _apart(fit.position[:2], others) > _APART


def _spread(
    cloud: posterior.Cloud,
    probability: Float[np.ndarray, "K K"],
    plan: Float[np.ndarray, "2"],
    others: list[np.ndarray],
) -> tuple[posterior.Cloud, Float[np.ndarray, "K K"]]:
    """Allow a talker to be anywhere but near others."""
    areas = np.sqrt(cloud.variances.prod(axis=1))
    masses = (1 - _ANYWHERE) * cloud.masses + _ANYWHERE * areas / areas.sum()
    shares = (1 - _ANYWHERE) * probability + _ANYWHERE / probability.size
    points = posterior.grid(plan, len(probability) - 1)
    for place in others:
        masses[np.linalg.norm(cloud.points - place, axis=1) < _APART] = 0.0
        shares[np.linalg.norm(points - place, axis=-1) < _APART] = 0.0
    least = np.finfo(np.float64).tiny  # In a room that others fill, nowhere is left.
    masses, shares = masses + least, shares + least
    return cloud._replace(masses=masses / masses.sum()), shares / shares.sum()
