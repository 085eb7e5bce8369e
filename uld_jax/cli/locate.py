r"""Localize talkers in a folder of recordings, and say how sure that is.

    uld_jax locate my_lab --out=positions.csv
    uld_jax locate my_lab --calibrate_clocks --out=positions.csv
    uld_jax locate my_lab --method=srp_phat --out=positions.csv
    uld_jax locate my_lab --run=runs/ad1_uld --out=positions.csv
    uld_jax locate my_labs --out=located
    uld_jax locate --live --nodes=my_lab/nodes.csv --sample_rate=16000 < sound.raw

By default by `uld_jax.localize`, for one talker, which also gives a radius and says when
an answer cannot be trusted; or by another method, or a network of your own. Where few
windows of a recording are determined, the clock offset and drift of each node are estimated
from talkers at three places or more; with --calibrate_clocks, in all recordings. With
--calibrate_clocks=session they are estimated from all recordings together, for devices that
kept running.

docs/own_recordings.md describes the folder. Each recording gets a line; each window of
2 s in which somebody speaks, and each source, a row of the table --out. Beside it are a
page for a browser, positions.html, and all that is known, positions.json.

Many sessions, or a folder of them, are located at once (docs/many_sessions.md).
"""

import dataclasses
import functools
import pathlib
from typing import Any

from uld_jax.cli import live, many_sessions
from uld_jax.cli.baseline import METHOD
from uld_jax.cli.flags import Flag, check_output, single_folder
from uld_jax.runtime import errors, progress

FLAGS = (
    Flag(
        "recordings",
        "string",
        "Folder of the recordings and their tables, if it is not named without a flag.",
    ),
    Flag("run", "string", "Folder of a finished run, or of shared weights."),
    dataclasses.replace(METHOD, help=f"{METHOD.help} By default fused."),
    Flag(
        "out",
        "string",
        "Table of positions to write, as CSV, with a page beside it; of many sessions a "
        "folder.",
    ),
    Flag(
        "num_sources",
        "integer",
        "Talkers that --method looks for; by default as many as the recordings' tables "
        "name, or one.",
        least=1,
    ),
    Flag(
        "calibrate_clocks",
        "string",
        "Calibrate the nodes' clocks first, by talkers at three places or more: in each "
        "recording, or, with session, in all recordings together.",
        bare="recording",
    ),
    Flag("overwrite", "bool", "Overwrite --out if it exists.", default=False),
    *many_sessions.FLAGS,
    *live.FLAGS,
)
TAKES_PATHS = True

_BATCH_ON_CPU, _BATCH = 4, 32
_TABLE, _PAGE, _RECORD = ".csv", ".html", ".json"
_DEFAULT = "fused"  # `methods.FUSED`, which would import JAX.


def _check(values) -> None:
    """Check that the flags fit together."""
    if values.run and values.method:
        raise errors.InputError(
            f"--run is {values.run!r} and --method {values.method!r}; give one of them: "
            "the folder of a network's run, or a method (see uld_jax locate --help)"
        )
    if values.calibrate_clocks not in (None, "recording", "session"):
        raise errors.InputError(
            f"--calibrate_clocks is {values.calibrate_clocks!r}; give recording or session"
        )
    if values.calibrate_clocks and (
        values.run or (values.method or _DEFAULT) != _DEFAULT
    ):
        raise errors.InputError(
            f"--calibrate_clocks goes with --method={_DEFAULT} alone, the default; remove "
            "it, or --run and --method"
        )
    if values.num_sources and values.run:
        raise errors.InputError(
            f"--num_sources is {values.num_sources}, but a network finds as many sources "
            "as it was trained for; remove the flag, or pass --method"
        )


def _check_out(values, folder: str) -> pathlib.Path | None:
    """Check the path of the table, and return it."""
    if values.out is None:
        return None
    out = pathlib.Path(values.out).expanduser()
    for ending in (_TABLE, _PAGE, _RECORD):
        path = out.with_suffix(ending) if out.suffix == _TABLE else out
        why = "; the page is beside the table"
        check_output("out", path, folder, ending, values.overwrite, why)
    return out


def _without_live(values, named: list[str]) -> list[str]:
    """List what is given that does not go with --live."""
    flags = ["run", "method", "out", "num_sources", "calibrate_clocks", "overwrite"]
    flags += [flag.name for flag in many_sessions.FLAGS]
    given = [f"--{name}" for name in flags if getattr(values, name)]
    if values.method == _DEFAULT:
        given.remove("--method")
    return [f"the folder {name!r}" for name in named] + given


