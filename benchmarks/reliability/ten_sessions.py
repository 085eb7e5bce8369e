"""Ten sessions as people record them, through `uld_jax doctor` and `uld_jax locate`.

    python -m benchmarks.reliability.ten_sessions --speech builtin ../shared/audio/speech

Two rooms of plain pyroomacoustics (`recorders`): a meeting of 60 s with six recorders and a
talker at three places, and an office with eight recorders and a talker at six places, 7 s
at each. Each session is one function, whose docstring says what is wrong with it and what
is the right outcome. Commands run in this process, as a user gives them, without flags.
"""

import argparse
import functools
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks import report
from benchmarks.reliability import bad_sessions
from benchmarks.reliability import recorders as recorders_lib
from benchmarks.reliability.recorders import Recorder, Room, Stay

MEETING = Room(
    (7.0, 5.0, 3.0),
    0.4,
    {
        "shelf": (0.35, 2.60, 1.40),
        "board": (2.20, 0.25, 1.30),
        "plant": (6.60, 0.50, 0.90),
        "window": (6.75, 3.30, 1.10),
        "cabinet": (3.60, 4.75, 1.60),
        "table": (3.40, 2.40, 0.75),
    },
    (
        Stay(0.5, 19.5, (1.50, 3.70, 1.20)),
        Stay(20.5, 39.5, (5.30, 3.50, 1.15)),
        Stay(40.5, 60.0, (4.70, 1.20, 1.60)),
    ),
    60.0,
)
OFFICE = Room(
    (6.4, 5.2, 2.8),
    0.4,
    {
        "door": (0.30, 0.80, 1.10),
        "shelf": (0.25, 3.40, 1.50),
        "printer": (1.60, 4.95, 0.90),
        "window": (4.20, 5.00, 1.20),
        "desk": (6.10, 3.90, 0.80),
        "lamp": (6.15, 1.20, 1.60),
        "board": (3.90, 0.20, 1.30),
        "table": (3.10, 2.70, 0.75),
    },
    tuple(
        Stay(7.0 * number, 7.0 * number + 7.0, place)
        for number, place in enumerate(
            [
                (1.20, 2.30, 1.20),
                (4.80, 3.60, 1.55),
                (4.60, 1.40, 1.20),
                (2.20, 3.70, 1.60),
                (2.30, 1.10, 1.20),
                (5.30, 2.50, 1.20),
            ]
        )
    ),
    42.5,
)
_GAIN_DB = 3.0  # Standard deviation from recorder to recorder.


class Right(NamedTuple):
    """The right outcome of a session.

    Attributes:
        status: Of `uld_jax doctor`.
        remarks: Nodes and kinds of what it has to say.
        allowed: Of what else is true.
        within: Meters from each place of a talker to the turn that is found there, and
            from each turn to a place.
    """

    status: int
    remarks: frozenset[tuple[str | None, str]] = frozenset()
    allowed: frozenset[tuple[str | None, str]] = frozenset()
    within: float = 0.1


class Made(NamedTuple):
    """A session: its room, how recorders record, what else is wrong, and what is right."""

    room: Room
    recorders: dict[str, Recorder]
    right: Right
    stereo: tuple[str, str] | None = None
    exchanged: tuple[str, str] | None = None


def _people(room: Room, seed: int, **own: dict) -> dict[str, Recorder]:
    """Make recorders with gains of their own; some with what else is given of them."""
    gains = _GAIN_DB * np.random.default_rng([2**28, seed]).normal(size=len(room.nodes))
    made = {}
    for name, gain in zip(room.nodes, gains, strict=True):
        made[name] = Recorder(**{"gain_db": gain, **own.get(name, {})})
    return made


def synchronous_meeting() -> Made:
    """Nothing is wrong: each place within 0.1 m, and no remark."""
    return Made(MEETING, _people(MEETING, 1), Right(0))


def meeting() -> Made:
    """Two recorders started 0.3 s and 0.12 s late, one drifts by 20 ppm, one is a second short.

    Doctor names the late and the short; each place within 0.3 m.
    """
    own = _people(
        MEETING,
        2,
        board={"start": 0.3},
        window={"start": 0.12},
        shelf={"ppm": 20.0},
        plant={"missing": 1.0},
    )
    needed = {("board", "late"), ("window", "late"), ("plant", "early")}
    allowed = {(name, "clock") for name in ("board", "window", "shelf")}
    return Made(
        MEETING, own, Right(1, frozenset(needed), frozenset(allowed), within=0.3)
    )


def late_starts() -> Made:
    """Three of eight recorders were started by hand, 0.4 to 8 s after the others.

    Doctor names them; each place within 0.3 m.
    """
    starts = {"door": 0.4, "desk": 8.013, "board": 3.207}
    own = {name: {"start": start} for name, start in starts.items()}
    needed = frozenset((name, "late") for name in starts)
    allowed = frozenset((name, "clock") for name in starts)
    return Made(OFFICE, _people(OFFICE, 3, **own), Right(1, needed, allowed, 0.3))


def phones() -> Made:
    """Each of eight phones was started by hand and drifts: no two clocks agree.

    Doctor names those that started late; each place within 0.3 m, by talkers at six places.
    """
    starts = [0.0, 1.31, 0.62, 2.47, 0.93, 3.18, 1.76, 0.41]
    drifts = [8.0, -12.0, 5.0, 15.0, -6.0, -18.0, 11.0, 2.0]
    own = {
        name: {"start": start, "ppm": ppm}
        for name, start, ppm in zip(OFFICE.nodes, starts, drifts, strict=True)
    }
    late = frozenset((name, "late") for name in own if own[name]["start"] > 0)
    allowed = frozenset({(None, "undetermined")} | {(name, "clock") for name in own})
    return Made(OFFICE, _people(OFFICE, 4, **own), Right(1, late, allowed, 0.3))


