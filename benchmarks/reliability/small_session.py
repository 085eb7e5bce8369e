"""A small healthy session, made in a second: six recorders, and a talker at two places.

Built-in speech in the free field: delays and levels by distance, and noise of each
recorder's own. `uld_jax doctor` has nothing to say about it.
"""

import functools
import pathlib

import numpy as np
import scipy.fft
import soundfile

from uld_jax.audio import builtin

ROOM = (5.2, 4.1, 2.6)
# Of each recorder: its name and (x, y, z) in meters.
NODES = {
    "shelf": (0.30, 2.20, 1.30),
    "window": (2.60, 3.90, 1.00),
    "door": (5.00, 1.60, 1.20),
    "desk": (4.10, 3.30, 0.75),
    "board": (1.70, 0.20, 1.45),
    "phone": (2.90, 2.10, 0.85),
}
RECORDING = "meeting"  # Its folder, where recordings are listed.
RATE = builtin.SAMPLE_RATE
PLACES = ((1.30, 2.90, 1.45), (3.60, 1.20, 1.20))
FEW = ("test00-0", "test03-1")  # Utterances of 4 s.
MANY = tuple(f"test{talker:02d}-0" for talker in range(8))

_SPEED = 343.0
_NOISE_DB = -30.0  # Of each recorder's own, against the talker.


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write the session: a room, nodes with the file of each, and their files."""
    folder.mkdir(parents=True)
    rows = ["node,x,y,z,file"]
    for (name, place), signal in zip(NODES.items(), render(), strict=True):
        write_signal(folder, name, signal)
        rows.append(f"{name},{','.join(f'{side:.2f}' for side in place)},{name}.wav")
    (folder / "nodes.csv").write_text("\n".join(rows) + "\n")
    (folder / "room.csv").write_text("x,y,z\n5.2,4.1,2.6\n")
    return folder


def list_recordings(folder: pathlib.Path) -> None:
    """Turn the written session into one with a table of recordings, and their folder."""
    nodes = (folder / "nodes.csv").read_text().splitlines()
    rows = [line.rpartition(",")[0] for line in nodes]
    (folder / "nodes.csv").write_text("\n".join(rows) + "\n")
    (folder / RECORDING).mkdir()
    for line in nodes[1:]:
        file = line.rpartition(",")[2]
        (folder / file).rename(folder / RECORDING / file)
    (folder / "recordings.csv").write_text(f"recording,split,x,y,z\n{RECORDING},,,,\n")


@functools.cache
def render(utterances: tuple[str, ...] = FEW) -> np.ndarray:
    """Render the signals of all nodes, [M, N], of utterances at `PLACES` in turn."""
    rng = np.random.default_rng(0)
    nodes = np.array(list(NODES.values()))
    parts = []
    for number, name in enumerate(utterances):
        place = PLACES[number % len(PLACES)]
        apart = np.linalg.norm(nodes - place, axis=1)[:, None]
        dry = builtin.synthesize(name)
        frequencies = scipy.fft.rfftfreq(2 * len(dry), 1 / RATE)
        turns = np.exp(-2j * np.pi * frequencies * apart / _SPEED)
        spectrum = scipy.fft.rfft(dry, 2 * len(dry))
        parts.append(scipy.fft.irfft(spectrum * turns, axis=1)[:, : len(dry)] / apart)
    signals = np.concatenate(parts, axis=1)
    noise = rng.normal(size=signals.shape) * signals.std(axis=1, keepdims=True)
    signals += 10 ** (_NOISE_DB / 20) * noise
    return 0.5 * signals / np.abs(signals).max()


def read_signal(folder: pathlib.Path, name: str) -> np.ndarray:
    """Read the signal [N] of a recorder."""
    return soundfile.read(folder / f"{name}.wav")[0]


def write_signal(
    folder: pathlib.Path,
    name: str,
    signal: np.ndarray,
    rate: int = RATE,
    subtype: str = "PCM_16",
) -> None:
    """Write the signal [N] or [N, channels] of a recorder."""
    soundfile.write(folder / f"{name}.wav", signal, rate, subtype)
