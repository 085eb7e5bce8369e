"""STYLE: sub-packages import one way, and what each may import."""

import ast
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

import uld_jax

# What each sub-package may import besides itself. Every import goes up in this table.
ROWS = {
    "runtime": (),
    "labels": (),
    "audio": ("runtime",),
    "storage": ("runtime",),
    "acoustics": ("runtime",),
    "networks": ("labels", "acoustics", "runtime"),
    "simulation": ("acoustics", "audio", "runtime"),
    "pretrained": ("networks", "labels", "storage", "audio", "acoustics", "runtime"),
    "datasets": (
        *("simulation", "pretrained", "networks", "labels", "storage"),
        *("audio", "acoustics", "runtime"),
    ),
    "localization": (
        *("acoustics", "labels", "audio", "simulation", "networks"),
        *("pretrained", "runtime"),
    ),
    "evaluation": (
        *("localization", "datasets", "pretrained", "simulation", "networks"),
        *("acoustics", "storage", "audio", "labels", "runtime", "config"),
    ),
    "training": (
        *("evaluation", "localization", "datasets", "pretrained", "simulation"),
        *("networks", "acoustics", "storage", "audio", "labels", "runtime", "config"),
    ),
    "report": ("storage", "runtime", "labels.titles", "evaluation.conditions"),
}
# The command line may import anything; nothing but `main` imports it.
TOP = {
    "config": ("networks", "simulation", "labels", "audio", "storage", "runtime"),
    "main": ("cli",),
    "__init__": (),
}
# Libraries that one module, or one sub-package, has to itself.
SOLE_USERS = {
    "grain": {"datasets.pipeline"},
    "orbax": {"storage.checkpoints"},
    "safetensors": {"pretrained.weights"},
    "tensorflow_datasets": {"datasets.files"},
    "matplotlib": {"report.style", "localization.answers"},
    "sounddevice": {"audio.live"},
    "tensorboardX": {"training.reporting"},
    "uld_jax_data": {"datasets.prepare"},
    "pyroomacoustics": set(),
    "tensorflow": set(),
}
JAX = {"jax", "flax", "optax"}
NO_JAX = ("audio", "report")
JAX_IN_STORAGE = {"checkpoints", "integrity"}
HEAVY = {
    "tensorflow",
    "pyroomacoustics",
    "matplotlib",
    "soundfile",
    "soxr",
    "sounddevice",
}

PACKAGE = pathlib.Path(uld_jax.__file__).parent
MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
)


def imports(name):
    """List the imports of a module from the package, and its other libraries.

    Of the package: pairs of a dotted module below it and the name taken from there.
    """
    own, others = set(), set()
    path = PACKAGE / f"{name.replace('.', '/')}.py"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, _, rest = alias.name.partition(".")
                own |= {(rest, "")} if first == "uld_jax" and rest else set()
                others |= {first} - {"uld_jax"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            first, _, rest = node.module.partition(".")
            if first == "uld_jax":
                own |= {(rest, alias.name) for alias in node.names}
            else:
                others.add(first)
    # `from uld_jax import config`: of the package itself.
    own = {(taken, "") if not module else (module, taken) for module, taken in own}
    return own - {("__version__", "")}, others


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    room, _, _ = name.partition(".")
    if room == "cli":
        return
    allowed = TOP[room] if room in TOP else ROWS[room]
    for module, taken in imports(name)[0]:
        other = module.partition(".")[0]
        whole = f"{module}.{taken}" if taken else module
        if other != room:
            assert other in allowed or any(
                whole == entry or whole.startswith(f"{entry}.") for entry in allowed
            ), f"{name} imports {whole}"


@pytest.mark.parametrize("name", MODULES)
def test_across_sub_packages_only_listed_names_are_imported(name):
    room = name.partition(".")[0]
    for module, taken in imports(name)[0]:
        other, _, inner = module.partition(".")
        if other in ROWS and other != room:
            listed = importlib.import_module(f"uld_jax.{other}").__all__
            first = inner.partition(".")[0] or taken
            assert first in listed, f"{name}: {module}.{taken} is not listed"


def test_there_are_no_circles():
    """Neither between sub-packages nor between modules."""
    below = {name: set() for name in MODULES}
    for name in MODULES:
        for module, taken in imports(name)[0]:
            for target in (module, f"{module}.{taken}"):
                if target in below and not name.endswith("__init__"):
                    below[name].add(target)
    done = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for other in below[name]:
                visit(other, [*path, name])
            done.add(name)

    for name in MODULES:
        visit(name, [])


@pytest.mark.parametrize("name", MODULES)
def test_libraries_have_their_place(name):
    room, _, module = name.partition(".")
    _, others = imports(name)
    for library, users in SOLE_USERS.items():
        assert library not in others or name in users, library
    if room in NO_JAX or (room == "storage" and module not in JAX_IN_STORAGE):
        assert not others & JAX


def test_the_top_holds_three_modules():
    top = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert top - {"py.typed", "__init__.pyi"} == {
        *("__init__.py", "config.py", "main.py", "cli"),
        *ROWS,
    }


def run(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_training_and_inference_import_no_simulator_no_tensorflow_no_plots():
    code = (
        "import sys; import uld_jax.config; from uld_jax.training import train, sweep; "
    )
    code += "from uld_jax.evaluation import baseline, locate, robustness, verify; "
    code += "from uld_jax.pretrained import card; "
    assert run(code + f"print(sorted({HEAVY!r} & sys.modules.keys()))") == "[]"


@pytest.mark.parametrize("room", ["", *(f".{name}" for name in (*ROWS, "cli"))])
def test_a_package_loads_nothing_before_it_is_used(room):
    code = f"import sys, uld_jax{room}; "
    heavy = HEAVY | JAX | {"numpy", "tensorflow_datasets", "grain", "orbax"}
    assert run(code + f"print(sorted({heavy!r} & sys.modules.keys()))") == "[]"


FORBIDDEN = {
    "pickle": r"^\s*(import|from)\s+(c?pickle|dill|joblib|shelve|marshal)\b"
    r"|allow_pickle\s*=\s*True",
    "eval": r"(?<![\w.])(eval|exec)\(",
    "an absolute path": r"[\"'= (](/home|/work|/tmp|/root|/Users)/",
    "a registry": r"(pypi\.org|pythonhosted|--(extra-)?index-url|registry\.npmjs)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds_what_none_may(what):
    """Every file that git keeps, but this one, which names it all."""
    root = PACKAGE.parent
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=root, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    texts = [".py", ".md", ".sh", ".toml", ".txt", ".json", ".html", ".cfg", ".yml"]
    texts += [".yaml", ".cff", ".pyi", ""]
    for name in listed.stdout.splitlines():
        path = root / name
        if path.suffix in texts and path.name != "test_layers.py" and path.is_file():
            found = pattern.search(path.read_text())
            assert not found, f"{name}: {found and found.group()}"
