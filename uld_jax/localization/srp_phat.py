"""Localization by the steered response power with phase transform (SRP-PHAT).

Source: J. H. DiBiase, H. F. Silverman and M. S. Brandstein, "Robust localization in
reverberant rooms", in Microphone Arrays, Springer, 2001. The power of a point on the plan
is the sum, over all pairs of nodes, of their correlation at the difference of their
distances from it. Nothing is trained.

The search goes from coarse to fine. A correlation's peak is one sample wide, 21 mm of
path, so most peaks would lie between the points of a coarse grid. There, the positive
part of the correlations is smoothed over the lags within a cell, as in M. Cobos,
A. Marti and J. J. Lopez, "A modified SRP-PHAT functional for robust real-time sound
source localization with scalable spatial grids", IEEE Signal Process. Lett. 18, 2011. It
also tolerates small errors of clocks and positions. The paper does not say how such a
baseline is made.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from uld_jax.acoustics import correlations as correlations_lib
from uld_jax.localization import batches
from uld_jax.localization import speech_masks as masks_lib
from uld_jax.simulation import scenes

_CELLS = 64  # Per axis, on the coarse grid.
_CANDIDATES = 16  # For each source.
_FINER = 4  # Each grid's spacing is that of the one before, divided by this.
_FINE_GRIDS = 3  # To 0.6 mm in a room of 10 m.
OVERSAMPLING = 2
_LEAST_SMOOTHING = 0.5  # Samples: a peak's own width.
_LEAST_NODES = 2
_MAX_SOURCES = _CELLS**2 // _CANDIDATES
# Meters between two sources. Closer together, two peaks could both belong to the strongest
# source: its reflections and the side lobes of voiced speech crowd around it.
_LEAST_DISTANCE = 0.5


def srp_phat(
    signals: ArrayLike,
    node_positions: ArrayLike,
    room_size: ArrayLike,
    mask: ArrayLike | None = None,
    num_sources: int = 1,
    *,
    source_height: float = scenes.SOURCE_HEIGHT,
    whitening: int | float | None = None,
    speech_masks: bool = False,
) -> Float[Array, "B S 2"]:
    """Localize sources on the plan by SRP-PHAT, the strongest first.

    Several sources are the highest peaks at least 0.5 m apart; sources closer together
    cannot be told apart. The paper does not say how far spectra are whitened; by name it
    is the phase transform. We whiten less by default, which is better where there is
    noise.

    Args:
        signals: Recordings at 16 kHz on one clock, of any level, [B, M, N].
        node_positions: Node positions in meters, [B, M, 3]; at least 2 nodes.
        room_size: Sides along x, y, z in meters, [B, 3].
        mask: True where there is a node, [B, M]; None for everywhere. What absent nodes
            hold changes nothing.
        num_sources: Number of sources S.
        source_height: Height of all sources in meters.
        whitening: Power of the magnitudes that spectra are divided by, 0 to 1; None for
            0.65. 1 is the phase transform, by which every frequency has the same weight,
            so that a point source of noise outdoes a talker 10 to 20 dB above it more
            often: speech leaves most frequencies to the noise. With 5 nodes, 1 is better.
        speech_masks: Whether to take out what is not speech first, by the network that
            comes with the package, which whitens bin by bin. It helped at 0 to 10 dB
            with noises like those it was trained with, and harmed at 10 dB with others.

    Returns:
        Positions (x, y) in meters, inside the room whatever the signals, even silent.

    Raises:
        RecordingError: If shapes do not agree, there are too few nodes or no sources,
            `whitening` is not 0 to 1 or given with `speech_masks`, or a value is not
            finite.

    >>> import numpy as np
    >>> import uld_jax
    >>> nodes = np.array([[0.1, 0.1, 0.9], [5.9, 0.2, 0.9], [0.2, 4.4, 0.9], [5.8, 4.3, 0.9]])
    >>> distances = np.linalg.norm(nodes - [2.0, 3.0, 0.95], axis=1)
    >>> delays = np.rint(distances / 343.0 * 16_000).astype(int)
    >>> noise = np.random.default_rng(0).normal(size=5_000)
    >>> signals = [noise[500 - delay : 4_500 - delay] for delay in delays]
    >>> uld_jax.srp_phat([signals], [nodes], [[6.0, 4.5, 2.8]]).round(1).tolist()
    [[[2.0, 3.0]]]
    """
    signals, node_positions, room_size, mask = batches.prepare(
        signals, node_positions, room_size, mask, least_nodes=_LEAST_NODES
    )
    if not 1 <= num_sources <= _MAX_SOURCES:
        raise batches.RecordingError(
            f"num_sources is {num_sources}; ask for 1 to {_MAX_SOURCES}"
        )
    if speech_masks and whitening is not None:
        raise batches.RecordingError(
            f"whitening is {whitening}, and speech_masks whiten bin by bin; give one"
        )
    whitening = correlations_lib.WHITENING if whitening is None else whitening
    batches.check_whitening(whitening)
    if speech_masks:
        signals, whitening = masks_lib.extract(signals), 0.0
    found = _localize_all(
        *(signals, node_positions, room_size, mask),
        *(source_height, whitening),
        num_sources=num_sources,
        max_lag=correlations_lib.lag_bound(node_positions, mask),
    )
    return batches.finish(found)


def correlate(
    signals: Float[Array, "M N"],
    mask: Bool[Array, " M"],
    max_lag: int,
    whitening: float | Float[Array, ""],
) -> Float[Array, "Q L"]:
    """Correlate the whitened signals of all pairs, as the other functions read them.

    Args:
        signals: Signals at 16 kHz.
        mask: True where there is a node.
        max_lag: Largest lag in samples, at least the largest distance between nodes.
        whitening: As in `correlations.whiten`.
    """
    num_fft = correlations_lib.transform_length(signals.shape[1], max_lag)
    spectra = correlations_lib.whiten(signals, mask, num_fft, whitening)
    return correlations_lib.correlate_pairs(spectra, num_fft, max_lag, OVERSAMPLING)


def response_power(
    correlations: Float[Array, "Q L"],
    node_positions: Float[Array, "M 3"],
    points: Float[Array, "P 3"],
    read: Callable[[Array, Array], Array],
) -> Float[Array, " P"]:
    """Sum all pairs' correlations at the lags of points in space.

    Args:
        correlations: Correlations of all pairs, from `correlate`.
        node_positions: Node positions in meters.
        points: Points in meters.
        read: (row, lags [P] in samples) to one pair's correlation at these lags.
    """
    offsets = points - node_positions[:, None]
    delays = correlations_lib.SAMPLES_PER_METER * jnp.sqrt((offsets**2).sum(axis=-1))

    def add(total, pair):
        row, one, other = pair
        return total + read(row, delays[one] - delays[other]), None

    # Pair by pair, so that one row at a time stays in a CPU's cache.
    pairs = (correlations, *correlations_lib.node_pairs(len(node_positions)))
    return jax.lax.scan(add, jnp.zeros(len(points)), pairs)[0]


@functools.partial(jax.jit, static_argnames=("num_sources", "max_lag"))
def _localize_all(
    signals, nodes, room_size, mask, source_height, whitening, *, num_sources, max_lag
):
    def locate(signals, nodes, room_size, mask):
        nodes = jnp.where(mask[:, None], nodes, 0.0)
        correlations = correlate(signals, mask, max_lag, whitening)
        return search(correlations, nodes, room_size[:2], source_height, num_sources)

    return batches.in_groups(locate, (signals, nodes, room_size, mask))


def search(
    sharp: Float[Array, "Q L"],
    nodes: Float[Array, "M 3"],
    sides: Float[Array, "2"],
    source_height: float | Float[Array, ""],
    num_sources: int,
) -> Float[Array, "S 2"]:
    """Find the positions in one recording from its pairs' correlations.

    Args:
        sharp: From `correlate`.
        nodes: Node positions in meters.
        sides: Of the room along x and y.
        source_height: Of all sources, in meters.
        num_sources: Sources S, the strongest first.
    """
    smooth = integrate(sharp)

    def power(points, smoothing=None):
        flat = points.reshape(-1, 2)
        height = jnp.full_like(flat[:, :1], source_height)
        read = read_row if smoothing is None else smoothed(smoothing)
        rows = sharp if smoothing is None else smooth
        points_3d = jnp.concatenate([flat, height], axis=1)
        return response_power(rows, nodes, points_3d, read).reshape(points.shape[:-1])

    def refine(centers, spacing, reach, smoothing=None):
        """Find the point of highest power around each center, and its power."""
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
    # Local maxima alone, or the strongest source would supply all candidates.
    peaks = jnp.where(values == highest, values, -jnp.inf).ravel()
    _, best = jax.lax.top_k(peaks, _CANDIDATES * num_sources)
    positions = points.reshape(-1, 2)[best]
    positions, values = refine(positions, spacing, 1, spacing / _FINER)
    positions = positions[_best_apart(positions, values, num_sources)]

    def step(positions, spacing):
        return refine(positions, spacing, 2)[0], None

    spacings = spacing / _FINER ** jnp.arange(1.0, _FINE_GRIDS + 1)
    return jax.lax.scan(step, positions, spacings)[0]


def _grid() -> np.ndarray:
    """Make the centers [_CELLS, _CELLS, 2] of the coarse cells, as shares of a room."""
    centers = (np.arange(_CELLS, dtype=np.float32) + 0.5) / _CELLS
    return np.stack(np.meshgrid(centers, centers, indexing="ij"), axis=-1)


def _square(reach: int) -> np.ndarray:
    """Make a square grid [_, 2] from -reach to reach, with its center."""
    steps = np.arange(-_FINER * reach, _FINER * reach + 1, dtype=np.float32)
    axes = np.meshgrid(steps, steps, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 2) / _FINER


def read_row(row: Float[Array, " L"], lags: Float[Array, " P"]) -> Float[Array, " P"]:
    """Read a pair's correlation, from `correlate`, at lags in samples."""
    return correlations_lib.interpolate(row, lags, OVERSAMPLING)


