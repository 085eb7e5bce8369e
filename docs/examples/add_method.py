"""Add a localization method that needs no training: one function and one entry.

python docs/examples/add_method.py

It answers with the position of the loudest node. In the package, the function would be
uld_jax/localization/loudest.py and its entry in uld_jax/localization/methods.py, with a
title and a color in uld_jax/labels/titles.py.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from uld_jax.evaluation import predict
from uld_jax.localization import methods


def loudest(
    signals, node_positions, room_size, mask=None, num_sources=1
) -> Float[Array, "B 1 2"]:
    """Localize one source at the node with the largest power, (x, y) in meters."""
    powers = jnp.mean(jnp.asarray(signals) ** 2, axis=-1)
    if mask is not None:
        powers = jnp.where(mask, powers, -1.0)
    loudest = jnp.argmax(powers, axis=1)[:, None, None]
    plane = jnp.asarray(node_positions)[..., :2]
    return jnp.take_along_axis(plane, loudest, axis=1)


LOUDEST = methods.Method(loudest, max_sources=1)


def main() -> Float[Array, "B 1 2"]:
    """Localize one source in one room where levels fall with the distance."""
    methods.METHODS["loudest"] = LOUDEST
    rng = np.random.default_rng(0)
    room = np.array([6.0, 4.5, 3.0])
    nodes, source = rng.uniform(size=(30, 3)) * room, np.array([1.7, 3.2, 1.5])
    distances = np.linalg.norm(nodes - source, axis=1)
    batch = {
        "audio": rng.normal(size=(1, 30, 4000)) / distances[:, None],
        "node_positions": nodes[None],
        "room_size": room[None],
    }
    predictor = predict.method_predictor("loudest", num_sources=1)
    found = predictor(batch)
    error = np.linalg.norm(found[0, 0] - source[:2])
    print(f"found {found[0, 0]}, {error:.2f} m off")
    return found


if __name__ == "__main__":
    main()
