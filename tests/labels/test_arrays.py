"""One implementation for NumPy, JAX and PyTorch: each is checked against NumPy."""

import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import uld_jax
from uld_jax import labels

ROOM = [4.0, 3.0, 2.5]
POSITIONS = np.random.default_rng(0).uniform(size=(2, 3, 3)) * ROOM
RNG = np.random.default_rng(1)
JOINT = RNG.dirichlet(np.ones(60), 2).reshape(2, 5, 4, 3)
LOGITS = RNG.normal(size=(2, 5, 4, 3))
CALLS = {
    "encode_uld": lambda a: labels.encode_uld(a(POSITIONS), ROOM, (3, 4, 5)),
    "encode_marginals": lambda a: labels.encode_marginals(a(POSITIONS), ROOM, 4)[1],
    "encode_one_hot": lambda a: labels.encode_one_hot(a(POSITIONS), ROOM, (3, 4, 5)),
    "encode_heat_map": lambda a: labels.encode_heat_map(a(POSITIONS), ROOM, 3),
    "encode_refined_grid": lambda a: labels.encode_refined_grid(a(POSITIONS), ROOM, 3),
    "encode_soft": lambda a: labels.encode_soft(a(POSITIONS), ROOM, 4),
    "encode_box": lambda a: labels.encode_uld(
        a(POSITIONS), resolution=3, low=a(np.zeros(3)), high=[4, 3, 3], outside="clip"
    ),
    "decode_wad": lambda a: labels.decode_wad(a(JOINT), ROOM),
    "decode_marginals": lambda a: labels.decode_marginals(
        [a(JOINT[..., 0, 0, :])] * 3, ROOM
    ),
    "decode_mean": lambda a: labels.decode_mean(a(JOINT), ROOM),
    "decode_local_mean": lambda a: labels.decode_local_mean(a(JOINT), ROOM, window=2),
    "decode_argmax": lambda a: labels.decode_argmax(a(LOGITS), ROOM),
    "decode_cells": lambda a: labels.decode_cells(a(LOGITS), ROOM),
    "decode_refined_grid": lambda a: labels.decode_refined_grid(
        a(LOGITS[:, :3]), [4.0, 3.0]
    ),
    "decode_covariance": lambda a: labels.decode_covariance(a(JOINT), ROOM),
    "decode_modes": lambda a: labels.decode_modes(a(JOINT), ROOM).positions,
    "encode_circular": lambda a: labels.encode_circular(a(POSITIONS), 8),
    "decode_circular": lambda a: labels.decode_circular(a(JOINT)),
    "encode_spherical": lambda a: labels.encode_spherical(a(POSITIONS[..., :2]), 2),
    "decode_spherical": lambda a: labels.decode_spherical(a(JOINT.reshape(-1, 12))),
    "cross_entropy": lambda a: labels.cross_entropy(a(LOGITS), a(JOINT), 3),
    "kl": lambda a: labels.cross_entropy(a(LOGITS), a(JOINT), 3, subtract_entropy=True),
    "factorized": lambda a: labels.factorized_cross_entropy(
        [a(LOGITS[..., 0])] * 2, [a(JOINT[..., 0])] * 2
    ),
    "entropy": lambda a: labels.entropy(a(JOINT), 3),
    "squared_error": lambda a: labels.squared_error(a(LOGITS), a(JOINT), 3),
    "refined_grid": lambda a: labels.refined_grid(a(LOGITS[:, :3]), a(JOINT[:, :3]), 3),
    "permutation_invariant": lambda a: labels.permutation_invariant(
        a(LOGITS[:, :3, :3, 0])
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_numpy_stays_numpy_in_its_precision(name):
    found = CALLS[name](np.asarray)
    assert isinstance(found, np.ndarray | np.generic)
    assert found.dtype == np.float64
    single = CALLS[name](lambda array: np.asarray(array, np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("name", CALLS)
def test_jax_stays_jax_and_agrees(name):
    found = CALLS[name](jnp.asarray)
    assert isinstance(found, jnp.ndarray)
    np.testing.assert_allclose(found, CALLS[name](np.asarray), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("name", CALLS)
def test_pytorch_stays_pytorch_and_agrees(name):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    found = CALLS[name](torch.asarray)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, CALLS[name](np.asarray), atol=1e-12)


def test_pytorch_has_gradients():
    torch = pytest.importorskip("torch", exc_type=ImportError)
    logits = torch.zeros(5, 9, 9, requires_grad=True)
    position = torch.rand(5, 2, requires_grad=True)
    target = labels.encode_uld(position, [1.0, 1.0], 8)
    loss = labels.cross_entropy(logits, target.detach(), 2).sum()
    loss.backward()
    softmax = torch.full((9, 9), 1 / 81)
    np.testing.assert_allclose(logits.grad, (softmax - target).detach(), atol=1e-6)
    labels.decode_wad(target, [1.0, 1.0]).sum().backward()
    np.testing.assert_allclose(position.grad, np.ones((5, 2)), atol=1e-4)


def test_whole_numbers_become_floats():
    assert labels.encode_uld([1, 3], [4, 4], 2).dtype == np.float64
    assert labels.encode_uld(jnp.array([1, 3]), [4, 4], 2).dtype == jnp.float32
    torch = pytest.importorskip("torch", exc_type=ImportError)
    assert labels.encode_uld(torch.tensor([1, 3]), [4, 4], 2).dtype == torch.float32


def test_labels_need_numpy_alone():
    """In a process where nothing else can be imported."""
    root = pathlib.Path(uld_jax.__file__).parents[1]
    program = f"""
import sys, numpy
sys.path.insert(0, {str(root)!r})
class Refuse:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first not in (*sys.stdlib_module_names, "numpy", "uld_jax"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import uld_jax
labels = uld_jax.labels
try:
    uld_jax.localize
except AttributeError as error:
    print(str(error)[:43])
code = labels.encode_uld([1.0, 3.0], [4.0, 4.0], 2)
print(labels.decode_wad(code, [4.0, 4.0]), labels.cross_entropy(code, code).round(3))
print(labels.decode_spherical(labels.encode_spherical([1.0, 0.5], 2)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "uld_jax.localize needs what was not install",
        "[1. 3.] 2.066",
        "[1.  0.5]",
    ]
