"""A random share of the images of a source that stands for all of them.

Early images are all there. Late ones are drawn so that energy is right on average, at any
time and from any direction, whatever the size and T60 of the room.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from uld_jax.simulation import image_source

# Steps of a sequence that fills the unit square evenly, times 2^32: powers of the
# plastic number (Roberts 2018, the R2 sequence).
_PLASTIC = 1.32471795724474602596
_JUMPS = tuple(round(2**32 / _PLASTIC**power) for power in (1, 2))
_BESIDE = 0.5  # Meters to a wall; within them, its echoes blend with the sound.
LARGEST_GROUP = 16  # Late images drawn together.
_PULSES_PER_METER = 70.0  # 24,000 per second; more of them gain nothing.
_FAR = 1000  # Of a room copy with more reflections than any that sounds.


def thinning(
    size: np.ndarray, last_radius: np.ndarray, num_late: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the radii from which images are drawn, and up to which all are taken.

    Images get denser with the square of their distance. All of them are taken until
    they are as dense as the drawn ones will be.

    Args:
        size: [*B, 3], sides of the rooms in meters.
        last_radius: [*B], distance up to which images are drawn, in meters.
        num_late: Number of images to draw.

    Returns:
        first_radius and exact_radius, [*B] in meters from the center.
    """
    density = np.minimum(num_late / last_radius, _PULSES_PER_METER)
    exact = np.sqrt(density * size.prod(-1) / (4 * np.pi))
    # A room copy may reach much closer to the center than the image it holds.
    first = np.maximum(exact - np.linalg.norm(size, axis=-1), 0.3 * exact)
    return first, exact


def largest_num_exact(size: np.ndarray, exact_radius: np.ndarray) -> int:
    """Bound the number of exact images over all rooms."""
    reach = exact_radius + np.linalg.norm(size, axis=-1)
    return math.ceil((4 / 3 * np.pi * reach**3 / size.prod(-1)).max())


def num_candidates(size: np.ndarray, exact_radius: np.ndarray) -> int:
    """Count the room copies to search for the exact images of any of the rooms."""
    reach = np.floor(exact_radius[..., None] / size + 0.5)
    return int((2 * reach + 1).prod(-1).max())


def thinned_images(
    key: Array,
    source: Float[Array, "3"],
    walls: image_source.Walls,
    disturbance: image_source.Disturbance | None = None,
    *,
    num_late: int,
    num_exact: int,
    num_candidates: int,
) -> image_source.Images:
    """Compute all early images and a random share of the late ones.

    Every image closer to the room's center than `exact_radius` is taken. Beyond it,
    points are drawn, one in each of many shells of equal thickness up to
    `last_radius`, with evenly spread directions. A point stands for the image in the
    room copy that holds it. The image's gain is divided by the square root of its
    expected number of draws, and gets a random sign. So the energy is on average that
    of all images, at any time and from any direction.

    Images that arrive within a sample add as amplitudes, so they are drawn together:
    those above and below, since nodes and sources are at nearly one height, and those
    on both sides of a wall within 0.5 m of the source.

    Args:
        key: Random key.
        source: Position in meters from the room's center.
        walls: The room.
        disturbance: What sets the images apart from a bare room's; None for nothing.
        num_late: Number of late images.
        num_exact: Slots for early images, see `largest_num_exact`.
        num_candidates: Room copies to search, see the function `num_candidates`.

    Returns:
        num_exact + num_late images, the early first; unused ones have gain 0.
    """
    early = _early_images(source, walls, disturbance, num_exact, num_candidates)
    late = _late_images(key, source, walls, disturbance, num_late)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), early, late)


def _distance(positions: Float[Array, "P 3"]) -> Float[Array, " P"]:
    return jnp.sqrt((positions**2).sum(-1))


