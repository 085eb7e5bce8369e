"""Find a bright spot in an image by classification, in JAX and Flax.

python docs/examples/keypoints_jax.py
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from uld_jax import labels

SIDE, CELLS = 32, 8  # Pixels, and cells of 4 x 4 pixels.
BOX = jnp.array([SIDE, SIDE])


def draw(key, count):
    """Draw images [B, 32, 32] and where their spots are, (x, y) in pixels [B, 2]."""
    place, noise = jax.random.split(key)
    spots = jax.random.uniform(place, (count, 2), maxval=SIDE)
    pixels = jnp.arange(SIDE) + 0.5
    x, y = jnp.exp(-(((pixels - spots[..., None]) / 2) ** 2)).transpose(1, 0, 2)
    images = y[:, :, None] * x[:, None, :]
    return images + 0.3 * jax.random.normal(noise, images.shape), spots


class Network(nnx.Module):
    """One convolution and one hidden layer."""

    def __init__(self, rngs):
        self.see = nnx.Conv(1, 8, (5, 5), strides=2, rngs=rngs)
        self.think = nnx.Linear(8 * (SIDE // 2) ** 2, 128, rngs=rngs)
        self.say = nnx.Linear(128, (CELLS + 1) ** 2, rngs=rngs)

    def __call__(self, images):
        """Compute the logits of images."""
        hidden = nnx.relu(self.see(images[..., None])).reshape(len(images), -1)
        logits = self.say(nnx.relu(self.think(hidden)))
        return logits.reshape(-1, CELLS + 1, CELLS + 1)


@nnx.jit
def train_step(network, optimizer, key):
    """Take one step on new images."""

    def loss(network):
        images, spots = draw(key, 128)
        target = labels.encode_uld(spots, BOX, CELLS)
        return labels.cross_entropy(network(images), target, num_axes=2).mean()

    optimizer.update(network, nnx.grad(loss)(network))


def main(steps=600):
    """Train, test, and print the mean error in pixels."""
    network = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(network, optax.adam(2e-3), wrt=nnx.Param)
    for key in jax.random.split(jax.random.key(1), steps):
        train_step(network, optimizer, key)
    images, spots = draw(jax.random.key(2), 1000)
    joint = jax.nn.softmax(network(images), axis=(1, 2))
    errors = {}
    for decode in (labels.decode_wad, labels.decode_argmax):
        off = jnp.linalg.norm(decode(joint, BOX) - spots, axis=1)
        errors[decode.__name__] = float(off.mean())
        print(f"{decode.__name__}: {errors[decode.__name__]:.2f} pixels")
    return errors


if __name__ == "__main__":
    main()
