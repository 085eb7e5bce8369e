"""Build the site of all pages, with a reference of the code and a search over both.

make docs
python docs/build_site.py --out=build/site

The pages link to code beside them, so they are staged with it, as they lie in the
repository; the reference is written from the table of public names and the sub-packages.
"""

import argparse
import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(?:#[^)\s]*)?\)")
_WHOLE_LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")
_ENTRY = re.compile(r"\]\(([\w./]+\.md)\)")
_CONFIG = "docs/mkdocs.yml"
_REFERENCE = "reference"
_NOT_LISTED = ("cli",)  # Its flags are the interface: docs/reference.md.


def pages() -> list[str]:
    """List the pages of the site, by their path in the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def public_names() -> dict[str, str]:
    """Find where each public name of `uld_jax` is defined, by its name."""
    tree = ast.parse((ROOT / "uld_jax" / "__init__.pyi").read_text())
    return {
        alias.name: f"uld_jax.{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def sub_packages() -> list[str]:
    """List the sub-packages that have a page of the reference."""
    found = (ROOT / "uld_jax").glob("*/__init__.py")
    return sorted({path.parent.name for path in found} - set(_NOT_LISTED))


def stage(folder: pathlib.Path) -> None:
    """Copy the pages, what they link to, and the reference to a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in pages():
        text = (ROOT / name).read_text()
        linked = [(ROOT / name).parent / link for link in _LINK.findall(text)]
        for path in (ROOT / name, *linked):
            path = path.resolve()
            target = folder / path.relative_to(ROOT)
            if path.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    for name in pages():
        (folder / name).write_text(for_site((ROOT / name).read_text(), ROOT / name))
    for path, text in reference().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def for_site(text: str, path: pathlib.Path) -> str:
    """Change what a site has otherwise than a repository: folders, and equal headings."""

    def change(match: re.Match) -> str:
        title, link, heading = match.groups()
        if link and (path.parent / link).is_dir():
            return title  # A site shows no folders.
        # The second of two equal headings.
        heading = re.sub(r"-(\d+)$", r"_\1", heading or "")
        return f"[{title}]({link}{heading})"

    return _WHOLE_LINK.sub(change, text)


def reference() -> dict[str, str]:
    """Write the pages of the reference, by their path."""
    lines = [
        "# Reference of the code",
        "",
        "The names of `import uld_jax`; the pages beside this one hold the sub-packages.",
        "",
    ]
    lines += [
        f"- [`uld_jax.{name}`][{where}]" for name, where in public_names().items()
    ]
    found = {f"{_REFERENCE}/README.md": "\n".join(lines) + "\n"}
    for name in [*sub_packages(), "config"]:
        found[f"{_REFERENCE}/{name}.md"] = f"# {name}\n\n::: uld_jax.{name}\n"
    return found


def navigation() -> list[dict]:
    """Group the pages as docs/README.md does; what it does not name comes last."""
    groups, title = {}, None
    for line in (ROOT / "docs" / "README.md").read_text().splitlines():
        if start := re.match(r"\*\*(.+?)\*\*:", line):
            title = groups.setdefault(start[1], [])
        elif title is not None:
            for link in _ENTRY.findall(line):
                path = (ROOT / "docs" / link).resolve().relative_to(ROOT).as_posix()
                if path not in title:
                    title.append(path)
    code = [
        f"{_REFERENCE}/README.md",
        *sorted(reference().keys() - {f"{_REFERENCE}/README.md"}),
    ]
    named = {path for group in groups.values() for path in group}
    others = [path for path in pages() if path not in named | {"README.md"}]
    return [
        {"Start": ["README.md", *others]},
        *({title: group} for title, group in groups.items()),
        {"Code": code},
    ]


def main() -> None:
    """Stage the pages, and build the site; a warning is an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "site")
    out = parser.parse_args().out.resolve()
    staged = out.with_name(f"{out.name}_pages")
    stage(staged)
    settings = {
        "INHERIT": str(ROOT / _CONFIG),
        "docs_dir": str(staged),
        "site_dir": str(out),
        "nav": navigation(),
    }
    config = out.with_name(f"{out.name}.yml")
    config.write_text(json.dumps(settings, indent=1))  # JSON is YAML.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    # Not a warning of the build: what the theme says of its successor.
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    env["DOCTESTS"] = str(ROOT / "docs" / "doctests.py")
    result = subprocess.run(
        [*command, f"--config-file={config}"], cwd=ROOT, env=env, check=False
    )
    sys.exit(result.returncode)


if __name__ == "__main__":
    main()
