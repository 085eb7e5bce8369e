"""Dropout with two decisions a random word (Srivastava et al., 2014)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

_BITS = 16  # Of a decision: two from each random word.


class Dropout(nnx.Module):
    """Sets entries to zero at random in training, and scales the others up.

    Like `nnx.Dropout`, with half its random words, and no floats made of them: 3 % of a
    training step of Ad-1 on a CPU (docs/speed.md). The rate is met to 2^-16.

    Args:
        rate: Share of the entries that become zero, below 1.
    """

    def __init__(self, rate: float):
        self.rate = rate
        self.deterministic = False  # Set by `train` and `eval` of the network.

    def __call__(
        self, x: Float[Array, "*A D"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "*A D"]:
        """Return x, some of it zero in training; `rngs` has a stream `dropout`."""
        limit = round((1 - self.rate) * 2**_BITS)
        if self.deterministic or limit == 2**_BITS:
            return x
        *shape, width = x.shape
        words = jax.random.bits(rngs.dropout(), (*shape, -(-width // 2)), jnp.uint32)
        draws = jax.lax.bitcast_convert_type(words, jnp.uint16)
        draws = draws.reshape(*shape, -1)[..., :width]
        scale = jnp.asarray(2**_BITS / limit, x.dtype)
        return jnp.where(draws < np.uint16(limit), x * scale, jnp.zeros((), x.dtype))
