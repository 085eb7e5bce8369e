"""Print benchmark tables as Markdown, and keep their numbers as JSON.

    python -m benchmarks.report benchmarks/speed/results/race_cpu.json > docs/race_cpu.md

Each benchmark prints its page; with --out=FILE.json it keeps the numbers, from which
this command prints the page again.
"""

import argparse
import json
import pathlib
import sys
import time

from uld_jax.report import markdown as markdown_lib
from uld_jax.storage import environment


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag --out to a benchmark's parser."""
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")


def write(module: str, tables: list, out: pathlib.Path | None) -> None:
    """Print tables as Markdown, and write their numbers as JSON.

    Args:
        module: The benchmark's module within `benchmarks`.
        tables: Each a title, a note, and rows as dictionaries with the same keys.
        out: JSON file to write; None to print only.
    """
    import jax

    # The output file is a place on one machine.
    words = [module, *(a for a in sys.argv[1:] if not a.startswith("--out="))]
    record = {
        "command": f"python -m benchmarks.{' '.join(words)}",
        "date": time.strftime("%Y-%m-%d"),
        "devices": [device.device_kind for device in jax.devices()],
        **environment.collect(),
        "tables": tables,
    }
    print(markdown(record), end="")
    if out:
        out.write_text(json.dumps(record, indent=1) + "\n")


def markdown(record: dict) -> str:
    """Format a record, as `write` keeps it, as a Markdown page."""
    hardware, versions = record["hardware"], record["versions"]
    lines = [
        f"Printed by `{record['command']}`, measured on {record['date']} at commit "
        f"{(record['commit'] or 'unknown')[:7]}: {hardware['processor']}, "
        f"{hardware['cores']} cores, {', '.join(sorted(set(record['devices'])))}; "
        f"jax {versions['jax']}, Python {versions['python']}.",
    ]
    for title, note, rows in record["tables"]:
        lines += ["", f"**{title}** {note}", ""]
        cells = [[_cell(value) for value in row.values()] for row in rows]
        lines.append(markdown_lib.to_markdown(list(rows[0]), cells))
    return "\n".join(lines) + "\n"


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)


if __name__ == "__main__":
    print(markdown(json.loads(pathlib.Path(sys.argv[1]).read_text())), end="")
