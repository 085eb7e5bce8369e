"""Predict whether clocks can be calibrated, before anything is recorded.

The model is that of `clock_fit`: times of arrival at K places of a talker and M nodes are
right or wrong, and places, starts, offsets and drifts have to be paid by times that agree.
The evidence of the right fit is expected to be

    sum over times of r log g + (1 - r) log q, with g the mean gain of a right time,
    - 1/2 log det of the information of all unknowns + their log priors + what Laplace adds,

r the share of times that are right (`planning.share_right`). Clocks are determined if the
evidence is above `clock_fit.BELIEVED`; it scatters as the number of right times does.
Starts and clocks are known up to a common part, so that the first place starts at 0.

Information adds up over nodes, with the unknowns of each node's clock eliminated. So a
search among candidates (`placement`) computes that of each once.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.localization import clock_fit, planning

PLACES, MOST_PLACES = 6, 20  # Where a talker speaks, if nothing is said.
_SPAN = 30.0  # Seconds from the first place to the last.
_APART, _FROM_WALL = 0.8, 0.5  # Meters: between places, and from a wall.
_TRIES = 1000  # Of drawing a place; then it may be nearer to others.
_DRAWS = 8  # Recordings.
_LEAST_SCATTER = 5.0  # Of the evidence: of what the model knows nothing about.
_PLAN_SPREAD = 0.5  # Meters: of the rough position of a place, on the plan.


class Recordings(NamedTuple):
    """Talkers' places in some recordings, and what is known of the room.

    Attributes:
        talkers: In meters, [D, K, 3].
        model: As `planning.Model.of` makes it of clocks without errors.
    """

    talkers: Float[np.ndarray, "D K 3"]
    model: planning.Model


def expected_calibration(
    node_positions: ArrayLike,
    room_size: ArrayLike,
    *,
    places: int = PLACES,
    positions: int | float = planning.POSITIONS,
    source_height: int | float | None = None,
    t60: int | float = planning.T60,
) -> float:
    """Predict the probability that `calibrate_clocks` determines all clocks.

    Each node has a clock of its own, with an offset and a drift. Talkers are at random
    places of the room.

    Args:
        node_positions: (x, y, z) of the nodes in meters, [M, 3]; 3 nodes or more.
        room_size: Sides along x and y in meters, and the height or not: [2] or [3].
        places: Number of talkers' places in a recording, 1 to 20.
        positions: Standard deviation of the nodes' measured places in meters, each axis.
        source_height: Of the talker's mouth in meters; None for 0.8 to 1.9.
        t60: Reverberation time in seconds.

    Returns:
        The probability, from 0 to 1.

    Raises:
        PlanningError: As `planning.expected_radii`, or if there are no places.

    >>> import uld_jax
    >>> table = [[2, 1, 1], [3, 1, 1], [4, 1, 1], [4, 3, 1], [3, 3, 1], [2, 3, 1]]
    >>> few, many = (
    ...     uld_jax.expected_calibration(table, [6.0, 4.0], places=places, positions=0.002)
    ...     for places in (3, 12)
    ... )
    >>> few < 0.1, many > 0.9
    (True, True)
    """
    nodes = np.asarray(node_positions, float)
    planning.check_nodes(nodes)
    planning.check(room_size, 0.0, positions, source_height, t60)
    recordings = draw_recordings(room_size, places, positions, source_height, t60)
    return predict(nodes, recordings)


def predict(nodes: Float[np.ndarray, "M 3"], recordings: Recordings) -> float:
    """Predict the probability that clocks are determined, by all of some nodes.

    Args:
        nodes: In meters.
        recordings: Talkers' places.
    """
    total = measure(nodes, recordings).sum(axis=0)
    return float(find_probability(total[None], recordings)[0])


def draw_recordings(
    room_size: ArrayLike,
    places: int,
    positions: int | float,
    source_height: int | float | None,
    t60: int | float,
) -> Recordings:
    """Draw talkers' places, the same each time.

    Args:
        room_size: As `expected_calibration`, and all others.
        places: See there.
        positions: See there.
        source_height: See there.
        t60: See there.

    Raises:
        PlanningError: If the number of places is out of its range.
    """
    if not 1 <= places <= MOST_PLACES or places != int(places):
        raise planning.PlanningError(
            f"places is {places}; give a whole number of 1 to {MOST_PLACES}, best 6 or "
            "more"
        )
    sides = np.asarray(room_size, float)[:2]
    margin = np.minimum(_FROM_WALL, sides / 4)
    rng = np.random.default_rng(0)
    model = planning.Model.of(room_size, 0.0, positions, source_height, t60)
    talkers = np.full((_DRAWS, places, 3), model.height[0], float)
    for one in talkers:
        for k in range(places):
            for _ in range(_TRIES):
                one[k, :2] = rng.uniform(margin, sides - margin)
                apart = np.linalg.norm(one[:k, :2] - one[k, :2], axis=1)
                if (apart > _APART).all():
                    break
    return Recordings(talkers, model)


def measure(
    nodes: Float[np.ndarray, "N 3"], recordings: Recordings
) -> Float[np.ndarray, "N D L"]:
    """Compute what each node adds to the evidence, to be summed over nodes.

    Args:
        nodes: In meters.
        recordings: Talkers' places.

    Returns:
        For each node and recording: the evidence of its times and its clock, the variance
        of that, and its information about the places, without its clock, as one row.
    """
    talkers, model = recordings
    D, K, _ = talkers.shape
    toward = talkers - nodes[:, None, None]  # [N, D, K, 3]
    paths = np.maximum(np.linalg.norm(toward, axis=-1), 1e-3)
    right = planning.share_right(paths / float(model.critical))
    weights = right / float(model.spread) ** 2
    gain = _gain(float(model.spread))
    wrong = math.log(clock_fit.WRONG)
    evidence = (right * gain + (1 - right) * wrong).sum(axis=-1)
    variance = (right * (1 - right)).sum(axis=-1) * (gain - wrong) ** 2

    # Unknowns: x, y, z of each place, then its start; those of the clock.
    of_places = np.zeros((*paths.shape, 4 * K))
    k = np.arange(K)
    for axis in range(3):
        of_places[..., k, 3 * k + axis] = toward[..., axis] / paths
    of_places[..., k, 3 * K + k] = 1.0
    of_clock = np.stack([np.ones(K), np.linspace(-0.5, 0.5, K)], axis=-1)
    weighted = weights[..., None] * of_places
    information = np.swapaxes(of_places, -1, -2) @ weighted
    shared = np.swapaxes(weighted, -1, -2) @ of_clock
    clock = np.einsum("ndk,ki,kj->ndij", weights, of_clock, of_clock)
    spread = constants.SPEED_OF_SOUND * clock_fit.DRIFT * _SPAN
    clock[..., 1, 1] += spread**-2
    clock[..., 0, 0] += 1e-9  # For a node that is too far from all places.
    information -= shared @ np.linalg.solve(clock, np.swapaxes(shared, -1, -2))
    # Its clock has to be paid: an offset within a range, and a drift.
    evidence += clock_fit.log_volume(clock)
    evidence -= math.log(clock_fit.RANGE) + math.log(math.sqrt(2 * math.pi) * spread)
    return np.concatenate(
        [
            evidence[..., None],
            variance[..., None],
            information.reshape(len(nodes), D, -1),
        ],
        axis=-1,
    )


def find_probability(
    total: Float[np.ndarray, "C D L"], recordings: Recordings
) -> Float[np.ndarray, " C"]:
    """Find the probability that clocks are determined, from the sum of `measure`.

    Args:
        total: Summed over the nodes of each layout.
        recordings: Talkers' places.
    """
    evidence, scatter = expected_evidence(total, recordings)
    above = (evidence - clock_fit.BELIEVED) / scatter
    return scipy.stats.norm.cdf(above).mean(axis=-1)


def expected_evidence(
    total: Float[np.ndarray, "C D L"], recordings: Recordings
) -> tuple[Float[np.ndarray, "C D"], Float[np.ndarray, "C D"]]:
    """Compute the expected evidence and its standard deviation.

    Args:
        total: Summed over the nodes of each layout.
        recordings: Talkers' places.
    """
    talkers, model = recordings
    K = talkers.shape[1]
    evidence, variance, information = np.split(total, [1, 2], axis=-1)
    precision = information.reshape(*total.shape[:-1], 4 * K, 4 * K).copy()
    height = float(model.height[1])
    at = np.arange(3 * K)
    precision[..., at, at] += np.tile([*[_PLAN_SPREAD**-2] * 2, height**-2], K)
    used = np.r_[at, 3 * K + 1 : 4 * K]  # The first place starts at 0.
    precision = precision[..., used[:, None], used]
    priors = 2 * math.log(_PLAN_SPREAD) + math.log(height)
    priors += 1.5 * math.log(2 * math.pi) + math.log(2)  # Trusted, or not.
    priors = K * priors + (K - 1) * math.log(clock_fit.RANGE)
    found = evidence[..., 0] + clock_fit.log_volume(precision) - priors
    return found, np.sqrt(variance[..., 0] + _LEAST_SCATTER**2)


def _gain(spread: float) -> float:
    """Compute by how much a right time is likelier than a wrong one, as a mean log."""
    own = max(spread, min(clock_fit.SPREADS))
    peak = (1 - clock_fit.WRONG) * clock_fit.RANGE / (math.sqrt(2 * math.pi) * own)
    return math.log(peak + clock_fit.WRONG) - 0.5
