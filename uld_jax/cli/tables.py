"""Print the tables of finished runs, beside the paper's values.

    uld_jax tables results/ad1
    uld_jax tables results/ad2 --update=docs/scattered_nodes.md --mark=ad2

Paths are records or folders of them. With --update, the part of a page between
`<!-- results -->` and `<!-- /results -->` is replaced.
"""

import pathlib
from typing import Any

from uld_jax.cli.flags import Flag
from uld_jax.runtime import errors

FLAGS = (
    Flag(
        "only",
        "list",
        "Kinds of tables: paper, training, places, conditions (by default these), or "
        "summary, a narrow one.",
        default=[],
    ),
    Flag("markdown", "string", "File to write the tables to."),
    Flag("update", "string", "Page whose marked part to replace."),
    Flag("mark", "string", "Word of the marks in the page.", default="results"),
)
TAKES_PATHS = True


def main(values: Any, paths: list[str]) -> None:
    """Print the tables of all records at or below the paths."""
    from uld_jax.report import groups, markdown, tables

    if not paths:
        raise errors.InputError("tables: name at least one folder of records")
    only = values.only or tables.KINDS
    known = (*tables.KINDS, tables.SUMMARY)
    if unknown := [kind for kind in only if kind not in known]:
        raise errors.InputError(
            f"--only: no kind {unknown[0]!r}; there are {', '.join(known)}"
        )
    found, unfinished = groups.read(paths)
    text = markdown.markdown(tables.make(found, only))
    if not text:
        raise errors.InputError(
            f"these runs have no table of {', '.join(only)}; 'training' compares runs "
            "that differ in training settings alone, 'conditions' needs "
            "uld_jax robustness"
        )
    if values.update:
        path = pathlib.Path(values.update)
        path.write_text(markdown.replace_marked(path.read_text(), text, values.mark))
    if values.markdown:
        path = pathlib.Path(values.markdown)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    if unfinished:
        print(f"Left out, not finished: {', '.join(unfinished)}\n")
    print(text)
