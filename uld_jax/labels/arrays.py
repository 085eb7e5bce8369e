"""Arrays of NumPy, JAX or PyTorch: one implementation of every label for all three.

Functions compute by the array API standard (https://data-apis.org/array-api), which
NumPy and JAX follow themselves, and PyTorch by `array_api_compat`. What comes in decides
what goes out: its library, precision and device.
"""

import sys
from types import ModuleType
from typing import Any

import numpy as np

# A numpy.ndarray, a jax.Array or a torch.Tensor; or numbers in lists, which become NumPy's.
Array = Any


def namespace(*arrays: Array) -> ModuleType:
    """Find the library of arrays: PyTorch's or JAX's where there is one, else NumPy.

    Raises:
        ImportError: If there are tensors of PyTorch, and no `array_api_compat`.
    """
    found = np
    for array in arrays:
        if _is_tensor(array):
            try:
                from array_api_compat import torch
            except ImportError as error:
                raise ImportError(
                    "labels of PyTorch tensors need array-api-compat: "
                    "pip install array-api-compat"
                ) from error
            return torch
        if hasattr(array, "__array_namespace__") and not isinstance(
            array, np.ndarray | np.generic
        ):
            found = array.__array_namespace__()
    return found


def as_floats(*values: Array) -> tuple[Array, ...]:
    """Convert values to arrays of one library, precision and device.

    Those of the first array that has floats; whole numbers and lists follow it, and
    become double precision if there are only NumPy's.
    """
    xp = namespace(*values)
    model = next((one for one in values if _has_floats(one, xp)), None)
    if model is None:
        if _is_tensor_library(xp):
            device = next(one.device for one in values if _is_tensor(one))
            model = xp.asarray(0.0, device=device)
        else:
            model = xp.asarray(0.0)
    return tuple(like(one, model) for one in values)


def like(values: Array, model: Array) -> Array:
    """Convert values to an array of a model's library, precision and device."""
    xp = namespace(model)
    if _is_tensor(values) and _is_tensor(model):
        return values.to(model.device, model.dtype)  # Keeps its gradient.
    if _is_tensor(model):
        return xp.asarray(values, dtype=model.dtype, device=model.device)
    return xp.asarray(values, dtype=model.dtype)


def look_at(*values: Array) -> tuple[Array, ...] | None:
    """Convert values to arrays that can be looked at, or None where they are not known.

    They are not while JAX or PyTorch compiles. JAX's come to the host, because each
    of its operations is part of the program that it traces; PyTorch's stay where they are.
    """
    jax, torch = sys.modules.get("jax"), sys.modules.get("torch")
    if jax is not None and any(isinstance(one, jax.core.Tracer) for one in values):
        return None
    if any(_is_tensor(one) for one in values):
        return None if torch.compiler.is_compiling() else as_floats(*values)
    return tuple(np.asarray(one, np.float64) for one in values)


def to_numpy(array: Array) -> np.ndarray:
    """Copy an array to NumPy, in double precision."""
    if _is_tensor(array):
        return array.detach().cpu().double().numpy()
    return np.asarray(array, np.float64)


def constant(array: Array) -> Array:
    """Take an array as a constant: no gradient flows through it."""
    if _is_tensor(array):
        return array.detach()
    if isinstance(array, np.ndarray | np.generic):
        return array
    import jax

    return jax.lax.stop_gradient(array)


def _is_tensor(array: Array) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _is_tensor_library(xp: ModuleType) -> bool:
    return xp.__name__.endswith("torch")


def _has_floats(array: Array, xp: ModuleType) -> bool:
    """Check whether an array is of a library, with real floats."""
    if xp is not np and not _is_tensor(array) and isinstance(array, np.ndarray):
        return False  # NumPy's follow those of the other library.
    dtype = getattr(array, "dtype", None)
    return dtype is not None and xp.isdtype(dtype, "real floating")
