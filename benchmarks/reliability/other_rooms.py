"""Test `uld_jax.localize`, networks and SRP-PHAT in rooms of plain pyroomacoustics.

    python -m benchmarks.reliability.other_rooms --speech=FOLDER --noise=FOLDER \
        --cache=runs/other_rooms runs/votes

Rooms that neither training nor calibration has seen, by another simulator (`made_rooms`),
with talkers at 1 to 1.8 m, unseen talkers and noises. Each room is rendered once and kept
in the cache; conditions are made from it. Clocks are off by fractions of a sample. Networks
are evaluated at I = 64. With --directional, talkers face a direction, 6 dB weaker behind
above 1 kHz, and each wall has an absorption of its own: no training has seen such rooms
of this simulator, either.
"""

import argparse
import pathlib

import numpy as np

from benchmarks import report
from benchmarks.reliability import made_rooms

_CELLS = 64
_CONDITIONS = {  # SNR in dB, kind of noise, clocks in s, positions in m, gains in dB.
    "clean": {},
    "white noise, 15 dB": {"snr_db": 15.0, "noise": "white"},
    "point noise, 10 dB": {"snr_db": 10.0, "noise": "point"},
    "point noise, 0 dB": {"snr_db": 0.0, "noise": "point"},
    "gains 10 dB": {"gains_db": 10.0},
    "clocks 2 ms": {"clocks": 0.002},
    "positions 0.1 m": {"positions": 0.1},
}


