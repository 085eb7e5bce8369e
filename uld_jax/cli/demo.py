"""Localize a talker in a small made-up session, and show it on a page.

    uld_jax demo --out=my_demo

Makes a room with six recorders, one of which starts late, and a talker who speaks at
three places; localizes the talker, and writes a page to open in a browser.
"""

import pathlib
import types
from typing import Any

from uld_jax.cli import locate
from uld_jax.cli.flags import Flag
from uld_jax.runtime import errors, progress

FLAGS = (
    Flag("out", "string", "Folder to write to.", required=True),
    Flag("overwrite", "bool", "Overwrite what is in --out.", default=False),
)
TAKES_PATHS = False


def main(values: Any, _: Any) -> None:
    """Make the session, and localize it."""
    out = pathlib.Path(values.out).expanduser()
    table = out / "positions.csv"
    if out.exists() and not out.is_dir():
        raise errors.InputError(f"--out: {str(out)!r} is a file; name a folder")
    if out.exists() and any(out.iterdir()) and not values.overwrite:
        raise errors.InputError(
            f"--out: {str(out)!r} holds files; name another folder, or pass --overwrite"
        )

    from uld_jax.evaluation import example_session
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    progress.log("Making a room with six recorders and a talker at three places")
    session = example_session.write(out / "session")
    flags = {flag.name: flag.default for flag in locate.FLAGS}
    flags |= {"out": str(table), "overwrite": values.overwrite}
    locate.main(types.SimpleNamespace(**flags), [str(session)])
    places = ", ".join(f"({x:g}, {y:g})" for x, y, _ in example_session.PLACES)
    progress.log(f"The talker was at {places} m")
    progress.log(f"Open {table.with_suffix('.html')} in a browser")
