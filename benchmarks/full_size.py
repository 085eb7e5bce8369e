r"""Train the full-size networks that are still missing, in the order of their worth.

    python -m benchmarks.full_size --minutes=14 --runs=runs/full_size \
        --speech=FOLDER --noise=FOLDER --out=FOLDER
    python -m benchmarks.full_size --size=tiny --minutes=2 --runs=runs/try

It stops in time, and the same command goes on. Data of later runs are prepared on CPUs
while a device trains. --out gets a file for each finished run: record, predictions, and
the best parameters in half precision. One table ends it.
"""

import argparse
import dataclasses
import pathlib
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator

from uld_jax.runtime import errors
from uld_jax.storage.run_folder import RunFolder

_SPARE_SECONDS = 20.0  # For the last save, and for writing.
_LEAST_SECONDS = 30.0  # Less is not worth a start.


@dataclasses.dataclass(frozen=True)
class _Cell:
    """A training.

    Attributes:
        name: Its folder.
        experiment: Its experiment.
        changes: Its settings besides, by dotted key.
        start: The cell whose network it starts from.
        partial: Whether it takes but a part of that.
    """

    name: str
    experiment: str
    changes: dict = dataclasses.field(default_factory=dict)
    start: str | None = None
    partial: bool = False


def _fine(name: str, experiment: str) -> _Cell:
    """Test a network of votes at I = 64."""
    changes = {"label.resolution": 64, "model.cells": 128, "train.epochs": 0}
    return _Cell(f"{name}_I64", experiment, changes, f"{name}_I16")


def _cells() -> Iterator[_Cell]:
    """Yield all cells, the worthiest first, some of them again."""
    from uld_jax_experiments import ad1, ad2, l1

    yield _table("ad1", "uld", 16)
    yield _Cell("ad1_votes_I16", "ad1_multilateration")
    yield _fine("ad1_votes", "ad1_multilateration")
    yield _Cell("any_votes_I16", "any_session")
    yield _fine("any_votes", "any_session")
    yield _table("ad1", "one_hot", 16)
    for changes in l1.sweep():
        yield _Cell(f"l1_{changes['label.scheme']}", "l1", changes)
    yield _table("ad1", "uld", 8)
    yield _table("ad1", "uld", 4)
    yield _table("ad2", "uld", 16)
    yield _Cell("ad2_votes_I16", "ad2_multilateration", {}, "ad1_votes_I16", True)
    yield _fine("ad2_votes", "ad2_multilateration")
    for data, experiment in (("ad1", ad1), ("ad2", ad2)):
        for changes in experiment.sweep():
            yield _table(data, changes["label.scheme"], changes["label.resolution"])


def _table(data: str, scheme: str, resolution: int) -> _Cell:
    """Make a cell of Table 2 or 3."""
    changes = {"label.scheme": scheme, "label.resolution": resolution}
    return _Cell(f"{data}_{scheme}_I{resolution}", data, changes)


def main() -> None:
    """Train until all is there or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, help="folder for what is finished")
    parser.add_argument("--size", default="full", help="full, reduced or tiny")
    parser.add_argument("--speech", default="builtin", help="folder, or builtin")
    parser.add_argument("--noise", default="builtin", help="folder, or builtin")
    parser.add_argument("--datasets", default="datasets", help="folder of data sets")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes - _SPARE_SECONDS
    cells = list({cell.name: cell for cell in _cells()}.values())
    missing = [cell for cell in cells if _status(options, cell) in (None, "running")]
    preparation = _Preparation(options, [cell.experiment for cell in missing])
    try:
        for cell in missing:
            if not _train(options, cell, preparation, deadline):
                break
            _pack(options, cells)
    finally:
        preparation.stop()
    _pack(options, cells)
    _print(options, cells)


def _command(options, command: str, experiment: str, *words: str) -> list[str]:
    """Give the words of a command of uld_jax."""
    return [
        *(sys.executable, "-m", "uld_jax.cli", command),
        f"--config=experiments/{experiment}.py:{options.size}",
        f"--config.data.dir={options.datasets}",
        f"--config.data.speech={options.speech}",
        *([] if experiment == "l1" else [f"--config.data.noise={options.noise}"]),
        *words,
    ]


class _Preparation:
    """Prepares data sets one after the other, in the background.

    Args:
        options: Of the command.
        experiments: The experiments that need them, in this order.
    """

    def __init__(self, options, experiments: list[str]):
        self._ready = {experiment: threading.Event() for experiment in experiments}
        self._options, self._process, self._over = options, None, False
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        for experiment, event in self._ready.items():
            if self._over:
                return
            self._process = subprocess.Popen(
                _command(self._options, "prepare", experiment)
            )
            # Where it fails, so does the training, which says why.
            self._process.wait()
            event.set()

    def wait(self, experiment: str, seconds: float) -> None:
        """Wait until an experiment's data are ready, or for so long."""
        self._ready[experiment].wait(max(0.0, seconds))

    def stop(self) -> None:
        """End it."""
        self._over = True
        if self._process:
            self._process.terminate()


