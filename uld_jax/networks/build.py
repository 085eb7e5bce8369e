"""The table of networks, and building one for a label and a data set (Sec. 3.3).

Every network is called with the features [B, M, T, 2F], the position codes of the nodes
[B, M, E], a mask [B, M] that is True where a node is present, or None, and, in training,
random streams for its dropout. One that needs other inputs has a static method `inputs`
(`objective.inputs_of`), whose results it is called with instead. It returns the logits [B, S, E] of S sources, E = C K K
outputs each. To add one, write its class and `SPEC` and list it in `NETWORKS`;
docs/extending.md shows an example.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from uld_jax.labels import schemes
from uld_jax.networks import (
    ad_hoc,
    directions,
    encoder_decoder,
    evidence,
    multilateration,
    objective,
    speech_mask,
)
from uld_jax.networks.spec import NetworkSpec

NETWORKS = {
    spec.name: spec
    for spec in (
        encoder_decoder.SPEC,
        ad_hoc.SPEC,
        multilateration.SPEC,
        directions.SPEC,
    )
}


def get_spec(name: str) -> NetworkSpec:
    """Look up a network by its name in the configuration.

    Besides those of `NETWORKS`, which localize, there is that of speech masks.

    Raises:
        ValueError: If there is no such network.
    """
    known = NETWORKS | {speech_mask.NAME: speech_mask.SPEC}
    if name not in known:
        raise ValueError(f"model.name is {name!r}; there are {', '.join(known)}")
    return known[name]


def spec_of(model: nnx.Module) -> NetworkSpec | None:
    """Find the specification of a network by its class; None if it is not listed."""
    found = [spec for spec in NETWORKS.values() if type(model) is spec.network]
    return found[0] if found else None


def make_label(
    label: Mapping[str, Any], model: Mapping[str, Any], times_finer: int = 1
) -> schemes.Label:
    """Make the label of an experiment.

    Args:
        label: The configuration's `label`: scheme and resolution.
        model: The configuration's `model`, whose arrays the label is of, if it has any.
        times_finer: Factor of the resolution.

    Raises:
        ValueError: As `schemes.Label`.
    """
    arrays = directions.pairs(model.get("arrays", ()))
    return schemes.Label(label["scheme"], times_finer * label["resolution"], arrays)


def for_label(
    settings: Mapping[str, Any],
    label: schemes.Label,
    num_nodes: int,
    num_sources: int,
    seed: int,
) -> nnx.Module:
    """Build the network of an experiment, with fresh parameters.

    Args:
        settings: The configuration's `model`: a name and the network's settings.
        label: Scheme and resolution of its outputs.
        num_nodes: Nodes of the data.
        num_sources: Sources of the data.
        seed: Seed of the parameters.

    Raises:
        ValueError: If there is no such network, or it cannot have these settings.
    """
    spec = get_spec(settings["name"])
    spec.check(settings, num_nodes, num_sources)
    return spec.network(
        num_nodes=num_nodes,
        num_sources=num_sources,
        outputs_per_axis=label.outputs_per_axis,
        num_channels=label.num_channels,
        rngs=nnx.Rngs(seed),
        **{key: value for key, value in settings.items() if key != "name"},
    )


def evidence_format(name: str) -> dict[str, int]:
    """Look up the format of the evidence that a network is trained on, for its record.

    Args:
        name: The network's.

    Returns:
        `evidence_format`; nothing for a network that takes the signals.
    """
    return {"evidence_format": evidence.FORMAT} if NETWORKS[name].measure else {}


def describe(
    model: nnx.Module, label: schemes.Label, num_nodes: int, num_samples: int
) -> dict[str, Any]:
    """Count a network's parameters by part, and the operations of a forward pass.

    Args:
        model: The network.
        label: Scheme and resolution of its outputs.
        num_nodes: Nodes M of an example.
        num_samples: Samples N of a signal.

    Returns:
        `parameters`, their total number; `parts`, the numbers by part; `flops`, the
        floating-point operations for one example, as XLA counts them; None if it does
        not, or if there are loops.
    """
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    parts = {
        str(name): sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in nnx.to_pure_dict(params).items()
    }

    def forward(params, inputs):
        network = nnx.merge(graph, params, rest)
        network.eval()
        return network(*inputs)

    shapes = {"audio": (1, num_nodes, num_samples), "room_size": (1, 3)}
    shapes["node_positions"] = (1, num_nodes, 3)
    batch = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()
    }
    inputs = jax.eval_shape(lambda one: objective.inputs_of(model, label, one), batch)
    lowered = jax.jit(forward).lower(params, inputs)
    # XLA counts the body of a loop once, however often it runs.
    has_loop = "stablehlo.while" in lowered.as_text()
    cost = {} if has_loop else lowered.cost_analysis() or {}
    return {
        "parameters": sum(parts.values()),
        "parts": parts,
        "flops": cost.get("flops"),
    }
