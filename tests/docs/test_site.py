"""The site of all pages and the reference, as `make docs` builds it."""

import html.parser
import importlib.util
import json
import pathlib
import subprocess
import sys
import urllib.parse

import pytest
from conftest import ROOT

import uld_jax


def load(name):
    found = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


build_site = load("build_site")


def test_all_pages_and_all_public_names_have_their_place():
    listed = [
        path for group in build_site.navigation() for path in next(iter(group.values()))
    ]
    assert sorted(listed) == sorted({*build_site.pages(), *build_site.reference()})
    assert len(listed) == len(set(listed))
    assert {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} <= set(listed)
    modules = {
        getattr(uld_jax, name).__name__ for name in uld_jax.__all__ if is_module(name)
    }
    assert set(build_site.public_names()) == {
        name for name in uld_jax.__all__ if not is_module(name)
    }
    assert {
        f"uld_jax.{name}" for name in (*build_site.sub_packages(), "config")
    } == modules


def is_module(name):
    return isinstance(getattr(uld_jax, name), type(sys))


def test_what_pages_link_to_is_staged(tmp_path):
    build_site.stage(tmp_path)
    for name in build_site.pages():
        text = (tmp_path / name).read_text()
        for link in build_site._LINK.findall(text):
            assert (tmp_path / name).parent.joinpath(link).is_file(), (name, link)


def test_links_are_those_of_a_site():
    page = ROOT / "docs" / "x.md"
    text = "[a](../results/multilateration) [b](#front-ends-1) [c](labels.md#x) ![d](e.png)"
    assert build_site.for_site(text, page) == (
        "a [b](#front-ends_1) [c](labels.md#x) ![d](e.png)"
    )


def test_examples_of_docstrings_are_shown_as_code():
    pytest.importorskip("griffe")
    fence = load("doctests").fence
    text = "First.\n\n>>> x = [1]\n>>> x\n[1]\n\nLast."
    assert fence(text) == "First.\n\n```pycon\n>>> x = [1]\n>>> x\n[1]\n```\n\nLast."


class Found(html.parser.HTMLParser):
    """Links, names and what is loaded, of one page."""

    def __init__(self):
        super().__init__()
        self.links, self.names, self.loaded = [], set(), []

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        if facts.get("id"):
            self.names.add(facts["id"])
        if tag == "a" and facts.get("href"):
            self.links.append(facts["href"])
        if tag in ("script", "img") and facts.get("src"):
            self.loaded.append(facts["src"])
        if tag == "link" and "stylesheet" in (facts.get("rel") or ""):
            self.loaded.append(facts["href"])


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_links_work(tmp_path):
    """It loads nothing from elsewhere, and the search knows pages and functions."""
    for library in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(library)
    site = tmp_path / "site"
    result = subprocess.run(
        [sys.executable, "docs/build_site.py", f"--out={site}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "WARNING" not in result.stderr
    pages = {}
    for path in site.rglob("*.html"):
        pages[path] = found = Found()
        found.feed(path.read_text())
    for name in build_site.pages():
        plain = name.replace("README.md", "index.md")
        assert (site / plain).with_suffix(".html") in pages, name
    names = set().union(*(found.names for found in pages.values()))
    assert names >= set(build_site.public_names().values())
    dead = [
        (path.name, link)
        for path, found in pages.items()
        if path.name != "404.html"
        for link in (*found.links, *found.loaded)
        if not leads_somewhere(path, link, pages)
    ]
    assert dead == []
    assert not [one for found in pages.values() for one in found.loaded if ":" in one]
    index = (site / "search" / "search_index.json").read_text()
    titles = {entry["title"] for entry in json.loads(index)["docs"]}
    assert any("encode_uld" in title for title in titles)
    assert any("The label by itself" in title for title in titles)


def leads_somewhere(path, link, pages):
    parts = urllib.parse.urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = path
    if parts.path:
        target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
    if target.is_dir():
        target = target / "index.html"
    if not pathlib.Path(target).is_file():
        return False
    known = pages[target].names if target in pages else {parts.fragment}
    return parts.fragment in {*known, "", "__codelineno-0-1"} or "codelineno" in link
