"""The command `uld_jax`: its sub-commands, help, and errors in one line.

Exit codes: 0 done, 1 failed, 2 bad input, 3 another process works in the folder,
4 training has collapsed, 75 stopped and saved.
"""

import difflib
import importlib
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from absl import app, flags, logging

import uld_jax
from uld_jax.cli.flags import Flag
from uld_jax.runtime import errors, experiments, stopping

# By name, a line for the overview. Each is a module of this folder, with _ for -.
COMMANDS = {
    "train": "Train one network, test it, and write its record.",
    "sweep": "Train a network for each label, resolution and seed.",
    "prepare": "Prepare the data set of an experiment.",
    "baseline": "Test a localization method to compare networks with.",
    "robustness": "Test finished runs with clock and position errors, noise, few nodes.",
    "benchmark": "Test a network or label of your own on fixed data; compare results.",
    "locate": "Localize talkers in a folder of recordings.",
    "plan": "Propose places for recorders, and map how sure positions will be.",
    "doctor": "Say what is wrong with recordings, and what to do about it.",
    "new-session": "Write a folder for recordings, with tables to fill in.",
    "demo": "Localize a talker in a made-up session, and show it on a page.",
    "share": "Write a network's weights and card for others to use.",
    "weights": "List, verify and describe the networks that come with the package.",
    "export": "Write a network to one file that runs without this package.",
    "verify": "Check runs, weights and data sets for damage.",
    "tables": "Print the tables of finished runs.",
    "report": "Draw the figures of finished runs, on a page with the tables.",
}
_MAIN_FLAGS = 5  # Listed first in a command's help.
_HELP = {"-h", "--help", "-help", "--helpfull", "--helpshort"}
_WIDTH = 88
_BAD_FLAG = (flags.Error, AttributeError, KeyError, TypeError, ValueError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sub-command that the arguments name, and exit with its code.

    Args:
        arguments: Words after `uld_jax`; by default those of the command line.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name == "help" or name in _HELP:
        print(_overview())
        return
    if name == "--version":
        print(f"uld_jax {uld_jax.__version__}")
        return
    if name not in COMMANDS:
        _exit(f"error: no command {name!r}; {_nearest(name)}", errors.EXIT_BAD_INPUT)
    command = importlib.import_module(f"uld_jax.cli.{name.replace('-', '_')}")
    if _HELP & set(words):
        print(_help(name, command))
        return
    _run(name, command, words[1:])


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    question = f"did you mean {near[0]!r}? There" if near else "there"
    return f"{question} are {', '.join(COMMANDS)}; see uld_jax --help"


def _overview() -> str:
    lines = [f"  {name:<12}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "Find where talkers are in a room from many scattered microphones.",
            "",
            "Usage: uld_jax COMMAND [--flag=value ...]",
            "",
            *lines,
            "",
            _experiments(" (--config=NAME)"),
            "",
            "uld_jax COMMAND --help lists a command's flags.",
        ]
    )


def _help(name: str, command: ModuleType) -> str:
    """Compose a command's help: description and flags, the most important first."""
    text = (command.__doc__ or "").strip()
    known: Sequence[Flag] = command.FLAGS
    paths = " PATH..." if command.TAKES_PATHS else ""
    parts = [text, "", f"Usage: uld_jax {name}{paths} [--flag=value ...]", ""]
    parts += map(_describe, known[:_MAIN_FLAGS])
    if others := known[_MAIN_FLAGS:]:
        parts += ["", "Further flags:", *map(_describe, others)]
    if any(flag.name == "config" for flag in known):
        parts += [
            "",
            _experiments(),
            "All settings: docs/reference.md.",
        ]
    return "\n".join(parts)


def _experiments(how: str = "") -> str:
    """List the installed experiments, in lines that fit a screen."""
    text = f"Experiments{how}: {', '.join(experiments.installed())}"
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ")


def _describe(flag: Flag) -> str:
    note = " Required." if flag.required else ""
    if flag.default not in (None, False, True, [], ""):
        default = flag.default
        note = f" Default: {','.join(default) if flag.kind == 'list' else default}."
    indent = " " * 24
    text = textwrap.fill(
        flag.help + note, _WIDTH, initial_indent=indent, subsequent_indent=indent
    )
    usage = f"  {flag.usage()}"
    if len(usage) < len(indent) - 1:
        return usage.ljust(len(indent)) + text.lstrip()
    return f"{usage}\n{text}"