def _train(options, cell: _Cell, preparation: _Preparation, deadline: float) -> bool:
    """Train or test a cell; return whether there is time for another."""
    preparation.wait(cell.experiment, deadline - time.monotonic())
    left = deadline - time.monotonic()
    if left < _LEAST_SECONDS:
        return False
    if cell.start and _status(options, _Cell(cell.start, "")) != "done":
        return True  # What it starts from has failed.
    words = [f"--config.{key}={value}" for key, value in cell.changes.items()]
    if cell.start:
        words += [f"--init_from={options.runs / cell.start}"]
        words += ["--init_partial"] if cell.partial else []
    words += [f"--workdir={options.runs / cell.name}", f"--minutes={left / 60:.2f}"]
    print(f"== {cell.name}, {left:.0f} s left", flush=True)
    command = _command(options, "train", cell.experiment, *words)
    try:
        # It stops by itself, but not while it compiles.
        timeout = left + _SPARE_SECONDS / 2
        code = subprocess.run(command, check=False, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        return False
    return code != errors.EXIT_STOPPED


def _record(options, cell: _Cell) -> dict:
    return RunFolder(options.runs / cell.name).read_record() or {}


def _status(options, cell: _Cell) -> str | None:
    return _record(options, cell).get("status")


def _pack(options, cells: list[_Cell]) -> None:
    """Write the record, predictions and parameters of each finished run to one file."""
    if not options.out:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        path = options.out / f"{cell.name}.zip"
        if path.exists() or _status(options, cell) in (None, "running"):
            continue
        folder = options.runs / cell.name
        part = path.with_suffix(".part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            file.write(folder / "record.json", "record.json")
            if _status(options, cell) == "done":
                file.write(folder / "predictions.npz", "predictions.npz")
                file.writestr("weights_float16.safetensors", _halves(folder))
        part.replace(path)


def _halves(folder: pathlib.Path) -> bytes:
    """Give the best parameters of a run in half precision, as safetensors."""
    import numpy as np
    import safetensors.numpy

    from uld_jax.pretrained import loading, weights

    arrays = loading.arrays_of(weights.read_run(folder, "--runs"))
    halves = {
        name: np.array(
            array, np.float16 if array.dtype.kind == "f" else None, order="C"
        )
        for name, array in arrays.items()
    }
    return safetensors.numpy.save(halves)


def _print(options, cells: list[_Cell]) -> None:
    from uld_jax.report import markdown

    rows = []
    records = {cell.name: _record(options, cell) for cell in cells}
    for name, record in records.items():
        if not record:
            continue
        test = record.get("test") or {}
        rows.append(
            [
                name,
                record["status"],
                str(len(record["epochs"])),
                f"{record['times']['seconds'] / 60:.1f}",
                *(f"{test[key]:.3f}" if test else "" for key in ("mae", "median")),
                f"{100 * test['accuracy']:.1f}" if test else "",
                {True: "yes", False: "no"}.get(record.get("converged"), ""),
            ]
        )
    header = ["run", "status", "epochs", "minutes", "MAE m", "median m", "ACC %"]
    print(markdown.to_markdown([*header, "converged"], rows))
    missing = [name for name, record in records.items() if not record]
    print(f"\nNot begun: {', '.join(missing) or 'none'}")


if __name__ == "__main__":
    main()
