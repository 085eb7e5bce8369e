"""STYLE: every module imports from lower layers alone."""

import ast
import pathlib
import subprocess
import sys

import pytest

import uld_jax

LAYERS = {
    0: {"labels", "features", "losses", "models", "optimizer", "scenes", "corpora"}
    | {"builtin_speech", "progress", "checkpoints", "records", "acoustics"}
    | {"gridding", "image_source"}
    | {"builtin_noise", "stopping", "errors"},
    1: {"schemes", "metrics", "input_pipeline", "locking", "rooms", "anechoic"}
    | {"gcc", "recordings"},
    2: {"config", "objective", "rendering", "srp_phat", "tdoa", "baselines"},
    3: {"evaluate", "training_step", "simulation"},
    4: {"fresh"},
    5: {"datasets"},
    6: {"train"},
    7: {"commands"},
    8: {"main", "sweep", "prepare", "tables", "plots"},
}
# Within a layer, or to say more about what a module may use.
ALSO_ALLOWED = {
    "acoustics": {"errors"},
    "baselines": {"srp_phat", "tdoa"},
    "builtin_noise": {"builtin_speech"},
    "corpora": {"builtin_noise", "builtin_speech", "errors"},
    "models": {"features"},
    "plots": {"tables"},
    "scenes": {"errors"},
}
ONLY = {"tables": {"records"}, "plots": {"records", "tables"}}
SOLE_USERS = {
    "grain": {"input_pipeline"},
    "orbax": {"checkpoints"},
    "tensorflow_datasets": {"input_pipeline"},
    "matplotlib": {"plots"},
    "uld_jax_data": {"datasets"},
}
NO_JAX = {"acoustics", "scenes", "corpora", "builtin_speech", "records"}
NO_JAX |= {"builtin_noise", "tables", "plots"}
HEAVY = {"tensorflow", "pyroomacoustics", "matplotlib", "soundfile", "soxr"}

PACKAGE = pathlib.Path(uld_jax.__file__).parent
MODULES = sorted(p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__")
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}


def imports(name):
    """Return the modules of the package that a module imports, and the others."""
    own, others = set(), set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "uld_jax":
            own |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            others.add(node.module)
        elif isinstance(node, ast.Import):
            others |= {alias.name for alias in node.names}
    direct = {name for name in others if name.startswith("uld_jax.")}
    own |= {name.split(".")[1] for name in direct}
    return own, {name.split(".")[0] for name in others - direct}


def test_every_module_has_a_layer():
    assert sorted(LAYER_OF) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    own, others = imports(name)
    allowed = {m for m in MODULES if LAYER_OF[m] < LAYER_OF[name]}
    assert own <= (allowed & ONLY.get(name, allowed)) | ALSO_ALLOWED.get(name, set())
    for library, users in SOLE_USERS.items():
        assert library not in others or name in users, library
    if name in NO_JAX:
        assert not others & {"jax", "flax", "optax"}


def test_training_imports_no_simulator_no_tensorflow_no_plots():
    code = f"import sys, uld_jax.main; print(sorted({HEAVY!r} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_there_is_no_pickle_no_eval_and_no_absolute_path():
    root = PACKAGE.parent
    folders = ("uld_jax", "data", "experiments", "benchmarks")
    for path in [p for folder in folders for p in (root / folder).rglob("*.py")]:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), path
            if isinstance(node, ast.Import):
                assert "pickle" not in {alias.name for alias in node.names}, path
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("/home", "/work", "/tmp")), path
