"""Test `uld_jax.localize`, networks and SRP-PHAT in rooms of plain pyroomacoustics.

    python -m benchmarks.reliability.other_rooms --speech=FOLDER --noise=FOLDER \
        --cache=runs/other_rooms runs/votes

Rooms that neither training nor calibration has seen, by another simulator: 4 to 10 m by 4
to 10 m by 2.5 to 3.5 m, T60 0.2 to 0.7 s, every image, nodes at heights of 0.5 to 2.3 m,
talkers at 1 to 1.8 m, unseen talkers and noises. Each room is rendered once (about ten
seconds) and kept in the cache; conditions are made from it. Clocks are off by fractions
of a sample. Networks are evaluated at I = 64.
"""

import argparse
import pathlib

import numpy as np

from benchmarks import report

_RATE = 16_000
_SAMPLES = 32_000
_NODES = 30
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
    table = ("Rooms of plain pyroomacoustics.", note, rows)
    report.write("reliability.other_rooms", [table], options.out)


def _load(options) -> list[dict[str, np.ndarray]]:
    """Load the rooms; render those that are not in the cache."""
    from uld_jax.audio import corpora
    from uld_jax.runtime import progress

    splits = ("train-clean-360", "dev-clean", "test-clean")
    speech = corpora.open_speech(options.speech, splits, _SAMPLES)
    noise = corpora.open_noise(options.noise)
    options.cache.mkdir(parents=True, exist_ok=True)
    rooms = []
    with progress.Progress("Rendering", options.rooms, "rooms") as bar:
        for number in range(options.rooms):
            path = options.cache / f"{number}.npz"
            if not path.exists():
                room = _render(np.random.default_rng([2**20, number]), speech, noise)
                with path.with_suffix(".part").open("wb") as file:
                    np.savez(file, **room)
                path.with_suffix(".part").replace(path)
            with np.load(path, allow_pickle=False) as file:
                rooms.append(dict(file))
            bar.update()
    return rooms


def _render(rng: np.random.Generator, speech, noise) -> dict[str, np.ndarray]:
    """Render the talker and the noise of one room, apart."""
    import pyroomacoustics

    size = rng.uniform([4, 4, 2.5], [10, 10, 3.5])
    margin = 0.3
    talker = np.append(rng.uniform(margin, size[:2] - margin), rng.uniform(1.0, 1.8))
    source = np.append(rng.uniform(margin, size[:2] - margin), rng.uniform(0.5, 2.3))
    nodes = rng.uniform([margin] * 2 + [0.5], [*(size[:2] - margin), 2.3], (_NODES, 3))
    absorption, order = pyroomacoustics.inverse_sabine(rng.uniform(0.2, 0.7), size)
    before = 8000
    dry = speech.draw("test", rng, _SAMPLES, before, 0, frozenset()).samples
    hum = noise.draw_noise("test", rng, _SAMPLES, before, 0).samples
    parts = {}
    for name, position, signal in (("speech", talker, dry), ("point", source, hum)):
        room = pyroomacoustics.ShoeBox(
            size,
            fs=_RATE,
            materials=pyroomacoustics.Material(absorption),
            max_order=order,
        )
        room.add_source(position, signal=signal)
        room.add_microphone_array(nodes.T)
        room.simulate()
        parts[name] = room.mic_array.signals[:, before : before + _SAMPLES]
    parts = {name: np.float32(part) for name, part in parts.items()}
    return parts | {"nodes": nodes, "talker": talker, "size": size}


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
        delays = clocks * rng.normal(size=num_nodes)
        frequencies = np.fft.rfftfreq(_SAMPLES, 1 / _RATE)
        turns = np.exp(-2j * np.pi * frequencies * delays[:, None])
        signals = np.fft.irfft(np.fft.rfft(signals) * turns, _SAMPLES)
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
    return uld_jax.localize(audio, _RATE, nodes, room)


def _network(folder: str):
    """Load a network that answers at I = 64."""
    import jax

    from uld_jax.labels import schemes
    from uld_jax.pretrained import loading, weights

    run = weights.read_run(folder, "runs")
    graph, params, statistics, _ = loading.restore_network(run, _NODES, 1)
    label = schemes.Label("uld", _CELLS)

    @jax.jit
    def locate(batch):
        outputs = loading.compute_outputs(graph, label, params, statistics, batch)
        return loading.decode(label, outputs, batch)[0, 0]

    return locate


if __name__ == "__main__":
    main()