def _run(name: str, command: ModuleType, words: list[str]) -> None:
    """Run a command with parsed flags; exit by its outcome."""
    _refuse_paths(name, command, [w for w in words[:1] if not w.startswith("-")])

    def parse(arguments):
        found = [arguments[0], *_find_experiments(arguments[1:])]
        for flag in command.FLAGS:
            found = list(map(flag.complete, found))
        try:
            for flag in command.FLAGS:
                flag.define()  # The default of --config is parsed here.
            return flags.FLAGS(found)
        except _BAD_FLAG as error:
            _exit_bad_flag(name, error, arguments)

    def run(arguments):
        # Orbax reports each step of each save.
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        _refuse_paths(name, command, arguments[1:])
        _call(command, arguments[1:])

    app.run(run, argv=[f"uld_jax {name}", *words], flags_parser=parse)


def _refuse_paths(name: str, command: ModuleType, paths: Sequence[str]) -> None:
    """End a command that takes no paths if it is given some."""
    if paths and not command.TAKES_PATHS:
        remedy = f"see uld_jax {name} --help"
        if not experiments.is_missing(paths[0]):
            remedy = f"pass --config={paths[0]}"
        _exit(f"error: unknown argument {paths[0]!r}; {remedy}", errors.EXIT_BAD_INPUT)


def _call(command: ModuleType, paths: list[str]) -> None:
    """Call a command's `main`; turn errors into one line and an exit code."""
    try:
        command.main(flags.FLAGS, paths)
    except stopping.Stopped as stop:
        _exit(f"stopped: {stop}; the same command resumes", errors.EXIT_STOPPED)
    except errors.Failed as failure:
        _exit(str(failure), failure.code)
    except errors.LockedError as error:
        _exit(f"error: {error}", errors.EXIT_LOCKED)
    except (errors.InputError, OSError) as error:
        _exit(f"error: {error}", errors.EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        _exit("interrupted; the same command starts again", 130)
    except Exception:
        if _is_one_of_many():
            _exit(traceback.format_exc(), errors.EXIT_FAILED)
        raise


def _find_experiments(arguments: Sequence[str]) -> list[str]:
    """Replace names of experiments in --config by the paths of their files."""
    found, follows = [], False
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if follows:
            argument = _experiment(argument)
        elif flag in ("--config", "-config") and equals:
            argument = f"--config={_experiment(value)}"
        follows = argument in ("--config", "-config")
        found.append(argument)
    return found


def _experiment(name: str) -> str:
    """Find the path of an experiment; end the command if there is none."""
    if experiments.is_missing(name):
        known = ", ".join(experiments.installed())
        _exit(
            f"error: no experiment {name!r}; there are {known}", errors.EXIT_BAD_INPUT
        )
    return experiments.find(name)


def _exit_bad_flag(
    command: str, error: Exception, arguments: Sequence[str]
) -> NoReturn:
    """End a command with what is wrong with its flags.

    Misspelled keys and wrong types, on the command line or in the experiment's file.
    """
    while len(error.args) == 1 and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(error.args[0] if len(error.args) == 1 else error)
    if "Traceback" in text:  # Of an error in an experiment's file.
        text = text.strip().splitlines()[-1].partition(": ")[2] or text
    text = " ".join(text.split()).replace(" ?", "?")
    if missing := re.match(r"flag --(\w+)=None: .* other than None", text):
        text = f"--{missing[1]} is required"
    if flag := _misspelled(arguments, text):
        text = f"{flag}: {text}"
    _exit(f"error: {text}; see uld_jax {command} --help", errors.EXIT_BAD_INPUT)


def _misspelled(arguments: Sequence[str], text: str) -> str | None:
    """Find the flag of a setting that an error names by its last part alone."""
    key = re.match(r"[\"']*(\w+)[\"']", text)
    named = {argument.partition("=")[0] for argument in arguments}
    found = [
        flag
        for flag in named
        if key and flag.startswith("--config.") and flag.endswith(f".{key[1]}")
    ]
    return found[0] if len(found) == 1 else None  # Of two, one is right.


def _is_one_of_many() -> bool:
    """Check if this process trains together with others."""
    if "jax" not in sys.modules:
        return False
    from uld_jax.runtime import distributed

    return distributed.is_one_of_many()


def _exit(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.stderr.flush()
    sys.stdout.flush()
    # Threads of the input pipeline must not keep a finished process alive, nor may one
    # process of many wait for others that wait for it.
    if code == errors.EXIT_STOPPED or _is_one_of_many():
        os._exit(code)
    sys.exit(code)
