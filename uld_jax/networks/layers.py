"""Layers that both networks share: Flax's, with faster gradients on CPUs.

They have the parameters and the results of Flax's layers. XLA compiles the gradients of
some of them badly for CPUs; docs/speed.md has the measurements. Those rewrites apply to
CPUs alone: the libraries of accelerators transpose on the fly, and convolutions and
joined inputs are faster there as they are.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def on_cpu() -> bool:
    """Check whether the program being traced will run on a CPU."""
    return jax.default_backend() == "cpu"


# --- Linear layers ---------------------------------------------------------------


@jax.custom_vjp
def product(
    x: Float[Array, "*B K"], kernel: Float[Array, "K N"]
) -> Float[Array, "*B N"]:
    """Compute x @ kernel, with a gradient that suits CPUs.

    The gradient of the kernel is a product over all rows. On CPUs XLA transposes x for
    it, however wide x is. This transposes the narrower of x and the result's gradient,
    which saves 15 % of a training step of Ad-1.
    """
    return x @ kernel


def _forward(x, kernel):
    return x @ kernel, (x, kernel)


def _backward(saved, gradient):
    x, kernel = saved
    K, N = kernel.shape
    rows, gradients = x.reshape(-1, K), gradient.reshape(-1, N)
    if K <= N or not on_cpu():
        of_kernel = rows.T @ gradients
    else:  # Without the barrier XLA would move the transposition back to x.
        of_kernel = jax.lax.optimization_barrier(gradients.T @ rows).T
    return gradient @ kernel.T, of_kernel


product.defvjp(_forward, _backward)


class Linear(nnx.Linear):
    """`nnx.Linear` through `product`."""

    def __call__(self, x: Float[Array, "*B K"]) -> Float[Array, "*B N"]:
        """Compute x times the kernel, plus the bias."""
        kernel, bias = self.kernel[...], self.bias[...]
        x, kernel, bias = self.promote_dtype((x, kernel, bias), dtype=self.dtype)
        return product(x, kernel) + bias


def apply_to_parts(
    layer: nnx.Linear, parts: tuple[Float[Array, "*B _"], ...]
) -> Float[Array, "*B N"]:
    """Apply a linear layer to the concatenation of parts along the last axis."""
    # With fewer bits than float32, summing several products would round more than one.
    if not on_cpu() or layer.dtype != jnp.float32:
        return layer(jnp.concatenate(parts, axis=-1))
    # CPUs are faster without joining the parts in memory.
    first, result = 0, layer.bias[...]
    for part in parts:
        rows = layer.kernel[first : first + part.shape[-1]]
        result = result + product(part, rows)
        first += part.shape[-1]
    return result


# --- Convolutions over the grid --------------------------------------------------
# On CPUs, XLA spends longer on the gradient of such a kernel, as a convolution over a
# grid of a few cells, than on the rest of the decoder. Matrix products save a tenth of
# a training step of L-1.


class Conv(nnx.Conv):
    """`nnx.Conv` with an odd kernel and stride 1, padded to the size of its input."""

    def __call__(self, x: Float[Array, "B Y X C"]) -> Float[Array, "B Y X D"]:
        """Compute the convolution."""
        if not on_cpu():
            return super().__call__(x)
        x, kernel, bias = self.promote_dtype(
            (x, self.kernel[...], self.bias[...]), dtype=self.dtype
        )
        height, width = kernel.shape[:2]
        around = [(0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)]
        taps = _taps(jnp.pad(x, around), x.shape[1:3], height, width)
        return product(taps, kernel.reshape(-1, kernel.shape[-1])) + bias


class Doubling(nnx.ConvTranspose):
    """`nnx.ConvTranspose` with kernel 4 and stride 2: a grid twice as fine."""

    def __init__(self, in_width: int, width: int, **layer: Any):
        super().__init__(
            in_width, width, (4, 4), strides=(2, 2), padding="SAME", **layer
        )

    def __call__(self, x: Float[Array, "B Y X C"]) -> Float[Array, "B 2*Y 2*X D"]:
        """Compute the transposed convolution."""
        if not on_cpu():
            return super().__call__(x)
        x, kernel, bias = self.promote_dtype(
            (x, self.kernel[...], self.bias[...]), dtype=self.dtype
        )
        B, Y, X, _ = x.shape
        padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])

        # An output depends on two neighbors along each axis, through the rows and
        # columns of the kernel that have the output's own parity.
        def of_parity(row: int, column: int):
            taps = _taps(padded[:, row:, column:], (Y, X), 2, 2)
            used = kernel[row::2, column::2].reshape(-1, kernel.shape[-1])
            return product(taps, used)

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
    """Gather the inputs of each output, one tap after the other."""
    Y, X = size
    taps = [
        padded[:, row : row + Y, column : column + X]
        for row in range(height)
        for column in range(width)
    ]
    return jnp.concatenate(taps, axis=-1)


# --- LSTMs -----------------------------------------------------------------------


def run_lstms(
    networks: Sequence[nnx.Bidirectional],
    inputs: Float[Array, "B U D"],
    dtype: DTypeLike,
) -> Float[Array, "B N U H"]:
    """Run several bidirectional LSTMs over one input, in a single loop over time.

    Equals calling each of them, from a state of zeros. Flax runs one loop for each
    direction of each network, one after the other, with two small matrix products a
    step. Here all of them take each step together, and the inputs' share is one product
    before the loop.

    Args:
        networks: Networks N of `nnx.OptimizedLSTMCell`, all of one size.
        inputs: The sequences.
        dtype: Type of the computation.
    """
    cells = [[one.forward_rnn.cell, one.backward_rnn.cell] for one in networks]

    def stack(value_of):
        values = [[value_of(cell) for cell in pair] for pair in cells]
        return jnp.stack([jnp.stack(pair) for pair in values]).astype(dtype)

    from_inputs = stack(lambda cell: cell.dense_i.kernel[...])  # [N, 2, D, 4 H / 2]
    from_before = stack(lambda cell: cell.dense_h.kernel[...])
    bias = stack(lambda cell: cell.dense_h.bias[...])
    both_ways = jnp.stack([inputs, inputs[:, ::-1]]).astype(dtype)
    driven = jnp.einsum("rbud,nrdg->unrbg", both_ways, from_inputs)
    driven = driven + bias[:, :, None]

    def step(carry, driven_now):
        memory, output = carry
        gates = driven_now + jnp.einsum("nrbh,nrhg->nrbg", output, from_before)
        write, keep, new, emit = jnp.split(gates, 4, axis=-1)
        memory = nnx.sigmoid(keep) * memory + nnx.sigmoid(write) * nnx.tanh(new)
        output = nnx.sigmoid(emit) * nnx.tanh(memory)
        return (memory, output), output

    zeros = jnp.zeros((*driven.shape[1:-1], driven.shape[-1] // 4), dtype)
    _, outputs = jax.lax.scan(step, (zeros, zeros), driven)
    both_ways = jnp.concatenate([outputs[:, :, 0], outputs[::-1, :, 1]], axis=-1)
    return both_ways.transpose(2, 1, 0, 3)


# --- Dropout ---------------------------------------------------------------------

_BITS = 16  # Per decision: two fit into one random word.


class Dropout(nnx.Module):
    """Dropout with two decisions per random word (Srivastava et al., 2014).

    Sets entries to zero at random in training and scales up the others. Unlike
    `nnx.Dropout` it converts no random words to floats and needs half of them, which
    saves 3 % of a training step of Ad-1 on a CPU. The rate is met to 2^-16.

    Args:
        rate: Share of the entries that become zero, below 1.
    """

    def __init__(self, rate: float):
        self.rate = rate
        self.deterministic = False  # Set by `train` and `eval` of the network.

    def __call__(
        self, x: Float[Array, "*A D"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "*A D"]:
        """Drop entries of x in training; `rngs` needs a stream `dropout` then."""
        limit = round((1 - self.rate) * 2**_BITS)
        if self.deterministic or limit == 2**_BITS:
            return x
        *shape, width = x.shape
        words = jax.random.bits(rngs.dropout(), (*shape, -(-width // 2)), jnp.uint32)
        draws = jax.lax.bitcast_convert_type(words, jnp.uint16)
        draws = draws.reshape(*shape, -1)[..., :width]
        scale = jnp.asarray(2**_BITS / limit, x.dtype)
        return jnp.where(draws < np.uint16(limit), x * scale, jnp.zeros((), x.dtype))
