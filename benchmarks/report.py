"""What the benchmarks print and write: tables, with where they were measured."""

import json
import pathlib
import sys
import time


def write(title: str, tables: list, out: pathlib.Path | None) -> None:
    """Print tables as Markdown, and write them, with their numbers as JSON beside.

    Args:
        title: Name of the script.
        tables: Each a title, a note, and rows as dictionaries with the same keys.
        out: Markdown file to write; None to print alone.
    """
    import jax

    from uld_jax import records

    # Not where it was written to: that is a place on one machine.
    words = [title, *(a for a in sys.argv[1:] if not a.startswith("--out="))]
    record = {
        "command": " ".join(words),
        "date": time.strftime("%Y-%m-%d"),
        "devices": [device.device_kind for device in jax.devices()],
        **records.environment(),
        "tables": tables,
    }
    text = _markdown(record)
    print(text)
    if out:
        out.write_text(text)
        out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


def _markdown(record: dict) -> str:
    from uld_jax import markup

    hardware, versions = record["hardware"], record["versions"]
    lines = [
        f"Written by `python benchmarks/{record['command']}` on {record['date']}, "
        f"commit {(record['commit'] or 'unknown')[:7]}: {hardware['processor']}, "
        f"{hardware['cores']} cores, {', '.join(sorted(set(record['devices'])))}; "
        f"jax {versions['jax']}, Python {versions['python']}.",
    ]
    for title, note, rows in record["tables"]:
        lines += ["", f"**{title}** {note}", ""]
        cells = [[_cell(value) for value in row.values()] for row in rows]
        lines.append(markup.to_markdown(list(rows[0]), cells))
    return "\n".join(lines) + "\n"


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)
