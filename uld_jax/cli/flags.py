"""The flags of the commands: what a flag is, and those that several commands share."""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from uld_jax.runtime import errors

_TABLES = ("room", "nodes", "recordings")  # Of a session.


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag of a command.

    Attributes:
        name: Its name, without dashes.
        kind: "string", "bool", "integer", "float" or "list" (comma-separated).
        help: What it does, in a line or two.
        default: Its value if it is not given; None for none.
        required: Whether it must be given.
        least: Least value of a number.
        bare: Value of a string that is given without one; None if it needs one.
    """

    name: str
    kind: str
    help: str
    default: Any = None
    required: bool = False
    least: float | int | None = None
    bare: str | None = None

    def define(self) -> None:
        """Define the flag for absl, which parses it."""
        if self.name == "config":
            _define_config(self.default or "l1")
            return
        options = {"required": True} if self.required else {}
        if self.least is not None:
            options["lower_bound"] = self.least
        define = {
            "string": flags.DEFINE_string,
            "bool": flags.DEFINE_bool,
            "integer": flags.DEFINE_integer,
            "float": flags.DEFINE_float,
            "list": flags.DEFINE_list,
        }[self.kind]
        define(self.name, self.default, self.help, **options)

    def usage(self) -> str:
        """Format the flag for help, as in `--seed=0,1,2`."""
        values = {"integer": "N", "float": "X", "list": "A,B,..."}
        if self.kind == "bool":
            return f"--[no]{self.name}" if self.default else f"--{self.name}"
        usage = f"={values.get(self.kind, self.name.upper())}"
        return f"--{self.name}[{usage}]" if self.bare else f"--{self.name}{usage}"

    def complete(self, word: str) -> str:
        """Give a word of the command line its value, if it is this flag without one."""
        alone = self.bare is not None and word in (f"--{self.name}", f"-{self.name}")
        return f"--{self.name}={self.bare}" if alone else word


def _define_config(default: str) -> None:
    """Define --config, whose settings are flags too.

    Args:
        default: Name of the experiment if none is given.
    """
    # Here, not above: loading an experiment imports JAX, and --help must not wait.
    from ml_collections import config_flags

    from uld_jax.runtime import experiments

    config_flags.DEFINE_config_file("config", experiments.find(default), CONFIG.help)


def single_folder(
    paths: Sequence[str], command: str, what: str = "folder of recordings"
) -> str:
    """Return the one folder that a command is given.

    Raises:
        InputError: If there is none, or there are several.
    """
    if len(paths) != 1:
        raise errors.InputError(
            f"{command}: name one {what}, not {len(paths) or 'none'}: "
            f"uld_jax {command} FOLDER"
        )
    return paths[0]


def check_output(
    flag: str,
    path: pathlib.Path,
    folder: str | pathlib.Path,
    ending: str,
    overwrite: bool,
    why: str = "",
) -> None:
    """Raise an InputError if a file cannot, or must not, be written.

    Args:
        flag: That names the file.
        path: The file.
        folder: Of the session: its tables are not overwritten, whatever is passed.
        ending: That it has to have.
        overwrite: Whether it may exist.
        why: What the ending is good for.
    """
    name = f"--{flag}: {str(path)!r}"
    if path.is_dir():
        raise errors.InputError(f"{name} is a folder; name a file in it")
    if path.suffix != ending:
        raise errors.InputError(f"{name} does not end in {ending}{why}")
    if path.stem.lower() in _TABLES and path.parent.resolve() == _resolve(folder):
        raise errors.InputError(f"{name} is a table of the session; name another file")
    if path.exists() and not overwrite:
        raise errors.InputError(
            f"{name} exists; name another file, or pass --overwrite"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise errors.InputError(
            f"--{flag}: {str(path.parent)!r} is not a writable folder; make it, or name "
            "another"
        )


def _resolve(folder: str | pathlib.Path) -> pathlib.Path:
    return pathlib.Path(folder).expanduser().resolve()


_NUMBER = r"(\d+\.?\d*|\.\d+)"


def parse_quantity(flag: str, text: str, units: Mapping[str, float]) -> float:
    """Parse a number with a unit, such as 1.5ms; 0 needs none.

    Args:
        flag: For messages, without dashes.
        text: As it is given.
        units: Of each known unit, how large it is.

    Raises:
        InputError: If it is no such number, or its unit is not known.
    """
    match = re.fullmatch(rf"{_NUMBER} *([^\d\s.]*)", text.strip())
    example = f"give a number with a unit, such as --{flag}=1{next(iter(units))}"
    if not match:
        raise errors.InputError(f"--{flag} is {text!r}; {example}")
    number, unit = float(match[1]), match[2]
    if unit not in units and (number or unit):
        problem = f"has the unknown unit {unit!r}" if unit else "has no unit"
        raise errors.InputError(
            f"--{flag} is {text!r} and {problem}; {example}; units are {', '.join(units)}"
        )
    return number * units.get(unit, 0.0)


def parse_numbers(
    flag: str, text: str, counts: Sequence[int], example: str
) -> list[float]:
    """Parse numbers between which there is an x, or else a comma.

    Args:
        flag: For messages, without dashes.
        text: As it is given.
        counts: How many numbers there may be.
        example: Of what to give.

    Raises:
        InputError: If there are others, or one is no number.
    """
    words = re.split(r"[x\N{MULTIPLICATION SIGN}]", text.lower())
    if len(words) > 1:  # Commas are decimal ones.
        words = [word.replace(",", ".") for word in words]
    else:
        words = text.split(",")
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)):
        raise errors.InputError(
            f"--{flag} is {text!r}; give meters, such as --{flag}={example}"
        )
    return numbers


CONFIG = Flag(
    "config",
    "string",
    "Experiment (l1 if not given), by name or path, with a size after a colon: l1, "
    "ad1:reduced, experiments/ad2.py. Each setting is a flag: --config.train.learning_rate=3e-4.",
)
WORKDIR = Flag("workdir", "string", "Folder of the run.", required=True)
WORKDIR_OF_RUNS = Flag("workdir", "string", "Folder of the runs.", required=True)
PREPARE = Flag("prepare", "bool", "Prepare a missing data set.", default=True)
MINUTES = Flag(
    "minutes",
    "float",
    "Save and stop after this many minutes; the same command resumes.",
    least=0.0,
)
INIT_FROM = Flag(
    "init_from",
    "string",
    "Start from the network of a finished run or of shared weights: their folder. In a "
    "sweep: a folder of runs of the same names.",
)
INIT_PARTIAL = Flag(
    "init_partial",
    "bool",
    "With --init_from: take the parameters that fit and initialize the others.",
    default=False,
)
DEBUG_NANS = Flag(
    "debug_nans",
    "bool",
    "End with a traceback where the first NaN or infinity arises.",
    default=False,
)
PROFILE = Flag(
    "profile",
    "bool",
    "Trace training steps 10 to 20 into the folder `profile` of the run.",
    default=False,
)
