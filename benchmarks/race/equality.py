"""Whether both networks say the same: without that there is no race.

    python -m race.equality FOLDER

Writes the weights, and the features that the shipped contestant reads, into the folder
of the race, and the largest differences to standard output, in JSON.
"""

import json
import pathlib
import sys

import jax
import numpy as np
import torch
from flax import nnx
from race import data, networks, ours, theirs, weights

from uld_jax import errors, objective

TOLERANCE = 1e-4
_NUM_EXAMPLES = 2


class UnequalError(errors.InputError):
    """Networks that differ; nobody may race them."""


def differences(entry: dict, examples: dict, network: torch.nn.Module) -> dict:
    """Return the largest differences; the network has the weights afterwards.

    All in float32, without dropout: of the logits in evaluation and in training and
    of the loss as they are, and of each parameter's gradient against the largest
    gradient there is.

    Args:
        entry: What is raced: see `run.entry`.
        examples: A batch.
        network: The network in PyTorch.

    Raises:
        UnequalError: If one is above the tolerance, or not a number.
        ValueError: If the networks have not the same parameters.
    """
    entry = entry | {"precision": "float32"}
    label, model = ours.build(entry)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)

    def mean_loss(params, batch):
        inputs = objective.network_inputs(label, batch)
        network = nnx.merge(graph, params, rest)
        network.eval()  # First: the other changes the statistics of batches.
        evaluated = network(*inputs)
        network.train()
        logits = network(*inputs)
        return objective.losses(label, logits, batch)[0].mean(), (evaluated, logits)

    with jax.default_matmul_precision("highest"):
        (loss, logits), gradients = jax.jit(
            jax.value_and_grad(mean_loss, has_aux=True)
        )(params, examples)
    expected = [*logits, loss]
    for name, array in weights.converted(params, network).items():
        network.get_parameter(name).data.copy_(torch.from_numpy(np.array(array)))
    found = dict(zip(("evaluation", "training", "loss"), expected, strict=True))
    theirs_found = _in_torch(examples, network, label.resolution)
    differing = {
        key: float(np.abs(np.asarray(value) - theirs_found[key]).max())
        for key, value in found.items()
    }
    expected = weights.converted(gradients, network)
    largest = max(np.abs(array).max() for array in expected.values())
    differing["gradients"] = float(
        max(
            np.abs(parameter.grad.cpu().numpy() - expected[name]).max()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        )
        / largest
    )
    for what, value in differing.items():
        if not value <= TOLERANCE:
            raise UnequalError(
                f"the networks differ by {value:.2g} in {what}, and may by "
                f"{TOLERANCE:g}; mend benchmarks/race/networks.py before you race"
            )
    return differing


def _in_torch(examples: dict, network: torch.nn.Module, resolution: int) -> dict:
    """Return logits and loss of a batch; the network has its gradients afterwards."""
    device = next(network.parameters()).device
    batch = {key: torch.from_numpy(v).to(device) for key, v in examples.items()}
    places, room = (
        (batch[f"{k}_positions"] for k in ("node", "source")),
        batch["room_size"],
    )
    nodes, targets = (networks.codes(place, room, resolution) for place in places)
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


def main() -> None:
    """Compare, and prepare the race."""
    folder = pathlib.Path(sys.argv[1])
    entry = json.loads((folder / "entry.json").read_text())
    without = entry
    if "dropout" in entry["network"]:
        without = entry | {"network": entry["network"] | {"dropout": 0.0}}
    examples = {key: array[:_NUM_EXAMPLES] for key, array in data.load(folder).items()}
    theirs.set_precision("float32")
    network = networks.build(without["network"]).to(theirs.device())
    try:
        found = differences(without, examples, network)
    except (UnequalError, ValueError) as error:
        sys.exit(f"error: {error}")
    arrays = {name: p.detach().cpu().numpy() for name, p in network.named_parameters()}
    np.savez(folder / "weights.npz", **arrays)
    theirs.write_features(folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
