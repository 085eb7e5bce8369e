"""Recordings in the free field, for the tests of baselines."""

import functools

import numpy as np


def random_places(rng, room, number, height):
    """Return places [number, 3] in a room [x, y], all at one height."""
    return np.column_stack(
        [rng.uniform(0.0, room, (number, 2)), np.full(number, height)]
    )


def delay(signal, seconds):
    """Delay a signal [N] in a circle, by each of M delays: [M, N]."""
    frequencies = np.fft.rfftfreq(len(signal), 1 / 16_000)
    turns = np.exp(-2j * np.pi * frequencies * np.asarray(seconds)[:, None])
    return np.fft.irfft(np.fft.rfft(signal) * turns, len(signal))


def free_field(rng, sources, nodes, num_samples, levels=None):
    """Simulate signals [M, N] at nodes [M, 3] of white noise from sources [S, 3].

    Nothing reflects; delays are exact, amplitudes 1 / r. Levels are gains.
    """
    before, rate, speed = 1024, 16_000, 343.0
    length = 2 * before + num_samples
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    heard = 0.0
    for number, source in enumerate(sources):
        distances = np.linalg.norm(np.asarray(nodes, float) - source, axis=-1)[:, None]
        spectrum = np.fft.rfft(rng.normal(size=length))
        phases = np.exp(-2j * np.pi * frequencies * distances / speed)
        gain = 1.0 if levels is None else levels[number]
        heard = heard + gain * spectrum * phases / distances
    signals = np.fft.irfft(heard, length)[:, before : before + num_samples]
    return signals.astype(np.float32)


@functools.cache
def free_field_rooms(num_sources=1, levels=None, seed=0):
    """Return signals, nodes, sizes and sources of two rooms with 8 nodes."""
    rng = np.random.default_rng(seed)
    rooms = np.array([[4.0, 9.5, 4.2], [10.0, 6.2, 4.2]], np.float32)
    signals, nodes, sources = [], [], []
    for room in rooms:
        nodes.append(random_places(rng, room[:2], 8, 0.9))
        # In opposite corners, so that all rooms have the same lags.
        nodes[-1][:2, :2] = [[0.1, 0.1], room[:2] - 0.1]
        sources.append(random_places(rng, room[:2], num_sources, 0.95))
        signals.append(free_field(rng, sources[-1], nodes[-1], 4000, levels))
    nodes = np.stack(nodes).astype(np.float32)
    return np.stack(signals), nodes, rooms, np.stack(sources)


def with_absent_nodes(signals, nodes, rooms, number=3):
    """Return recordings with more nodes, which hold NaN, and their mask."""
    mask = np.arange(nodes.shape[1] + number) < nodes.shape[1]
    padding = (0, 0), (0, number), (0, 0)
    padded = (np.pad(a, padding, constant_values=np.nan) for a in (signals, nodes))
    return *padded, rooms, mask[None].repeat(len(rooms), 0)
