"""Write the table of docs/weights.md from the cards of the shipped networks.

python docs/weights.py
"""

import pathlib

from uld_jax.pretrained import shipped, weights
from uld_jax.report import markdown

PAGE = pathlib.Path(__file__).with_suffix(".md")
_OPEN, _CLOSE = "<!-- weights -->\n", "<!-- /weights -->"
_HEADER = ["name", "MB", "parameters", "trained on", "examples", "training speakers"]
_HEADER += ["test MAE m", "median m", "radius m", "radii hold", "converged"]


def make_table() -> str:
    """Make the table, of the test of the very weights where a card has one."""
    rows = []
    for name in shipped.names():
        run = weights.read_run(shipped.folder(name), "docs")
        card, data = run["card"], run["data"]
        test = (card.get("tested") or run)["test"]
        rows.append(
            [
                f"`{name}`",
                f"{card['hashes']['bytes'] / 1e6:.1f}",
                f"{card['parameters']:,}",
                f"`{data['name']}`",
                f"{data['sizes']['train']:,}",
                str(data["corpus"]["train_talkers"]),
                f"{test['mae']:.3f}",
                f"{test['median']:.3f}",
                f"{test['radius_90']:.2f}",
                f"{100 * test['radius_coverage_90']:.1f} %",
                "yes" if run["converged"] else "no",
            ]
        )
    return markdown.to_markdown(_HEADER, rows)


def update(text: str) -> str:
    """Put the table between its marks in the page."""
    before, rest = text.split(_OPEN)
    return f"{before}{_OPEN}\n{make_table()}\n{_CLOSE}{rest.split(_CLOSE)[1]}"


if __name__ == "__main__":
    PAGE.write_text(update(PAGE.read_text()))
