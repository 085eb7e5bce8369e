"""benchmarks/counting.py: operations by hand against those of the traced networks."""

import functools
import math
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.interpreters import partial_eval

from uld_jax import config as config_lib
from uld_jax import models, schemes

sys.path.append(str(pathlib.Path(__file__).parents[1] / "benchmarks"))
import counting

SMALL = {"num_blocks": 1, "width": 8}
ADHOC = {"name": "adhoc", "num_heads": 2, "num_temporal_blocks": 1, **SMALL}
NETWORKS = {
    "one source": (ADHOC | {"frames_per_step": 3}, 1),
    "two sources": (ADHOC | {"frames_per_step": 2}, 2),
    "one mask": (ADHOC | {"split": "complement", "fusion": "attention"}, 2),
    "convolution": (ADHOC | {"front_end": "convolution"}, 1),
    "arrays": ({"name": "encoder_decoder", **SMALL}, 1),
    "late average": ({"name": "encoder_decoder", "average_frames": "late", **SMALL}, 1),
}


def products(jaxpr):
    """Return the operations of all products of matrices in a jaxpr, loops and all."""
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        out = [np.prod(var.aval.shape) for var in equation.outvars][:1]
        shapes = [var.aval.shape for var in equation.invars if hasattr(var, "aval")]
        if name == "dot_general":
            ((contracted, _), _) = params["dimension_numbers"]
            total += 2 * out[0] * math.prod(shapes[0][axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = params["dimension_numbers"].rhs_spec
            taps = math.prod(shapes[1][axis] for axis in kernel[1:])
            # Zeros between the numbers of a dilated input or kernel take no part.
            dilated = math.prod(params["lhs_dilation"])
            total += 2 * out[0] * taps // dilated
        length = params["length"] if name == "scan" else 1
        for inner in jax.tree.leaves(
            list(params.values()), is_leaf=lambda leaf: hasattr(leaf, "jaxpr")
        ):
            if hasattr(inner, "jaxpr"):
                total += length * products(inner.jaxpr)
            elif hasattr(inner, "eqns"):
                total += length * products(inner)
    return total


@functools.cache
def traced(name):
    """Return a network's products by hand, and those that JAX traces: forward, all."""
    changes, num_sources = NETWORKS[name]
    settings = config_lib.to_dict(config_lib.default(changes["name"]).model) | changes
    label = schemes.Label("refined_grid", 5)
    shapes = counting.Shapes(
        batch=2,
        nodes=4,
        samples=256 * 6,
        sources=num_sources,
        channels=label.num_channels,
        per_axis=label.outputs_per_axis,
        parameters=1,
    )
    model = nnx.eval_shape(
        lambda: models.for_label(settings, label, shapes.nodes, num_sources, 0)
    )
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)
    spectra = jax.ShapeDtypeStruct((2, 4, shapes.frames, 512), jnp.float32)
    codes = jax.ShapeDtypeStruct((2, 4, shapes.outputs), jnp.float32)

    def loss(params, rest, spectra, codes):
        network = nnx.merge(graph, params, rest)
        network.train()
        return network(spectra, codes, rngs=nnx.Rngs(0)).sum()

    counts = []
    for function in (loss, jax.value_and_grad(loss)):
        jaxpr = jax.make_jaxpr(function)(params, rest, spectra, codes).jaxpr
        # As XLA does: gradients that nobody asks for are not computed.
        needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
        counts.append(products(needed))
    forward, both = counts
    work = counting.step(settings, shapes)
    return [one for one in work if one.kind == "matrix"], forward, both


@pytest.mark.parametrize("name", NETWORKS)
def test_products_by_hand_are_those_of_the_traced_network(name):
    work, forward, _ = traced(name)
    assert sum(one.forward for one in work) == forward


@pytest.mark.parametrize("name", NETWORKS)
def test_products_of_the_backward_pass_are_too(name):
    work, _, both = traced(name)
    assert sum(one.flops for one in work) == both
