"""Table 1 whole, then the cells of Tables 2 and 3, on one device, in short calls.

    OUT=FOLDER benchmarks/full_tables.sh [flags]        # On an offline machine.
    python benchmarks/full_tables.py --runs=runs/tables --out=runs/tables_out

Each call goes on where the last one was, for --minutes, and exits with 75 while there is
more to do, with 0 when all cells are done. Table 1 comes first; of Tables 2 and 3 ULD and
one-hot at fine grids, then the rest. After each cell --out gets

    runs.tgz         records and predictions of the cells that are over
    table1.md ...    the tables so far
    timetable.md     seconds of each cell, an estimate of those to come, and how many calls
                     and leases that makes; timetable.json has the same

States stay in --runs: on a fresh machine a cell that was interrupted begins anew, unless
--states packs those that fit into --out as states.tgz, and the next call finds that file
as --states_from. At full size one of Ad-1 has about 80 MiB, one of L-1 about 115, and
--states_mib says how much may be packed. What jax has compiled is kept in --runs, too.
Cells that have failed come last.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import packing
import timetable
from timetable import Cell

from uld_jax import commands, stopping

_SCHEMES = ("uld", "one_hot", "refined_grid", "heat_map")
_TABLE_1 = tuple((scheme, 5 if scheme == "uld" else 6) for scheme in _SCHEMES)
# In the order of importance.
_TABLES_2_AND_3 = (
    *(("uld", 16), ("uld", 8), ("one_hot", 16), ("one_hot", 8), ("uld", 4)),
    *(("one_hot", 4), ("refined_grid", 8), ("refined_grid", 16), ("heat_map", 8)),
    *(("refined_grid", 4), ("heat_map", 4), ("uld", 2), ("one_hot", 2)),
    *(("refined_grid", 2), ("heat_map", 2), ("uld", 1), ("heat_map", 16)),
)
_EXPERIMENTS = {1: "l1", 2: "ad1", 3: "ad2"}
_RESERVE = 25.0  # Seconds of a call for packing and tables, besides a validation's.
_LEAST = 90.0  # With less left no cell is begun, until a start has been measured.
_SOON = 20.0  # Nor is one if so little is left after its start.
_SPENT = "spent.json"


def main() -> None:
    """Go on with what is to be done, for as long as there is time."""
    options = _parse()
    started = time.monotonic() - options.elapsed
    deadline = started + 60 * options.minutes - _RESERVE
    options.out.mkdir(parents=True, exist_ok=True)
    options.runs.mkdir(parents=True, exist_ok=True)
    cache = options.runs.resolve() / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    ledger = timetable.Ledger(options.runs / _SPENT)
    if options.states_from and options.states_from.exists():
        packing.unpack_states(options.states_from, options.runs)
    jobs = list(_jobs(options))
    _forget_unfinished(jobs, options)
    if options.limits:
        _limits(options)
    _report(jobs, ledger, options)

    def has_failed(job):
        return any(_has_failed(cell, ledger, options) for cell in job)

    for job in sorted(jobs, key=has_failed):
        if _is_over(job, options):
            continue
        left, least = _seconds_left(job, jobs, ledger, options, deadline)
        if left < least:
            break
        started = time.monotonic()
        code = _run(job, options, left)
        ledger.add(job, time.monotonic() - started)
        if code not in (0, commands.EXIT_STOPPED):
            for cell in (cell for cell in job if not _is_over([cell], options)):
                ledger.fail(cell, timetable.read(_folder(cell, options)))
        _report(jobs, ledger, options, job[0].experiment)
        if code == commands.EXIT_STOPPED:
            break
    _end(jobs, ledger, options)


def _seconds_left(
    job: list[Cell], jobs, ledger: timetable.Ledger, options, deadline: float
) -> tuple[float, float]:
    """Return the seconds that a job may take, and how many it takes to be of use.

    A validation is not interrupted: one as long as the longest so far is left room.
    Neither takes more than a part of a call, or nothing would ever be begun.
    """
    call = 60 * options.minutes
    records = {
        cell: timetable.read(_folder(cell, options)) for other in jobs for cell in other
    }
    longest = max(
        timetable.validation(record)
        for cell, record in records.items()
        if cell.experiment == job[0].experiment
    )
    left = deadline - time.monotonic() - min(longest, call / 4)
    start = timetable.start(job[0], records, ledger)
    least = _LEAST if start is None else len(job) * start + _SOON
    return left, min(least, call / 2)


def _has_failed(cell: Cell, ledger: timetable.Ledger, options) -> bool:
    return ledger.has_failed(cell, timetable.read(_folder(cell, options)))


def _end(jobs, ledger: timetable.Ledger, options) -> None:
    """Say what is left, and exit by it."""
    left = [cell for job in jobs for cell in job if not _is_over([cell], options)]
    if not left:
        print("all cells are done", flush=True)
    elif all(_has_failed(cell, ledger, options) for cell in left):
        names = ", ".join(map(timetable.key, left))
        print(f"failed: {names}; the others are done", flush=True)
        sys.exit(commands.EXIT_FAILED)
    else:
        print(f"{len(left)} cells are left: call again", flush=True)
        sys.exit(commands.EXIT_STOPPED)


def _count(text: str) -> str:
    """Return how many cells go together, in figures; nothing for any number."""
    if text and (not text.isdecimal() or int(text) < 1):
        raise argparse.ArgumentTypeError(
            f"{text!r}; it must be a whole number from 1 up, or left out for any"
        )
    return text


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=pathlib.Path, required=True, help="of all cells")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="to bring back")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call")
    parser.add_argument("--lease", type=float, default=30.0, help="minutes of a lease")
    parser.add_argument("--elapsed", type=float, default=0.0, help="seconds gone by")
    parser.add_argument(
        "--tables", type=int, nargs="+", choices=_EXPERIMENTS, default=[1, 2, 3]
    )
    parser.add_argument(
        "--cells", nargs="+", help="only these, as uld:16, in this order"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, help="in place of the experiment's")
    parser.add_argument("--size", default="", help="of the experiments: reduced")
    parser.add_argument(
        "--together",
        nargs="?",
        const="",
        metavar="N",
        type=_count,
        help="a scheme's cells in one program, N at most",
    )
    parser.add_argument(
        "--source", default="compact", help="data.source of Tables 2 and 3"
    )
    parser.add_argument("--speech", default="builtin", help="folder of speech")
    parser.add_argument("--noise", default="builtin", help="folder of noise")
    parser.add_argument("--limits", action="store_true", help="measure limits.py first")
    parser.add_argument("--states", action="store_true", help="pack unfinished ones")
    parser.add_argument(
        "--states_from", type=pathlib.Path, help="an earlier states.tgz"
    )
    parser.add_argument(
        "--states_mib",
        type=float,
        default=60.0,
        help="at most; a full-size run of Ad-1 has about 80, of L-1 115",
    )
    parser.add_argument(
        "--sweep_flags", nargs=argparse.REMAINDER, default=[], help="of uld_jax.sweep"
    )
    options = parser.parse_args()
    for word in options.cells or ():
        known = {f"{scheme}:{i}": n for n in options.tables for scheme, i in _cells(n)}
        if word not in known:
            parser.error(f"--cells: no cell {word!r}; there are {', '.join(known)}")
    return options


def _cells(table: int) -> tuple[tuple[str, int], ...]:
    """Return scheme and resolution of a table's cells, in their order."""
    return _TABLE_1 if table == 1 else _TABLES_2_AND_3


