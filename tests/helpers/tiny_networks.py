"""The networks at their smallest, with a batch for each."""

import numpy as np

from uld_jax import config as config_lib
from uld_jax.labels import schemes
from uld_jax.networks import build
from uld_jax.training import optimizer, step

# Network, nodes M, sources S, samples N, settings.
TINY = {
    "l1": ("encoder_decoder", 8, 1, 1024, {"width": 4, "num_blocks": 1}),
    "one_talker": (
        "adhoc",
        3,
        1,
        2048,
        {"width": 8, "num_heads": 2, "num_blocks": 1, "num_temporal_blocks": 1},
    ),
    "two_talkers": (
        "adhoc",
        3,
        2,
        2048,
        {"width": 8, "num_heads": 2, "num_blocks": 1, "num_temporal_blocks": 1},
    ),
    "votes": ("multilateration", 4, 1, 2048, {"width": 8, "cells": 12}),
}
LABEL = schemes.Label("uld", 2)
ADAMW = optimizer.adamw(1e-3, 0.01)


def network(kind, **more):
    """Return the graph and the first training state of one of `TINY`."""
    name, num_nodes, num_sources, _, changes = TINY[kind]
    settings = config_lib.to_dict(config_lib.default(name).model) | changes | more
    model = build.for_label(settings, LABEL, num_nodes, num_sources, seed=3)
    return step.init_state(model, ADAMW)


def batch(kind, size, seed=0):
    """Return a batch of noise for one of `TINY`."""
    _, num_nodes, num_sources, num_samples, _ = TINY[kind]
    rng = np.random.default_rng(seed)
    room = np.tile(np.float32([4.0, 5.0, 3.0]), (size, 1))

    def places(number):
        return np.float32(rng.uniform(size=(size, number, 3)) * room[:, None])

    audio = rng.integers(-9000, 9000, (size, num_nodes, num_samples))
    return {
        "audio": audio.astype(np.int16),
        "node_positions": places(num_nodes),
        "source_positions": places(num_sources),
        "room_size": room,
    }
