"""Audio files for tests."""

import pathlib

import numpy as np
import soundfile

RATE = 16_000


def tone(seconds=1.0, rate=RATE, frequency=440.0, level=0.1):
    return level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def write(path: pathlib.Path, signal, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate, **options)