def _jobs(options):
    """Yield the cells of each process to start: one, or all of a scheme together."""
    for table in options.tables:
        experiment, cells = _EXPERIMENTS[table], _cells(table)
        if options.cells:
            asked = [word.partition(":") for word in options.cells]
            asked = [(scheme, int(resolution)) for scheme, _, resolution in asked]
            cells = [cell for cell in asked if cell in cells]
        if options.together is None:
            for seed in options.seeds:
                yield from ([Cell(experiment, *cell, seed)] for cell in cells)
            continue
        for scheme in dict.fromkeys(scheme for scheme, _ in cells):
            yield [
                Cell(experiment, scheme, resolution, seed)
                for of, resolution in cells
                for seed in options.seeds
                if of == scheme
            ]


def _group(experiment: str, options) -> pathlib.Path:
    """Return the folder of an experiment's runs."""
    epochs = "" if options.epochs is None else f"_{options.epochs}_epochs"
    return options.runs / f"{experiment}{epochs}"


def _folder(cell: Cell, options) -> pathlib.Path:
    return _group(cell.experiment, options) / cell.name


def _is_over(job: list[Cell], options) -> bool:
    return all(timetable.is_over(timetable.read(_folder(c, options))) for c in job)


def _command(job: list[Cell], options, seconds: float) -> list[str]:
    """Return the command line of a job."""
    experiment = job[0].experiment
    size = f":{options.size}" if options.size else ""
    words = [f"--config=experiments/{experiment}.py{size}"]
    words += [f"--scheme={job[0].scheme}", f"--minutes={seconds / 60}"]
    if experiment != "l1":  # There I follows from the number of outputs.
        resolutions = dict.fromkeys(str(cell.resolution) for cell in job)
        words.append(f"--resolution={','.join(resolutions)}")
        words += [f"--config.data.source={options.source}"]
        words += [f"--config.data.noise={options.noise}"]
    seeds = dict.fromkeys(str(cell.seed) for cell in job)
    words += [f"--seed={','.join(seeds)}", f"--config.data.speech={options.speech}"]
    if options.epochs is not None:
        words.append(f"--config.train.epochs={options.epochs}")
    if options.together is not None:
        words.append("--together" + f"={options.together}" * bool(options.together))
    words += [*options.sweep_flags, f"--workdir={_group(experiment, options)}"]
    return [sys.executable, "-m", "uld_jax.sweep", *words]


