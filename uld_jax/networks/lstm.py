"""Several bidirectional LSTMs over one input, in a single loop over time."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def run(
    networks: Sequence[nnx.Bidirectional],
    inputs: Float[Array, "B U D"],
    dtype: DTypeLike,
) -> Float[Array, "B N U H"]:
    """Return what each network says at each step of time, begun from zeros.

    The same as calling each of them. As they come, each direction of each network is a
    loop of its own, one after the other, with two small matrix products a step; here
    all take each step together, and what the inputs contribute is one product before
    the loop.

    Args:
        networks: Bidirectional ones of `nnx.OptimizedLSTMCell`, all of one size.
        inputs: The sequences.
        dtype: Of the computation.
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
        memory, said = carry
        gates = driven_now + jnp.einsum("nrbh,nrhg->nrbg", said, from_before)
        write, keep, new, tell = jnp.split(gates, 4, axis=-1)
        memory = nnx.sigmoid(keep) * memory + nnx.sigmoid(write) * nnx.tanh(new)
        said = nnx.sigmoid(tell) * nnx.tanh(memory)
        return (memory, said), said

    zeros = jnp.zeros((*driven.shape[1:-1], driven.shape[-1] // 4), dtype)
    _, said = jax.lax.scan(step, (zeros, zeros), driven)
    there_and_back = jnp.concatenate([said[:, :, 0], said[::-1, :, 1]], axis=-1)
    return there_and_back.transpose(2, 1, 0, 3)
