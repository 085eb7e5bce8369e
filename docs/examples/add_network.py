"""Add a network: one class and one spec.

python docs/examples/add_network.py

A small network that takes the mean level of each node and its position code. In the
package, the class and SPEC would be uld_jax/networks/levels.py, and SPEC an entry of
NETWORKS in uld_jax/networks/build.py.
"""

import tempfile

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

import uld_jax
from uld_jax import config as config_lib
from uld_jax.networks import build, spec


class Levels(nnx.Module):
    """Network of one hidden layer per node and its mean over the nodes."""

    def __init__(
        self,
        *,
        num_nodes: int,
        num_sources: int,
        outputs_per_axis: int,
        num_channels: int,
        width: int,
        dtype: str,
        rngs: nnx.Rngs,
    ):
        self.num_sources = num_sources
        num_outputs = num_channels * outputs_per_axis**2
        layer = {"dtype": jnp.dtype(dtype), "rngs": rngs}
        self.from_code = nnx.Linear(num_outputs, width, **layer)
        self.from_level = nnx.Linear(1, width, **layer)
        self.to_logits = nnx.Linear(width, num_sources * num_outputs, rngs=rngs)

    def __call__(
        self,
        features: Float[Array, "B M T 512"],
        codes: Float[Array, "B M E"],
        mask: Bool[Array, "B M"] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "B S E"]:
        """Compute the logits; absent nodes have no influence."""
        level = jnp.log((features**2).mean(axis=(2, 3)) + 1e-6)
        hidden = nnx.relu(self.from_code(codes) + self.from_level(level[..., None]))
        if mask is None:
            mask = jnp.ones(level.shape, bool)
        mean = hidden.mean(axis=1, where=mask[..., None])
        logits = self.to_logits(mean.astype(jnp.float32))
        return logits.reshape(len(logits), self.num_sources, -1)


SPEC = spec.NetworkSpec(
    name="levels",
    network=Levels,
    settings={"width": 32},
    # Their parameters belong to cells or grid points of one label.
    label_parts=frozenset({"from_code", "to_logits"}),
    any_nodes=True,
    ranges={"width": (1, 4096)},
)


def main(data_dir: str, workdir: str) -> dict:
    """Train the network on a few built-in signals for two epochs, and test it."""
    build.NETWORKS["levels"] = SPEC
    config = config_lib.default("levels")
    config.data.update(name="simulated/l1_tiny:1.0.0", dir=data_dir, speech="builtin")
    config.train.update(epochs=2, batch_size=8)
    record = uld_jax.train_and_evaluate(config_lib.resolve(config), workdir)
    print(f"MAE {record['test']['mae']:.2f} m after {len(record['epochs'])} epochs")
    return record


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(f"{folder}/datasets", f"{folder}/run")
