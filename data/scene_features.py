"""TFDS features that every data set stores of a scene, with their units."""

import functools

import numpy as np
import tensorflow_datasets as tfds

from uld_jax.datasets import files

tensor = functools.partial(tfds.features.Tensor, encoding="bytes")


def signals(num_nodes: int, num_samples: int) -> dict[str, tfds.features.Tensor]:
    """Make the features of the signals at M nodes."""
    return {
        "audio": tensor(
            shape=(num_nodes, num_samples),
            dtype=np.int16,
            doc="Signals at the nodes, 16 kHz, on one clock; divide by `gain`.",
        ),
        "gain": tensor(
            shape=(),
            dtype=np.float32,
            doc="Factor of the whole scene between the signals and `audio`.",
        ),
    }


def geometry(num_nodes: int, num_sources: int) -> dict[str, tfds.features.Tensor]:
    """Make the features of the positions of M nodes and S sources."""
    positions = functools.partial(tensor, dtype=np.float32)
    return {
        "node_positions": positions(
            shape=(num_nodes, 3), doc="(x, y, z) of the nodes in meters."
        ),
        "source_positions": positions(
            shape=(num_sources, 3), doc="(x, y, z) of the sources in meters."
        ),
        "room_size": positions(shape=(3,), doc="Sides of the room in meters."),
    }


def index() -> dict[str, tfds.features.Tensor]:
    """Make the feature of an example's number."""
    doc = files.INDEX_DOC
    return {"index": tensor(shape=(), dtype=np.int32, doc=doc)}
