"""Localization by the steered response power with phase transform (SRP-PHAT).

Source: J. H. DiBiase, H. F. Silverman and M. S. Brandstein, "Robust localization in
reverberant rooms", in Microphone Arrays, Springer, 2001. A place on the plan is worth
the sum, over all pairs of nodes, of their correlation at the difference of their
distances from it. Nothing is trained.

The search goes from coarse to fine. A correlation's peak is a sample wide, 21 mm of
path, so on a coarse grid most peaks would lie between the points. There, the
positive part of the correlations is smoothed over what lags a cell can have, in the
manner of M. Cobos, A. Marti and J. J. Lopez, "A modified SRP-PHAT functional for
robust real-time sound source localization with scalable spatial grids", IEEE Signal
Process. Lett. 18, 2011. Clocks and positions that are a little wrong are forgiven so,
too. The paper does not say how such a baseline is to be made.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import batches
from uld_jax.simulation import scenes

_CELLS = 64  # Per axis, on the coarse grid.
_CANDIDATES = 16  # For each source.
_FINER = 4  # Each grid's spacing is that of the one before, divided by this.
_FINE_GRIDS = 3  # To 0.6 mm in a room of 10 m.
_OVERSAMPLING = 2
_LEAST_SMOOTHING = 0.5  # Samples: a peak's own width.
_LEAST_DISTANCE = 0.5  # Meters between two sources.
_LEAST_NODES = 2
_MOST_SOURCES = _CELLS**2 // _CANDIDATES


def localize(
    signals: Float[Array | np.ndarray, "B M N"],
    node_positions: Float[Array | np.ndarray, "B M 3"],
    room_size: Float[Array | np.ndarray, "B 3"],
    mask: Bool[Array | np.ndarray, "B M"] | None = None,
    num_sources: int = 1,
) -> Float[Array, "B S 2"]:
    """Return where the sources are on the plan, in meters, the strongest first.

    Several sources are the best peaks that are 0.5 m apart. Closer together, two peaks
    could both belong to the strongest source: its reflections and the side lobes of
    voiced speech crowd around it. All sources are at the height `scenes.SOURCE_HEIGHT`.

    A point source of noise can outdo a talker 10 to 20 dB above it, because the phase
    transform gives every frequency the same weight and talkers leave most to the noise.

    Args:
        signals: What the nodes hear, at 16 kHz and on one clock; of any level.
        node_positions: Where the nodes are, in meters; at least 2.
        room_size: Sides along x, y, z, in meters.
        mask: True where there is a node; None for everywhere. What is not there
            changes nothing.
        num_sources: How many sources S.

    Returns:
        Positions inside of the room; (x, y) whatever the signals, even silent ones.

    Raises:
        recordings.RecordingError: If shapes do not agree, there are too few nodes or
            no sources, or a value is not finite.
    """
    batches.check(signals, node_positions, room_size, mask, least_nodes=_LEAST_NODES)
    if not 1 <= num_sources <= _MOST_SOURCES:
        raise batches.RecordingError(
            f"num_sources is {num_sources}; ask for 1 to {_MOST_SOURCES}"
        )
    if mask is None:
        mask = np.ones(signals.shape[:2], bool)
    found = _localize_all(
        *(signals, node_positions, room_size, mask, correlations_lib.PHASE_TRANSFORM),
        num_sources=num_sources,
        max_lag=correlations_lib.lag_bound(node_positions, mask),
    )
    return batches.finish(found)


def response_power(
    correlations: Float[Array, "Q L"],
    node_positions: Float[Array, "M 3"],
    points: Float[Array, "P 3"],
    read: Callable[[Array, Array], Array],
) -> Float[Array, " P"]:
    """Return the sum of all pairs' correlations at the lags that points have.

    Args:
        correlations: Of all pairs, `correlations.correlate_pairs`.
        node_positions: In meters.
        points: In meters.
        read: Returns what one pair's row holds at lags [P] in samples.
    """
    offsets = points - node_positions[:, None]
    delays = correlations_lib.SAMPLES_PER_METER * jnp.sqrt((offsets**2).sum(axis=-1))

    def add(total, pair):
        row, one, other = pair
        return total + read(row, delays[one] - delays[other]), None

    # Pair by pair, so that a CPU finds all it needs in its cache.
    pairs = (correlations, *correlations_lib.node_pairs(len(node_positions)))
    return jax.lax.scan(add, jnp.zeros(len(points)), pairs)[0]


@functools.partial(jax.jit, static_argnames=("num_sources", "max_lag"))
def _localize_all(signals, nodes, room_size, mask, whitening, *, num_sources, max_lag):
    def locate(signals, nodes, room_size, mask):
        nodes = jnp.where(mask[:, None], nodes, 0.0)
        num_fft = correlations_lib.transform_length(signals.shape[1], max_lag)
        spectra = correlations_lib.whiten(signals, mask, num_fft, whitening)
        correlations = correlations_lib.correlate_pairs(
            spectra, num_fft, max_lag, _OVERSAMPLING
        )
        return _search(correlations, nodes, room_size[:2], num_sources)

    return batches.in_groups(locate, (signals, nodes, room_size, mask))


def _search(sharp, nodes, sides, num_sources):
    """Return the positions [S, 2] in one recording, from its pairs' correlations."""
    smooth = _integrate(sharp)

    def power(points, smoothing=None):
        flat = points.reshape(-1, 2)
        height = jnp.full_like(flat[:, :1], scenes.SOURCE_HEIGHT)
        read = _read if smoothing is None else _smoothed(smoothing)
        rows = sharp if smoothing is None else smooth
        points_3d = jnp.concatenate([flat, height], axis=1)
        return response_power(rows, nodes, points_3d, read).reshape(points.shape[:-1])

    def refine(centers, spacing, reach, smoothing=None):
        """Return the best point around each center, and what it is worth."""
        around = _square(reach) * spacing
        points = jnp.clip(centers[:, None] + around, 0.0, sides)
        values = power(points, smoothing)
        rows = jnp.arange(len(centers))
        return points[rows, values.argmax(axis=1)], values.max(axis=1)

    spacing = sides.max() / _CELLS
    points = _grid() * sides
    values = power(points, spacing)
    highest = jax.lax.reduce_window(
        values, -jnp.inf, jax.lax.max, (3, 3), (1, 1), "SAME"
    )
    peaks = jnp.where(values == highest, values, -jnp.inf).ravel()
    _, best = jax.lax.top_k(peaks, _CANDIDATES * num_sources)
    places = points.reshape(-1, 2)[best]
    places, values = refine(places, spacing, 1, spacing / _FINER)
    places = places[_best_apart(places, values, num_sources)]
    for _ in range(_FINE_GRIDS):
        spacing = spacing / _FINER
        places, _ = refine(places, spacing, 2)
    return places


