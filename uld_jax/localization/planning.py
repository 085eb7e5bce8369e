"""Predict how surely a talker can be localized, before anything is recorded.

The model is the localizer's own (`times`, `alignment`). Of a talker at p, a node at n_m has

    a time of arrival |p - n_m| + t + error, in meters of path, and
    a log amplitude alpha - log |p - n_m| + error,

with t and alpha unknown, x and y uniform in the room, and a normal prior of the height. The
Fisher information of both, without t and alpha, gives a covariance of (x, y) that no
unbiased method can be below (Cramer and Rao). Where times have evidence, they count with
the spread that they have; elsewhere the localizer has the votes, which are coarser. A
radius is that of a mixture of both.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import constants
from uld_jax.localization import localize, times, votes
from uld_jax.runtime import errors

POSITIONS = 0.01  # Meters: how well places of nodes are measured, if nothing is said.
T60 = 0.5  # Seconds: of a furnished room.

# Standard deviation of the logarithm of recorders' gains: 3 dB.
GAIN = 0.35
# Measured in simulation, on layouts of their own (docs/placement.md): of nodes that are
# REACH times as far from a talker as direct and reverberant sound are equal, half have a
# wrong time; the localizer uses so much of the information; and votes use so much of what
# times with a further spread, in meters, would have.
_REACH, _STEEPNESS = 7.0, 4
_EFFICIENCY = 0.8
_VOTES_EFFICIENCY, _VOTES_SPREAD = 0.6, 0.1
_REVERBERATION = 0.04  # As in `alignment`.
# Of Student's t with 3 degrees of freedom, by its scale squared.
_T_INFORMATION = 2 / 3
_NEAR = 0.1  # Meters: no talker's mouth is nearer to a node.
_QUADRATURE = np.polynomial.legendre.leggauss(16)
_FARTHEST = 4.5  # Standard deviations, within which a normal distribution is summed.
_HERMITE = np.polynomial.hermite_e.hermegauss(15)
_BISECTIONS = 12


class PlanningError(errors.InputError):
    """A plan that cannot be made, with the reason."""


class Model(NamedTuple):
    """The errors of nodes, and what is known of the room and the talker.

    Attributes:
        spread: Standard deviation of a time of arrival in meters of path.
        gain: Standard deviation of the logarithm of a node's gain.
        critical: Distance in meters at which direct and reverberant sound are equal.
        sides: Of the room along x and y in meters.
        height: Mean and standard deviation of the talker's height in meters.
    """

    spread: Float[Array, ""]
    gain: Float[Array, ""]
    critical: Float[Array, ""]
    sides: Float[Array, "2"]
    height: Float[Array, "2"]

    @classmethod
    def of(
        cls,
        room_size: ArrayLike,
        clocks: int | float,
        positions: int | float,
        source_height: int | float | None,
        t60: int | float,
    ) -> "Model":
        """Make the model of a room from what users know."""
        size = np.asarray(room_size, float)
        volume = size[:2].prod() * (size[2] if len(size) > 2 else _CEILING)
        known = (source_height, votes.KNOWN_SPREAD)
        spread = np.hypot(constants.SPEED_OF_SOUND * clocks, positions)
        values = (
            np.hypot(spread, times.LEAST_ERROR),
            GAIN,
            0.057 * np.sqrt(volume / t60),
            size[:2],
            votes.HEIGHT if source_height is None else known,
        )
        return cls(*map(np.float32, values))


_CEILING = 2.6  # Meters, if the height of the room is not known.


def expected_radii(
    node_positions: ArrayLike,
    places: ArrayLike,
    room_size: ArrayLike,
    *,
    clocks: int | float = 0.0,
    positions: int | float = POSITIONS,
    source_height: int | float | None = None,
    t60: int | float = T60,
    share: int | float = 0.9,
) -> Float[np.ndarray, " P"]:
    """Predict the radius around `localize`'s answer that will hold the talker.

    Args:
        node_positions: (x, y, z) of the nodes in meters, [M, 3]; 3 nodes or more.
        places: (x, y) of talkers in meters, [P, 2].
        room_size: Sides along x and y in meters, and the height or not: [2] or [3].
        clocks: Standard deviation of the nodes' clocks in seconds; 0 for a common clock.
        positions: Standard deviation of the nodes' measured places in meters, each axis.
        source_height: Of the talker's mouth in meters; None for 0.8 to 1.9.
        t60: Reverberation time in seconds.
        share: Of talkers that the radius holds, in (0, 1).

    Returns:
        Radii in meters, [P].

    Raises:
        PlanningError: If shapes are wrong, nodes are fewer than three, or a value is not
            finite or out of its range.

    >>> import uld_jax
    >>> nodes = [[0, 0, 1.2], [6, 0, 1.2], [0, 4, 1.2], [6, 4, 1.2], [3, 0, 1.2], [3, 4, 1.2]]
    >>> exact, late = (
    ...     uld_jax.expected_radii(nodes, [[2.0, 1.5]], [6.0, 4.0], clocks=clocks)
    ...     for clocks in (0.0, 0.01)
    ... )
    >>> exact.shape, bool(3 * exact[0] < late[0])
    ((1,), True)
    """
    nodes, places = np.float32(node_positions), np.float32(places)
    check_nodes(nodes)
    if places.ndim != 2 or places.shape[1] != 2:
        raise PlanningError(f"places has shape {places.shape}; give [P, 2]")
    check(room_size, clocks, positions, source_height, t60)
    if not 0 < np.float32(share) < 1:
        raise PlanningError(f"share is {share}; give a number between 0 and 1")
    if not (np.isfinite(nodes).all() and np.isfinite(places).all()):
        raise PlanningError("node_positions or places holds a value that is not finite")
    model = Model.of(room_size, clocks, positions, source_height, t60)
    return np.asarray(radii_of(nodes, places, model, np.float32(share)))


def check_nodes(nodes: Float[np.ndarray, "..."]) -> None:
    """Check the shape of nodes' positions.

    Raises:
        PlanningError: If it is not [M, 3], or nodes are fewer than three.
    """
    if nodes.ndim != 2 or nodes.shape[1] != 3 or len(nodes) < localize.LEAST_NODES:
        raise PlanningError(
            f"node_positions has shape {nodes.shape}; give [M, 3], "
            f"{localize.LEAST_NODES} nodes or more"
        )


def check(
    room_size: ArrayLike,
    clocks: int | float,
    positions: int | float,
    source_height: int | float | None,
    t60: int | float,
) -> None:
    """Check what `Model.of` is given.

    Raises:
        PlanningError: If a value is not finite or out of its range.
    """
    size = np.asarray(room_size, float)
    if size.shape not in ((2,), (3,)) or not ((size > 0) & (size <= 1000)).all():
        raise PlanningError(
            f"room_size is {size.tolist()}; give two or three sides in meters, above 0 and "
            "up to 1000"
        )
    for name, value in (("clocks", clocks), ("positions", positions)):
        if not 0 <= value < np.inf:
            raise PlanningError(f"{name} is {value}; give 0 or more")
    if source_height is not None and not 0 <= source_height <= 10:
        raise PlanningError(f"source_height is {source_height}; give 0 to 10 m")
    if not 0.05 <= t60 <= 10:
        raise PlanningError(f"t60 is {t60}; give 0.05 to 10 s")


@jax.jit
def radii_of(
    nodes: Float[Array, "M 3"],
    places: Float[Array, "P 2"],
    model: Model,
    share: Float[Array, ""],
) -> Float[Array, " P"]:
    """Predict radii as `expected_radii`, without checks.

    Args:
        nodes: In meters.
        places: (x, y) of talkers in meters.
        model: The errors.
        share: Of talkers that a radius holds.
    """
    return find_radii(
        measure(nodes, places, model).sum(axis=0), len(nodes), model, share
    )


def measure(
    nodes: Float[Array, "N 3"], places: Float[Array, "P 2"], model: Model
) -> Float[Array, "N P 2 4 4"]:
    """Compute the Fisher information of each node's time and level about a talker.

    The unknowns are x, y, z and the one that all times, or all levels, have in common.
    Information adds up over nodes.

    Args:
        nodes: In meters.
        places: (x, y) of talkers in meters.
        model: The errors. That of times is not counted here: their information is
            for a spread of 1 m, and its last entry the share of nodes with a right time.

    Returns:
        For each node and place, that of its time and that of its level.
    """
    talkers = jnp.column_stack([places, jnp.full(len(places), model.height[0])])
    offsets = talkers - nodes[:, None]
    paths = jnp.maximum(jnp.sqrt((offsets**2).sum(axis=-1)), _NEAR)
    directions = offsets / paths[..., None]
    # Of all power at a node, the direct sound is 1 / (1 + (path / critical)^2).
    reverberant = _REVERBERATION**2 * (1 + (paths / model.critical) ** 2)
    right = share_right(paths / model.critical)
    levels = _T_INFORMATION / (model.gain**2 + reverberant)
    weights = jnp.stack([right, levels], axis=-1)
    slopes = jnp.stack([directions, -directions / paths[..., None]], axis=-2)
    design = jnp.concatenate([slopes, jnp.ones((*slopes.shape[:-1], 1))], axis=-1)
    outer = design[..., :, None] * design[..., None, :]
    return weights[..., None, None] * outer


def share_right(distances: Any) -> Any:
    """Compute the share of nodes whose time of arrival is right.

    Args:
        distances: Relative to that at which direct and reverberant sound are equal.

    >>> [round(share_right(distance), 2) for distance in (1.0, 7.0, 14.0)]
    [1.0, 0.5, 0.06]
    """
    return 1 / (1 + (distances / _REACH) ** _STEEPNESS)


def find_radii(
    information: Float[Array, "*P 2 4 4"],
    num_nodes: int | Float[Array, ""],
    model: Model,
    share: float | Float[Array, ""],
) -> Float[Array, "*P"]:
    """Find the radii that hold a share of talkers, from the sum of `measure`.

    Args:
        information: Of all nodes.
        num_nodes: How many these are.
        model: As for `measure`.
        share: Of talkers.
    """
    prior = jnp.append(12.0 / model.sides**2, 1.0 / model.height[1] ** 2)
    timed, leveled = (
        _EFFICIENCY * _eliminate(information[..., kind, :, :]) for kind in range(2)
    )
    known = leveled + jnp.diag(prior)
    voted = _VOTES_EFFICIENCY * timed / (model.spread**2 + _VOTES_SPREAD**2)
    spreads = [_spreads(timed / model.spread**2 + known), _spreads(voted + known)]
    evidence = expected_evidence(information[..., 0, 3, 3], num_nodes, model)
    confirmed = jax.nn.sigmoid(evidence)
    masses = jnp.stack([confirmed, 1 - confirmed], axis=-1)
    return _solve_radius(jnp.stack(spreads, axis=-2), masses, share)


def _eliminate(information: Float[Array, "*P 4 4"]) -> Float[Array, "*P 3 3"]:
    """Reduce information to x, y and z where the last unknown is free (Schur)."""
    common = information[..., :3, 3]
    total = jnp.maximum(information[..., 3, 3], 1e-12)[..., None, None]
    return (
        information[..., :3, :3] - common[..., :, None] * common[..., None, :] / total
    )


def expected_evidence(
    num_right: Float[Array, "*P"], num_nodes: int | Float[Array, ""], model: Model
) -> Float[Array, "*P"]:
    """Compute the expectation of the evidence of times: see `times.Fit`.

    Each node adds the mean log-likelihood of its time relative to that by chance, with
    the spread of `times` that fits best; each unknown takes away by how much its prior is
    wider than its posterior. These are those of nodes in all directions: that a poor
    geometry determines less must not count in its favor.

    Args:
        num_right: Expected number of nodes whose times are right.
        num_nodes: Number of nodes.
        model: The errors.
    """
    spreads = jnp.asarray(times.SPREADS)[:, None]
    errors_of = jnp.asarray(_HERMITE[0], jnp.float32) * model.spread
    weights = jnp.asarray(_HERMITE[1] / _HERMITE[1].sum(), jnp.float32)
    density = jax.scipy.stats.norm.pdf(errors_of, scale=spreads)
    likelihood = times.RIGHT * density / times.CHANCE + 1 - times.RIGHT
    right = (jnp.log(likelihood) * weights).sum(axis=-1).max()
    wrong = np.log(1 - times.RIGHT)
    found = num_right * right + (num_nodes - num_right) * wrong
    # A direction is seen by a third of the nodes, the common part by all.
    priors = jnp.stack([times.AROUND, times.AROUND, model.height[1], times.COMMON])
    seen = num_right[..., None] * jnp.array([1 / 3, 1 / 3, 1 / 3, 1.0])
    narrowed = jnp.log1p(seen * (priors / model.spread) ** 2)
    # A fit is better than the truth by half a unit for each unknown.
    return found + (0.5 - 0.5 * narrowed).sum(axis=-1)


def _spreads(information: Float[Array, "*P 3 3"]) -> Float[Array, "*P 2"]:
    """Compute the standard deviations along the axes of the ellipse in x and y."""
    # The Schur complement of the height, whose inverse is the covariance of x and y.
    height = information[..., :2, 2] / jnp.sqrt(information[..., 2, 2, None])
    plan = information[..., :2, :2] - height[..., :, None] * height[..., None, :]
    a, b, c = plan[..., 0, 0], plan[..., 1, 1], plan[..., 0, 1]
    most = (a + b) / 2 + jnp.hypot((a - b) / 2, c)
    # Rounding must not make the least of two very different ones negative.
    least = jnp.maximum((a * b - c**2) / most, 1e-6 * most)
    return 1 / jnp.sqrt(jnp.stack([least, most], axis=-1))


def _solve_radius(spreads, masses, share):
    """Find the radius that holds a share of a mixture of normals, by bisection.

    Args:
        spreads: Along the longer and the shorter axis of each normal, [..., 2, 2].
        masses: Of the two normals, [..., 2].
        share: What the radius holds.
    """
    longest = spreads[..., 0]
    # A thin ellipse needs the least for its length, and a circle the most.
    thin = jnp.sqrt(2.0) * jax.lax.erf_inv(share)
    low = jnp.log(thin * longest.min(axis=-1))
    high = jnp.log(jnp.sqrt(-2 * jnp.log1p(-share)) * longest.max(axis=-1))

    def step(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        held = (masses * _held(jnp.exp(middle)[..., None], spreads)).sum(axis=-1)
        enough = held >= share
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    return jnp.exp(sum(jax.lax.fori_loop(0, _BISECTIONS, step, (low, high))) / 2)


def normal_radius(
    covariance: Float[Array, "*P 2 2"], share: float = 0.9
) -> Float[Array, "*P"]:
    """Compute the radius around its mean that holds a share of a normal distribution.

    Args:
        covariance: On the plan, in square meters.
        share: What the radius holds.
    """
    variances = jnp.linalg.eigvalsh(covariance)[..., ::-1]
    # Rounding must not make the least of two very different ones negative.
    least = 1e-6 * variances[..., :1]
    spreads = jnp.sqrt(jnp.maximum(variances, least))[..., None, :]
    return _solve_radius(spreads, jnp.ones(spreads.shape[:-1]), share)


def _held(radius: Float[Array, "*#P"], spreads: Float[Array, "*#P 2"]):
    """Compute what share of a normal distribution in the plane a circle holds.

    Along the longer axis the integral runs over angles, where it is smooth however thin
    the ellipse is, and ends where hardly anything is left.
    """
    nodes, weights = (jnp.asarray(part, jnp.float32) for part in _QUADRATURE)
    long, short = spreads[..., 0, None], spreads[..., 1, None]
    reach = radius[..., None] / long
    last = jnp.arcsin(jnp.minimum(_FARTHEST / reach, 1.0))
    sines, cosines = jnp.sin(last * nodes), jnp.cos(last * nodes)
    along = jax.scipy.stats.norm.pdf(reach * sines) * reach * cosines
    inner = jax.lax.erf(radius[..., None] * cosines / (np.sqrt(2) * short))
    return (last * weights * along * inner).sum(axis=-1)
