"""Evidence of times and amplitudes without the network of votes.

The posterior is even at first: a talker may be anywhere in the room. Between places, times of
arrival count up to exp(9), and amplitudes, where these confirm nothing, in full, since no
votes know better. So a source of noise that the nodes agree on is taken for the talker.
"""

import numpy as np
from jaxtyping import Float

from uld_jax.localization import (
    fusion,
    observation,
    posterior,
    times,
    votes,
)

STARTS = 8  # Peaks of SRP-PHAT whose times are fitted.


def compute_evidence(observed: observation.Observation) -> fusion.Evidence:
    """Compute the posterior of times and, where these do not fit, amplitudes.

    Args:
        observed: The recording, with enough nodes.
    """
    probability, cloud, center = compute_prior(observed.plan)
    correlations = fusion.correlate(observed.spoken, observed.nodes, observed.whitening)
    fits = fusion.fit_times(
        correlations, observed.padded, center, observed.height, STARTS
    )
    prior = probability, cloud, _find_apart(fits)
    return fusion.weigh(observed, prior, fits, voted=False)


def compute_prior(
    plan: Float[np.ndarray, "2"],
) -> tuple[Float[np.ndarray, "K K"], posterior.Cloud, Float[np.ndarray, "1 2"]]:
    """Compute the posterior of a talker who may be anywhere, as votes give theirs.

    Args:
        plan: Sides of the room along x and y, in meters.

    Returns:
        It at the grid points; the same as points; and the middle of the room.
    """
    cloud = posterior.spread_evenly(plan, votes.RESOLUTION)
    shape = (votes.RESOLUTION + 1, votes.RESOLUTION + 1)
    return cloud.masses.reshape(shape), cloud, plan[None] / 2


def _find_apart(fits: list[times.Fit]) -> Float[np.ndarray, "P 2"]:
    """Find the positions whose times fit best, apart from each other."""
    kept: list[np.ndarray] = []
    for fit in sorted(fits, key=lambda fit: -fit.evidence):
        place = fit.position[:2].astype(np.float64)
        apart = [np.linalg.norm(place - one) for one in kept]
        if min(apart, default=np.inf) > fusion.MERGE_DISTANCE:
            kept.append(place)
    return np.stack(kept[: posterior.MAX_MODES])
