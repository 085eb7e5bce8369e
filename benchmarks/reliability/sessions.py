"""Calibrate clocks by `uld_jax.calibrate_clocks` in rooms of plain pyroomacoustics.

    python -m benchmarks.reliability.sessions --speech=FOLDER --cache=runs/sessions

Rooms as in `other_rooms`, by another simulator, with a talker at six places in turn, 2 s
at each. Clocks are 10 ms off (standard deviation), by fractions of a sample, and the
talker's height is unknown. Positions are shown before (`uld_jax.localize` alone) and after.
"""

import argparse
import pathlib

import numpy as np

from benchmarks import report

_RATE = 16_000
_SAMPLES = 32_000
_NODES = 30
_PLACES = 6
_MARGIN = 0.3  # Meters from the walls.
_APART = 1.0  # Meters between places.
_CLOCKS = 0.01
_SESSIONS = ((30, 3), (30, 6), (15, 6), (8, 6))  # Nodes and places.


def main() -> None:
    """Render what is missing, calibrate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--speech", required=True, help="folder of speech, or builtin")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--rooms", type=int, default=20)
    options = parser.parse_args()
    rooms = _load(options)
    rows = []
    for num_nodes, num_places in _SESSIONS:
        rows.append(_calibrate(rooms, num_nodes, num_places))
        print(rows[-1], flush=True)
    note = (
        f"{len(rooms)} rooms, {1000 * _CLOCKS:.0f} ms, white noise at 20 dB; all "
        "sessions count, also those that are not determined."
    )
    report.write(
        "reliability.sessions", [("Clocks of sessions.", note, rows)], options.out
    )


def _calibrate(rooms, num_nodes: int, num_places: int) -> dict:
    """Calibrate all rooms with some of their nodes and places."""
    import uld_jax

    before, after, within, wrong, given = [], [], [], [], []
    for number, room in enumerate(rooms):
        rng = np.random.default_rng([2**22, num_nodes, number])
        late = _CLOCKS * rng.normal(size=num_nodes)
        signals = np.float64(room["speech"][:num_places, :num_nodes])
        frequencies = np.fft.rfftfreq(_SAMPLES, 1 / _RATE)
        turns = np.exp(-2j * np.pi * frequencies * late[:, None])
        signals = np.fft.irfft(np.fft.rfft(signals) * turns, _SAMPLES)
        power = (signals**2).mean() / 100
        signals += np.sqrt(power) * rng.normal(size=signals.shape)
        found = uld_jax.calibrate_clocks(
            signals, _RATE, room["nodes"][:num_nodes], room["size"]
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
    offsets = 1000 * np.concatenate(wrong)
    return {
        "nodes": num_nodes,
        "places": num_places,
        "before: MAE m": float(np.mean(before)),
        "after: MAE m": float(np.mean(after)),
        "median m": float(np.median(after)),
        "90 % radius covers": f"{np.mean(within):.0%}",
        "determined": f"{np.mean(given):.0%}",
        "offsets: median ms": float(np.nanmedian(np.abs(offsets))),
        "within 0.2 ms": f"{np.mean(np.abs(offsets) < 0.2):.0%}",
    }


def _load(options) -> list[dict[str, np.ndarray]]:
    """Load the rooms; render those that are not in the cache."""
    from uld_jax.audio import corpora
    from uld_jax.runtime import progress

    splits = ("train-clean-360", "dev-clean", "test-clean")
    speech = corpora.open_speech(options.speech, splits, _SAMPLES)
    options.cache.mkdir(parents=True, exist_ok=True)
    rooms = []
    with progress.Progress("Rendering", options.rooms, "rooms") as bar:
        for number in range(options.rooms):
            path = options.cache / f"{number}.npz"
            if not path.exists():
                room = _render(np.random.default_rng([2**23, number]), speech)
                with path.with_suffix(".part").open("wb") as file:
                    np.savez(file, **room)
                path.with_suffix(".part").replace(path)
            with np.load(path, allow_pickle=False) as file:
                rooms.append(dict(file))
            bar.update()
    return rooms


def _render(rng: np.random.Generator, speech) -> dict[str, np.ndarray]:
    """Render a talker at several places of one room."""
    import pyroomacoustics

    size = rng.uniform([4, 4, 2.5], [10, 10, 3.5])
    nodes = rng.uniform(
        [_MARGIN] * 2 + [0.5], [*(size[:2] - _MARGIN), 2.3], (_NODES, 3)
    )
    places = []
    while len(places) < _PLACES:
        place = rng.uniform(_MARGIN, size[:2] - _MARGIN)
        if all(np.linalg.norm(place - other) > _APART for other in places):
            places.append(place)
    talkers = np.column_stack([places, np.full(_PLACES, rng.uniform(1.0, 1.8))])
    absorption, order = pyroomacoustics.inverse_sabine(rng.uniform(0.2, 0.7), size)
    before = 8000
    received = []
    for talker in talkers:
        dry = speech.draw("test", rng, _SAMPLES, before, 0, frozenset()).samples
        room = pyroomacoustics.ShoeBox(
            size,
            fs=_RATE,
            materials=pyroomacoustics.Material(absorption),
            max_order=order,
        )
        room.add_source(talker, signal=dry)
        room.add_microphone_array(nodes.T)
        room.simulate()
        received.append(room.mic_array.signals[:, before : before + _SAMPLES])
    return {
        "speech": np.float32(received),
        "nodes": nodes,
        "talkers": talkers,
        "size": size,
    }


if __name__ == "__main__":
    main()
