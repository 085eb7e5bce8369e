"""Check that the networks in JAX and in PyTorch compute the same."""

import jax
import numpy as np
import torch
from flax import nnx

from benchmarks.speed.pytorch import networks, weights
from uld_jax.networks import objective
from uld_jax.runtime import errors

TOLERANCE = 1e-4


class UnequalError(errors.InputError):
    """Networks that differ, so that comparing their speed is meaningless."""


def differences(
    label, model: nnx.Module, network: torch.nn.Module, batch: dict
) -> dict:
    """Copy the parameters to PyTorch and return the largest differences.

    Both compute in float32. The logits in evaluation and in training and the loss are
    compared as they are, gradients relative to the largest gradient of all parameters.

    Args:
        label: Label with its resolution.
        model: Network in JAX, without dropout.
        network: Network in PyTorch, without dropout; it gets the parameters.
        batch: Examples, NumPy arrays.

    Raises:
        UnequalError: If a difference is above `TOLERANCE`, or not a number.
        ValueError: If the networks do not have the same parameters.
    """
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)

    def mean_loss(params, batch):
        inputs = objective.network_inputs(label, batch)
        network = nnx.merge(graph, params, rest)
        network.eval()  # First, since training changes the statistics of batches.
        evaluated = network(*inputs)
        network.train()
        logits = network(*inputs)
        return objective.losses(label, logits, batch)[0].mean(), (evaluated, logits)

    with jax.default_matmul_precision("highest"):
        (loss, logits), gradients = jax.jit(
            jax.value_and_grad(mean_loss, has_aux=True)
        )(params, batch)
    weights.copy(params, network)
    in_torch = _in_torch(batch, network, label.resolution)
    in_jax = dict(zip(("evaluation", "training", "loss"), (*logits, loss), strict=True))
    found = {
        key: float(np.abs(np.asarray(value) - in_torch[key]).max())
        for key, value in in_jax.items()
    }
    expected = weights.converted(gradients, network)
    largest = max(np.abs(array).max() for array in expected.values())
    found["gradients"] = float(
        max(
            np.abs(parameter.grad.cpu().numpy() - expected[name]).max()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        )
        / largest
    )
    for what, value in found.items():
        if not value <= TOLERANCE:
            raise UnequalError(
                f"the networks differ by {value:.2g} in {what}, more than "
                f"{TOLERANCE:g}; fix benchmarks/speed/pytorch/networks.py first"
            )
    return found


def _in_torch(batch: dict, network: torch.nn.Module, resolution: int) -> dict:
    """Compute logits and loss of a batch; leave its gradients in the network."""
    device = next(network.parameters()).device
    batch = {key: torch.from_numpy(v).to(device) for key, v in batch.items()}
    nodes, targets = (
        networks.codes(batch[f"{kind}_positions"], batch["room_size"], resolution)
        for kind in ("node", "source")
    )
    inputs = (*networks.spectra(batch["audio"]), nodes)
    network.eval()
    with torch.no_grad():
        evaluation = network(*inputs)
    network.train()
    logits = network(*inputs)
    loss = networks.mean_loss(logits, targets)
    loss.backward()
    found = {"evaluation": evaluation, "training": logits, "loss": loss}
    return {key: tensor.detach().cpu().numpy() for key, tensor in found.items()}
