r"""Localize a folder of recordings by a trained network, or by a method without one.

    python -m uld_jax.locate --recordings=my_lab --run=runs/ad1_uld --out=positions.csv
    python -m uld_jax.locate --recordings=my_lab --method=srp_phat --out=positions.csv

docs/own_recordings.md tells what the folder holds. Every recording gets a line; every
window of 2 s in which somebody speaks, and every source, a row of the table --out.
"""

import os
import pathlib

import jax
from absl import flags

from uld_jax import (
    baselines,
    commands,
    errors,
    positions,
    progress,
    sessions,
    weights,
)

_RECORDINGS = flags.DEFINE_string(
    "recordings", None, "Folder of the recordings and their tables.", required=True
)
_RUN = flags.DEFINE_string(
    "run", None, "Folder of the run of a trained network, or of its shared weights."
)
_METHOD = flags.DEFINE_enum(
    "method", None, list(baselines.BASELINES), "Baseline, in place of a network."
)
_NUM_SOURCES = flags.DEFINE_integer(
    "num_sources",
    None,
    "Talkers --method looks for; as many as the recordings' tables say, or one.",
    1,
)
_OUT = flags.DEFINE_string("out", None, "Table of positions to write, as CSV.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Write --out anew if it is there.")

_BATCH_ON_CPU, _BATCH = 4, 32


class FlagError(errors.InputError):
    """Flags that do not go together."""


def _check_flags() -> pathlib.Path | None:
    """Return where the table goes, once the flags can be right."""
    if bool(_RUN.value) == bool(_METHOD.value):
        raise FlagError(
            f"--run is {_RUN.value!r} and --method {_METHOD.value!r}; give one of them: "
            "the folder of a trained network's run, or one of "
            f"{', '.join(baselines.BASELINES)}"
        )
    if _NUM_SOURCES.value and _RUN.value:
        raise FlagError(
            f"--num_sources is {_NUM_SOURCES.value} and is for --method; a network "
            "finds as many sources as it was trained for: leave it out"
        )
    if _OUT.value is None:
        return None
    out = pathlib.Path(_OUT.value).expanduser()
    if out.is_dir():
        raise FlagError(f"--out: {str(out)!r} is a folder; name a file in it")
    if out.exists() and not _OVERWRITE.value:
        raise FlagError(
            f"--out: {str(out)!r} is there already; name another file, or say --overwrite"
        )
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise FlagError(
            f"--out: {str(out.parent)!r} is no folder that can be written; make it, or "
            "name another"
        )
    return out


def main(_) -> None:
    """Localize the recordings, and tell and write what was found."""
    out = _check_flags()
    run = None
    if _RUN.value:
        run = weights.read_network(_RUN.value, "--run")
    session = sessions.open_session(_RECORDINGS.value)
    if run:
        step, num_sources = positions.network(session, run)
    else:
        step, num_sources = positions.baseline(
            session, _METHOD.value, _NUM_SOURCES.value
        )
    batch_size = _BATCH_ON_CPU if jax.default_backend() == "cpu" else _BATCH
    if run and run.get("converged") is False:
        progress.say(
            f"The run {_RUN.value} did not converge: it does not find talkers."
        )
    table, left_out = [], []
    for found in positions.locate(session, step, num_sources, batch_size, left_out):
        progress.say(found.summary())
        table += positions.rows(found)
    if out:
        positions.write_table(out, table)
        progress.say(f"{len(table):,} positions are in {out}")
    if left_out:
        raise commands.Failed("Left out:\n  " + "\n  ".join(left_out))


if __name__ == "__main__":
    commands.run(main)
