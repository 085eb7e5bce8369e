"""Images of a source in a shoebox room (Allen and Berkley 1979).

Coordinates are relative to the center of the room. The image of a source at s in the
room copy (i, j, k) is at i L + (-1)^i s on the x axis, likewise on the others, and
|i| + |j| + |k| walls have reflected it.

In a furnished room the images of order 1 and above are displaced and lost at random, the
walls differ, and a source may face a direction; the direct sound stays.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32


class Images(NamedTuple):
    """Images of one source, each a pulse on its way to the nodes.

    Attributes:
        positions: [P, 3] in meters from the room's center.
        amplitudes: [P], of the pulse at 1 m; with two bands, above 1 kHz.
        low_amplitudes: [P], below 1 kHz; None without bands.
        facing: [P, 3], where each image faces, as in `Disturbance`; None without bands.
    """

    positions: jax.Array
    amplitudes: jax.Array
    low_amplitudes: jax.Array | None = None
    facing: jax.Array | None = None


class Walls(NamedTuple):
    """The facts of one room that its images depend on, besides the source.

    Attributes:
        size: [3] in meters.
        reflection: Gain of one reflection, sqrt(1 - a).
        order: Largest number of reflections, int32.
        exact_radius: Thinned: every image within this distance from the center, in
            meters, is taken.
        first_radius: Thinned: distance from which images are drawn, in meters.
        last_radius: Thinned: distance up to which they are drawn, in meters.
        log_gains: [2, 6], logarithms of the gains of a reflection by each wall, below
            and above 1 kHz, see `walls`; None for walls alike, with one band.
    """

    size: jax.Array | np.ndarray
    reflection: jax.Array | np.ndarray
    order: jax.Array | np.ndarray
    exact_radius: jax.Array | np.ndarray
    first_radius: jax.Array | np.ndarray
    last_radius: jax.Array | np.ndarray
    log_gains: jax.Array | np.ndarray | None = None


class Disturbance(NamedTuple):
    """The facts that set one source's images apart from those of a bare room.

    Attributes:
        seed: Of the random part, uint32. An image's depends on it and on its room copy
            alone, so it is the same in either late field.
        displacement: Standard deviation along each axis of the images of order 1 and
            above, in meters.
        loss: Probability that one of them is lost.
        facing: [3], direction that the source faces, times half the share of amplitude
            that it lacks behind, above 1 kHz; zero for an omnidirectional one.
    """

    seed: jax.Array
    displacement: jax.Array
    loss: jax.Array
    facing: jax.Array


def num_images(order: int | Int[Array, ""]) -> int | Int[Array, ""]:
    """Count the images with at most `order` reflections."""
    return (2 * order + 1) * (2 * order**2 + 2 * order + 3) // 3


@functools.lru_cache(maxsize=2)
def copies(order: int) -> np.ndarray:
    """List all room copies [n, 3] of up to `order` reflections, int16, fewest first.

    The copies of any lower order are the first `num_images` of them.
    """
    axis = np.arange(-order, order + 1, dtype=np.int16)
    i, j = (side.ravel() for side in np.meshgrid(axis, axis, indexing="ij"))
    rest = order - np.abs(i) - np.abs(j)
    i, j, rest = i[rest >= 0], j[rest >= 0], rest[rest >= 0]
    counts = 2 * rest.astype(np.int64) + 1
    column = np.repeat(np.arange(len(i)), counts)
    starts = np.cumsum(counts) - counts
    k = (np.arange(counts.sum()) - starts[column] - rest[column]).astype(np.int16)
    triples = np.stack([i[column], j[column], k], axis=1)
    return triples[np.argsort(np.abs(triples).sum(1), kind="stable")]


def image_positions(
    copy: Int[Array, "P 3"], source: Float[Array, "3"], size: Float[Array, "3"]
) -> Float[Array, "P 3"]:
    """Compute the positions of a source's images in room copies, from the center."""
    return copy * size + jnp.where(copy % 2 == 0, source, -source)


def all_images(
    copy: Int[Array, "P 3"],
    source: Float[Array, "3"],
    walls: Walls,
    disturbance: Disturbance | None = None,
) -> Images:
    """Compute the images in room copies; those of too high an order have gain 0."""
    copy = copy.astype(jnp.int32)
    reflections = jnp.abs(copy).sum(-1)
    within = reflections <= walls.order
    positions = image_positions(copy, source, walls.size)
    low = facing = None
    if walls.log_gains is None:
        amplitudes = walls.reflection ** reflections.astype(jnp.float32)
    else:
        # A sum, because accelerators round the factors of a matrix product.
        counts = wall_counts(copy).astype(jnp.float32)
        low, amplitudes = (
            jnp.exp(sum(counts[:, wall] * gains[wall] for wall in range(6)))
            for gains in walls.log_gains
        )
        low = jnp.where(within, low, 0.0)
    amplitudes = jnp.where(within, amplitudes, 0.0)
    if disturbance is None:
        return Images(positions, amplitudes, low, facing)
    uniform = _uniform(copy, disturbance.seed)
    normal = math.sqrt(2) * jax.lax.erf_inv(2 * uniform[:, :3] - 1)
    echo = reflections > 0
    moved = positions + disturbance.displacement * normal
    positions = jnp.where(echo[:, None], moved, positions)
    lost = echo & (uniform[:, 3] < disturbance.loss)
    amplitudes = jnp.where(lost, 0.0, amplitudes)
    if low is not None:
        low = jnp.where(lost, 0.0, low)
        facing = disturbance.facing * (1 - 2 * (copy & 1)).astype(jnp.float32)
    return Images(positions, amplitudes, low, facing)


def wall_counts(copy: Int[Array, "P 3"]) -> Int[Array, "P 6"]:
    """Count the reflections of images by each wall, in the order of `walls`."""
    # Walls of an axis take turns; the one on the image's side is the last.
    turns = jnp.abs(copy)
    near, far = (turns + (copy < 0)) // 2, (turns + (copy > 0)) // 2
    return jnp.stack([near, far], axis=-1).reshape(-1, 6)


def _uniform(copy: Int[Array, "P 3"], seed: UInt32[Array, ""]) -> Float[Array, "P 4"]:
    """Draw four uniform numbers for each room copy, between 0 and 1.

    By a hash of the copy (pcg4d; Jarzynski and Olano 2020, J. Comput. Graph. Tech. 9): a
    few integer multiplications, where a counter of JAX's generator takes a hundred.
    """
    x, y, z = copy.astype(jnp.uint32).T
    words = [x, y, z, jnp.broadcast_to(seed, x.shape)]
    words = [word * np.uint32(1664525) + np.uint32(1013904223) for word in words]
    for last in (False, True):
        for one, first, second in ((0, 1, 3), (1, 2, 0), (2, 0, 1), (3, 1, 2)):
            words[one] += words[first] * words[second]
        if not last:
            words = [word ^ (word >> 16) for word in words]
    # The upper 23 bits, so that float32 holds the middle of each interval.
    upper = jnp.stack(words, axis=-1) >> 9
    return (upper.astype(jnp.float32) + 0.5) * np.float32(2.0**-23)