def _run(job: list[Cell], options, seconds: float) -> int:
    """Do a job until it is over or the time is up; return the exit code.

    The sweep counts its minutes once it has started, and what it starts does so, too:
    it is stopped here when the time is up by our clock.
    """
    print(f"{', '.join(map(timetable.key, job))}: {seconds:.0f} s are left", flush=True)
    end = time.monotonic() + seconds
    with stopping.StopFlag() as stop_flag:
        process = subprocess.Popen(
            _command(job, options, seconds), start_new_session=True
        )
        while (code := process.poll()) is None:
            if stop_flag.reason() or time.monotonic() > end:
                process.terminate()  # It saves its state, then exits.
                process.wait()
                code = commands.EXIT_STOPPED
                break
            time.sleep(0.2)
    return code


def _limits(options) -> None:
    """Measure how fast the device is, once."""
    path = options.runs / "limits.md"
    if not path.exists():
        script = pathlib.Path(__file__).with_name("limits.py")
        words = [f"--out={path}"] + ["--small"] * bool(options.size)
        # Scripts beside it are not found by themselves where PYTHONSAFEPATH is set.
        places = [str(script.parent), os.environ.get("PYTHONPATH", "")]
        subprocess.run(
            [sys.executable, str(script), *words],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))},
        )
    if path.exists():
        for suffix in (".md", ".json"):
            shutil.copy(path.with_suffix(suffix), options.out)


def _forget_unfinished(jobs, options) -> None:
    """Remove unfinished runs of which only the record is here: they begin anew."""
    for cell in (cell for job in jobs for cell in job):
        folder = _folder(cell, options)
        record = timetable.read(folder)
        if record and not timetable.is_over(record) and not (folder / "last").is_dir():
            print(f"{timetable.key(cell)}: its state is not here; it begins anew")
            shutil.rmtree(folder)


def _report(
    jobs, ledger: timetable.Ledger, options, experiment: str | None = None
) -> None:
    """Write what is to be brought back: records, tables, timetable, states.

    Tables are kept in --runs; those of an experiment that has had a cell are made anew.
    """
    cells = [cell for job in jobs for cell in job]
    read = {cell: timetable.read(_folder(cell, options)) for cell in cells}
    call, lease = 60 * options.minutes, 60 * options.lease
    table = timetable.rows(cells, read, ledger.seconds)
    sums = timetable.totals(table, call, lease)
    text = timetable.markdown(table, sums, call, lease)
    (options.out / "timetable.md").write_text(text)
    content = {"cells": table, "totals": sums, "call": call, "lease": lease}
    (options.out / "timetable.json").write_text(json.dumps(content, indent=1) + "\n")
    print(text.split("\n\n")[1], flush=True)
    over = [cell for cell in cells if timetable.is_over(read[cell])]
    places = [_folder(cell, options) for cell in over]
    if ledger.path.exists():
        places.append(ledger.path)
    packing.pack_records(options.out / "runs.tgz", options.runs, places)
    for one in dict.fromkeys(cell.experiment for cell in over):
        _table(one, options, anew=one == experiment)
    if options.states:
        begun = [_folder(c, options) for c in cells if read[c] and c not in over]
        path = options.out / "states.tgz"
        for line in packing.pack_states(path, options.runs, begun, options.states_mib):
            print(f"{line}: too large to be packed", flush=True)


def _table(experiment: str, options, anew: bool) -> None:
    """Write the table of an experiment, made before unless it is to be made anew."""
    number = next(n for n, name in _EXPERIMENTS.items() if name == experiment)
    path = options.runs / f"table{number}.md"
    if anew or not path.exists():
        words = [str(_group(experiment, options)), f"--markdown={path}"]
        done = subprocess.run(
            [sys.executable, "-m", "uld_jax.tables", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            why = done.stderr.strip().rpartition("\n")[2] or done.returncode
            print(f"{path.name} cannot be made: {why}", flush=True)
    if path.exists():
        shutil.copy(path, options.out)


if __name__ == "__main__":
    main()
