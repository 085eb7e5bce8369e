"""Write the table of docs/limits.md from records.

python docs/limits.py
"""

import json
import pathlib
import re

from uld_jax.report import markdown

FOLDER = pathlib.Path(__file__).parent
PAGE = FOLDER / "limits.md"
_RESULTS = FOLDER.parent / "results"
_BENCHMARKS = FOLDER.parent / "benchmarks" / "reliability" / "results"
_TABLE = re.compile(r"(<!-- limits -->\n).*(<!-- /limits -->\n)", re.DOTALL)


def _rows(name: str, table: int = 0) -> list[dict]:
    """Read a table of a benchmark's record."""
    record = json.loads((_BENCHMARKS / f"{name}.json").read_text())
    return record["tables"][table][2]


def _row(name: str, table: int = 0, **wanted) -> dict:
    """Find the row of a benchmark's table that has these values."""
    (found,) = (
        row
        for row in _rows(name, table)
        if all(row[key.replace("_", " ")] == value for key, value in wanted.items())
    )
    return found


def _condition(run: str, name: str, value: float) -> dict:
    """Find the test metrics of a run under a condition."""
    record = json.loads((_RESULTS / run / "conditions.json").read_text())
    (found,) = (
        one
        for one in record["conditions"]
        if (one["name"], one["value"]) == (name, value)
    )
    return found


def _meters(value: float) -> str:
    """Write meters with two digits.

    >>> _meters(0.0404), _meters(1.337), _meters(0.395)
    ('0.040 m', '1.3 m', '0.40 m')
    """
    digits = 1 if value >= 1 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f} m"


def _room(nodes: int, condition: str, what: str) -> list[str]:
    """Format a row of the rooms of another simulator."""
    row = _row("other_rooms", nodes=nodes, condition=condition)
    figures = f"{row['determined']} are determined, "
    figures += f"{_meters(row['MAE m of these'])} off; all are "
    figures += f"{_meters(row['localize: MAE m'])} off"
    return [what, str(nodes), figures, "[other rooms](other_rooms.md)"]


def make_table() -> str:
    """Format the table: condition, nodes, what came out, record."""
    rooms = [
        _room(30, "clean", "nothing is wrong"),
        _room(8, "clean", "nothing is wrong"),
        _room(5, "clean", "**five nodes**, nothing else is wrong"),
        _room(8, "point noise, 0 dB", "**a noise as loud as the talker**"),
    ]
    noise = _condition("localizer/ad1/fused", "snr_db", -10.0)
    loud = [
        "**a noise 10 dB louder than the talker**",
        "30",
        f"{_meters(noise['mae'])} off; the 90 % radius holds "
        f"{100 * noise['coverage_90']:.0f} %",
        "[localizer](localizer.md#what-to-expect)",
    ]
    two = [
        [
            "**two talkers at once**, by SRP-PHAT",
            "30" if name == "none" else f"{value:.0f}",
            f"{_meters(found['mae'])} off, {_meters(found['median'])} in the median",
            "[two talkers](scattered_nodes.md#two-talkers)",
        ]
        for name, value in (("none", 0.0), ("num_nodes", 5.0))
        for found in [_condition("ad2/srp_phat", name, value)]
    ]
    told = json.loads((_RESULTS / "localizer/ad2/fused/record.json").read_text())[
        "test"
    ]
    two.insert(
        0,
        [
            "**two talkers at once**, by `num_sources=2`",
            "30",
            f"{_meters(told['mae'])} off, {_meters(told['median'])} in the median; the 90 % "
            f"radius holds {100 * told['coverage_90']:.0f} %",
            "[two talkers](localizer.md#several-talkers-at-once)",
        ],
    )
    clocks = [
        _room(8, "clocks 2 ms", "**clocks 2 ms off**, one place of the talker"),
        _room(5, "clocks 2 ms", "clocks 2 ms off, one place of the talker"),
    ]
    phones = [
        [
            "**phones with clocks of their own**, six places of talkers",
            str(row["phones"]),
            f"clocks are found in {row['clocks determined']} of the recordings; "
            f"{row['windows determined']} of the windows are determined, and the 90 % "
            f"radius of these holds {row['covers these']}",
            "[phones](phones.md)",
        ]
        for row in _rows("phones")
    ]
    places = _room(8, "positions 0.1 m", "**nodes 10 cm from where the table says**")
    wrong = _row("planted_faults", fault="a node 1 m elsewhere")
    wrong = [
        "**one node a meter from where the table says**",
        "8",
        f"`uld_jax doctor` remarks on it in {wrong['found']} of the sessions",
        "[planted faults](planted_faults.md)",
    ]
    heads = ["what is hard", "nodes", "what came out", "record"]
    rows = [*rooms, loud, *two, *clocks, *phones, places, wrong]
    # Percent signs stand apart, as in the rest of the pages.
    rows = [[re.sub(r"(\d)%", r"\1 %", cell) for cell in row] for row in rows]
    return markdown.to_markdown(heads, rows)


def main() -> None:
    """Replace the table of the page."""
    page = PAGE.read_text()
    PAGE.write_text(_TABLE.sub(rf"\1\n{make_table()}\n\n\2", page))


if __name__ == "__main__":
    main()