def main(values: Any, paths: list[str]) -> None:
    """Localize the recordings; print and write the positions."""
    named = [*paths, *([values.recordings] if values.recordings else [])]
    live.check(values, _without_live(values, named))
    if values.live:
        live.main(values)
        return
    _check(values)
    if sessions := many_sessions.find(named, values.out):
        _locate_many(values, named, sessions)
        return
    folder = single_folder(named, "locate")
    many_sessions.check_single(values)
    out = _check_out(values, folder)

    from uld_jax.audio import sessions as sessions_lib
    from uld_jax.pretrained import weights
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    run = weights.read_run(values.run, "--run") if values.run else None
    session = sessions_lib.open_session(folder)
    _, left_out = _locate(_flags(values), run, session, out)
    if left_out:
        raise errors.Failed("Left out:\n  " + "\n  ".join(left_out))


def _locate_many(values, named, sessions) -> None:
    """Locate sessions, each as it is located alone, once the flags are checked."""
    from uld_jax.evaluation import predict
    from uld_jax.pretrained import weights

    flags, run_folder = _flags(values), None
    settings = _settings(flags)
    if values.run:
        run_folder = pathlib.Path(values.run).expanduser().absolute()
        run = weights.read_run(run_folder, "--run")
        _warn_of_divergence(run)
        # Another network in the same folder finds other positions.
        settings["run"] = f"{run_folder.name} {weights.identify_run(run)}"
    else:
        predict.method_answers(settings["method"], values.num_sources or 1)
    names = [pathlib.Path(name).expanduser().resolve().name for name in named]
    command = _command(names, flags)
    locate_one = functools.partial(_locate_in_worker, flags, run_folder)
    many_sessions.main(values, sessions, settings, command, locate_one)


def _locate_in_worker(flags, run_folder, session, out) -> tuple[list[Any], list[str]]:
    """Locate one session of many."""
    from uld_jax.pretrained import weights
    from uld_jax.runtime import jax_setup

    jax_setup.configure()
    run = weights.read_run(run_folder, "--run") if run_folder else None
    return _locate(flags, run, session, out)


def _flags(values) -> dict[str, Any]:
    """Collect the flags that positions depend on, as far as they are given."""
    names = ("run", "method", "num_sources", "calibrate_clocks")
    return {
        name: value for name in names if (value := getattr(values, name)) is not None
    }


def _settings(flags) -> dict[str, Any]:
    return {"method": None if "run" in flags else _DEFAULT} | flags


def _command(names, flags) -> str:
    given = [f"--{name}={value}" for name, value in flags.items()]
    return " ".join(["uld_jax locate", *names, *given])


def _warn_of_divergence(run) -> None:
    if run["converged"] is False:
        progress.log(
            f"The run {run['folder']} did not converge: do not trust positions."
        )


def _locate(flags, run, session, out) -> tuple[list[Any], list[str]]:
    """Localize a session's recordings; log and write what was found, and return it.

    Args:
        flags: From `_flags`.
        run: The record of the network's run; None for a method.
        session: The session.
        out: Path of the table; None to write nothing.

    Returns:
        What was found in each recording, and the recordings that were left out.
    """
    import jax

    from uld_jax.evaluation import locate, session_errors

    batch_size = _BATCH_ON_CPU if jax.default_backend() == "cpu" else _BATCH
    if run:
        predictor = locate.network(session, run)
        _warn_of_divergence(run)
    else:
        name = flags.get("method", _DEFAULT)
        predictor = locate.method(session, name, flags.get("num_sources"))
        if name == _DEFAULT:  # Each for itself: padding would only take time.
            batch_size = 1
    results, left_out = [], []
    if "calibrate_clocks" in flags:
        together = flags["calibrate_clocks"] == "session"
        located = locate.locate_with_calibrated_clocks(session, together, left_out)
    else:
        located = locate.locate(session, predictor, batch_size, left_out)
    for found in located:
        progress.log("\n  ".join([found.summary(), *found.remarks]))
        if found.clocks:
            progress.log(found.clocks.describe(session.nodes))
        results.append(found)
    known = session_errors.measure(one.misses for one in results)
    if known and len(results) > 1:
        lines = ["All recordings:", *session_errors.describe(known)]
        progress.log("\n  ".join(lines))
    if out:
        _write(out, session, results, left_out, flags)
    return results, left_out


def _write(out, session, results, left_out, flags) -> None:
    """Write the table, and the record and the page beside it."""
    from uld_jax.evaluation import locate, session_record
    from uld_jax.report import session_page
    from uld_jax.storage import atomic

    table = [row for found in results for row in locate.rows(found)]
    locate.write_table(out, table)
    command = _command([session.name], flags)
    record = session_record.make(session, results, left_out, command, _settings(flags))
    atomic.write_json(out.with_suffix(_RECORD), record)
    page = out.with_suffix(_PAGE)
    session_page.write(record, page)
    progress.log(f"{len(table):,} positions are in {out}, and a page in {page}")
