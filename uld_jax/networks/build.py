"""Networks by name: features of the nodes in, logits of the sources out (Sec. 3.3).

Every network is called with the features [B, M, T, 2F], the nodes' position codes
[B, M, D], a mask of the nodes that are there [B, M] or None, and, in training,
random streams for its dropout. It returns the logits [B, S, E] of S sources,
E = C K K outputs each.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from uld_jax.acoustics import stft
from uld_jax.labels import schemes
from uld_jax.networks import ad_hoc, encoder_decoder

MODELS = {
    "encoder_decoder": encoder_decoder.EncoderDecoder,
    "adhoc": ad_hoc.AdHoc,
}
ANY_NODES = frozenset({"adhoc"})  # Others have as many as they were made for.
MOST_SOURCES = {"encoder_decoder": 1}  # Of those that do not find any number.
# Parts of a network that mean cells or grid points, and nothing with other ones.
OF_LABEL = {
    "encoder_decoder": {"plan", "grow", "grow_norm", "refine", "refine_norm", "head"},
    "adhoc": {"embed_position", "third"},
}


def build(name: str, *, rngs: nnx.Rngs, **settings) -> nnx.Module:
    """Return a network by name, with fresh parameters.

    Args:
        name: One of `MODELS`.
        rngs: Random streams of the parameters.
        **settings: `num_nodes`, `num_sources`, `outputs_per_axis` and
            `num_channels`, which data and label give, and the network's own.

    Raises:
        ValueError: If there is no such network, or it cannot have these settings.
    """
    if name not in MODELS:
        raise ValueError(f"no network {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name](rngs=rngs, **settings)


def for_label(
    settings: dict, label: schemes.Label, num_nodes: int, num_sources: int, seed: int
) -> nnx.Module:
    """Return the network of an experiment, with fresh parameters.

    Args:
        settings: The configuration's `model`: a name and the network's settings.
        label: Scheme and resolution of its outputs.
        num_nodes: Nodes of the data.
        num_sources: Sources of the data.
        seed: Of the parameters.

    Raises:
        ValueError: As `build`.
    """
    return build(
        num_nodes=num_nodes,
        num_sources=num_sources,
        outputs_per_axis=label.outputs_per_axis,
        num_channels=label.num_channels,
        rngs=nnx.Rngs(seed),
        **settings,
    )


def overview(
    model: nnx.Module, num_nodes: int, num_frames: int, code_length: int
) -> dict:
    """Return parameters by part of a network, and operations of a forward pass.

    Args:
        model: The network.
        num_nodes: Nodes M of an example.
        num_frames: Frames T.
        code_length: Length of a node's position code.

    Returns:
        `parameters`, their total number; `parts`, the numbers by part; `flops`, the
        floating-point operations for one example, as XLA counts them; None where it
        does not.
    """
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    parts = {
        str(name): sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in nnx.to_pure_dict(params).items()
    }

    def forward(params, features, codes):
        network = nnx.merge(graph, params, rest)
        network.eval()
        return network(features, codes)

    shapes = ((1, num_nodes, num_frames, 2 * stft.NUM_BINS),)
    shapes += ((1, num_nodes, code_length),)
    inputs = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    cost = jax.jit(forward).lower(params, *inputs).cost_analysis() or {}
    return {
        "parameters": sum(parts.values()),
        "parts": parts,
        "flops": cost.get("flops"),
    }
