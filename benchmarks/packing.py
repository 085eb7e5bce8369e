"""What comes back from a device machine that is lent: records, and states that fit."""

import contextlib
import json
import pathlib
import tarfile
from collections.abc import Iterable, Iterator

from uld_jax import step_folders

_MIB = 2**20
_STATES = {"last", "best"}
_TRACES = {"tensorboard", "profile"}


def pack_records(path: pathlib.Path, base: pathlib.Path, places: Iterable) -> None:
    """Pack files and folders of runs without their states and traces.

    Args:
        path: Archive to write.
        base: Folder of all runs.
        places: What to pack, below it.
    """
    with _archive(path) as packed:
        for place in places:
            _add(packed, base, place, _STATES | _TRACES)


def pack_states(
    path: pathlib.Path, base: pathlib.Path, runs: list[pathlib.Path], mib: float
) -> list[str]:
    """Pack what runs go on from, the smallest first; return those that are too large.

    Of each run the newest of its last states, the best one that this speaks of, and all
    else but traces. At full size a run of L-1 has about 115 MiB of them, one of Ad-1 80.

    Args:
        path: Archive to write; without runs that fit there is none.
        base: Folder of all runs.
        runs: Folders of the runs.
        mib: How large they may be together, not compressed.
    """
    path.unlink(missing_ok=True)
    files = {run: _to_go_on(run) for run in runs}
    sizes = {run: sum(file.stat().st_size for file in files[run]) for run in runs}
    left, fitting, too_large = mib * _MIB, [], []
    for run in sorted(runs, key=sizes.get):
        if sizes[run] <= left:
            fitting.append(run)
            left -= sizes[run]
        else:
            too_large.append(f"{run.relative_to(base)}: {sizes[run] / _MIB:.0f} MiB")
    if fitting:
        with _archive(path) as packed:
            for file in (file for run in fitting for file in files[run]):
                packed.add(file, str(file.relative_to(base)))
    return too_large


def _to_go_on(run: pathlib.Path) -> list[pathlib.Path]:
    """Return the files of a run that it goes on from."""
    states = {kind: step_folders.steps(run / kind) for kind in sorted(_STATES)}
    newest = {kind: max(steps, default=None) for kind, steps in states.items()}
    if newest["last"] is not None:
        told = _best_step(states["last"][newest["last"]])
        newest["best"] = told if told in states["best"] else newest["best"]
    kept = {states[kind][step] for kind, step in newest.items() if step is not None}
    left_out = {run / name for name in _STATES | _TRACES}
    return [
        file
        for file in sorted(run.rglob("*"))
        if file.is_file() and (kept & {*file.parents} or not left_out & {*file.parents})
    ]


def _best_step(state: pathlib.Path) -> int | None:
    """Return which best state one of the last speaks of; None if it cannot be read."""
    try:
        return json.loads((state / "note" / "metadata").read_text())["best_step"]
    except (OSError, ValueError, KeyError):
        return None


@contextlib.contextmanager
def _archive(path: pathlib.Path) -> Iterator[tarfile.TarFile]:
    """Write an archive beside its place, to be there whole or not at all."""
    partial = path.with_name(path.name + ".part")
    # States hardly get smaller, however long one tries.
    with tarfile.open(partial, "w:gz", compresslevel=1) as packed:
        yield packed
    partial.rename(path)


def unpack_states(path: pathlib.Path, base: pathlib.Path) -> None:
    """Unpack those runs of an archive of states that have no state here."""
    with tarfile.open(path) as packed:
        runs = {_run_of(name) for name in packed.getnames()}
        lacking = {run for run in runs if not (base / run / "last").exists()}
        for member in packed.getmembers():
            if _run_of(member.name) in lacking:
                packed.extract(member, base, filter="data")


def _run_of(name: str) -> str:
    return "/".join(pathlib.PurePosixPath(name).parts[:2])


def _add(packed, base: pathlib.Path, place: pathlib.Path, without: set[str]) -> None:
    def kept(member):
        return None if without & {*pathlib.PurePosixPath(member.name).parts} else member

    packed.add(place, str(place.relative_to(base)), filter=kept)
