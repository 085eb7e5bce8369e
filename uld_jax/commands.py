"""What all commands share: the configuration flag, and errors told in one line."""

import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from uld_jax import config as config_lib
from uld_jax import devices, errors, host_memory, locking, stopping

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_LOCKED = 3  # Another process is at work there.
EXIT_STOPPED = 75  # "Try again later": the run is saved and can be gone on with.
_BAD_FLAG = (flags.Error, AttributeError, KeyError, TypeError, ValueError)


class Failed(Exception):
    """A command that did its work and has bad news."""


def define_config() -> flags.FlagHolder:
    """Define --config: an experiment file, in the folder or installed."""
    try:
        holder = config_flags.DEFINE_config_file(
            "config",
            config_lib.find_experiment("experiments/l1.py"),
            "Experiment file, of a size where it has several: "
            f"{', '.join(_experiments())}; experiments/ad1.py:reduced. Its settings "
            "are flags: --config.SECTION.NAME=VALUE, all in uld_jax/config.py.",
        )
    except _BAD_FLAG as error:  # Settings of the default are parsed here.
        _tell_bad_flag(error, sys.argv)
    # For --help, which tells the flags of the command's own module.
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["config"])
    return holder


def _experiments() -> list[str]:
    """Return the installed experiments."""
    folder = pathlib.Path(config_lib.find_experiment("experiments/l1.py")).parent
    return sorted(f"experiments/{path.name}" for path in folder.glob("[a-z]*.py"))


def _find_experiments(arguments: list[str]) -> list[str]:
    """Return a command line with --config naming an existing file if there is one."""
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


def _experiment(path: str) -> str:
    """Return the path of an experiment file that exists, or end the command."""
    found = config_lib.find_experiment(path)
    if not pathlib.Path(found.partition(":")[0]).exists():
        known = ", ".join(_experiments())
        _exit(f"error: no experiment file {path!r}; there are {known}", EXIT_BAD_INPUT)
    return found


def run(main: Callable) -> None:
    """Run a command's main function with parsed flags; exit by its outcome.

    Exit codes: 0 done, 1 failed, 2 bad input, 3 another process is at work in the
    folder, 75 stopped and saved.
    """

    def told(arguments):
        # Orbax tells of each step of each save.
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        # Fresh rooms and a training step would transform at once: `rendering._after`.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        host_memory.keep()
        if len(arguments) > 1:
            remedy = "see --help"
            if ".py" in arguments[1]:
                remedy = f"say --config={arguments[1]}"
            _exit(f"error: unknown argument {arguments[1]!r}; {remedy}", EXIT_BAD_INPUT)
        try:
            main(arguments)
        except stopping.Stopped as stop:
            _exit(f"stopped: {stop}; the same command goes on with it", EXIT_STOPPED)
        except Failed as failure:
            _exit(str(failure), EXIT_FAILED)
        except locking.LockedError as error:
            _exit(f"error: {error}", EXIT_LOCKED)
        except (errors.InputError, OSError) as error:
            _exit(f"error: {error}", EXIT_BAD_INPUT)
        except KeyboardInterrupt:
            _exit("interrupted; start again with the same command", 130)
        except Exception:
            if devices.is_one_of_many():
                _exit(traceback.format_exc(), EXIT_FAILED)
            raise

    def parsed(arguments):
        try:
            rest = flags.FLAGS(_find_experiments(arguments))
        except _BAD_FLAG as error:
            _tell_bad_flag(error, arguments)
        return rest

    app.run(told, flags_parser=parsed)


def _tell_bad_flag(error: Exception, arguments: list[str]) -> None:
    """End the command with what is wrong with its flags.

    Misspelled keys and wrong types, on the line or in the experiment's file.
    """
    while len(error.args) == 1 and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(error.args[0] if len(error.args) == 1 else error)
    if "Traceback" in text:  # What an experiment's file has raised.
        text = text.strip().splitlines()[-1].partition(": ")[2] or text
    text = " ".join(text.split())
    if flag := _misspelled(arguments, text):
        text = f"{flag}: {text}"
    _exit(f"error: {text}; see --help", EXIT_BAD_INPUT)


def _misspelled(arguments: list[str], text: str) -> str | None:
    """Return the setting's flag that an error tells only the last part of."""
    told = re.match(r"[\"']*(\w+)[\"']", text)
    named = {argument.partition("=")[0] for argument in arguments}
    found = [
        flag
        for flag in named
        if told and flag.startswith("--config.") and flag.endswith(f".{told[1]}")
    ]
    return found[0] if len(found) == 1 else None  # Of two, one is right.


def _exit(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.stderr.flush()
    sys.stdout.flush()
    # Threads of the input pipeline must not keep a finished process, nor one of many
    # wait for others that wait for it.
    if code == EXIT_STOPPED or devices.is_one_of_many():
        os._exit(code)
    sys.exit(code)
