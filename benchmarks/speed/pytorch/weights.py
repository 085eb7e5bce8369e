"""Copy parameters of a network of `uld_jax` to the same network in PyTorch.

Names of parts agree. Kernels of linear layers and taps of convolutions are transposed,
and channels are the last axis in JAX, the first in PyTorch.
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

_Arrays = dict[str, np.ndarray]


def copy(params: dict, network: nn.Module) -> None:
    """Copy parameters, a pure dictionary of arrays, to a network in PyTorch.

    Raises:
        ValueError: If the two networks do not have the same parameters.
    """
    for name, array in converted(params, network).items():
        network.get_parameter(name).data.copy_(torch.from_numpy(np.array(array)))


def converted(params: dict, network: nn.Module) -> _Arrays:
    """Convert parameters, or their gradients, to a PyTorch network's names and shapes.

    Args:
        params: A pure dictionary of arrays.
        network: The network in PyTorch.

    Raises:
        ValueError: If the two networks do not have the same parameters.
    """
    found, used = {}, 0
    for name, module in network.named_modules():
        for kind, convert in _KINDS.items():
            if isinstance(module, kind):
                part = _part(params, name)
                used += len(list(_leaves(part)))
                arrays = convert(part, name.rpartition(".")[2], module)
                found |= {f"{name}.{key}": array for key, array in arrays.items()}
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    given = {name: array.shape for name, array in found.items()}
    if given != shapes or used != len(list(_leaves(params))):
        differing = sorted(dict(given.items() ^ shapes.items()))
        raise ValueError(f"the networks differ in {', '.join(differing) or 'parts'}")
    return found


def _part(params: dict, name: str) -> dict:
    def descend(part: dict, key: str):
        return part[int(key) if key.isdigit() else key]

    try:
        return functools.reduce(descend, name.split("."), params)
    except KeyError:
        raise ValueError(f"the network in JAX has no {name}") from None


def _leaves(tree: dict) -> Iterator[np.ndarray]:
    for value in tree.values():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield np.asarray(value)


def _channels_first(rows: np.ndarray, channels: int) -> np.ndarray:
    """Reorder rows from position-major, channels within, to channel-major."""
    num_positions = len(rows) // channels
    turned = rows.reshape(num_positions, channels, *rows.shape[1:]).swapaxes(0, 1)
    return turned.reshape(rows.shape)


def _linear(part: dict, name: str, module: nn.Linear) -> _Arrays:
    weight, bias = np.asarray(part["kernel"]).T, np.asarray(part["bias"])
    if name == "code":  # It reads a flattened map of channels along frequency.
        weight = _channels_first(weight.T, module.out_features // 4).T
    return {"weight": weight, "bias": bias}


def _norm(part: dict, name: str, module: nn.Module) -> _Arrays:
    return {"weight": np.asarray(part["scale"]), "bias": np.asarray(part["bias"])}


def _convolution(part: dict, name: str, module: nn.Module) -> _Arrays:
    if "linear" not in part:
        kernel = np.asarray(part["kernel"])  # [height, width, in, out]
        return {
            "weight": kernel.transpose(3, 2, 0, 1),
            "bias": np.asarray(part["bias"]),
        }
    kernel, bias = (np.asarray(part["linear"][key]) for key in ("kernel", "bias"))
    taps = kernel.reshape(-1, module.in_channels, module.out_channels)
    weight = taps.transpose(2, 1, 0).reshape(module.weight.shape)
    return {"weight": weight, "bias": bias}


def _transposed(part: dict, name: str, module: nn.Module) -> _Arrays:
    kernel = np.asarray(part["kernel"])[::-1, ::-1]  # PyTorch flips it.
    return {"weight": kernel.transpose(2, 3, 0, 1), "bias": np.asarray(part["bias"])}


def _lstm(part: dict, name: str, module: nn.LSTM) -> _Arrays:
    found = {}
    for way, ending in (("forward_rnn", "l0"), ("backward_rnn", "l0_reverse")):
        cell = part[way]["cell"]
        bias = np.asarray(cell["dense_h"]["bias"])
        found |= {
            f"weight_ih_{ending}": np.asarray(cell["dense_i"]["kernel"]).T,
            f"weight_hh_{ending}": np.asarray(cell["dense_h"]["kernel"]).T,
            f"bias_ih_{ending}": np.zeros_like(bias),  # Flax has only one bias.
            f"bias_hh_{ending}": bias,
        }
    return found


_KINDS = {
    nn.Linear: _linear,
    nn.LayerNorm: _norm,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    nn.LSTM: _lstm,
}
