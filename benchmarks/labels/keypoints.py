"""Regress a keypoint in made images by each label, at several resolutions.

    python -m benchmarks.labels.keypoints

The network and images of docs/examples/keypoints_jax.py: the place of a blurred spot in an
image of 32 x 32 pixels, with noise. Only label, loss and decoder change; every network
has 600 steps of 128 new images.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks import report
from uld_jax import labels
from uld_jax.labels import schemes

_SIDE = 32
_BOX = jnp.array([_SIDE, _SIDE], jnp.float32)
_STEPS = 600
_BATCH = 128
_TESTED = 2000
_RESOLUTIONS = (1, 2, 4, 8, 16)


class _Network(nnx.Module):
    """One convolution and one hidden layer."""

    def __init__(self, num_outputs: int, rngs: nnx.Rngs):
        self.see = nnx.Conv(1, 8, (5, 5), strides=2, rngs=rngs)
        self.think = nnx.Linear(8 * (_SIDE // 2) ** 2, 128, rngs=rngs)
        self.say = nnx.Linear(128, num_outputs, rngs=rngs)

    def __call__(self, images):
        hidden = nnx.relu(self.see(images[..., None])).reshape(len(images), -1)
        return self.say(nnx.relu(self.think(hidden)))


def main() -> None:
    """Train and test all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for resolution in _RESOLUTIONS:
        error = labels.box_quantization_error("one_hot", [_SIDE, _SIDE], resolution)
        row = {"I": resolution, "quantization error": error}
        for scheme in schemes.SCHEMES:
            if not schemes.is_feasible(scheme, resolution):
                row[scheme] = ""
                continue
            label = schemes.Label(scheme, resolution)
            errors = [_train_and_test(label, seed) for seed in range(options.seeds)]
            row[scheme] = float(np.mean(errors))
        rows.append(row)
        print(row, flush=True)
    note = (
        f"Mean error in pixels of {_TESTED} images, mean of {options.seeds} seeds; "
        "quantization error is that of a one-hot label that is always right."
    )
    report.write("labels.keypoints", [("Keypoints.", note, rows)], options.out)


def _draw(key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Draw images and where their spots are, in pixels."""
    place, noise = jax.random.split(key)
    spots = jax.random.uniform(place, (count, 2), maxval=_SIDE)
    pixels = jnp.arange(_SIDE) + 0.5
    x, y = jnp.exp(-(((pixels - spots[..., None]) / 2) ** 2)).transpose(1, 0, 2)
    images = y[:, :, None] * x[:, None, :]
    return images + 0.3 * jax.random.normal(noise, images.shape), spots


def _train_and_test(label: schemes.Label, seed: int) -> float:
    """Train a network with a label, and compute its mean error in pixels."""
    network = _Network(label.num_outputs, nnx.Rngs(seed))
    optimizer = nnx.Optimizer(network, optax.adam(2e-3), wrt=nnx.Param)

    @nnx.jit
    def step(network, optimizer, key):
        images, spots = _draw(key, _BATCH)
        targets = jax.vmap(label.encode, (0, None))(spots, _BOX)

        def loss(network):
            return jax.vmap(label.loss)(network(images), targets).mean()

        optimizer.update(network, nnx.grad(loss)(network))

    for key in jax.random.split(jax.random.key(1000 + seed), _STEPS):
        step(network, optimizer, key)
    images, spots = _draw(jax.random.key(2**20), _TESTED)
    found = jax.vmap(label.decode, (0, None))(network(images), _BOX)
    return float(jnp.linalg.norm(found - spots, axis=1).mean())


if __name__ == "__main__":
    main()
