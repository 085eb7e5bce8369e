"""Run `uld_jax doctor` and `uld_jax locate` on a made session: outcomes, and right ones.

Both commands run in this process, as a user gives them, without flags.
"""

import functools
import json
import pathlib
from typing import NamedTuple

import numpy as np

from benchmarks.reliability import bad_sessions
from benchmarks.reliability import recorders as recorders_lib
from benchmarks.reliability.recorders import Recorder, Room


class Right(NamedTuple):
    """The right outcome of a session.

    Attributes:
        status: Of `uld_jax doctor`.
        remarks: Nodes and kinds of what it has to say.
        allowed: Of what else is true.
        within: Meters from a place of a talker to a turn that is found there, and from
            each turn to a place.
        places: At how many places a turn has to be found.
    """

    status: int
    remarks: frozenset[tuple[str | None, str]] = frozenset()
    allowed: frozenset[tuple[str | None, str]] = frozenset()
    within: float = 0.1
    places: int = 3


class Made(NamedTuple):
    """A session: its room, how recorders record, what else is wrong, and what is right."""

    room: Room
    recorders: dict[str, Recorder]
    right: Right
    stereo: tuple[str, str] | None = None
    exchanged: tuple[str, str] | None = None


class Outcome(NamedTuple):
    """The outcome of both commands on a session.

    Attributes:
        status: Of `uld_jax doctor`.
        remarks: Nodes and kinds.
        located: Exit status of `uld_jax locate`.
        nearest: Meters from each place to the nearest turn; infinite without turns.
        turns: How many were found.
        stray: Meters from the farthest turn to its nearest place.
        determined: Share of windows that are determined.
        held: Share of these within their radius of 90 %.
        printed: By both.
    """

    status: int | str
    remarks: frozenset[tuple[str | None, str]]
    located: int | str
    nearest: tuple[float, ...]
    turns: int
    stray: float
    determined: float
    held: float
    printed: str

    def found(self, within: float) -> int:
        """Count the places with a turn within so many meters."""
        return sum(apart <= within for apart in self.nearest)

    def wrong(self, right: Right) -> list[str]:
        """List what is not right, in a few words each."""
        found = []
        if self.status != right.status:
            found.append(f"doctor exits with {self.status}, not {right.status}")
        for node, kind in sorted(right.remarks - self.remarks, key=str):
            found.append(f"not said: {node or 'session'} {kind}")
        for node, kind in sorted(self.remarks - right.remarks - right.allowed, key=str):
            found.append(f"said: {node or 'session'} {kind}")
        if self.located != 0:
            found.append(f"locate exits with {self.located}")
        if self.found(right.within) < right.places:
            found.append(f"fewer than {right.places} places within {right.within} m")
        if self.stray > right.within:
            found.append(f"a turn {self.stray:.2f} m from any place")
        return found


@functools.lru_cache(maxsize=2)
def _render(room: Room, speech: str, seed: int) -> np.ndarray:
    return recorders_lib.render(room, recorders_lib.open_voices(speech), seed)


def run(
    made: Made, folder: pathlib.Path, speech: str = "builtin", seed: int = 0
) -> Outcome:
    """Write a session, and ask both commands.

    Args:
        made: The session.
        folder: An empty one.
        speech: A folder, or "builtin".
        seed: Of the errors of the table of nodes.
    """
    room = made.room
    session = recorders_lib.write(
        folder / "session",
        room,
        _render(room, speech, seed),
        list(made.recorders.values()),
        made.stereo,
        made.exchanged,
    )
    health, table = folder / "health.json", folder / "positions.csv"
    doctor = bad_sessions.ask("doctor", session, json=str(health))
    locate = bad_sessions.ask("locate", session, out=str(table))
    remarks = {
        (remark["node"], remark["kind"])
        for one in json.loads(health.read_text())["recordings"]
        for remark in one["remarks"]
    }
    (recording,) = json.loads(table.with_suffix(".json").read_text())["recordings"]
    turns = np.array([turn["position_m"] for turn in recording["turns"]]).reshape(-1, 2)
    places = np.array([stay.place[:2] for stay in room.stays])
    apart = np.linalg.norm(places[:, None] - turns, axis=-1)
    sure = [one for one in recording["windows"] if one["determined"]]
    held = [
        np.linalg.norm(places - one["positions_m"][0], axis=1).min()
        <= one["radius_90_m"]
        for one in sure
    ]
    return Outcome(
        doctor.status,
        frozenset(remarks),
        locate.status,
        tuple(apart.min(axis=1, initial=np.inf).tolist()),
        len(turns),
        float(apart.min(axis=0).max(initial=0.0)),
        len(sure) / len(recording["windows"]),
        float(np.mean(held)) if held else float("nan"),
        doctor.message + locate.message,
    )