def mixed_rates() -> Made:
    """Nothing is wrong: five sample rates, in WAV and FLAC. Each place within 0.1 m."""
    own = {
        "door": {"rate": 48_000, "subtype": "PCM_24"},
        "shelf": {"rate": 16_000, "ending": "flac"},
        "printer": {"rate": 32_000, "subtype": "FLOAT"},
        "window": {"rate": 22_050, "ending": "flac"},
        "desk": {"rate": 48_000, "ending": "flac", "subtype": "PCM_24"},
    }
    return Made(OFFICE, _people(OFFICE, 5, **own), Right(0))


def gains() -> Made:
    """Gains from -18 to 12 dB are no fault; one of -36 dB is named. Each place within 0.1 m."""
    levels = [12.0, -6.0, 0.0, -18.0, 6.0, -36.0, 3.0, -9.0]
    own = {
        name: {"gain_db": level}
        for name, level in zip(OFFICE.nodes, levels, strict=True)
    }
    quiet = frozenset({("lamp", "quiet")})
    return Made(OFFICE, _people(OFFICE, 6, **own), Right(1, quiet))


def stereo() -> Made:
    """Two nodes are the channels of one recorder, which started 0.7 s late.

    Doctor names both; each place within 0.3 m.
    """
    pair = ("window", "desk")
    own = {name: {"start": 0.7, "gain_db": 2.0} for name in pair}
    needed = frozenset((name, "late") for name in pair)
    allowed = frozenset((name, "clock") for name in pair)
    right = Right(1, needed, allowed, 0.3)
    return Made(OFFICE, _people(OFFICE, 7, **own), right, stereo=pair)


def battery() -> Made:
    """One recorder ends after a third: it is named; each place within 0.1 m by the others."""
    own = _people(OFFICE, 8, table={"missing": 28.0})
    return Made(OFFICE, own, Right(1, frozenset({("table", "early")})))


def dead() -> Made:
    """One microphone is dead: doctor refuses it by name; each place within 0.1 m without it."""
    own = _people(OFFICE, 9, printer={"dead": True})
    return Made(OFFICE, own, Right(2, frozenset({("printer", "silent")})))


def exchanged() -> Made:
    """Two recorders have each other's file: both are named; each place within 0.1 m."""
    pair = ("shelf", "board")
    right = Right(1, frozenset({(None, "exchanged")}))
    return Made(OFFICE, _people(OFFICE, 10), right, exchanged=pair)


SESSIONS: dict[str, Callable[[], Made]] = {
    make.__name__: make
    for make in (
        *(synchronous_meeting, meeting, late_starts, phones, mixed_rates, gains),
        *(stereo, battery, dead, exchanged),
    )
}


class Outcome(NamedTuple):
    """What the commands made of a session.

    Attributes:
        status: Of `uld_jax doctor`.
        remarks: Nodes and kinds.
        located: Exit status of `uld_jax locate`.
        nearest: Meters from each place to the nearest turn; infinite without turns.
        stray: Meters from the farthest turn to its nearest place.
        determined: Share of windows that are determined.
        held: Share of these within their radius of 90 %.
        printed: By both.
    """

    status: int | str
    remarks: frozenset[tuple[str | None, str]]
    located: int | str
    nearest: tuple[float, ...]
    stray: float
    determined: float
    held: float
    printed: str

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
        lost = sum(apart > right.within for apart in self.nearest)
        if lost:
            found.append(
                f"{lost} of {len(self.nearest)} places not within {right.within} m"
            )
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
        float(apart.min(axis=0).max(initial=0.0)),
        len(sure) / len(recording["windows"]),
        float(np.mean(held)) if held else float("nan"),
        doctor.message + locate.message,
    )


def main() -> None:
    """Make each session, ask the commands, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", nargs="+", default=["builtin"])
    parser.add_argument("--only", default=None, help="name of one session")
    parser.add_argument("--verbose", action="store_true", help="print what commands do")
    report.add_flag(parser)
    options = parser.parse_args()
    tables = []
    for speech in options.speech:
        rows = []
        for name, make in SESSIONS.items():
            if options.only not in (None, name):
                continue
            made = make()
            with tempfile.TemporaryDirectory() as folder:
                outcome = run(made, pathlib.Path(folder), speech)
            rows.append(_row(name, made.right, outcome))
            print(rows[-1], file=sys.stderr, flush=True)
            if options.verbose:
                print(outcome.printed, file=sys.stderr, flush=True)
        tables.append((f"Speech: {pathlib.Path(speech).name}.", "", rows))
    report.write("reliability.ten_sessions", tables, options.out)


def _row(name: str, right: Right, outcome: Outcome) -> dict:
    return {
        "session": name.replace("_", " "),
        "doctor": outcome.status,
        "farthest place m": float(max(outcome.nearest)),
        "allowed m": right.within,
        "farthest turn m": outcome.stray,
        "windows determined": f"{outcome.determined:.0%}",
        "of these within their radius": f"{outcome.held:.0%}",
        "not right": "; ".join(outcome.wrong(right)) or "nothing",
    }


if __name__ == "__main__":
    main()
