"""The ratios on your machine, in about five minutes: `make bench`.

    python benchmarks/bench.py [--out=FILE.md]

Our rooms against pyroomacoustics on one thread, then our training steps against the same
networks in PyTorch, by turns. Longer and wider: `rendering.py` and `race/run.py`.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import report
from race import contest, run

_ROOMS = 6
_FOLDER = pathlib.Path(__file__).parent


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file to write")
    options = parser.parse_args()
    tables = [_rooms()]
    try:
        tables.append(("Training steps against PyTorch.", run.note(), run.quick()))
    except contest.RaceError as error:
        print(f"no race: {error}", file=sys.stderr)
    report.write("bench.py", tables, options.out)


def _rooms() -> tuple:
    """Return the renderer's table; it has a process of its own, of one thread."""
    print("Rooms against pyroomacoustics", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "rooms.md"
        words = ["--compare", f"--rooms={_ROOMS}", f"--out={out}"]
        subprocess.run(
            [sys.executable, _FOLDER / "rendering.py", *words],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        ((_, note, rows),) = json.loads(out.with_suffix(".json").read_text())["tables"]
    return ("Rooms against pyroomacoustics.", note, rows)


if __name__ == "__main__":
    main()
