"""Fine-tune a network that comes with the package on sessions with known places.

    python -m benchmarks.reliability.fine_tuning --speech=FOLDER --cache=runs/fine_tuning --rooms=6

Each session is a simulated room with eight nodes, whose gains differ: a talker at 20 places
for training, at 5 for validation and at 10 others for the test, two of which are training
places, to see what the warning is for. Talkers of training and of the test are different
people. The command is the one of docs/own_recordings.md; an interrupted benchmark resumes.
"""

import argparse
import pathlib

import numpy as np

from benchmarks import report
from benchmarks.reliability import made_rooms

_RATE, _SECONDS, _BEFORE = 16_000, 4, 8_000
_NODES, _MARGIN = 8, 0.4
# Of each split: how many places, and whose speech.
_PLACES = {
    "train": (20, "dev"),
    "validation": (5, "dev"),
    "test": (8, "test"),
    "seen": (2, "test"),
}
_SNR_DB, _GAINS_DB, _SURVEY = 20.0, 2.0, 0.02  # The last in meters.
_EPOCHS = 20


def main() -> None:
    """Make the sessions, fine-tune, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument("--speech", required=True, help="folder of speech, or builtin")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--rooms", type=int, default=6)
    parser.add_argument("--network", default="ad1_uld")
    parser.add_argument("--epochs", type=int, default=_EPOCHS)
    options = parser.parse_args()
    rows = []
    for number in range(options.rooms):
        folder = options.cache / f"room{number}"
        if not (folder / "room.csv").exists():
            write_session(folder, options.speech, number)
        record = fine_tune(folder, options.network, options.epochs)
        rows.append(summarize(record, number))
        print(rows[-1], flush=True)
    counts = {split: count for split, (count, _) in _PLACES.items()}
    note = (
        f"{_NODES} nodes, {counts['train']} training places with {_SECONDS} s of speech, "
        f"{counts['validation']} for validation, white noise at {_SNR_DB:g} dB, gains "
        f"{_GAINS_DB:g} dB and places {100 * _SURVEY:g} cm off; {options.epochs} epochs of "
        f"{options.network}. MAE in meters on the test places: those that no training has "
        "seen, and those that are training places, too. The radius is that of the "
        "fine-tuned network, calibrated at the validation places."
    )
    table = ("Fine-tuning on a session of one's own.", note, rows)
    report.write("reliability.fine_tuning", [table], options.out)


def write_session(folder: pathlib.Path, speech: str, number: int) -> None:
    """Write a session: tables, and a file of all nodes for each place."""
    import soundfile

    rng = np.random.default_rng([2**22, number])
    speech = made_rooms.open_speech(speech)
    size = rng.uniform([5, 4, 2.5], [8, 6, 3.2])
    nodes = rng.uniform([0.2, 0.2, 0.6], [*(size[:2] - 0.2), 1.8], (_NODES, 3))
    t60, gains = rng.uniform(0.3, 0.6), rng.normal(scale=_GAINS_DB, size=(_NODES, 1))
    folder.mkdir(parents=True, exist_ok=True)
    rows, trained = ["recording,split,x,y,z"], []
    for split, (count, part) in _PLACES.items():
        for place in range(count):
            at = np.append(
                rng.uniform(_MARGIN, size[:2] - _MARGIN), rng.uniform(1.2, 1.7)
            )
            if split == "seen":
                at = trained[place]
            trained += [at] if split == "train" else []
            length = _SECONDS * _RATE
            dry = speech.draw(part, rng, length, _BEFORE, 0, frozenset()).samples
            signals = _render(size, t60, nodes, at, dry, rng)
            power = np.mean(signals**2) / 10 ** (_SNR_DB / 10)
            signals = signals + np.sqrt(power) * rng.normal(size=signals.shape)
            signals = signals * 10 ** (gains / 20)
            name = f"{split}{place}.wav"
            soundfile.write(
                folder / name, 0.5 * signals.T / np.abs(signals).max(), _RATE
            )
            kind = "test" if split == "seen" else split
            rows.append(f"{name},{kind},{','.join(f'{value:.3f}' for value in at)}")
    measured = nodes + rng.normal(scale=_SURVEY, size=nodes.shape)
    lines = [f"n{k},{x:.3f},{y:.3f},{z:.3f}" for k, (x, y, z) in enumerate(measured)]
    (folder / "nodes.csv").write_text("\n".join(["node,x,y,z", *lines]) + "\n")
    (folder / "recordings.csv").write_text("\n".join(rows) + "\n")
    # Last: it says that the session is complete.
    (folder / "room.csv").write_text(f"x,y,z\n{','.join(f'{s:.3f}' for s in size)}\n")


def _render(size, t60, nodes, at, dry, rng) -> np.ndarray:
    """Render the nodes' signals [M, N] of a talker at a place."""
    import jax

    from uld_jax.simulation import rendering, rooms

    settings = rooms.RenderSettings(num_samples=_SECONDS * _RATE, before=_BEFORE)
    room = rooms.Rooms(
        size=np.float32(size[None]),
        t60=np.float32([t60]),
        node_positions=np.float32(nodes[None]),
        source_positions=np.float32(at[None, None]),
    )
    keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), 1)
    found = rendering.render(room, np.float32(dry)[None, None], keys, settings)
    return np.float64(found.signals[0])


def fine_tune(folder: pathlib.Path, network: str, epochs: int) -> dict:
    """Fine-tune a network on a session as the command does; return the record."""
    import uld_jax
    from uld_jax.training import initialization

    config = uld_jax.load_config(
        f"own:{network}",
        **{
            "data.name": f"sessions/{folder.name}:1.0.0",
            "data.recordings": str(folder),
            "data.dir": str(folder.parent / "datasets"),
            "train.epochs": epochs,
        },
    )
    config = initialization.settle(config, network)
    return uld_jax.train_and_evaluate(
        config, folder.parent / f"{folder.name}_{network}"
    )


def summarize(record: dict, number: int) -> dict:
    """Compare errors before and after, at places that training has seen and others."""
    before, after = record["test_before"], record["test"]
    return {
        "room": number,
        "unseen: before": before["unseen"]["mae"],
        "unseen: after": after["unseen"]["mae"],
        "unseen, median: before": before["unseen"]["median"],
        "unseen, median: after": after["unseen"]["median"],
        "seen: before": before["seen"]["mae"],
        "seen: after": after["seen"]["mae"],
        "radius, median": after["radius_90"],
        "radius covers": f"{after['radius_coverage_90']:.0%}",
        "best epoch": record["best_epoch"],
    }


if __name__ == "__main__":
    main()
