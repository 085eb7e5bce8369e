"""A small session to look at, made from built-in speech in a simulated room."""

import pathlib
import types
from collections.abc import Mapping

import jax
import numpy as np

from uld_jax.audio import builtin, session_tables
from uld_jax.simulation import rendering, rooms

ROOM = (6.2, 4.8, 2.7)
# Of each recorder: its name and (x, y, z) in meters. Positions are right to a centimeter.
NODES = {
    "shelf": (0.25, 2.40, 1.30),
    "window": (3.00, 4.65, 1.00),
    "door": (6.00, 1.90, 1.20),
    "desk": (4.80, 3.80, 0.75),
    "board": (2.10, 0.20, 1.45),
    "phone": (3.40, 2.30, 0.75),
}
LATE = {"desk": 0.31}  # Seconds.
PLACES = ((1.40, 3.30, 1.55), (4.60, 1.20, 1.15), (1.60, 1.30, 1.20))

_T60 = 0.3  # Seconds.
_NOISE_DB = -30.0  # Of each recorder's own, against the talker.
_BEFORE = 8_000  # Samples.
_TALKERS = ("test00", "test03", "test07")
_UTTERANCES = 2  # Of 4 s, at each place.


def write(
    folder: pathlib.Path, late: Mapping[str, float] = types.MappingProxyType(LATE)
) -> pathlib.Path:
    """Write a session of six recorders, one of them late, and a talker at three places.

    Args:
        folder: Made if it is missing.
        late: Seconds by which recorders start late, by name.

    Returns:
        The folder: a room, nodes with the file of each, and six files.
    """
    import soundfile

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    signals = np.concatenate(list(_render()), axis=1)
    before = round(max(LATE.values()) * builtin.SAMPLE_RATE)
    signals = np.pad(signals, ((0, 0), (before, 0)))
    deviations = np.std(signals, axis=1, keepdims=True)
    signals += 10 ** (_NOISE_DB / 20) * deviations * rng.normal(size=signals.shape)
    signals *= 10 ** (rng.normal(scale=2.0, size=(len(signals), 1)) / 20)
    signals *= 0.5 / np.abs(signals).max()
    rows = ["node,x,y,z,file"]
    for (name, place), signal in zip(NODES.items(), signals, strict=True):
        begin = round(late.get(name, 0.0) * builtin.SAMPLE_RATE)
        soundfile.write(folder / f"{name}.wav", signal[begin:], builtin.SAMPLE_RATE)
        rows.append(f"{name},{','.join(map(str, place))},{name}.wav")
    (folder / session_tables.NODES).write_text("\n".join(rows) + "\n")
    sides = ",".join(map(str, ROOM))
    (folder / session_tables.ROOM).write_text(f"x,y,z\n{sides}\n")
    return folder


def _render():
    """Yield the nodes' signals of the talker at each place, [M, N]."""
    rng = np.random.default_rng(1)
    length = 64_000 * _UTTERANCES
    settings = rooms.RenderSettings(num_samples=length, before=_BEFORE)
    true_nodes = np.array(list(NODES.values())) + rng.normal(scale=0.01, size=(6, 3))
    batch = rooms.Rooms(
        size=[ROOM],
        t60=[_T60],
        node_positions=true_nodes[None],
        source_positions=[[PLACES[0]]],
    )
    keys = jax.random.split(jax.random.key(0), len(PLACES))
    for key, place, talker in zip(keys, PLACES, _TALKERS, strict=True):
        said = [builtin.synthesize(f"{talker}-{k}") for k in range(_UTTERANCES)]
        dry = np.pad(np.concatenate(said), (_BEFORE, 0))[None, None]
        one = batch._replace(source_positions=[[place]])
        yield np.asarray(rendering.render(one, dry, key[None], settings).signals[0])
