"""Say what is wrong with a session of recordings, and what to do about it.

    uld_jax doctor my_lab
    uld_jax doctor my_lab --json=health.json

Examines the signals of each node (level, noise, clipping, hum, gaps, band, start), whether the
nodes can determine a position, and, in the strongest windows, which nodes do not fit the others.
The exit code is 0 if all is well, 1 for a session that is usable with remarks, and 2 for
one that is not.
"""

import pathlib

from uld_jax.cli.flags import Flag, check_output, single_folder
from uld_jax.runtime import errors, progress

FLAGS = (
    Flag("json", "string", "File to write all that was found to."),
    Flag("overwrite", "bool", "Overwrite --json if it exists.", default=False),
)
TAKES_PATHS = True


def main(values, paths) -> None:
    """Examine the session; print and write what was found."""
    folder = single_folder(paths, "doctor")
    out = pathlib.Path(values.json).expanduser() if values.json else None
    if out:
        check_output("json", out, folder, ".json", values.overwrite)

    from uld_jax.audio import sessions
    from uld_jax.evaluation import doctor
    from uld_jax.runtime import jax_setup
    from uld_jax.storage import atomic

    jax_setup.configure()
    session = sessions.open_session(folder)
    examined = doctor.examine(session)
    for one in examined:
        progress.log(_describe(session, one))
    if out:
        atomic.write_json(out, _record(session, examined))
    count = sum(len(one.remarks) for one in examined)
    level = max(one.level for one in examined)
    if level:
        worst = "Not usable" if level > 1 else "Usable"
        noun = "remark" if count == 1 else "remarks"
        raise errors.Failed(f"{worst}: {count} {noun}", code=level)
    progress.log("Nothing is wrong")


def _describe(session, one) -> str:
    """Format a table of the nodes, what was localized, and the remarks."""
    width = max(len("node"), *map(len, session.nodes))
    header = f"  {'node':<{width}}  speech dB  noise dB  start s"
    rows = [
        f"  {name:<{width}}  {facts.speech_db:9.0f}  {facts.noise_db:8.0f}  {start:7.2f}"
        for name, facts, start in zip(session.nodes, one.facts, one.starts, strict=True)
    ]
    places = f"{one.places} place{'' if one.places == 1 else 's'}"
    found = f"  {one.determined} of {one.windows} windows determined, {places}"
    if len(one.starts) > 1 and one.places < 3:
        found += "; clocks can be calibrated with three"
    remarks = [f"  - {remark}" for remark in one.remarks]
    return "\n".join([f"{one.name}:", header, *rows, found, *remarks])


def _record(session, examined) -> dict:
    return {
        "session": session.name,
        "recordings": [
            {
                "name": one.name,
                "level": one.level,
                "windows": one.windows,
                "determined": one.determined,
                "places": one.places,
                "nodes": [
                    {"name": name, "start_s": float(start), **facts._asdict()}
                    for name, facts, start in zip(
                        session.nodes, one.facts, one.starts, strict=True
                    )
                ],
                "remarks": [remark._asdict() for remark in one.remarks],
            }
            for one in examined
        ],
    }
