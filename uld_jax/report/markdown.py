"""Tables as Markdown and as HTML."""

import dataclasses
import html
import re

from uld_jax.runtime import errors

MARK = "results"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        caption: Text above it; **bold** and `code` as in Markdown.
        header: Names of the columns.
        rows: Their cells.
        notes: Text below it.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    notes: str = ""

    def markdown(self) -> str:
        """Format it as Markdown."""
        table = to_markdown(self.header, self.rows)
        return "\n\n".join(filter(None, (self.caption, table, self.notes)))

    def html(self) -> str:
        """Format it as HTML."""
        lines = [f"<p>{_to_html(self.caption)}</p>", "<table>"]
        for row, tag in [(self.header, "th"), *((row, "td") for row in self.rows)]:
            cells = "".join(f"<{tag}>{_to_html(cell)}</{tag}>" for cell in row)
            # A rule above each new label.
            kind = ' class="first"' if row[0] else ""
            lines.append(f"<tr{kind}>{cells}</tr>")
        lines.append("</table>")
        if self.notes:
            lines.append(f"<p>{_to_html(self.notes)}</p>")
        return "\n".join(lines)


def _to_html(text: str) -> str:
    text = html.escape(text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def to_markdown(header: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    ruler = ["-" * max(width, 1) for width in widths]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in [header, ruler, *rows]
    )


def markdown(tables: list[Table]) -> str:
    """Format tables as Markdown, one after another."""
    return "\n\n".join(table.markdown() for table in tables)


def replace_marked(text: str, table: str, mark: str = MARK) -> str:
    """Replace the part of a text between its marks.

    Raises:
        errors.InputError: If the text lacks the marks.
    """
    opening, closing = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, begin, rest = text.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end:
        raise errors.InputError(f"the page needs the lines {opening} and {closing}")
    return f"{before}{opening}\n\n{table}\n\n{closing}{after}"
