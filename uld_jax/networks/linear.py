"""A linear layer whose gradient suits CPUs as well.

What CPUs need is done on CPUs alone: the libraries of accelerators transpose as they go,
and one product of what was joined is better there than several.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def on_cpu() -> bool:
    """Return whether what is traced now is meant for a CPU."""
    return jax.default_backend() == "cpu"


@jax.custom_vjp
def product(
    x: Float[Array, "*B K"], kernel: Float[Array, "K N"]
) -> Float[Array, "*B N"]:
    """Return x @ kernel.

    The gradient of the kernel is a product over all rows, for which XLA transposes x on
    CPUs, however wide. Here the narrower of x and the result's gradient is transposed
    there, which takes 15 % off a training step of Ad-1 (docs/speed.md).
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
    else:  # The barrier keeps XLA from turning it back.
        of_kernel = jax.lax.optimization_barrier(gradients.T @ rows).T
    return gradient @ kernel.T, of_kernel


product.defvjp(_forward, _backward)


class Linear(nnx.Linear):
    """`nnx.Linear` by way of `product`."""

    def __call__(self, x: Float[Array, "*B K"]) -> Float[Array, "*B N"]:
        """Return x times the kernel, plus the bias."""
        kernel, bias = self.kernel[...], self.bias[...]
        x, kernel, bias = self.promote_dtype((x, kernel, bias), dtype=self.dtype)
        return product(x, kernel) + bias


def concatenated(
    layer: nnx.Linear, parts: tuple[Float[Array, "*B _"], ...]
) -> Float[Array, "*B N"]:
    """Return what a layer makes of parts of its input.

    On CPUs without joining them in memory, in float32; with fewer bits the sum of
    several products would be less exact than one.
    """
    if not on_cpu() or layer.dtype != jnp.float32:
        return layer(jnp.concatenate(parts, axis=-1))
    first, result = 0, layer.bias[...]
    for part in parts:
        rows = layer.kernel[first : first + part.shape[-1]]
        result = result + product(part, rows)
        first += part.shape[-1]
    return result
