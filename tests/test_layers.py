"""STYLE: every module imports from lower layers alone."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import uld_jax

LAYERS = {
    0: {"labels", "features", "losses", "optimizer", "scenes", "corpora", "dry_signals"}
    | {"encoder_decoder", "dropout", "lstm", "linear", "host_memory", "grid_convs"}
    | {"builtin_speech", "progress", "checkpoints", "records", "acoustics"}
    | {"gridding", "image_source"}
    | {"builtin_noise", "stopping", "errors", "paper", "markup", "libri_adhoc40"}
    | {"recorded_signals", "variants", "checksums", "step_folders"}
    | {"saved_states", "stored_data"},
    1: {
        "devices",
        "history",
        "profiling",
        "tested_on",
        "session_tables",
        "adhoc40_archives",
        "schemes",
        "metrics",
        "input_pipeline",
        "locking",
        "weights",
        "workdirs",
        "rooms",
        "anechoic",
    }
    | {"front_ends", "perturbations", "gcc", "recordings"},
    2: {"groups", "adhoc", "objective", "rendering", "sessions"}
    | {"srp_phat", "tdoa", "baselines"},
    3: {
        "captions",
        "drawing",
        "models",
        "evaluate",
        "training_step",
        "simulation",
    },
    4: {
        "skipped_steps",
        "condition_plots",
        "floor_plans",
        "comparisons",
        "places",
    }
    | {"config", "fresh", "compact", "preparation"},
    5: {"datasets", "initialization"},
    6: {"run_data", "localizers"},
    7: {"training_run", "conditions", "positions", "sharing"},
    8: {"commands", "training_loop"},
    9: {"train"},
    10: {"baseline", "robustness", "main", "sweep", "prepare", "tables", "plots"}
    | {"elastic", "locate", "share", "verify"},
}
# Within a layer, or to say more about what a module may use.
ALSO_ALLOWED = {
    "acoustics": {"errors"},
    "baselines": {"srp_phat", "tdoa"},
    "checkpoints": {"checksums", "errors", "progress", "saved_states", "step_folders"},
    "checksums": {"errors"},
    "builtin_noise": {"builtin_speech"},
    "corpora": {"builtin_noise", "builtin_speech", "dry_signals"},
    "dry_signals": {"builtin_noise", "builtin_speech", "errors"},
    "encoder_decoder": {"features", "grid_convs", "linear"},
    "grid_convs": {"linear"},
    "plots": {"tables"},
    "records": {"errors"},
    "recorded_signals": {"dry_signals", "errors"},
    "scenes": {"errors", "libri_adhoc40"},
    "stored_data": {"acoustics", "checksums", "errors"},
    "saved_states": {"checksums", "step_folders"},
    "step_folders": {"checksums"},
    "sweep": {"elastic"},
}
ONLY = {
    "tested_on": {"paper", "records"},
    "variants": set(),
    "groups": {"records", "tested_on", "variants"},
    "captions": {"groups"},
    "comparisons": {"captions", "groups", "markup"},
    "drawing": {"groups", "records"},
    "condition_plots": {"drawing", "groups", "paper"},
    "floor_plans": {"drawing", "groups"},
    "tables": {"captions", "comparisons", "groups", "markup", "paper"},
    "plots": {"condition_plots", "drawing", "floor_plans", "groups", "tables"},
}
SOLE_USERS = {
    "grain": {"input_pipeline"},
    "orbax": {"checkpoints"},
    "safetensors": {"weights"},
    "tensorflow_datasets": {"stored_data"},
    "matplotlib": {"drawing"},
    "uld_jax_data": {"preparation"},
}
NO_JAX = {"acoustics", "scenes", "corpora", "builtin_speech", "records"}
NO_JAX |= {"builtin_noise", "dry_signals", "paper", *ONLY, "markup"}
NO_JAX |= {"adhoc40_archives", "libri_adhoc40", "recorded_signals"}
NO_JAX |= {"session_tables", "sessions", "checksums", "step_folders", "weights"}
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


@pytest.mark.parametrize(
    "command", ["main", "sweep", "baseline", "robustness", "locate", "share"]
)
def test_training_imports_no_simulator_no_tensorflow_no_plots(command):
    code = f"import sys, uld_jax.{command}; "
    code += f"print(sorted({HEAVY!r} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


FORBIDDEN = {
    "pickle": r"^\s*(import|from)\s+(c?pickle|dill|joblib|shelve|marshal)\b"
    r"|allow_pickle\s*=\s*True",
    "eval": r"(?<![\w.])(eval|exec)\(",
    "an absolute path": r"[\"'= (](/home|/work|/tmp|/root|/Users)/",
    "a registry": r"(pypi\.org|pythonhosted|--(extra-)?index-url|registry\.npmjs)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds_what_none_may(what):
    """Whatever git keeps, but this file, which names it all."""
    root = PACKAGE.parent
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=root, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    texts = [".py", ".md", ".sh", ".toml", ".txt", ".json", ".html", ".cfg", ".yml", ""]
    for name in listed.stdout.splitlines():
        path = root / name
        if path.suffix in texts and path.name != "test_layers.py" and path.is_file():
            found = pattern.search(path.read_text())
            assert not found, f"{name}: {found and found.group()}"
