"""What the contestants race on: noise in rooms, prepared before the race.

No data set is needed, and no contestant makes anything up while it is timed. NumPy
alone: the processes of PyTorch do not load JAX.
"""

import pathlib

import numpy as np

from uld_jax import scenes

FIELDS = ("audio", "node_positions", "source_positions", "room_size")


def make(
    num_examples: int, num_nodes: int, num_sources: int, num_samples: int
) -> dict[str, np.ndarray]:
    """Return examples as a prepared data set holds them, stacked by field.

    Args:
        num_examples: How many.
        num_nodes: Nodes M, as many as are heard in training.
        num_sources: Sources S.
        num_samples: Samples N of a signal.
    """
    rng = np.random.default_rng(0)
    drawn = [
        scenes.draw_adhoc(rng, num_sources, (10.0, 20.0), num_nodes=num_nodes)
        for _ in range(num_examples)
    ]
    # Colored, and louder here than there, as signals are.
    shape = (num_examples, num_nodes, num_samples)
    noise = rng.standard_normal(shape, np.float32)
    noise[..., 1:] += 0.9 * noise[..., :-1]
    levels = rng.uniform(300, 3000, (num_examples, num_nodes, 1)).astype(np.float32)
    places = {
        field: np.stack([getattr(scene, field) for scene in drawn]).astype(np.float32)
        for field in FIELDS[1:]
    }
    return {"audio": (noise * levels).astype(np.int16), **places}


def save(folder: pathlib.Path, examples: dict[str, np.ndarray]) -> None:
    """Write examples, one file a field."""
    for field, array in examples.items():
        np.save(folder / f"{field}.npy", array)


def load(folder: pathlib.Path, *fields: str) -> dict[str, np.ndarray]:
    """Return examples; by default all fields."""
    return {field: np.load(folder / f"{field}.npy") for field in fields or FIELDS}
