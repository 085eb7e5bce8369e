"""Every command that a page shows is one that exists; quick ones are run."""

import ast
import functools
import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from whole_runs import run

from uld_jax.cli import app
from uld_jax.runtime import experiments

PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("results/*.md")}
)
SOURCES = sorted({*ROOT.glob("experiments/*.py"), *ROOT.glob("uld_jax/cli/*.py")})
# What a page marks as not to be had on every machine.
NEEDS = re.compile(r"<!-- needs: [\w ,]+ -->")
COMMAND = re.compile(
    r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*"
    r"((?:(?:uld_jax|python -m uld_jax\.\w+|make)(?: .*)?|python -m benchmarks\.\S.*))$"
)
PLACEHOLDERS = re.compile(
    r"^(FOLDER|EXPERIMENT|COMMIT|SPEECH|NOISE|PATH|COMMAND|\.\.\.)"
)


def blocks(path):
    """Yield the code of a page or a module's docstring, line by line."""
    text = path.read_text()
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    text = text.replace("\\\n", " ")
    fenced = False
    for line in text.splitlines():
        if line.strip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`((?:uld_jax [a-z]+|make)\b[^`]*)`", line)


def commands(path):
    found = []
    for line in blocks(path):
        if match := COMMAND.match(line):
            try:
                words = shlex.split(re.sub(r"\s#.*$", "", match[1]))
            except ValueError:  # A sentence with an apostrophe.
                continue
            words = words[
                : next(
                    (
                        k
                        for k, word in enumerate(words)
                        if word in ("|", "&&", ">", ";", "||", "&")
                    ),
                    len(words),
                )
            ]
            found.append(tuple(words))
    return list(dict.fromkeys(found))


ALL = [
    (path.relative_to(ROOT).as_posix(), words)
    for path in (*PAGES, *SOURCES)
    for words in commands(path)
]


@functools.cache
def settings_of(experiment):
    """Return the settings of an experiment by name, path and size."""
    file, _, size = experiments.find(experiment).partition(":")
    spec = importlib.util.spec_from_file_location("experiment", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(size) if size else module.get_config()


def check_flags(name, words):
    command = importlib.import_module(f"uld_jax.cli.{name.replace('-', '_')}")
    flags = {flag.name: flag for flag in command.FLAGS}
    config = next((w[9:] for w in words if w.startswith("--config=")), "l1")
    paths = []
    for word in words:
        if word == "--help" or word.startswith("$") or PLACEHOLDERS.match(word):
            continue
        if not word.startswith("-"):
            paths.append(word)
            continue
        flag, _, value = word.removeprefix("--").partition("=")
        if flag.startswith("config."):
            assert "config" in flags
            if not PLACEHOLDERS.match(config):
                setting = settings_of(config)
                for key in flag.split(".")[1:]:
                    assert key in setting, f"no setting --{flag}"
                    setting = setting[key]
            continue
        plain = flag.removeprefix("no")
        known = flags.get(flag) or (flags.get(plain) if plain in flags else None)
        assert known, f"{name} has no flag --{flag}"
        bare = known.kind == "bool" or known.bare
        assert bare or value, f"--{flag} needs a value"
        if flag == "config" and not PLACEHOLDERS.match(value):
            assert not experiments.is_missing(value), value
            settings_of(value)
    assert not paths or command.TAKES_PATHS, paths
    return paths


def check_benchmark(module, words):
    file = ROOT / f"{module.replace('.', '/')}.py"
    assert file.is_file(), file
    text = file.read_text()
    for word in words:
        if word.startswith("--"):
            assert f'"{word.partition("=")[0]}"' in text, f"{module} has no {word}"


@pytest.mark.parametrize(
    ("page", "words"),
    ALL,
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else value,
)
def test_every_command_shown_exists(page, words):
    first, *rest = words
    if first == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        names = [word for word in rest if "=" not in word]
        assert set(names) <= set(targets)
    elif first == "python":
        module, rest = rest[1], rest[2:]
        if module.startswith("benchmarks"):
            check_benchmark(module, rest)
        else:
            assert module in ("uld_jax.main", "uld_jax.cli"), module
            check_flags("train", rest)
    elif not rest or rest[0].startswith("-") or rest[0] == "COMMAND":
        assert set(rest) <= {"--help", "--version", "COMMAND"}
    else:
        assert rest[0] in app.COMMANDS, rest[0]
        for path in check_flags(rest[0], rest[1:]):
            if path.startswith(("results", "docs", "benchmarks")):
                assert list(ROOT.glob(path)), f"{page}: no {path}"


# Those that read records alone, which take a few seconds.
QUICK = sorted(
    {
        words
        for _, words in ALL
        if words[:1] == ("uld_jax",)
        and (
            "--help" in words
            or (
                words[1:2] in (("tables",), ("report",), ("verify",))
                and any(w.startswith("results") for w in words[2:])
                and all(w.startswith(("results", "-")) for w in words[2:])
            )
        )
        and "COMMAND" not in words
    }
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a folder with the records and pages, which commands may change."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("results", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "README.md", folder)
    return folder


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_quick_commands_run(words, copy):
    words = [
        str(path.relative_to(copy)) if "*" in word else word
        for word in words[1:]
        for path in (sorted(copy.glob(word)) if "*" in word else [copy])
    ]
    run("-m", "uld_jax.cli", *words, cwd=copy)


def test_pages_show_commands_at_all():
    """The search above finds what readers see."""
    assert len(ALL) > 60
    assert len(QUICK) >= 3
    assert {words[1] for _, words in ALL if words[0] == "uld_jax" and words[1:]} >= set(
        app.COMMANDS
    )


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 100


PYTHON = re.compile(r"(<!-- needs: [^>]*-->\s*)?^```python\n(.*?)^```", re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_pages_runs(page, tmp_path, monkeypatch):
    """Blocks marked `<!-- needs: ... -->` are compiled alone."""
    monkeypatch.chdir(tmp_path)
    for needs, code in PYTHON.findall(page.read_text()):
        compile(code, page.name, "exec")
        if not needs:
            subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
