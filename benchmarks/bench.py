"""The ratios on your machine, in about five minutes: `make bench`.

    python benchmarks/bench.py [--out=FILE.md]

Our rooms against pyroomacoustics on one thread, then our training steps against the same
networks in PyTorch, by turns. What cannot be measured is told, and the rest is shown.
Longer and wider: `rendering.py` and `race/run.py`.
"""

import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

import report
from race import contest, run

from uld_jax import errors

_ROOMS = 6
_FOLDER = pathlib.Path(__file__).parent


class RoomsError(errors.InputError):
    """Rooms that cannot be rendered, with the reason."""


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file to write")
    options = parser.parse_args()
    contest.end_by_exception()
    tables = []
    try:
        tables.append(_rooms())
    except RoomsError as error:
        contest.say(f"no rooms: {error}")
    try:
        tables.append(("Training steps against PyTorch.", run.note(), run.quick()))
    except contest.RaceError as error:
        contest.say(f"no race: {error}")
    if not tables:
        sys.exit("error: nothing could be measured; see above")
    report.write("bench.py", tables, options.out)


def _rooms() -> tuple:
    """Return the renderer's table; it has a process of its own, of one thread.

    Raises:
        RoomsError: If pyroomacoustics is missing, or the process fails.
    """
    if importlib.util.find_spec("pyroomacoustics") is None:
        raise RoomsError("pyroomacoustics is missing; pip install '.[data]'")
    contest.say("Rooms against pyroomacoustics")
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "rooms.md"
        words = ["--compare", f"--rooms={_ROOMS}", f"--out={out}"]
        done = subprocess.run(
            [sys.executable, _FOLDER / "rendering.py", *words],
            check=False,
            stdout=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RoomsError(
                f"rendering.py ended with exit code {done.returncode}; see above"
            )
        ((_, note, rows),) = json.loads(out.with_suffix(".json").read_text())["tables"]
    return ("Rooms against pyroomacoustics.", note, rows)


if __name__ == "__main__":
    main()