def _read_lines(row, lags):
    """Interpolate linearly: exact enough for an integral, at half the cost."""
    last = row.shape[0] - 1
    entry = jnp.clip(lags * OVERSAMPLING + last // 2, 0.0, last)
    left = jnp.minimum(entry.astype(jnp.int32), last - 1)
    return row[left] + (entry - left) * (row[left + 1] - row[left])


def integrate(correlations: Float[Array, "Q L"]) -> Float[Array, "Q L"]:
    """Integrate the positive part of correlations twice over the lag."""
    positive = jnp.maximum(correlations, 0.0)
    # Without its mean: this changes no comparison of points, keeps the sums small and
    # makes the integral flat at its ends.
    positive -= positive.mean(axis=1, keepdims=True)
    sums = jnp.cumsum(jnp.cumsum(positive, axis=1), axis=1)
    # Each sum ends half an entry after the one it adds.
    return jnp.pad(sums[:, :-1], ((0, 0), (1, 0)))


def smoothed(
    width: float | Float[Array, ""],
) -> Callable[[Float[Array, " L"], Float[Array, " P"]], Float[Array, " P"]]:
    """Make a `read` that smooths over lags by a triangle, from `integrate`.

    Args:
        width: Spacing of the points in meters.
    """
    # Moving a point by `width` along a line through both nodes moves the lag by twice
    # that, so the triangle reaches as far to either side.
    half = jnp.maximum(width * correlations_lib.SAMPLES_PER_METER, _LEAST_SMOOTHING)

    def read(row, lags):
        left, center, right = (
            _read_lines(row, lags + step) for step in (-2 * half, 0.0, 2 * half)
        )
        return (left - 2 * center + right) / (2 * half * OVERSAMPLING) ** 2

    return read


def _best_apart(positions, values, number):
    """Choose the positions of the largest values, each far from all before it."""
    # Subtracted from every value near a chosen one, it leaves their order among
    # themselves: where all positions are near, the next best is still chosen.
    far_less = 2 * jnp.abs(values).max() + 1.0
    chosen = []
    for _ in range(number):
        chosen.append(values.argmax())
        offsets = positions - positions[chosen[-1]]
        near = (offsets**2).sum(axis=-1) < _LEAST_DISTANCE**2
        values = (
            jnp.where(near, values - far_less, values).at[chosen[-1]].add(-far_less)
        )
    return jnp.stack(chosen)
