"""Add a label scheme: a code, its decoder, a loss and one entry.

python docs/examples/add_label_scheme.py

A Gaussian over the cells that sums to one, decoded to its mean. In the package, the two
functions would be in uld_jax/labels/codes.py, the entry in uld_jax/labels/schemes.py,
and its title and color in uld_jax/labels/titles.py.
"""

import tempfile

import jax.numpy as jnp
from jaxtyping import Array, Float

import uld_jax
from uld_jax import config as config_lib
from uld_jax.labels import codes, losses, schemes


def encode_gaussian(position, room_size, resolution) -> Float[Array, "I I"]:
    """Encode a position as a Gaussian over the cells that sums to one."""
    bump = codes.encode_heat_map(position, room_size, resolution)
    return bump / bump.sum()


def decode_mean(scores, room_size) -> Float[Array, "2"]:
    """Decode scores of cells to the mean of their distribution, (x, y) in meters."""
    centers = (jnp.arange(scores.shape[-1]) + 0.5) / scores.shape[-1]
    mean = jnp.stack([scores.sum(axis=0) @ centers, scores.sum(axis=1) @ centers])
    return mean / scores.sum() * jnp.asarray(room_size)


GAUSSIAN = schemes.Scheme(
    encode=encode_gaussian,
    activation=schemes.softmax,
    loss=losses.cross_entropy,
    decode=decode_mean,
    soft=True,  # The least cross entropy is the entropy of the target.
)


def main(data_dir: str, workdir: str) -> dict:
    """Train with the new label on a few built-in signals for two epochs."""
    schemes.SCHEMES["gaussian"] = GAUSSIAN
    config = config_lib.default()
    config.label.update(scheme="gaussian", resolution=8)
    config.model.update(width=4, num_blocks=1)
    config.data.update(name="simulated/l1_tiny:1.0.0", dir=data_dir, speech="builtin")
    config.train.update(epochs=2, batch_size=8)
    record = uld_jax.train_and_evaluate(config_lib.resolve(config), workdir)
    print(f"MAE {record['test']['mae']:.2f} m after {len(record['epochs'])} epochs")
    return record


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(f"{folder}/datasets", f"{folder}/run")
