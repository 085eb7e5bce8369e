"""Describe a posterior over the plan: its modes, their masses, and a radius.

A posterior is given on a grid, and finer within small patches around its modes. What a
patch holds takes the place of the grid's cells there, with the same mass. Positions that
were found otherwise can be added to it, as normal distributions.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Float, Int

MAX_MODES = 4
_LEAST_PEAK = 1e-3  # Of a mode, relative to the highest.
_FINER = 6  # Points of a patch to a cell of the grid.
_DIP = 0.5  # Between two modes, relative to the lower one.
# A normal distribution on the plan has 90 % within so many deviations.
WITHIN_90 = 2.146
_LEAST_MASS = 0.01  # Of a mode.


@dataclasses.dataclass(frozen=True, eq=False)
class Mode:
    """One place where a talker may be.

    Attributes:
        position: (x, y) in meters, the mean of the posterior around it.
        covariance: Of the posterior around it, in square meters.
        mass: Its share of the posterior.
    """

    position: Float[np.ndarray, "2"]
    covariance: Float[np.ndarray, "2 2"]
    mass: float


def find_peaks(
    probability: Float[np.ndarray, "K K"], sides: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "P 2"]:
    """Find the highest local maxima of a posterior, with a dip between any two.

    Args:
        probability: At the grid points, rows y.
        sides: Of the room along x and y, in meters.

    Returns:
        One to four points (x, y) in meters, the highest first.
    """
    highest = scipy.ndimage.maximum_filter(probability, size=3, mode="nearest")
    least = _LEAST_PEAK * probability.max()
    found = np.argwhere((probability == highest) & (probability >= least))
    order = np.argsort(-probability[tuple(found.T)], kind="stable")
    kept = []
    for place in found[order]:
        if all(_dips(probability, place, other) for other in kept):
            kept.append(place)
        if len(kept) == MAX_MODES:
            break
    rows, columns = np.array(kept).T
    return grid(sides, len(probability) - 1)[rows, columns]


def _dips(probability, one, other) -> bool:
    """Check whether a posterior dips on the way between two grid points."""
    steps = np.linspace(0, 1, 2 * int(np.abs(one - other).max()) + 1)[:, None]
    way = (one + steps * (other - one)).T
    on_it = scipy.ndimage.map_coordinates(probability, way, order=1)
    return bool(on_it.min() < _DIP * min(on_it[0], on_it[-1]))


def grid(sides: Float[np.ndarray, "2"], resolution: int) -> Float[np.ndarray, "K K 2"]:
    """Compute the grid points (x, y) of a room in meters, rows y."""
    axis = np.arange(resolution + 1) / resolution
    x, y = np.meshgrid(axis * sides[0], axis * sides[1])
    return np.stack([x, y], axis=-1)


def patch(
    peak: Float[np.ndarray, "2"], sides: Float[np.ndarray, "2"], resolution: int
) -> Float[np.ndarray, "Q 2"]:
    """Compute a finer grid around a peak, which reaches to the ends of 5 x 5 cells.

    Args:
        peak: In meters.
        sides: Of the room.
        resolution: Cells per axis of the grid.
    """
    steps = np.arange(-_FINER * 5 // 2, _FINER * 5 // 2 + 1) / _FINER / resolution
    x, y = np.meshgrid(*(steps * side for side in sides))
    return np.stack([x, y], axis=-1).reshape(-1, 2) + peak


class Cloud(NamedTuple):
    """A posterior as points with masses.

    Attributes:
        points: (x, y) in meters.
        masses: Shares of the posterior; their sum is 1.
        variances: In square meters along x and y, of what a point stands for.
    """

    points: Float[np.ndarray, "N 2"]
    masses: Float[np.ndarray, " N"]
    variances: Float[np.ndarray, "N 2"]


def spread_evenly(sides: Float[np.ndarray, "2"], resolution: int) -> Cloud:
    """Spread a posterior evenly over the grid points of a room.

    Args:
        sides: Of the room in meters.
        resolution: Cells per axis.
    """
    points = grid(sides, resolution).reshape(-1, 2)
    variances = np.tile((sides / resolution) ** 2 / 12, (len(points), 1))
    return Cloud(points, np.full(len(points), 1 / len(points)), variances)


def combine(
    probability: Float[np.ndarray, "K K"],
    sides: Float[np.ndarray, "2"],
    peaks: Float[np.ndarray, "P 2"],
    fine: Float[np.ndarray, "P Q"],
) -> Cloud:
    """Join a posterior on a grid and on the patches around its peaks.

    Args:
        probability: At the grid points, rows y; its sum is 1.
        sides: Of the room in meters.
        peaks: From `find_peaks`.
        fine: Logarithms of the posterior in each peak's `patch`, up to a constant.
            Points outside of the room count for nothing.
    """
    resolution = len(probability) - 1
    coarse = grid(sides, resolution).reshape(-1, 2)
    masses = probability.ravel().astype(np.float64)
    reach = 2 * sides / resolution + 1e-9
    points, weights = [], []
    taken = np.zeros(len(coarse), bool)
    for peak, logs in zip(peaks, fine, strict=True):
        inside = (np.abs(coarse - peak) <= reach).all(axis=1) & ~taken
        taken |= inside
        around = patch(peak, sides, resolution)
        possible = ((around >= 0) & (around <= sides)).all(axis=1)
        logs = np.where(possible, logs.astype(np.float64), -np.inf)
        shares = np.exp(logs - logs.max())
        points.append(around)
        weights.append(masses[inside].sum() * shares / shares.sum())
    count = sum(map(len, points))
    points.append(coarse[~taken])
    weights.append(masses[~taken])
    variances = np.tile((sides / resolution) ** 2 / 12, (sum(map(len, points)), 1))
    variances[:count] /= _FINER**2
    return Cloud(np.concatenate(points), np.concatenate(weights), variances)


def add(cloud: Cloud, normals: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> Cloud:
    """Add normal distributions to a posterior, and give it the sum 1 again.

    Args:
        cloud: The posterior.
        normals: Mean [2] in meters, covariance [2, 2] in square meters and mass of each.
    """
    points, masses, variances = ([part] for part in cloud)
    for mean, covariance, mass in normals:
        root = np.linalg.cholesky(covariance + 1e-12 * np.eye(2))
        points.append(_unit_normal() @ root.T + mean)
        masses.append(np.full(len(points[-1]), mass / len(points[-1])))
        variances.append(np.zeros((len(points[-1]), 2)))
    joined = np.concatenate(masses)
    return Cloud(
        np.concatenate(points), joined / joined.sum(), np.concatenate(variances)
    )


def multiply(
    cloud: Cloud,
    peaks: Float[np.ndarray, "P 2"],
    logs: Float[np.ndarray, " N"],
    most: float,
) -> Cloud:
    """Multiply a posterior by a likelihood that counts little between places.

    Args:
        cloud: The posterior.
        peaks: Of it; each point belongs to the nearest.
        logs: Logarithms of the likelihood at the points, up to a constant.
        most: How far the share of one peak can fall behind that of another by it, as a
            logarithm. Around one peak, the likelihood counts in full.
    """
    owner = _nearest(cloud.points, peaks)
    masses = cloud.masses * np.exp(logs - logs.max())
    before, after = (
        np.bincount(owner, weights=some, minlength=len(peaks))
        for some in (cloud.masses, masses)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = np.where(before > 0, np.log(after / before), -np.inf)
    shares = before * np.exp(np.maximum(gains - gains.max(), -most))
    # Where nothing is left, what there was stays.
    lost = after <= 0
    masses = np.where(lost[owner], cloud.masses, masses)
    after = np.where(lost, before, after)
    masses *= (shares / np.maximum(after, 1e-300))[owner]
    return cloud._replace(masses=masses / masses.sum())


def _nearest(points, peaks) -> Int[np.ndarray, " N"]:
    """Find the nearest peak of each point."""
    return np.stack([_distances(points, peak) for peak in peaks]).argmin(axis=0)


def _unit_normal() -> Float[np.ndarray, "64 2"]:
    """Make points of equal mass for a normal distribution of unit covariance."""
    shares = (np.arange(8) + 0.5) / 8
    radii = np.sqrt(-2 * np.log(1 - shares))
    radii *= np.sqrt(2 / (radii**2).mean())
    angles = 2 * np.pi * np.arange(8) / 8
    # Each ring is turned against the one before.
    turned = angles + np.arange(8)[:, None] * np.pi / 8
    rings = np.stack([np.cos(turned), np.sin(turned)], axis=-1)
    return (radii[:, None, None] * rings).reshape(-1, 2)


def encode(
    cloud: Cloud, sides: Float[np.ndarray, "2"], resolution: int
) -> Float[np.ndarray, "K K"]:
    """Encode a posterior as an unbiased label: the expectation of its points' codes.

    Args:
        cloud: The posterior. Points outside of the room count where they are nearest.
        sides: Of the room.
        resolution: Cells per axis, K - 1.

    Returns:
        Probabilities of the grid points, rows y.
    """
    place = np.clip(cloud.points / sides, 0.0, 1.0) * resolution
    left = np.minimum(place.astype(int), resolution - 1)
    beyond = place - left
    code = np.zeros((resolution + 1, resolution + 1))
    for right in (0, 1):
        for up in (0, 1):
            share = np.abs(1 - right - beyond[:, 0]) * np.abs(1 - up - beyond[:, 1])
            at = (left[:, 1] + up, left[:, 0] + right)
            np.add.at(code, at, cloud.masses * share)
    return code


def find_modes(cloud: Cloud, peaks: Float[np.ndarray, "P 2"]) -> tuple[Mode, ...]:
    """Divide a posterior among its peaks, each point to the nearest.

    Args:
        cloud: The posterior.
        peaks: From `find_peaks`, or of what was added to it.

    Returns:
        The modes that hold a hundredth or more, the heaviest first.
    """
    owner = _nearest(cloud.points, peaks)
    modes = []
    for number in range(len(peaks)):
        own = owner == number
        mass = cloud.masses[own].sum()
        shares = cloud.masses[own] / max(mass, 1e-300)
        part = Cloud(cloud.points[own], shares, cloud.variances[own])
        mean = shares @ part.points
        modes.append(Mode(mean, scatter(part, mean), float(mass)))
    modes.sort(key=lambda mode: -mode.mass)
    return tuple(mode for mode in modes if mode.mass >= _LEAST_MASS or mode is modes[0])


def scatter(cloud: Cloud, center: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2 2"]:
    """Compute the mean square of a whole posterior's offsets from a point: [2, 2]."""
    offsets = cloud.points - center
    within = np.diag(cloud.masses @ cloud.variances)
    return (cloud.masses[:, None] * offsets).T @ offsets + within


def radius(cloud: Cloud, center: Float[np.ndarray, "2"], share: float = 0.9) -> float:
    """Compute the radius around a point within which a share of a posterior lies."""
    # A point that stands for an area is spread over it.
    spread = WITHIN_90 * np.sqrt(cloud.variances.mean(axis=1))
    distances = np.hypot(_distances(cloud.points, center), spread)
    order = np.argsort(distances)
    held = np.cumsum(cloud.masses[order])
    return float(distances[order][np.searchsorted(held, share * held[-1])])


def _distances(points, center) -> Float[np.ndarray, " N"]:
    return np.linalg.norm(points - center, axis=1)