def _early_images(source, walls, disturbance, num_exact, num_candidates):
    """Compute the images within the exact radius, packed."""
    reach = jnp.floor(walls.exact_radius / walls.size + 0.5).astype(jnp.int32)
    sides = 2 * reach + 1
    number = jnp.arange(num_candidates)
    i = number % sides[0]
    j = number // sides[0] % sides[1]
    k = number // (sides[0] * sides[1])
    copy = jnp.stack([i, j, k], axis=-1) - reach
    # By where a bare room has them.
    distance = _distance(image_source.image_positions(copy, source, walls.size))
    inside = (k < sides[2]) & (distance < walls.exact_radius)
    slot = jnp.where(inside, jnp.cumsum(inside) - 1, num_exact)
    # Copies outside are written out of bounds, which drops them; unused slots hold one
    # that is far away and silent.
    chosen = jnp.full((num_exact, 3), _FAR).at[slot].set(copy, mode="drop")
    return image_source.all_images(chosen, source, walls, disturbance)


def _late_images(key, source, walls, disturbance, num_late):
    """Draw groups of images that stand for all beyond the exact radius.

    A group has 2 to 16 images: those in one room copy and in the copies behind the
    walls beside the source, each also mirrored to below.
    """
    radius_key, turn_key, sign_key = jax.random.split(key, 3)
    beside = jnp.abs(source) > walls.size / 2 - _BESIDE
    group_size = 2 * jnp.prod(jnp.where(beside, 2, 1))
    number = jnp.arange(num_late)
    draw, member = number // group_size, number % group_size
    thickness = (walls.last_radius - walls.first_radius) * group_size / num_late
    jitter = jax.random.uniform(radius_key, (num_late,))[draw]
    radius = walls.first_radius + (draw + jitter) * thickness
    direction = _even_directions(draw, jax.random.bits(turn_key, (2,)))
    drawn = jnp.round(radius[:, None] * direction / walls.size).astype(jnp.int32)
    # An even copy shares its images' positions with the odd one in this direction.
    behind = jnp.sign(source).astype(jnp.int32) * beside
    even = jnp.where(drawn % 2 == 0, drawn, drawn - behind)
    # Bit 0 of the member chooses above or below, the others one of two sharing copies.
    shifts = jnp.cumsum(beside)
    other = (member[:, None] >> shifts & 1) * behind
    side = jnp.stack([jnp.ones_like(member)] * 2 + [1 - 2 * (member & 1)], axis=-1)
    copy = side * even + other
    images = image_source.all_images(copy, source, walls, disturbance)
    # Expected draws of the group: points per cubic meter times volume of its copies.
    alone = even[:, 2] == 0
    density = 0.0
    for mirror in (1, -1):
        middle = even * jnp.array([1, 1, mirror]) + 0.5 * behind
        density += 0.5 / jnp.maximum(_distance(middle * walls.size), 1.0) ** 2
    density /= 4 * jnp.pi * thickness
    expected = density * walls.size.prod() * jnp.where(alone, 0.5, 1.0) * group_size
    sign = jax.random.rademacher(sign_key, (num_late,), jnp.float32)[draw]
    distance = _distance(image_source.image_positions(copy, source, walls.size))
    once = ~(alone & (member & 1 == 1))
    taken = (distance >= walls.exact_radius) & once

    def stand(amplitudes: Array) -> Array:
        """Let amplitudes stand for those of images that were not drawn."""
        return jnp.where(taken, amplitudes * sign / jnp.sqrt(expected), 0.0)

    low = images.low_amplitudes
    return images._replace(
        amplitudes=stand(images.amplitudes),
        low_amplitudes=None if low is None else stand(low),
    )


def _even_directions(
    number: Int[Array, " P"], turns: UInt32[Array, "2"]
) -> Float[Array, "P 3"]:
    """Compute unit vectors that fill the sphere evenly, however many they are."""
    height, around = (
        (number.astype(jnp.uint32) * np.uint32(jump) + turn).astype(jnp.float32)
        * 2.0**-32
        for jump, turn in zip(_JUMPS, turns, strict=True)
    )
    cosine, azimuth = 2 * height - 1, 2 * jnp.pi * around
    sine = jnp.sqrt(jnp.maximum(1 - cosine**2, 0))
    return jnp.stack(
        [sine * jnp.cos(azimuth), sine * jnp.sin(azimuth), cosine], axis=-1
    )
