"""Furniture on its way to the renderer: factors on the host, then disturbances of images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from uld_jax.simulation import image_source

_STREAM = 7  # Folded into a room's key, whose own streams stay.


class Prepared(NamedTuple):
    """Furniture as it is rendered, float32; the last three may be None."""

    displacement: np.ndarray  # [B]
    loss: np.ndarray  # [B]
    facing: np.ndarray  # [B, S, 3], times half the share that is lost behind.
    gains: np.ndarray | None  # [B, M], factors.
    drifts_ppm: np.ndarray | None  # [B, M]
    offsets: np.ndarray | None  # [B, M]


def prepare(inside, sources: tuple[int, int]) -> Prepared | None:
    """Convert the furniture of rooms; None for bare ones."""
    if inside is None:
        return None
    facing, gains = np.zeros((*sources, 3)), inside.gains_db
    if inside.facing is not None:
        lost = (1 - 10 ** (-np.float64(inside.behind_db) / 20)) / 2
        facing = inside.facing * lost[:, None, None]
    clocks = inside.drifts_ppm, inside.offsets
    if (clocks[0] is None) != (clocks[1] is None):
        zeros = np.zeros_like(clocks[0] if clocks[1] is None else clocks[1])
        clocks = (zeros if clock is None else clock for clock in clocks)
    fields = (inside.displacement, inside.loss, facing)
    fields += (None if gains is None else 10 ** (np.float64(gains) / 20), *clocks)
    return Prepared(*(None if f is None else np.float32(f) for f in fields))


def disturbances(
    keys, inside: Prepared | None, sources
) -> tuple[image_source.Disturbance | None, image_source.Disturbance | None]:
    """Disturb the images of all sources, and of the noise, which has no direction."""
    if inside is None:
        return None, None
    num_sources = sources.shape[1]
    seeds = jax.vmap(
        lambda key: jax.random.bits(
            jax.random.fold_in(key, _STREAM), (num_sources + 1,)
        )
    )(keys)
    facing = jnp.concatenate([inside.facing, jnp.zeros_like(sources[:, :1])], axis=1)
    displacement, loss = (
        jnp.broadcast_to(value[:, None], seeds.shape) for value in inside[:2]
    )
    both = image_source.Disturbance(seeds, displacement, loss, facing)
    return tuple(
        jax.tree.map(lambda values, some=some: values[:, some], both)
        for some in (slice(num_sources), slice(num_sources, None))
    )
