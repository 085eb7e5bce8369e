"""How sure a network's position is: the radius around it that holds 90 %.

A distribution that is wider than its label needs shows doubt. How wide it is, its spread,
is measured as a distance; how large errors are at each spread is counted on the validation
split, in groups, each with the radius that holds 90 % (as in split conformal prediction;
V. Vovk, A. Gammerman and G. Shafer, "Algorithmic Learning in a Random World", Springer,
2005). The table of both belongs to the network, and to rooms like those in validation.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from uld_jax.labels import schemes

SHARE = 0.9
_LEAST_IN_GROUP, _MOST_GROUPS = 50, 8
# Of a normal distribution in the plane: the radius of 90 % by the root mean square
# distance, sqrt(ln 10).
_OF_NORMAL = float(np.sqrt(np.log(10.0)))


def spread(
    label: schemes.Label,
    plane: Float[Array, "K K"],
    position: Float[Array, "2"],
    room_size: Float[Array, "2"],
) -> Float[Array, ""]:
    """Compute how far a distribution is spread around its position, in meters.

    The root mean square distance, without that of the label of the position itself: ULD
    has up to four grid points for a position that is certain.

    Args:
        label: Scheme and resolution.
        plane: Scores over the plan, rows y; they need not sum to one.
        position: The decoded (x, y) in meters.
        room_size: Sides along x and y in meters.
    """
    K = len(plane)  # Of arrays' directions, that of the map that they mean.
    on_points = label.resolution + 1 == label.outputs_per_axis == K
    cell = room_size / (K - on_points)
    shares = plane / plane.sum()
    places = (jnp.arange(K) + (0.0 if on_points else 0.5))[:, None] * cell  # [K, 2]
    away = (places - position) ** 2
    found = (shares.sum(axis=0) * away[:, 0]).sum()
    found += (shares.sum(axis=1) * away[:, 1]).sum()
    if on_points:
        part = position / cell - jnp.floor(position / cell)
        found -= (part * (1.0 - part) * cell**2).sum()
    return jnp.sqrt(jnp.maximum(found, 0.0))


def fit(
    spreads: Float[np.ndarray, " N"], errors: Float[np.ndarray, " N"]
) -> dict[str, Any]:
    """Count how large errors are at each spread.

    Args:
        spreads: Of N sources, in meters.
        errors: Their distances to the true positions, in meters.

    Returns:
        `spreads`, the medians of some groups, and `radii`, which hold 90 % of each
        group's errors, both rising; and the number of `sources`.
    """
    count = max(1, min(_MOST_GROUPS, len(spreads) // _LEAST_IN_GROUP))
    knots, radii = [], []
    for group in np.array_split(np.argsort(spreads, kind="stable"), count):
        own = np.sort(errors[group])
        # The rank that holds for one more source.
        rank = min(int(np.ceil(SHARE * (len(own) + 1))), len(own)) - 1
        knots.append(float(np.median(spreads[group])))
        radii.append(float(own[rank]))
    return {
        "spreads": knots,
        "radii": np.maximum.accumulate(radii).tolist(),
        "sources": len(spreads),
    }


def radius(spreads: ArrayLike, table: Mapping[str, Any] | None) -> Float[Array, "*S"]:
    """Compute the radii that hold 90 %, in meters.

    Between the groups of the table they are interpolated. Beyond the last they grow with
    the spread, and below the first they stay.

    Args:
        spreads: In meters, of any shape.
        table: As `fit` returns it; None to take distributions as they are, as normal
            ones, which nobody has compared with errors.
    """
    spreads = jnp.asarray(spreads)
    if table is None:
        return _OF_NORMAL * spreads
    knots, radii = jnp.array(table["spreads"]), jnp.array(table["radii"])
    beyond = jnp.maximum(spreads / jnp.maximum(knots[-1], 1e-6), 1.0)
    return jnp.interp(spreads, knots, radii) * beyond
