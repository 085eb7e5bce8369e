"""Convolutions over a small plan of the room, as matrix products on CPUs.

They have the parameters of Flax's layers and their results. On CPUs XLA spends longer
on the gradient of such a kernel, by a convolution over a plan of a few cells, than on
all else of the decoder; the products take a tenth off a training step of L-1
(docs/speed.md). On accelerators they are the library's convolutions.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from uld_jax.networks import linear


class Conv(nnx.Conv):
    """`nnx.Conv` of an odd kernel, stride 1, padded to the size of its input."""

    def __call__(self, x: Float[Array, "B Y X C"]) -> Float[Array, "B Y X D"]:
        """Return the convolution."""
        if not linear.on_cpu():
            return super().__call__(x)
        x, kernel, bias = self.promote_dtype(
            (x, self.kernel[...], self.bias[...]), dtype=self.dtype
        )
        height, width = kernel.shape[:2]
        around = [(0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)]
        taps = _taps(jnp.pad(x, around), x.shape[1:3], height, width)
        return linear.product(taps, kernel.reshape(-1, kernel.shape[-1])) + bias


class Doubling(nnx.ConvTranspose):
    """`nnx.ConvTranspose` of kernel 4 and stride 2, padded: a plan twice as fine."""

    def __init__(self, in_width: int, width: int, **layer):
        super().__init__(
            in_width, width, (4, 4), strides=(2, 2), padding="SAME", **layer
        )

    def __call__(self, x: Float[Array, "B Y X C"]) -> Float[Array, "B 2*Y 2*X D"]:
        """Return the transposed convolution.

        An output sees two neighbors along each axis, by every second row and column of
        the kernel: by those of its own parity.
        """
        if not linear.on_cpu():
            return super().__call__(x)
        x, kernel, bias = self.promote_dtype(
            (x, self.kernel[...], self.bias[...]), dtype=self.dtype
        )
        B, Y, X, _ = x.shape
        padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])

        def of_parity(row: int, column: int):
            taps = _taps(padded[:, row:, column:], (Y, X), 2, 2)
            seen = kernel[row::2, column::2].reshape(-1, kernel.shape[-1])
            return linear.product(taps, seen)

        fine = jnp.stack(
            [
                jnp.stack([of_parity(row, column) for column in range(2)], axis=3)
                for row in range(2)
            ],
            axis=2,
        )
        return fine.reshape(B, 2 * Y, 2 * X, -1) + bias


def _taps(
    padded: Float[Array, "B _ _ C"], size: tuple[int, int], height: int, width: int
) -> Float[Array, "B Y X _"]:
    """Return what each output sees of its input, one tap after the other."""
    Y, X = size
    seen = [
        padded[:, row : row + Y, column : column + X]
        for row in range(height)
        for column in range(width)
    ]
    return jnp.concatenate(seen, axis=-1)
