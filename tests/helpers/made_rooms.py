"""Rooms of the Ad-1 recipe and signals for them, for the tests of rendering."""

import jax
import numpy as np

from uld_jax.simulation import rooms as rooms_lib
from uld_jax.simulation import scenes

# Few static shapes, because each is compiled.
SHORT = rooms_lib.RenderSettings(
    num_samples=2000, before=800, response_length=4000, num_late=2048
)


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def draw_rooms(count, num_nodes, num_sources=1, t60=(0.25, 0.7), seed=0):
    """Return rooms of the Ad-1 recipe with T60 spread over a range."""
    rng = np.random.default_rng(seed)
    drawn = [
        scenes.draw_adhoc(rng, num_sources, (10.0, 20.0), num_nodes=num_nodes)
        for _ in range(count)
    ]
    rooms = rooms_lib.Rooms.of(drawn)
    return rooms._replace(t60=np.linspace(*t60, count))


def silence(rooms, settings):
    shape = (*rooms.source_positions.shape[:2], settings.num_dry)
    return np.zeros(shape, np.float32)


def noise_like(rooms, settings, seed=0):
    rng = np.random.default_rng(seed)
    shape = (*rooms.source_positions.shape[:2], settings.num_dry)
    return rng.normal(size=shape).astype(np.float32)


def small_batch(count=5, num_sources=1, seed=6):
    return draw_rooms(count, 4, num_sources, t60=(0.2, 0.25), seed=seed)


def some_of(rooms, rows):
    return jax.tree.map(lambda array: array[rows], rooms)
