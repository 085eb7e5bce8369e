"""A batch of three rooms with one source each, as data sets hold it."""

import jax.numpy as jnp
import numpy as np

ROOMS = np.float32([[6, 6, 4.2], [4, 9, 4.2], [7, 5, 4.2]])


def three_rooms():
    rng = np.random.default_rng(0)
    positions = rng.uniform(0.1, 0.9, (3, 1, 3)) * ROOMS[:, None]
    nodes = rng.uniform(0.1, 0.9, (3, 8, 3)) * ROOMS[:, None]
    return {
        "audio": jnp.asarray(rng.integers(-999, 999, (3, 8, 1024)), jnp.int16),
        "node_positions": jnp.asarray(nodes, jnp.float32),
        "source_positions": jnp.asarray(positions, jnp.float32),
        "room_size": jnp.asarray(ROOMS),
    }
