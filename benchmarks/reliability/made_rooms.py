"""Rooms of plain pyroomacoustics, for the benchmarks of localization.

4 to 10 m by 4 to 10 m by 2.5 to 3.5 m, T60 0.2 to 0.7 s, every image, 30 nodes at heights
of 0.5 to 2.3 m. Each is rendered once (about ten seconds) and kept.
"""

import pathlib
from collections.abc import Callable

import numpy as np

RATE = 16_000
SAMPLES = 32_000
BEFORE = 8_000  # Samples of sound before those that are kept.
NODES = 30
MARGIN = 0.3  # Meters from the walls.
_SPLITS = ("train-clean-360", "dev-clean", "test-clean")


def open_speech(folder: str):
    """Open speech whose test talkers no training has seen."""
    from uld_jax.audio import corpora

    return corpora.open_speech(folder, _SPLITS, SAMPLES)


def draw_speech(speech, rng: np.random.Generator) -> np.ndarray:
    """Draw an excerpt of a talker, with what comes before it."""
    return speech.draw("test", rng, SAMPLES, BEFORE, 0, frozenset()).samples


def load(
    cache: pathlib.Path,
    count: int,
    seed: int,
    render: Callable[[np.random.Generator], dict[str, np.ndarray]],
) -> list[dict[str, np.ndarray]]:
    """Load rooms; render those that are not in the cache.

    Args:
        cache: Folder.
        count: Number of rooms.
        seed: Of their random streams.
        render: Renders one.
    """
    from uld_jax.runtime import progress

    cache.mkdir(parents=True, exist_ok=True)
    rooms = []
    with progress.Progress("Rendering", count, "rooms") as bar:
        for number in range(count):
            path = cache / f"{number}.npz"
            if not path.exists():
                room = render(np.random.default_rng([seed, number]))
                with path.with_suffix(".part").open("wb") as file:
                    np.savez(file, **room)
                path.with_suffix(".part").replace(path)
            with np.load(path, allow_pickle=False) as file:
                rooms.append(dict(file))
            bar.update()
    return rooms


def draw_size(rng: np.random.Generator) -> np.ndarray:
    """Draw the sides of a room in meters."""
    return rng.uniform([4, 4, 2.5], [10, 10, 3.5])


def draw_place(rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Draw a place (x, y) away from the walls."""
    return rng.uniform(MARGIN, size[:2] - MARGIN)


def draw_nodes(rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Draw the positions of all nodes."""
    return rng.uniform([MARGIN] * 2 + [0.5], [*(size[:2] - MARGIN), 2.3], (NODES, 3))


def draw_walls(rng: np.random.Generator, size: np.ndarray) -> tuple[float, int]:
    """Draw the absorption of all walls, and find the order of the last image."""
    import pyroomacoustics

    return pyroomacoustics.inverse_sabine(rng.uniform(0.2, 0.7), size)


def find_t60(size: np.ndarray, walls: tuple[float, int]) -> float:
    """Compute the reverberation time in seconds by Sabine's formula."""
    length, width, height = size
    surface = 2 * (length * width + (length + width) * height)
    return 24 * np.log(10) / 343.0 * np.prod(size) / (walls[0] * surface)


def draw_six_walls(
    rng: np.random.Generator, size: np.ndarray
) -> tuple[np.ndarray, int]:
    """Draw an absorption for each wall, a factor of two around the mean one."""
    mean, order = draw_walls(rng, size)
    return np.minimum(mean * 2.0 ** rng.uniform(-1, 1, 6), 0.95), order


def simulate_talker(
    size: np.ndarray,
    walls: tuple[np.ndarray, int],
    nodes: np.ndarray,
    position: np.ndarray,
    azimuth: float,
    signal: np.ndarray,
) -> np.ndarray:
    """Render what nodes receive of a talker who faces a direction: [M, N].

    Above 1 kHz the talker is a subcardioid of pyroomacoustics, 6 dB weaker behind; below,
    omnidirectional.

    Args:
        size: Sides in meters.
        walls: From `draw_six_walls`.
        nodes: Positions of the nodes.
        position: That of the talker.
        azimuth: Where the talker faces, in degrees.
        signal: Dry speech.
    """
    import pyroomacoustics
    import scipy.signal

    above = scipy.signal.butter(2, 1000.0, "high", fs=RATE, output="sos")
    high = scipy.signal.sosfiltfilt(above, signal)
    facing = pyroomacoustics.directivities.CardioidFamily(
        orientation=pyroomacoustics.directivities.DirectionVector(
            azimuth=azimuth, colatitude=90.0, degrees=True
        ),
        p=0.75,
    )
    return simulate(size, walls, nodes, position, signal - high) + simulate(
        size, walls, nodes, position, high, directivity=facing
    )


def simulate(
    size: np.ndarray,
    walls: tuple[float | np.ndarray, int],
    nodes: np.ndarray,
    position: np.ndarray,
    signal: np.ndarray,
    count: int = SAMPLES,
    directivity=None,
) -> np.ndarray:
    """Render so many samples of what nodes receive of a source: [M, N]."""
    import pyroomacoustics

    absorption, order = walls
    if np.ndim(absorption):
        names = ("west", "east", "south", "north", "floor", "ceiling")
        materials = {
            name: pyroomacoustics.Material(float(value))
            for name, value in zip(names, absorption, strict=True)
        }
    else:
        materials = pyroomacoustics.Material(absorption)
    room = pyroomacoustics.ShoeBox(
        size,
        fs=RATE,
        materials=materials,
        max_order=order,
    )
    room.add_source(position, signal=signal, directivity=directivity)
    room.add_microphone_array(nodes.T)
    room.simulate()
    return room.mic_array.signals[:, BEFORE : BEFORE + count]


def delay(signals: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Delay each node's signal [..., M, N] in a circle, by parts of a sample, too."""
    count = signals.shape[-1]
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    turns = np.exp(-2j * np.pi * frequencies * seconds[:, None])
    return np.fft.irfft(np.fft.rfft(signals) * turns, count)