def main() -> None:
    """Render what is missing, test, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("runs", nargs="*", help="folders of trained networks")
    parser.add_argument("--speech", required=True, help="folder of speech, or builtin")
    parser.add_argument("--noise", required=True, help="folder of noise, or builtin")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--rooms", type=int, default=50)
    parser.add_argument("--nodes", type=int, nargs="+", default=[30, 8])
    parser.add_argument(
        "--directional",
        action="store_true",
        help="talkers that face a direction, six different walls",
    )
    options = parser.parse_args()
    rooms = _load(options)
    methods = {"SRP-PHAT": _srp_phat}
    for folder in options.runs:
        methods[pathlib.Path(folder).name] = _network(folder)
    rows = []
    for num_nodes in options.nodes:
        for name, changes in _CONDITIONS.items():
            row = {"nodes": num_nodes, "condition": name}
            batches = [
                _batch(room, number, num_nodes, **changes)
                for number, room in enumerate(rooms)
            ]
            for title, locate in methods.items():
                found = np.stack([np.asarray(locate(batch)) for batch in batches])
                truth = np.stack([room["talker"][:2] for room in rooms])
                errors = np.linalg.norm(found - truth, axis=-1)
                row[f"{title}: MAE m"] = float(errors.mean())
                row[f"{title}: median m"] = float(np.median(errors))
            found = [_localize(batch) for batch in batches]
            errors = np.array(
                [
                    np.linalg.norm(one.position - room["talker"][:2])
                    for one, room in zip(found, rooms, strict=True)
                ]
            )
            sure = np.array([one.determined for one in found])
            within = errors <= [one.radius_90 for one in found]
            row["localize: MAE m"] = float(errors.mean())
            row["median m"] = float(np.median(errors))
            row["90 % radius covers"] = f"{within.mean():.0%}"
            row["determined"] = f"{sure.mean():.0%}"
            row["MAE m of these"] = float(errors[sure].mean()) if sure.any() else ""
            rows.append(row)
            print(row, flush=True)
    note = f"{len(rooms)} rooms, 2 s of speech, networks at I = {_CELLS}."
    title = "Rooms of plain pyroomacoustics."
    if options.directional:
        title = "Rooms of plain pyroomacoustics, directional talkers, six walls."
    table = (title, note, rows)
    report.write("reliability.other_rooms", [table], options.out)


def _load(options) -> list[dict[str, np.ndarray]]:
    """Load the rooms; render those that are not in the cache."""
    from uld_jax.audio import corpora

    speech = made_rooms.open_speech(options.speech)
    noise = corpora.open_noise(options.noise)

    def render(rng):
        return _render(rng, speech, noise, options.directional)

    cache = options.cache / ("directional" if options.directional else "")
    return made_rooms.load(cache, options.rooms, 2**20, render)


def _render(
    rng: np.random.Generator, speech, noise, directional: bool
) -> dict[str, np.ndarray]:
    """Render the talker and the noise of one room, apart."""
    size = made_rooms.draw_size(rng)
    talker = np.append(made_rooms.draw_place(rng, size), rng.uniform(1.0, 1.8))
    source = np.append(made_rooms.draw_place(rng, size), rng.uniform(0.5, 2.3))
    nodes = made_rooms.draw_nodes(rng, size)
    walls = made_rooms.draw_walls(rng, size)
    dry = made_rooms.draw_speech(speech, rng)
    hum = noise.draw_noise(
        "test", rng, made_rooms.SAMPLES, made_rooms.BEFORE, 0
    ).samples
    if directional:  # Drawn last, so that the rest is as in the other rooms.
        walls = made_rooms.draw_six_walls(rng, size)
        azimuth = rng.uniform(0, 360)
        received = made_rooms.simulate_talker(size, walls, nodes, talker, azimuth, dry)
    else:
        received = made_rooms.simulate(size, walls, nodes, talker, dry)
    point = made_rooms.simulate(size, walls, nodes, source, hum)
    return {
        "speech": np.float32(received),
        "point": np.float32(point),
        "nodes": nodes,
        "talker": talker,
        "size": size,
    }


def _batch(
    room: dict[str, np.ndarray],
    number: int,
    num_nodes: int,
    snr_db: float | None = None,
    noise: str = "white",
    clocks: float = 0.0,
    positions: float = 0.0,
    gains_db: float = 0.0,
) -> dict[str, np.ndarray]:
    """Make one condition of a room, the same for all methods."""
    rng = np.random.default_rng([2**21, num_nodes, number])
    signals = np.float64(room["speech"][:num_nodes])
    if snr_db is not None:
        added = rng.normal(size=signals.shape)
        if noise == "point":
            added = np.float64(room["point"][:num_nodes])
        power = (signals**2).mean() / (added**2).mean() / 10 ** (snr_db / 10)
        signals = signals + np.sqrt(power) * added
    if clocks:
        signals = made_rooms.delay(signals, clocks * rng.normal(size=num_nodes))
    signals *= 10 ** (gains_db * rng.normal(size=(num_nodes, 1)) / 20)
    nodes = room["nodes"][:num_nodes].copy()
    nodes[:, :2] += positions * rng.normal(size=(num_nodes, 2))
    nodes[:, :2] = nodes[:, :2].clip(0, room["size"][:2])
    return {
        "audio": np.float32(signals / np.abs(signals).max())[None],
        "node_positions": np.float32(nodes)[None],
        "room_size": np.float32(room["size"])[None],
    }


def _srp_phat(batch: dict[str, np.ndarray]) -> np.ndarray:
    import uld_jax

    return uld_jax.srp_phat(*batch.values())[0, 0]


def _localize(batch: dict[str, np.ndarray]):
    import uld_jax

    audio, nodes, room = (array[0] for array in batch.values())
    return uld_jax.localize(audio, made_rooms.RATE, nodes, room)


def _network(folder: str):
    """Load a network that answers at I = 64."""
    import jax

    from uld_jax.labels import schemes
    from uld_jax.pretrained import loading, weights

    run = weights.read_run(folder, "runs")
    graph, params, statistics, _ = loading.restore_network(run, made_rooms.NODES, 1)
    label = schemes.Label("uld", _CELLS)

    @jax.jit
    def locate(batch):
        outputs = loading.compute_outputs(graph, label, params, statistics, batch)
        return loading.decode(label, outputs, batch)[0, 0]

    return locate


if __name__ == "__main__":
    main()
