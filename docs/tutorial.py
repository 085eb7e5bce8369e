"""Rebuild docs/tutorial.md: make its session, run its commands, quote and picture them.

python -m docs.tutorial

Renders a meeting around a table from built-in speech, by plain pyroomacoustics, as six
phones record it: each started by hand, each with a clock, a sample rate and a gain of its
own. Replaces what the page quotes, and draws its pictures by Chromium. About three minutes
on two cores; needs the extra `dev`, and `apt install chromium-driver`.
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import soundfile

from benchmarks.reliability import recorders
from uld_jax.report import markdown

FOLDER = pathlib.Path(__file__).parent
PAGE = FOLDER / "tutorial.md"
SESSION, RECORDING = "meeting", "monday"
ROOM = recorders.Room(
    size=(6.0, 4.5, 2.7),
    t60=0.4,
    nodes={
        "anna": (1.95, 1.55, 0.75),
        "ben": (3.05, 1.85, 0.75),
        "carla": (4.10, 1.60, 0.75),
        "david": (4.60, 3.30, 1.10),
        "emma": (2.90, 3.20, 0.95),
        "finn": (1.50, 3.10, 0.85),
    },
    stays=tuple(
        recorders.Stay(start, end, place)
        for start, end, place in (
            (0.0, 7.0, (1.30, 1.20, 1.20)),
            (7.0, 14.0, (3.10, 0.80, 1.20)),
            (14.0, 21.0, (4.90, 1.30, 1.25)),
            (21.0, 28.0, (5.00, 2.60, 1.60)),
            (28.0, 35.0, (3.40, 3.70, 1.20)),
            (35.0, 42.0, (1.20, 2.70, 1.20)),
            (42.0, 47.0, (3.10, 0.80, 1.20)),
            (47.0, 53.0, (3.40, 3.70, 1.20)),
        )
    ),
    seconds=53.5,
)
PHONES = {
    "anna": recorders.Recorder(ppm=8.0, rate=48_000),
    "ben": recorders.Recorder(start=1.31, ppm=-12.0, gain_db=3.0),
    "carla": recorders.Recorder(start=0.62, ppm=5.0, rate=48_000, gain_db=-4.0),
    "david": recorders.Recorder(start=2.47, ppm=15.0, gain_db=-2.0),
    "emma": recorders.Recorder(start=0.93, ppm=-6.0, rate=16_000, gain_db=2.0),
    "finn": recorders.Recorder(start=3.18, ppm=-18.0, rate=48_000, gain_db=-6.0),
}
_SEED = 7
_WIDTH, _HEIGHT, _TALLEST = 1180, 960, 1800  # Of pictures, in pixels.
# On a terminal these are a bar, which is gone at the end.
_PROGRESS = re.compile(r".+: \d+ of \d+ \w+, \S+ per second, .+ left$")
_PLACES = re.compile(r"(<!-- places -->\n).*?(<!-- /places -->)", re.DOTALL)
_MARK = re.compile(r"<!-- (run|file): (.+?) -->\n.*?<!-- /\1 -->", re.DOTALL)
# Each picture: page, what it shows of it (else what is on its first screen), and what is
# done before.
_PICTURES = {
    "tutorial_plan.png": ("plan/plan.html", ".pair", ""),
    "tutorial_health.png": ("health.html", "", ""),
    "tutorial_page.png": (
        "positions.html",
        ".overview",
        "const slider = document.querySelector('input[type=range]');"
        "slider.value = 12; slider.dispatchEvent(new Event('input'));",
    ),
}


def tables() -> dict[str, str]:
    """Return the tables of the session, by the names of their files."""
    rows = [
        ",".join([name, *(f"{value:.2f}" for value in place)])
        for name, place in ROOM.nodes.items()
    ]
    return {
        "room.csv": "x,y,z\n" + ",".join(f"{side:g}" for side in ROOM.size) + "\n",
        "nodes.csv": "\n".join(["node,x,y,z", *rows]) + "\n",
        "recordings.csv": f"recording\n{RECORDING}\n",
    }


def places() -> str:
    """Format where the talkers were, as a table of Markdown."""
    rows = [
        [f"{stay.start:.0f} to {stay.end:.0f} s", *(f"{one:.2f}" for one in stay.place)]
        for stay in ROOM.stays
    ]
    return markdown.to_markdown(["time", "x m", "y m", "z m"], rows)


def write_session(folder: pathlib.Path) -> None:
    """Fill in the tables of a folder, and copy the recordings into it."""
    for name, text in tables().items():
        (folder / name).write_text(text)
    rng = np.random.default_rng(_SEED)
    sounds = recorders.render(ROOM, recorders.open_voices("builtin"), _SEED)
    sounds *= 0.05 / np.sqrt(np.mean(np.square(sounds)))
    for (name, phone), sound in zip(PHONES.items(), sounds, strict=True):
        own = recorders.record(sound, phone, rng)
        path = folder / f"{RECORDING}-{name}.wav"
        soundfile.write(path, own, phone.rate, subtype=phone.subtype)


def run(command: str, folder: pathlib.Path) -> str:
    """Run a command as its user does; return what a terminal then shows."""
    program, *words = shlex.split(command)
    assert program == "uld_jax", command
    root = str(FOLDER.parent)
    done = subprocess.run(
        [sys.executable, "-m", "uld_jax.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1:
        raise RuntimeError(f"{command}: {done.stderr}")
    errors = done.stderr.splitlines()[-1:] if done.returncode else []
    lines = [*done.stdout.splitlines(), *errors]
    return "\n".join(line for line in lines if not _PROGRESS.match(line))


def fill(page: str, make: Callable[[str, str], str]) -> str:
    """Replace what is between the marks of a page.

    Args:
        page: The text.
        make: Gives the lines of a block: from "run" and a command, or from "file", the
            name of a file, and the lines that are quoted of it.
    """

    def replace(found: re.Match) -> str:
        kind, what = found.groups()
        lines = make(kind, what).rstrip().splitlines()
        if kind == "run":
            lines = [f"$ {what}", *lines]
        block = "\n".join(f"    {line}".rstrip() for line in lines)
        return f"<!-- {kind}: {what} -->\n\n{block}\n\n<!-- /{kind} -->"

    return _MARK.sub(replace, page)


def _quote(name: str, folder: pathlib.Path) -> str:
    """Quote a file, or the lines that `NAME, lines 1 5 6` names."""
    name, _, lines = name.partition(", lines ")
    text = (folder / name).read_text().splitlines()
    if lines:
        text = [text[int(number) - 1] for number in lines.split()]
    return "\n".join(text)


def _draw(folder: pathlib.Path) -> None:
    """Draw the pictures by a browser without a window."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.add_argument("--headless=new")
    options.add_argument("--hide-scrollbars")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        for picture, (page, selector, script) in _PICTURES.items():
            browser.set_window_size(_WIDTH, _TALLEST if selector else _HEIGHT)
            browser.get((folder / page).as_uri())
            browser.execute_script(script)
            path = str(FOLDER / picture)
            if selector:
                browser.find_element("css selector", selector).screenshot(path)
            else:
                browser.save_screenshot(path)
    finally:
        browser.quit()


def main() -> None:
    """Write the page and its pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def make(kind: str, what: str) -> str:
            if kind == "file":
                return _quote(what, folder)
            print(what, flush=True)
            shown = run(what, folder)
            if what == f"uld_jax new-session {SESSION}":
                write_session(folder / SESSION)
            return shown

        page = _PLACES.sub(rf"\1\n{places()}\n\n\2", PAGE.read_text())
        PAGE.write_text(fill(page, make))
        _draw(folder)


if __name__ == "__main__":
    main()
