"""Calibrate clocks by `uld_jax.calibrate_clocks` in rooms of plain pyroomacoustics.

    python -m benchmarks.reliability.sessions --speech=FOLDER --cache=runs/sessions

Rooms by another simulator (`made_rooms`), with a talker at six places in turn, 2 s at
each. Clocks are 10 ms off (standard deviation), by fractions of a sample, and the talker's
height is unknown. Positions are shown before (`uld_jax.localize` alone) and after.

A second table has recordings whose clocks differ from place to place, so that no offsets
explain them: none may be determined.
"""

import argparse
import pathlib

import numpy as np

from benchmarks import report
from benchmarks.reliability import made_rooms

_PLACES = 6
_APART = 1.0  # Meters between places.
_CLOCKS = 0.01
_SESSIONS = ((30, 3), (30, 6), (15, 4), (15, 6), (8, 4), (8, 6))  # Nodes and places.
_RESTARTED = ((30, 6), (15, 6), (8, 4), (8, 6), (6, 6))


def main() -> None:
    """Render what is missing, calibrate, and write the table."""
    options = parse_options(__doc__)
    rooms = load_rooms(options)
    rows = []
    for num_nodes, num_places in _SESSIONS:
        rows.append(_calibrate(rooms, num_nodes, num_places))
        print(rows[-1], flush=True)
    note = (
        f"{len(rooms)} rooms, {1000 * _CLOCKS:.0f} ms, white noise at 20 dB; all "
        "sessions count, also those that are not determined, but for places that fit "
        "and for offsets, of nodes that are known."
    )
    tables = [("Clocks of sessions.", note, rows)]
    rows = []
    for num_nodes, num_places in _RESTARTED:
        rows.append(_refuse(rooms, num_nodes, num_places))
        print(rows[-1], flush=True)
    note = (
        "The same rooms, with clocks drawn again for each place: a wrong answer is one."
    )
    tables.append(("Recordings that no clocks explain.", note, rows))
    report.write("reliability.sessions", tables, options.out)


def parse_options(doc: str) -> argparse.Namespace:
    """Read the flags of a benchmark of these rooms.

    Args:
        doc: Of its module.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--speech", required=True, help="folder of speech, or builtin")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--rooms", type=int, default=20)
    return parser.parse_args()


def _calibrate(rooms, num_nodes: int, num_places: int) -> dict:
    """Calibrate all rooms with some of their nodes and places."""
    import uld_jax

    before, after, within, wrong, given, fitted = [], [], [], [], [], []
    for number, room in enumerate(rooms):
        rng = np.random.default_rng([2**22, num_nodes, number])
        late = _CLOCKS * rng.normal(size=num_nodes)
        signals = _record(room, np.tile(late, (num_places, 1)), rng)
        found = uld_jax.calibrate_clocks(
            signals, made_rooms.RATE, room["nodes"][:num_nodes], room["size"]
        )
        talkers = room["talkers"][:num_places, :2]
        alone = [one.position for one in found.localizations]
        before.append(np.linalg.norm(alone - talkers, axis=1))
        after.append(np.linalg.norm(found.positions - talkers, axis=1))
        within.append(after[-1] <= found.radii_90)
        error = found.offsets - late
        if np.isfinite(error).any():
            error -= np.nanmedian(error)  # They are relative to each other.
        wrong.append(error)
        given.append(found.determined)
        fitted.append(found.fitted)
    offsets = np.abs(1000 * np.concatenate([wrong[k] for k in np.flatnonzero(given)]))
    offsets = offsets[np.isfinite(offsets)]
    sure = np.array(after)[np.array(fitted)]
    return {
        "nodes": num_nodes,
        "places": num_places,
        "before: MAE m": float(np.mean(before)),
        "after: MAE m": float(np.mean(after)),
        "median m": float(np.median(after)),
        "90 % radius covers": f"{np.mean(within):.0%}",
        "determined": f"{np.mean(given):.0%}",
        "places that fit": f"{np.mean(fitted):.0%}",
        "their MAE m": float(sure.mean()),
        "largest m": float(sure.max()),
        "offsets: median ms": float(np.median(offsets)),
        "within 0.2 ms": f"{np.mean(offsets < 0.2):.0%}",
    }


def _refuse(rooms, num_nodes: int, num_places: int) -> dict:
    """Calibrate what has other clocks at each place."""
    import uld_jax

    given, evidence, fitted = [], [], []
    for number, room in enumerate(rooms):
        rng = np.random.default_rng([2**24, num_nodes, number])
        late = _CLOCKS * rng.normal(size=(num_places, num_nodes))
        found = uld_jax.calibrate_clocks(
            _record(room, late, rng),
            made_rooms.RATE,
            room["nodes"][:num_nodes],
            room["size"],
        )
        given.append(found.determined)
        evidence.append(found.evidence)
        fitted.append(found.fitted)
    return {
        "nodes": num_nodes,
        "places": num_places,
        "determined": f"{np.sum(given)} of {len(rooms)}",
        "places that fit": f"{np.mean(fitted):.0%}",
        "largest evidence": float(np.max(evidence)),
    }


def _record(room: dict, late: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Delay the talker's signals by late, [places, nodes] s, and add noise at 20 dB."""
    num_places, num_nodes = late.shape
    signals = np.float64(room["speech"][:num_places, :num_nodes])
    signals = np.stack(
        [made_rooms.delay(one, by) for one, by in zip(signals, late, strict=True)]
    )
    power = (signals**2).mean() / 100
    return signals + np.sqrt(power) * rng.normal(size=signals.shape)


def load_rooms(options) -> list[dict[str, np.ndarray]]:
    """Load the rooms; render those that are not in the cache."""
    speech = made_rooms.open_speech(options.speech)
    return made_rooms.load(
        options.cache, options.rooms, 2**23, lambda rng: _render(rng, speech)
    )


def _render(rng: np.random.Generator, speech) -> dict[str, np.ndarray]:
    """Render a talker at several places of one room."""
    size = made_rooms.draw_size(rng)
    nodes = made_rooms.draw_nodes(rng, size)
    places = []
    while len(places) < _PLACES:
        place = made_rooms.draw_place(rng, size)
        if all(np.linalg.norm(place - other) > _APART for other in places):
            places.append(place)
    talkers = np.column_stack([places, np.full(_PLACES, rng.uniform(1.0, 1.8))])
    walls = made_rooms.draw_walls(rng, size)
    received = []
    for talker in talkers:
        dry = made_rooms.draw_speech(speech, rng)
        received.append(made_rooms.simulate(size, walls, nodes, talker, dry))
    return {
        "speech": np.float32(received),
        "nodes": nodes,
        "talkers": talkers,
        "size": size,
    }


if __name__ == "__main__":
    main()
