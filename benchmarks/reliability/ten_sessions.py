"""Ten sessions as people record them, through `uld_jax doctor` and `uld_jax locate`.

    python -m benchmarks.reliability.ten_sessions --speech builtin ../shared/audio/speech

Two rooms of plain pyroomacoustics (`recorders`): a meeting of 60 s with six recorders and a
talker at three places, and an office with eight recorders and a talker at six places, 7 s
at each. T60 is 0.4 s, walls are bare, places in the table are right to a centimeter, and
the talkers' heights are unknown. Each session is one function, whose docstring says what is
wrong with it and what is the right outcome. Commands run in this process, as a user gives
them, without flags.
"""

import argparse
import pathlib
import sys
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks import report
from benchmarks.reliability import session_outcomes
from benchmarks.reliability.recorders import Recorder, Room, Stay
from benchmarks.reliability.session_outcomes import Made, Outcome, Right

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
# In the office, walls spoil times at one place or two: windows there are not determined.
_MOST_PLACES = 4
_GAIN_DB = 3.0  # Standard deviation from recorder to recorder.


_NOTE = (
    "The exit status of `uld_jax doctor`; at how many places of talkers `uld_jax locate` "
    "finds a turn, of those that are asked for and of all; the error of the worst of these, "
    "and of the worst turn; windows that are determined, and of these the share within the "
    "radius of 90 %. Last, in what the outcome is not the right one, by the docstrings of "
    "the script."
)


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
    allowed.add(("shelf", "drift"))
    return Made(
        MEETING, own, Right(1, frozenset(needed), frozenset(allowed), within=0.3)
    )


def late_starts() -> Made:
    """Three of eight recorders were started by hand, 0.4 to 8 s after the others.

    Doctor names them; four of six places or more within 0.3 m, and none elsewhere.
    """
    starts = {"door": 0.4, "desk": 8.013, "board": 3.207}
    own = {name: {"start": start} for name, start in starts.items()}
    needed = frozenset((name, "late") for name in starts)
    allowed = frozenset((name, "clock") for name in starts)
    right = Right(1, needed, allowed, 0.3, _MOST_PLACES)
    return Made(OFFICE, _people(OFFICE, 3, **own), right)


def phones() -> Made:
    """Each of eight phones was started by hand and drifts: no two clocks agree.

    Doctor names those that started late, and says that few positions are determined. Nobody
    is where nobody was, within a meter.
    """
    starts = [0.0, 1.31, 0.62, 2.47, 0.93, 3.18, 1.76, 0.41]
    drifts = [8.0, -12.0, 5.0, 15.0, -6.0, -18.0, 11.0, 2.0]
    own = {
        name: {"start": start, "ppm": ppm}
        for name, start, ppm in zip(OFFICE.nodes, starts, drifts, strict=True)
    }
    needed = {(name, "late") for name in own if own[name]["start"] > 0}
    needed.add((None, "undetermined"))
    drifting = frozenset((name, "drift") for name in own)
    right = Right(1, frozenset(needed), drifting, within=1.0, places=0)
    return Made(OFFICE, _people(OFFICE, 4, **own), right)


def mixed_rates() -> Made:
    """Nothing is wrong: five sample rates, in WAV and FLAC, of three formats.

    Four of six places or more within 0.1 m, and none elsewhere; no remark.
    """
    own = {
        "door": {"rate": 48_000, "subtype": "PCM_24"},
        "shelf": {"rate": 16_000, "ending": "flac"},
        "printer": {"rate": 32_000, "subtype": "FLOAT"},
        "window": {"rate": 22_050, "ending": "flac"},
        "desk": {"rate": 48_000, "ending": "flac", "subtype": "PCM_24"},
    }
    right = Right(0, places=_MOST_PLACES)
    return Made(OFFICE, _people(OFFICE, 5, **own), right)


def gains() -> Made:
    """Gains from -24 to 6 dB are no fault; one of -42 dB is named.

    Four of six places or more within 0.1 m, and none elsewhere.
    """
    levels = [6.0, -12.0, -6.0, -24.0, 0.0, -42.0, -3.0, -15.0]
    own = {
        name: {"gain_db": level}
        for name, level in zip(OFFICE.nodes, levels, strict=True)
    }
    right = Right(1, frozenset({("lamp", "quiet")}), places=_MOST_PLACES)
    return Made(OFFICE, _people(OFFICE, 6, **own), right)


def stereo() -> Made:
    """Two nodes are the channels of one recorder, which started 0.7 s late.

    Doctor names both; four of six places or more within 0.3 m, and none elsewhere.
    """
    pair = ("window", "desk")
    own = {name: {"start": 0.7, "gain_db": 2.0} for name in pair}
    needed = frozenset((name, "late") for name in pair)
    allowed = frozenset((name, "clock") for name in pair)
    right = Right(1, needed, allowed, 0.3, _MOST_PLACES)
    return Made(OFFICE, _people(OFFICE, 7, **own), right, stereo=pair)


def battery() -> Made:
    """One recorder ends after a third: it is named, and the others are enough.

    Four of six places or more within 0.1 m, and none elsewhere.
    """
    own = _people(OFFICE, 8, table={"missing": 28.0})
    right = Right(1, frozenset({("table", "early")}), places=_MOST_PLACES)
    return Made(OFFICE, own, right)


def dead() -> Made:
    """One microphone is dead: doctor refuses it by name, and locate leaves it out.

    Four of six places or more within 0.1 m, and none elsewhere.
    """
    own = _people(OFFICE, 9, printer={"dead": True})
    right = Right(2, frozenset({("printer", "silent")}), places=_MOST_PLACES)
    return Made(OFFICE, own, right)


def exchanged() -> Made:
    """Two recorders have each other's file: doctor and locate name both.

    Nobody is where nobody was, within 0.1 m: few windows are determined, or none.
    """
    pair = ("shelf", "board")
    needed, allowed = {(None, "exchanged")}, {(None, "undetermined")}
    right = Right(1, frozenset(needed), frozenset(allowed), places=0)
    return Made(OFFICE, _people(OFFICE, 10), right, exchanged=pair)


SESSIONS: dict[str, Callable[[], Made]] = {
    make.__name__: make
    for make in (
        *(synchronous_meeting, meeting, late_starts, phones, mixed_rates, gains),
        *(stereo, battery, dead, exchanged),
    )
}


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
                outcome = session_outcomes.run(made, pathlib.Path(folder), speech)
            rows.append(_row(name, made, outcome))
            print(rows[-1], file=sys.stderr, flush=True)
            if options.verbose:
                print(outcome.printed, file=sys.stderr, flush=True)
        tables.append((f"Speech: {pathlib.Path(speech).name}.", _NOTE, rows))
    report.write("reliability.ten_sessions", tables, options.out)


def _row(name: str, made: Made, outcome: Outcome) -> dict:
    right = made.right
    errors = [apart for apart in outcome.nearest if apart <= right.within]
    return {
        "session": name.replace("_", " "),
        "doctor": outcome.status,
        "places found": f"{len(errors)} of {len(outcome.nearest)}",
        "asked for": right.places,
        "within m": right.within,
        "largest error m": max(errors) if errors else "",
        "farthest turn m": outcome.stray if outcome.turns else "",
        "windows determined": f"{outcome.determined:.0%}",
        "within their radius": f"{outcome.held:.0%}" if outcome.determined else "",
        "not right": "; ".join(outcome.wrong(right)) or "nothing",
    }


if __name__ == "__main__":
    main()