def _grid() -> np.ndarray:
    """Return the centers [_CELLS, _CELLS, 2] of the coarse cells, as shares of a room."""
    centers = (np.arange(_CELLS, dtype=np.float32) + 0.5) / _CELLS
    return np.stack(np.meshgrid(centers, centers, indexing="ij"), axis=-1)


def _square(reach: int) -> np.ndarray:
    """Return a square grid [_, 2] from -reach to reach, with its center."""
    steps = np.arange(-_FINER * reach, _FINER * reach + 1, dtype=np.float32)
    axes = np.meshgrid(steps, steps, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 2) / _FINER


def _read(row, lags):
    return correlations_lib.interpolate(row, lags, _OVERSAMPLING)


def _read_lines(row, lags):
    """Read on straight lines, which do for an integral and cost half as much."""
    last = row.shape[0] - 1
    place = jnp.clip(lags * _OVERSAMPLING + last // 2, 0.0, last)
    left = jnp.minimum(place.astype(jnp.int32), last - 1)
    return row[left] + (place - left) * (row[left + 1] - row[left])


def _integrate(correlations: Float[Array, "Q L"]) -> Float[Array, "Q L"]:
    """Return the second integral of the positive part of correlations over the lag.

    The mean is taken off, which changes no comparison, keeps sums small and makes
    the integral flat at its ends.
    """
    positive = jnp.maximum(correlations, 0.0)
    positive -= positive.mean(axis=1, keepdims=True)
    for _ in range(2):  # On CPUs, three times as fast as jnp.cumsum.
        positive = jax.lax.associative_scan(jnp.add, positive, axis=1)
    # Each sum ends half an entry after the one it adds.
    return jnp.pad(positive[:, :-1], ((0, 0), (1, 0)))


def _smoothed(width):
    """Return a `read` that weighs lags by a triangle, of a half-width in meters.

    Moving a point by `width` along a line through both nodes moves the lag by twice
    that: the triangle's second difference reaches as far.
    """
    half = jnp.maximum(width * correlations_lib.SAMPLES_PER_METER, _LEAST_SMOOTHING)

    def read(row, lags):
        left, center, right = (
            _read_lines(row, lags + step) for step in (-2 * half, 0.0, 2 * half)
        )
        return (left - 2 * center + right) / (2 * half * _OVERSAMPLING) ** 2

    return read


def _best_apart(places, values, number):
    """Return which places have the largest values, each far from all before."""
    far_less = 2 * jnp.abs(values).max() + 1.0
    chosen = []
    for _ in range(number):
        chosen.append(values.argmax())
        offsets = places - places[chosen[-1]]
        near = (offsets**2).sum(axis=-1) < _LEAST_DISTANCE**2
        values = (
            jnp.where(near, values - far_less, values).at[chosen[-1]].add(-far_less)
        )
    return jnp.stack(chosen)
