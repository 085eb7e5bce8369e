"""The command `uld_jax`: help, misspellings, and what help may load."""

import importlib

import pytest
import whole_runs

from uld_jax.cli import app
from uld_jax.localization import methods

SCREEN = 40  # Lines.


def run(*words, **options):
    return whole_runs.run("-m", "uld_jax.cli", *words, check=False, **options)


def test_without_words_or_with_help_all_commands_are_listed(capsys):
    for words in ([], ["--help"], ["-h"], ["help"]):
        app.main(words)
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown for name in app.COMMANDS)
        assert "ad1, " in shown
        assert len(shown.splitlines()) <= SCREEN


@pytest.mark.parametrize("name", app.COMMANDS)
def test_a_commands_help_fits_a_screen_with_the_main_flags_first(name, capsys):
    app.main([name, "--help"])
    shown = capsys.readouterr().out
    command = importlib.import_module(f"uld_jax.cli.{name.replace('-', '_')}")
    assert shown.startswith(command.__doc__.strip().splitlines()[0])
    assert max(map(len, shown.splitlines())) <= 100
    places = [shown.index(f"  {flag.usage()}") for flag in command.FLAGS]
    assert places == sorted(places)
    assert len(shown.splitlines()) <= 1.5 * SCREEN
    assert ("PATH" in shown) == command.TAKES_PATHS


def test_help_needs_no_jax_and_exits_with_0():
    code = "import sys; from uld_jax.cli import app; app.main(['train', '--help']); "
    code += "print(sorted({'jax', 'flax', 'numpy', 'ml_collections'} & "
    code += "sys.modules.keys()), file=sys.stderr)"
    result = whole_runs.run("-c", code)
    assert result.stderr.strip() == "[]"
    assert "--config.train.learning_rate=3e-4" in " ".join(result.stdout.split())


def test_the_help_of_methods_names_all_of_them(capsys):
    for name in ("baseline", "locate"):
        app.main([name, "--help"])
        shown = capsys.readouterr().out
        assert all(method in shown for method in methods.METHODS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "error: no command 'trian'; did you mean 'train'?"),
        (["xyz"], "error: no command 'xyz'; there are train, sweep"),
        (["--config=ad1"], "error: no command '--config=ad1'"),
        (["train", "--workdri=x"], "Did you mean: workdir"),
        (
            ["train", "--config=ad1", "--workdir=x", "--config.label.shceme=uld"],
            "scheme",
        ),
        (["train", "ad1"], "pass --config=ad1"),
        (["train", ""], "unknown argument ''"),
        (["verify", ""], "holds no run"),
        (
            ["train", "--config=ad7", "--workdir=x"],
            "no experiment 'ad7'; there are ad1",
        ),
        (["train", "--config=ad1"], "--workdir is required"),
        (["train", "--config=ad1:huge", "--workdir=x"], "no size 'huge'"),
        (["tables"], "name at least one folder"),
        (["tables", "results", "--only=papers"], "no kind 'papers'; there are paper"),
        (["verify", "no/where"], "no/where"),
        (["baseline", "--method=x", "--workdir=x", "--config=ad1:tiny"], "srp_phat"),
    ],
)
def test_what_is_misspelled_ends_with_the_nearest_and_code_2(words, message, tmp_path):
    result = run(*words, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_version_is_printed():
    assert run("--version").stdout.startswith("uld_jax 0.")


def test_main_is_the_command_train():
    result = whole_runs.run("-m", "uld_jax.main", "--help")
    assert result.stdout == run("train", "--help").stdout
