"""Measure this machine's speed against pyroomacoustics and PyTorch: `make bench`.

    python -m benchmarks.speed.bench

Takes about five minutes. A comparison that cannot be made is reported and skipped. For
longer ones see `benchmarks.rendering.speed` and `benchmarks.speed.race`.
"""

import importlib.util
import subprocess
import sys

from benchmarks import report
from benchmarks.speed import race

_ROOMS = 6


def main() -> None:
    """Measure, and print the tables."""
    rendered = compare_rooms()
    try:
        table = race.compare(("l1", "ad1"), "reduced", seconds=20.0)
    except race.RaceError as error:
        print(f"PyTorch skipped: {error}", file=sys.stderr)
        if not rendered:
            sys.exit("error: nothing could be measured; see above")
    else:
        print()
        report.write("speed.bench", [table], None)


def compare_rooms() -> bool:
    """Compare rooms with pyroomacoustics in a process with one thread.

    Returns:
        Whether this worked; the process prints its table, or what is wrong.
    """
    if importlib.util.find_spec("pyroomacoustics") is None:
        print("rooms skipped: pip install '.[data]'", file=sys.stderr)
        return False
    words = ["-m", "benchmarks.rendering.speed", "--compare", f"--rooms={_ROOMS}"]
    return subprocess.run([sys.executable, *words], check=False).returncode == 0


if __name__ == "__main__":
    main()
