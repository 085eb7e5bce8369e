"""Links of the pages lead somewhere."""

import re

import pytest
from conftest import ROOT

PAGES = sorted(
    {ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md")}
)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")


def anchors(page):
    """Return the names of a page's headings, as sites of repositories make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    dead = []
    for path, heading in LINK.findall(page.read_text()):
        target = (page.parent / path) if path else page
        if not target.exists():
            dead.append(path)
        elif heading and target.suffix == ".md":
            known = anchors(target)
            numbered = re.sub(r"-\d+$", "", heading[1:])
            if heading[1:] not in known and numbered not in known:
                dead.append(path + heading)
    assert dead == []
