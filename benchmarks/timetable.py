"""How long the cells of full tables took, and how long those to come will take."""

import dataclasses
import json
import math
import pathlib
import statistics

OVER = ("done", "diverged")
_LIKE = {"ad2": "ad1"}  # As long, where an experiment has no cell of its own yet.
_CALL_STARTS = 30.0  # Seconds of a call in which nothing is trained.


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a table.

    Attributes:
        experiment: "l1", "ad1" or "ad2".
        scheme: Label scheme.
        resolution: Cells per axis I.
        seed: Seed.
    """

    experiment: str
    scheme: str
    resolution: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder, as `uld_jax.sweep` gives it."""
        return f"{self.scheme}_I{self.resolution}_seed{self.seed}"


def read(folder: pathlib.Path) -> dict | None:
    """Return the record in a run's folder; None without one that can be read."""
    try:
        return json.loads((folder / "record.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None


def is_over(record: dict | None) -> bool:
    """Return whether a run needs no more work."""
    return bool(record) and record["status"] in OVER


def rows(cells: list[Cell], records: dict, spent: dict[str, float]) -> list[dict]:
    """Return a row for each cell: its state, what it took, what it takes yet.

    A cell to come is taken to train all its epochs, at the pace of its experiment's
    cells so far after their first epoch, and to need as much besides: start, compilation,
    test. Training that stops early takes less. Ad-2 is as Ad-1 until it has a cell. Of
    cells that were trained together each has its share of the time.

    Args:
        cells: In their order.
        records: By cell; None where there is none.
        spent: Seconds of work so far by the key of a cell, see `key`.
    """
    paces = _paces(cells, records, spent)
    found = []
    for cell in cells:
        record, pace = records.get(cell), paces.get(cell.experiment)
        trained = _trained(record)
        state = record["status"] if record else "to come"
        if state == "running":
            state = f"{trained} epochs done"
        left = None
        if is_over(record):
            left = 0.0
        elif pace:
            left = max(pace.epochs - trained, 0) * pace.epoch + pace.besides
        found.append(
            {
                "experiment": cell.experiment,
                "cell": cell.name,
                "state": state,
                "epochs": trained,
                "seconds": _spent(cell, record, spent),
                "examples/s": ((record or {}).get("times") or {}).get(
                    "examples_per_second"
                ),
                "seconds to come": left,
                "an epoch": pace and pace.epoch,
                "besides": pace and pace.besides,
            }
        )
    return found


def key(cell: Cell) -> str:
    """Return a cell's key in the file of seconds."""
    return f"{cell.experiment}/{cell.name}"


def _spent(cell: Cell, record: dict | None, spent: dict[str, float]) -> float:
    # A run of another machine's, of which the record alone came, says what it trained.
    return max(spent.get(key(cell), 0.0), _told_seconds(record))


def _told_seconds(record: dict | None) -> float:
    """Return the seconds by a run's record: its share of those of its program."""
    times = (record or {}).get("times") or {}
    return (times.get("seconds") or 0.0) / times.get("together", 1)


@dataclasses.dataclass(frozen=True)
class _Pace:
    """How fast a cell is: seconds an epoch, seconds besides, and its epochs."""

    epoch: float
    besides: float
    epochs: int
    steady: bool


def _pace(cell: Cell, record: dict, spent: dict[str, float]) -> _Pace:
    """Return the pace of a cell that has trained; the first epoch compiles."""
    trained = record["epochs"]
    # Of runs that share a program each is told the seconds of all.
    seconds = [epoch["seconds"] / epoch.get("together", 1) for epoch in trained]
    training = statistics.median(seconds[1:] or seconds)
    validation = (_told_seconds(record) or sum(seconds)) - sum(seconds)
    epoch = training + max(validation, 0.0) / len(trained)
    return _Pace(
        epoch,
        max(_spent(cell, record, spent) - epoch * len(trained), 0.0),
        record["settings"]["train"]["epochs"],
        len(trained) > 1,
    )


def _paces(cells, records, spent) -> dict[str, _Pace]:
    """Return the pace of each experiment's median cell, by what has been trained."""
    known = {}
    for cell in cells:
        record = records.get(cell)
        if record and record["epochs"]:
            known.setdefault(cell.experiment, []).append(_pace(cell, record, spent))
    found = {}
    for name, paces in known.items():
        steady = [pace for pace in paces if pace.steady] or paces
        found[name] = _Pace(
            statistics.median(pace.epoch for pace in steady),
            statistics.median(pace.besides for pace in steady),
            steady[0].epochs,
            steady[0].steady,
        )
    for name, like in _LIKE.items():
        if name not in found and like in found:
            found[name] = found[like]
    return found


def validation(record: dict | None) -> float:
    """Return the seconds of a validation, of all runs of the program; 0 if not known."""
    told = ((record or {}).get("times") or {}).get("seconds") or 0.0
    epochs = (record or {}).get("epochs") or [{"seconds": told}]
    return max(told - sum(epoch["seconds"] for epoch in epochs), 0.0) / len(epochs)


def start(cell: Cell, records: dict, ledger: "Ledger") -> float | None:
    """Return the seconds besides training that a process has spent on a cell.

    Those of its experiment's median cell, or its like's: start, data, compilation, and
    what else is no epoch. None if nothing is known.

    Args:
        cell: The cell.
        records: By cell; None where there is none.
        ledger: What was spent so far.
    """
    for experiment in (cell.experiment, _LIKE.get(cell.experiment)):
        found = [
            _pace(one, record, ledger.seconds).besides / ledger.processes[key(one)]
            for one, record in records.items()
            if one.experiment == experiment and record and record["epochs"]
            if ledger.processes.get(key(one))
        ]
        if found:
            return statistics.median(found)
    return None


class Ledger:
    """What was spent on cells so far, by `key`, kept in a file.

    Attributes:
        seconds: Seconds of work.
        processes: How many processes were at work.
        failed: Epochs that a cell had trained when it failed.

    Args:
        path: The file; it is not there before something is noted.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        told = json.loads(path.read_text()) if path.exists() else {}
        self.seconds: dict[str, float] = told.get("seconds", {})
        self.processes: dict[str, int] = told.get("processes", {})
        self.failed: dict[str, int] = told.get("failed", {})

    def add(self, job: list[Cell], seconds: float) -> None:
        """Note the seconds of a process that was at work on some cells."""
        for name in map(key, job):
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds / len(job)
            self.processes[name] = self.processes.get(name, 0) + 1
        self._write()

    def fail(self, cell: Cell, record: dict | None) -> None:
        """Note that a cell has failed."""
        self.failed[key(cell)] = _trained(record)
        self._write()

    def has_failed(self, cell: Cell, record: dict | None) -> bool:
        """Return whether a cell has failed and trained no epoch since."""
        return _trained(record) <= self.failed.get(key(cell), -1)

    def _write(self) -> None:
        told = {name: vars(self)[name] for name in ("seconds", "processes", "failed")}
        partial = self.path.with_name(self.path.name + ".part")
        partial.write_text(json.dumps(told, indent=1))
        partial.rename(self.path)


def _trained(record: dict | None) -> int:
    return len(record["epochs"]) if record else 0


def totals(table: list[dict], call: float, lease: float) -> list[dict]:
    """Return a row for each experiment and one for all: what it takes altogether.

    Args:
        table: What `rows` returned.
        call: Seconds of a call.
        lease: Seconds of a lease.
    """
    found = []
    names = list(dict.fromkeys(row["experiment"] for row in table))
    for name in [*names, "all"]:
        those = [row for row in table if name in (row["experiment"], "all")]
        unknown = any(row["seconds to come"] is None for row in those)
        left = None if unknown else sum(row["seconds to come"] for row in those)
        done = sum(row["seconds"] for row in those)
        found.append(
            {
                "experiment": name,
                "cells": len(those),
                "over": sum(row["state"] in OVER for row in those),
                "hours so far": done / 3600,
                "hours to come": None if unknown else left / 3600,
                "calls": None if unknown else _calls(left, call),
                "leases": None if unknown else _leases(left, call, lease),
                "epochs for one lease": _fitting(those, call, lease),
            }
        )
    return found


def _calls(seconds: float, call: float) -> int:
    return math.ceil(seconds / max(call - _CALL_STARTS, 1.0))


def _leases(seconds: float, call: float, lease: float) -> int:
    return math.ceil(_calls(seconds, call) / max(int(lease // call), 1))


def _fitting(those: list[dict], call: float, lease: float) -> int | None:
    """Return how many epochs all cells can train in one lease, from the first cell on."""
    if any(row["an epoch"] is None for row in those):
        return None
    usable = max(int(lease // call), 1) * max(call - _CALL_STARTS, 1.0)
    usable -= sum(row["besides"] for row in those)
    return max(int(usable / sum(row["an epoch"] for row in those)), 0)


def markdown(table: list[dict], sums: list[dict], call: float, lease: float) -> str:
    """Return the timetable as text."""
    from uld_jax import markup

    def cells(some):
        return [["-" if v is None else _told(v) for v in row.values()] for row in some]

    return "\n".join(
        [
            f"Calls are of {call / 60:g} minutes, leases of {lease / 60:g}. To come is "
            "what all epochs take; training that stops early takes less.",
            "",
            markup.to_markdown(list(sums[0]), cells(sums)),
            "",
            markup.to_markdown(list(table[0]), cells(table)),
            "",
        ]
    )


def _told(value) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)
