"""Fake archives of Libri-adhoc40, in both of its layouts.

A few utterances of real talkers of the corpus: one at each position for training, in
`dev` one more of those held out for validation, in `test` one more at position 2.
"""

import functools
import os
import shutil
import zlib

import audio_files
import numpy as np

LAYOUTS = ("flat", "nested")
NODES = range(1, 41)

# Utterances by part and position; their seconds, where these are not 3.
UTTERANCES = {
    "train": {
        "1": ["32-4137-0000"],
        "2": ["78-368-0000"],
        "3": ["26-495-0000"],
        "4": ["39-121914-0000"],
        "5": ["83-9960-0000"],
        "6": ["60-121082-0000"],
        "7": ["4853-27670-0000"],
        "8": ["426-122819-0000"],
        "9u": ["103-1240-0000"],
        "9d": ["19-198-0000"],
    },
    "dev": {
        "5": ["84-121123-0000", "6319-275224-0000"],
        "6": ["422-122949-0000", "5338-284437-0000"],
        "7": ["251-118436-0000", "2803-154320-0000"],
        "8": ["174-50561-0000", "1919-142785-0000"],
    },
    "test": {
        "1": ["121-121726-0000", "121-121726-0001"],
        "2": ["61-70968-0000", "672-122797-0000"],
        "3": ["237-126133-0000"],
        "4": ["908-31957-0000"],
    },
}
SECONDS = {"121-121726-0001": 2.7, "61-70968-0000": 6.0}
_PAUSE = {"61-70968-0000": 3.0}  # Seconds before the talker says anything.


@functools.cache
def recording(name):
    """Make 16-bit recordings [40, N] of an utterance.

    Each node has its own level, delay and offset.
    """
    num_samples = int(SECONDS.get(name, 3.0) * audio_files.RATE)
    voice = np.random.default_rng(zlib.crc32(name.encode())).normal(size=num_samples)
    voice[: int(_PAUSE.get(name, 0.0) * audio_files.RATE)] *= 0.01
    signals = [10 * (20 + n) * np.roll(voice, 7 * n) + 5 * n for n in NODES]
    return np.round(signals).astype(np.int16)


def place(folder, layout, part, position, name):
    """Return the folder of an utterance's files."""
    talker, chapter, _ = name.split("-")
    if layout == "flat":
        return folder / f"adhoc40-{part}" / f"pos {position}" / talker / chapter
    return folder / f"adhoc40-{part}" / f"pos{position}" / talker / chapter / name


def write_utterance(where, name, signals=None):
    """Write the files of an utterance, and an anechoic one that nobody should read."""
    signals = recording(name) if signals is None else signals
    for node, signal in zip(NODES, signals, strict=True):
        audio_files.write(where / f"{name}-ch-{node}.wav", signal)
    audio_files.write(where / f"{name}-anechoic.wav", signals[:2, :99].T, rate=8000)


def write(folder, layout, parts=tuple(UTTERANCES)):
    """Write whole parts; return the folder that holds them."""
    for part in parts:
        for position, names in UTTERANCES[part].items():
            for name in names:
                write_utterance(place(folder, layout, part, position, name), name)
    return folder


def copy(source, target):
    """Copy a folder by hard links; tests replace files and never write into them."""
    shutil.copytree(source, target, copy_function=os.link)
    return target


def replace(path, signal, rate=audio_files.RATE, **options):
    """Write another file in place of one."""
    path.unlink()
    audio_files.write(path, signal, rate, **options)
