"""A label for the benchmark: a pair of encoder and decoder (docs/benchmark.md)."""

import jax
import jax.numpy as jnp


class Gaussian:
    """Gaussian over the cells, of half a cell, decoded to its mean."""

    @staticmethod
    def encode(position, room_size, resolution):
        """Encode (x, y) in meters as a distribution [I, I], rows y."""
        centers = jnp.arange(resolution) + 0.5
        cells = jnp.asarray(position) * resolution / jnp.asarray(room_size)
        x, y = jax.nn.softmax(-2 * (centers - cells[:, None]) ** 2, axis=-1)
        return y[:, None] * x

    @staticmethod
    def decode(scores, room_size):
        """Decode a distribution to its mean (x, y) in meters."""
        centers = (jnp.arange(scores.shape[-1]) + 0.5) / scores.shape[-1]
        mean = jnp.stack([scores.sum(axis=0) @ centers, scores.sum(axis=1) @ centers])
        return mean / scores.sum() * jnp.asarray(room_size)
