"""Localize with an exported network: by JAX, and without uld_jax.

    uld_jax export ad1_uld --out=ad1_uld.zip
    python docs/examples/run_exported.py ad1_uld.zip recording.npz

The recording is a file of NumPy with the arrays `signals`, `node_positions` and `room_size`,
as in the card. It needs `pip install jax flatbuffers`.
"""

import json
import sys
import zipfile

import numpy as np
from jax import export


def load(path):
    """Load the card and the program; zipfile raises an error if a bit has changed."""
    with zipfile.ZipFile(path) as archive:
        card = json.loads(archive.read("card.json"))
        return card, export.deserialize(bytearray(archive.read("network.jax_export")))


def main(path, recording):
    """Print where the talker is."""
    card, program = load(path)
    arrays = {
        name: np.asarray(recording[name], one["type"])[None]  # A batch of one.
        for name, one in card["inputs"].items()
    }
    found = program.call(**arrays)
    for (x, y), radius in zip(
        found["positions"][0], found["radius_90"][0], strict=True
    ):
        print(f"({x:.2f}, {y:.2f}) m, 90 % within {radius:.2f} m")
    return found


if __name__ == "__main__":
    main(sys.argv[1], np.load(sys.argv[2], allow_pickle=False))
