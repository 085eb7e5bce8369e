"""A talker in a room of plain pyroomacoustics, and recorders as people have them.

The sound at each recorder is rendered once at 48 kHz, every image. A recorder has a clock
and a file of its own: it starts when somebody presses its button, its sample rate is a few
ppm off, and it ends when its battery does. Its table is right to a centimeter.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from uld_jax.audio import builtin, corpora
from uld_jax.audio import signals as signals_lib

RATE = 48_000  # Hz.
_PLACES_OFF = 0.01  # Meters: standard deviation of errors of the table.
_BEFORE_WORDS = 0.5  # Seconds of a stay before the first words.
_BETWEEN_WORDS = 0.3
_UTTERANCES = 6  # Built-in ones of a talker, so that none is repeated.
_PART = "test"  # Talkers that no training has seen.


class Stay(NamedTuple):
    """A stretch in which a talker speaks at one place.

    Attributes:
        start: In seconds.
        end: In seconds.
        place: (x, y, z) in meters.
    """

    start: float
    end: float
    place: tuple[float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Room:
    """A room, recorders by their names, and who talks where.

    Attributes:
        size: In meters.
        t60: In seconds, by Sabine.
        nodes: (x, y, z) in meters of each recorder, as measured.
        stays: Of the talkers.
        seconds: Of all.
    """

    size: tuple[float, float, float]
    t60: float
    nodes: dict[str, tuple[float, float, float]]
    stays: tuple[Stay, ...]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Recorder:
    """How one recorder records.

    Attributes:
        start: Seconds after the first of all.
        missing: Seconds by which it ends before the others.
        ppm: By which its clock is fast: by that, sounds are later and later.
        rate: In Hz, of its file.
        gain_db: Of its file.
        noise_db: Of its own, against the mean level of what it receives.
        dead: Whether its microphone gives zeros.
        ending: Of its file: wav or flac.
        subtype: Of its file, as `soundfile` calls it.
    """

    start: float = 0.0
    missing: float = 0.0
    ppm: float = 0.0
    rate: int = 44_100
    gain_db: float = 0.0
    noise_db: float = -30.0
    dead: bool = False
    ending: str = "wav"
    subtype: str = "PCM_16"


def open_voices(speech: str) -> Callable[[int, float], np.ndarray]:
    """Open speech of talkers.

    Args:
        speech: A folder, or "builtin".

    Returns:
        A function from the number of a talker, and seconds, to speech at 16 kHz.
    """
    names: dict[str, list[signals_lib.Utterance]] = {}
    for one in corpora.open_speech(speech).utterances[_PART]:
        names.setdefault(one.talker, []).append(one)
    if speech == corpora.BUILTIN:  # Its talkers can say more than is listed.
        for talker in names:
            said = [f"{talker}-{number}" for number in range(_UTTERANCES)]
            names[talker] = [signals_lib.Utterance(name, talker) for name in said]
    talkers = sorted(names)
    pause = np.zeros(round(_BETWEEN_WORDS * builtin.SAMPLE_RATE), np.float32)

    def speak(number: int, seconds: float) -> np.ndarray:
        own, length = names[talkers[number % len(talkers)]], 0
        total, parts = round(seconds * builtin.SAMPLE_RATE), []
        while length < total:
            said = signals_lib.load(own[len(parts) // 2 % len(own)])
            parts += [said / np.abs(said).max(), pause]
            length += len(said) + len(pause)
        return np.concatenate(parts)[:total]

    return speak


def render(
    room: Room, speak: Callable[[int, float], np.ndarray], seed: int
) -> np.ndarray:
    """Render the sound at each recorder, [M, N] at `RATE`, without noise.

    Args:
        room: The room.
        speak: From `open_voices`.
        seed: Of the errors of the table of nodes.
    """
    import pyroomacoustics

    rng = np.random.default_rng([2**26, seed])
    nodes = np.array(list(room.nodes.values()))
    nodes += rng.normal(scale=_PLACES_OFF, size=nodes.shape)
    absorption, order = pyroomacoustics.inverse_sabine(room.t60, room.size)
    total = np.zeros((len(nodes), round(room.seconds * RATE)), np.float32)
    for number, stay in enumerate(room.stays):
        said = speak(number, stay.end - stay.start - _BEFORE_WORDS)
        box = pyroomacoustics.ShoeBox(
            room.size,
            fs=RATE,
            materials=pyroomacoustics.Material(absorption),
            max_order=order,
        )
        box.add_source(
            stay.place, signal=soxr.resample(said, builtin.SAMPLE_RATE, RATE)
        )
        box.add_microphone_array(nodes.T)
        box.simulate()
        first = round((stay.start + _BEFORE_WORDS) * RATE)
        received = box.mic_array.signals[:, : total.shape[1] - first]
        total[:, first : first + received.shape[1]] += received
    return total


def record(
    sound: np.ndarray, recorder: Recorder, rng: np.random.Generator
) -> np.ndarray:
    """Record the sound [N] at a recorder's place, by its clock.

    Args:
        sound: At `RATE`, with a level of about one tenth of full scale.
        recorder: How.
        rng: Of its noise.
    """
    noise = 10 ** (recorder.noise_db / 20) * sound.std()
    sound = sound + noise * rng.normal(size=len(sound))
    first = round(recorder.start * RATE)
    last = len(sound) - round(recorder.missing * RATE)
    # A fast clock takes more samples of the same sound.
    own = soxr.resample(
        sound[first:last], RATE, recorder.rate * (1 + 1e-6 * recorder.ppm)
    )
    own *= 0.0 if recorder.dead else 10 ** (recorder.gain_db / 20)
    return own


def write(
    folder: pathlib.Path,
    room: Room,
    sounds: np.ndarray,
    recorders: Sequence[Recorder],
    stereo: tuple[str, str] | None = None,
    exchanged: tuple[str, str] | None = None,
) -> pathlib.Path:
    """Write a session of one recording: tables, and a file of each recorder.

    Args:
        folder: New.
        room: The room.
        sounds: From `render`.
        recorders: Of each node.
        stereo: Two nodes that are the channels of one recorder, which is the first's.
        exchanged: Two nodes of which each has the file of the other.
    """
    rng = np.random.default_rng(2**27)
    folder.mkdir(parents=True)
    level = 0.05 / np.sqrt(np.mean(np.square(sounds)))
    of_node = {}
    for name, sound, recorder in zip(room.nodes, sounds, recorders, strict=True):
        of_node[name] = record(level * sound, recorder, rng), recorder
    if exchanged:
        one, other = exchanged
        of_node[one], of_node[other] = of_node[other], of_node[one]
    rows = ["node,x,y,z,file,channel"]
    for name, place in room.nodes.items():
        signal, recorder = of_node[name]
        channel, ending = 1, recorder.ending
        if stereo and name == stereo[1]:
            ending, channel, file = of_node[stereo[0]][1].ending, 2, stereo[0]
        else:
            file = name
            if stereo and name == stereo[0]:
                signal = np.stack([signal, of_node[stereo[1]][0]], axis=1)
            soundfile.write(
                folder / f"{name}.{ending}",
                signal,
                recorder.rate,
                subtype=recorder.subtype,
            )
        sides = ",".join(f"{side:.2f}" for side in place)
        rows.append(f"{name},{sides},{file}.{ending},{channel}")
    (folder / "nodes.csv").write_text("\n".join(rows) + "\n")
    sides = ",".join(f"{side:.1f}" for side in room.size)
    (folder / "room.csv").write_text(f"x,y,z\n{sides}\n")
    return folder
