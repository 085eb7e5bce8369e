import pytest

from uld_jax.report import markdown

TABLE = markdown.Table(
    "**Table 1 on `l1`**: a < b.",
    ["Label", "I"],
    [["ULD", "5"], ["", "16"]],
    "A note.",
)


def test_markdown_has_columns_of_even_width():
    assert TABLE.markdown().splitlines() == [
        "**Table 1 on `l1`**: a < b.",
        "",
        "| Label | I  |",
        "| ----- | -- |",
        "| ULD   | 5  |",
        "|       | 16 |",
        "",
        "A note.",
    ]
    assert markdown.markdown([TABLE, TABLE]).count("A note.\n\n**Table 1") == 1


def test_html_is_a_table_with_what_markdown_marks():
    assert TABLE.html().splitlines() == [
        "<p><b>Table 1 on <code>l1</code></b>: a &lt; b.</p>",
        "<table>",
        '<tr class="first"><th>Label</th><th>I</th></tr>',
        '<tr class="first"><td>ULD</td><td>5</td></tr>',
        "<tr><td></td><td>16</td></tr>",
        "</table>",
        "<p>A note.</p>",
    ]


def test_the_marked_part_is_replaced():
    text = "a\n<!-- results -->\nold\n<!-- /results -->\nb\n<!-- ad1 --><!-- /ad1 -->\n"
    replaced = markdown.replace_marked(text, "new")
    assert replaced == text.replace("\nold\n", "\n\nnew\n\n")
    assert markdown.replace_marked(replaced, "new") == replaced
    other = markdown.replace_marked(text, "new", "ad1")
    assert other.endswith(
        "old\n<!-- /results -->\nb\n<!-- ad1 -->\n\nnew\n\n<!-- /ad1 -->\n"
    )
    with pytest.raises(ValueError, match="needs the lines <!-- ad2 -->"):
        markdown.replace_marked(text, "new", "ad2")
