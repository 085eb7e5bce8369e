"""The public API of `import uld_jax`: every entry is documented and runs."""

import ast
import doctest
import importlib
import inspect
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import uld_jax

ROOM = [6.0, 4.5]
NAMES = [
    name
    for name in uld_jax.__all__
    if not inspect.ismodule(getattr(uld_jax, name)) and name != "SCHEMES"
]


def test_editors_see_what_runs():
    """The stub that the package reads itself by is one that type checkers accept."""
    path = pathlib.Path(uld_jax.__file__).with_suffix(".pyi")
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            (alias,) = node.names
            assert alias.asname == alias.name  # Or it would not be re-exported.
            found[alias.name] = node.module
    assert sorted(found) == sorted(uld_jax.__all__)
    for name, module in found.items():
        if module:
            owner = importlib.import_module(f"uld_jax.{module}")
            assert getattr(uld_jax, name) is getattr(owner, name)


def test_the_package_lists_its_contents():
    assert set(uld_jax.__all__) <= set(dir(uld_jax))
    with pytest.raises(AttributeError, match="encode_udl"):
        _ = uld_jax.encode_udl


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring_and_a_true_example(name):
    found = getattr(uld_jax, name)
    text = inspect.getdoc(found)
    assert text and text.splitlines()[0].endswith(".")
    methods = (
        [value for key, value in vars(found).items() if key[0] != "_"]
        if (inspect.isclass(found))
        else []
    )
    examples = doctest.DocTestFinder(recurse=False).find(found, name, globs={})
    for method in methods:
        if inspect.isfunction(method):
            examples += doctest.DocTestFinder(recurse=False).find(
                method, name, globs={}
            )
    assert any(test.examples for test in examples), "no >>> example"
    runner = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    for test in examples:
        runner.run(test)
    assert not runner.failures


def kinds(value):
    """Return a value as a list, as NumPy and as JAX arrays."""
    return value, np.asarray(value, np.float32), jnp.asarray(value)


JOINT = [[0.1, 0.2, 0.0], [0.1, 0.5, 0.0], [0.0, 0.1, 0.0]]
CALLS = {
    "encode_uld": ([1.7, 3.2], ROOM, 4),
    "encode_one_hot": ([1.7, 3.2], ROOM, 4),
    "encode_heat_map": ([1.7, 3.2], ROOM, 4),
    "encode_refined_grid": ([1.7, 3.2], ROOM, 4),
    "decode_wad": (JOINT, ROOM),
    "decode_cells": (JOINT, ROOM),
    "decode_refined_grid": ([JOINT, JOINT, JOINT], ROOM),
    "cross_entropy": (JOINT, JOINT),
    "entropy": (JOINT,),
    "permutation_invariant": ([[1.0, 2.0], [0.5, 3.0]],),
    "accuracy": ([1.0, 0.0, 1.0],),
    "mae": ([0.5, 0.1],),
    "error_statistics": ([0.5, 0.1],),
    "distances": ([[1.0, 2.0]], [[1.5, 2.0]]),
    "best_permutation": ([[1.0, 2.0], [3.0, 1.0]], [[3.0, 1.1], [1.0, 2.1]]),
    "quantization_error": ([1.7, 3.2], ROOM, 4),
    "stft": (np.sin(np.arange(1024.0)).tolist(),),
}


@pytest.mark.parametrize("name", CALLS)
def test_lists_numpy_and_jax_arrays_give_the_same(name):
    call, arguments = getattr(uld_jax, name), CALLS[name]
    converted = [
        kinds(value) if isinstance(value, list) else (value,) * 3 for value in arguments
    ]
    if name == "accuracy":
        converted = [tuple(np.asarray(v) > 0.5 for v in c) for c in converted]
        converted = [(c[0].tolist(), c[1], jnp.asarray(c[2])) for c in converted]
    first, *others = (call(*choice) for choice in zip(*converted, strict=True))
    for other in others:
        if isinstance(first, dict):
            assert other == pytest.approx(first)
        else:
            np.testing.assert_allclose(np.asarray(other), np.asarray(first), rtol=1e-5)


def test_importing_the_package_loads_neither_jax_nor_flax():
    code = "import sys, uld_jax; uld_jax.__version__; "
    code += "print(sorted({'jax', 'flax', 'numpy', 'absl'} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
