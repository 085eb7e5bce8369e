"""The command that trains a network again, from the settings in its record."""

import shlex
from typing import Any

from uld_jax import config as config_lib
from uld_jax.runtime import experiments
from uld_jax.storage import settings as settings_lib

_SIZES = ("", "medium", "reduced", "tiny")
_FOLDERS = ("speech", "noise")


def find_command(settings: dict[str, Any], workdir: str) -> str:
    """Write the command that has some settings, with as few flags as possible.

    Folders of speech and noise have other names on other machines: SPEECH and NOISE
    stand for those that are not the experiment's.

    Args:
        settings: Of a record.
        workdir: Folder of the run that the command makes.
    """
    wanted = settings_lib.identity(settings)
    found = []
    for name in experiments.installed():
        for size in _SIZES:
            config = name + (size and f":{size}")
            try:
                given = config_lib.to_dict(config_lib.load_config(config))
            except config_lib.ConfigError:  # No such size.
                continue
            changed = _changes(settings_lib.identity(given), wanted)
            flags = [
                f"--config.data.{key}={key.upper()}"
                for key in _FOLDERS
                if settings["data"].get(key) != given["data"][key]
            ]
            found.append((len(changed), len(config), config, changed, flags))
    _, _, config, changed, flags = min(found)
    words = ["uld_jax", "train", f"--config={config}"]
    words += [f"--config.{key}={value}" for key, value in changed]
    return shlex.join([*words, *flags, f"--workdir={workdir}"])


def _changes(given: dict[str, Any], wanted: dict[str, Any]) -> list[tuple[str, str]]:
    """List the settings to change, and the texts of their values.

    The resolution decides the number of outputs, and no flag where a network starts.
    """
    return [
        (key, str(value))
        for key, value in wanted.items()
        if not key.startswith("init.")
        and key != "label.outputs_per_axis"
        and given.get(key, ...) != value
    ]
