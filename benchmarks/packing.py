"""What comes back from a device machine that is lent: records, and states that fit."""

import pathlib
import tarfile
from collections.abc import Iterable

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
    with tarfile.open(path, "w:gz") as packed:
        for place in places:
            _add(packed, base, place, _STATES | _TRACES)


def pack_states(
    path: pathlib.Path, base: pathlib.Path, runs: list[pathlib.Path], mib: float
) -> list[str]:
    """Pack whole runs, the smallest first, as many as fit; return what is too large.

    Args:
        path: Archive to write; without runs that fit there is none.
        base: Folder of all runs.
        runs: Folders of the runs.
        mib: How large they may be together.
    """
    path.unlink(missing_ok=True)
    sizes = {
        run: sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
        for run in runs
    }
    left, fitting, too_large = mib * _MIB, [], []
    for run in sorted(runs, key=sizes.get):
        if sizes[run] <= left:
            fitting.append(run)
            left -= sizes[run]
        else:
            too_large.append(f"{run.relative_to(base)}: {sizes[run] / _MIB:.0f} MiB")
    if fitting:
        with tarfile.open(path, "w:gz") as packed:
            for run in fitting:
                _add(packed, base, run, _TRACES)
    return too_large


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
