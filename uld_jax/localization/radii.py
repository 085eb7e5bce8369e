"""Calibrate the radius that holds 90 % of a posterior, so that it holds 90 % of talkers.

Posteriors are too sure in some cases, and not sure enough in others. By how much was
measured on simulated scenes of any session, with clocks, positions and gains that are off,
down to an SNR of 0 dB: in groups of nodes and of radii, the errors relative to the radius
have a 90 % quantile (as in split conformal prediction; V. Vovk, A. Gammerman and
G. Shafer, "Algorithmic Learning in a Random World", Springer, 2005). A radius is multiplied
by it, interpolated between the groups' medians. One that spans several modes is never
reduced. `benchmarks.reliability.calibrate_radii` makes the table.
"""

import functools
import json
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float

SHARE = 0.9
_FACTORS = (0.3, 6.0)  # The least and the largest.


def calibrate(radius: float, num_nodes: int, one_place: bool = True) -> float:
    """Multiply a posterior's radius by the factor that makes it hold 90 %.

    Args:
        radius: In meters.
        num_nodes: That were used.
        one_place: Whether one mode holds 90 %. If not, the radius spans several and is
            never reduced.
    """
    for group in _load():
        if num_nodes >= group["least_nodes"]:
            found = group
    factor = np.interp(np.log(radius), np.log(found["radii"]), np.log(found["factors"]))
    return float(radius * np.exp(factor if one_place else max(factor, 0.0)))


def fit(
    radii: Float[np.ndarray, " N"], errors: Float[np.ndarray, " N"], num_groups: int
) -> dict[str, list[float]]:
    """Find the factors of some groups of radii, each with as many scenes.

    Args:
        radii: Of the posteriors, in meters.
        errors: Of the positions, in meters.
        num_groups: Number of groups.

    Returns:
        The median radius of each group, and its factor.
    """
    groups = np.array_split(np.argsort(radii), num_groups)
    ratios = [np.sort(errors[group] / radii[group]) for group in groups]
    # The rank that holds for one more scene.
    ranks = [min(int(np.ceil(SHARE * (len(own) + 1))), len(own)) - 1 for own in ratios]
    factors = [own[rank] for own, rank in zip(ratios, ranks, strict=True)]
    return {
        "radii": [float(np.median(radii[group])) for group in groups],
        "factors": [float(factor) for factor in np.clip(factors, *_FACTORS)],
    }


@functools.cache
def _load() -> list[dict[str, Any]]:
    text = pathlib.Path(__file__).with_name("radii.json").read_text("utf-8")
    return json.loads(text)["groups"]
