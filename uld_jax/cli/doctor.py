"""Say what is wrong with a session of recordings, and what to do about it.

    uld_jax doctor my_lab
    uld_jax doctor my_lab --out=health.html --json=health.json

Examines the signals of each node (level, noise, clipping, hum, gaps, band, coherence with the
others), its clock (start, offset, drift), and whether nodes and talkers can determine
positions: in which part of the room, in how many windows, and whether talkers move enough
to calibrate clocks. --out writes a page with all of it, and a map.

The exit code is 0 if all is well, 1 for a session that is usable with remarks, and 2 for
one that is not: no position is determined in any window, whatever the clocks, or a node
cannot be used.
"""

import pathlib
from typing import Any

from uld_jax.cli.flags import Flag, check_output, single_folder
from uld_jax.runtime import errors, progress

FLAGS = (
    Flag("out", "string", "Page to write, as HTML: tables, remarks and a map."),
    Flag("json", "string", "File to write all that was found to."),
    Flag(
        "overwrite", "bool", "Overwrite --out and --json if they exist.", default=False
    ),
)
TAKES_PATHS = True


def main(values: Any, paths: list[str]) -> None:
    """Examine the session; print and write what was found."""
    folder = single_folder(paths, "doctor")
    page, record_file = (
        _check_file(values, folder, flag, ending)
        for flag, ending in (("out", ".html"), ("json", ".json"))
    )

    from uld_jax.audio import sessions
    from uld_jax.evaluation import doctor, health_record
    from uld_jax.report import health_page
    from uld_jax.runtime import jax_setup
    from uld_jax.storage import atomic

    jax_setup.configure()
    session = sessions.open_session(folder)
    examined = doctor.examine(session)
    for one in examined:
        progress.log(health_record.describe(session, one))
    record = health_record.make(session, examined, f"uld_jax doctor {session.name}")
    if record_file:
        atomic.write_json(record_file, record)
    if page:
        health_page.write(record, page)
        progress.log(f"The page is {page}")
    if record["level"]:
        raise errors.Failed(record["summary"], code=record["level"])
    progress.log(record["summary"])


def _check_file(values, folder: str, flag: str, ending: str) -> pathlib.Path | None:
    """Check that a file can be written; return its path, None if none is named."""
    if not (name := getattr(values, flag)):
        return None
    path = pathlib.Path(name).expanduser()
    check_output(flag, path, folder, ending, values.overwrite)
    return path
