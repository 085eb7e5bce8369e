"""A small split in memory, and a source of it that counts what it gives."""

import pathlib

import jax
import numpy as np

from uld_jax.datasets import splits

NUM, M, N = 7, 4, 1500
RNG = np.random.default_rng(0)
AUDIO = RNG.integers(-9000, 9000, (NUM, M, N)).astype(np.int16)
GEOMETRY = {
    "node_positions": RNG.uniform(size=(NUM, M, 3)).astype(np.float32),
    "source_positions": RNG.uniform(size=(NUM, 1, 3)).astype(np.float32),
    "room_size": np.ones((NUM, 3), np.float32),
}


class Split(splits.Split):
    def __init__(self):
        self.name, self.num_nodes, self.num_samples = "train", M, N
        self.path = pathlib.Path("nowhere")

    def __len__(self):
        return NUM

    def geometry(self):
        return GEOMETRY


class Source:
    """A source that counts what it gives, and fails after some batches."""

    def __init__(self, batches_before_failure=99):
        self.left, self.given = batches_before_failure, []

    def __len__(self):
        return NUM

    def batches(self, order, first_step=0, *, nodes=None, changes=None):
        for step in range(first_step, len(order)):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            rows = np.asarray(order[step])
            audio = AUDIO[rows].astype(np.float32)
            if changes:  # The SNR, where a test can see it.
                audio[:, 0] *= [[changes.snr_db(int(row))] for row in rows]
            self.given += [(int(row), changes) for row in rows]
            fields = {key: values[rows] for key, values in GEOMETRY.items()}
            yield fields | {"audio": jax.numpy.asarray(audio)}
