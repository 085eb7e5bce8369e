"""Rooms that can be rendered, and those that are refused."""

import dataclasses
import itertools

import numpy as np
import pytest
from made_rooms import SHORT, keys_of, noise_like, small_batch, some_of

from uld_jax.acoustics import absorption
from uld_jax.simulation import image_source, rendering, scenes
from uld_jax.simulation import rooms as rooms_lib


def rooms_with(**changes):
    rooms = small_batch(2)
    return rooms._replace(**changes)


def moved(name, value, axis=0):
    positions = np.array(getattr(small_batch(2), name))
    positions[1, ..., axis] = value
    return rooms_with(**{name: positions})


BAD = {
    "a source outside": (moved("source_positions", 11.0), "sources 0 of room 1 is at"),
    "a node outside": (moved("node_positions", -0.1), "nodes 0 of room 1 is at"),
    "noise outside": (moved("noise_position", 4.3, 2), "noise 0 of room 1 is at"),
    "NaN": (moved("source_positions", np.nan), "sources holds nan at"),
    "NaN as T60": (rooms_with(t60=np.array([0.3, np.nan])), r"t60 holds nan at \[1\]"),
    "NaN as SNR": (
        rooms_with(snr_db=np.array([3.0, np.nan])),
        r"snr_db holds nan at \[1\]",
    ),
    "a negative side": (
        rooms_with(size=small_batch(2).size * [[1, 1, -1]]),
        "sides must be positive",
    ),
    "too long a T60": (rooms_with(t60=np.array([0.25, 3.0])), "T60 3 s is longer than"),
    "no SNR is that low": (
        rooms_with(snr_db=np.array([3.0, -np.inf])),
        r"snr_db holds -inf at \[1\]",
    ),
    "a wrong number of sizes": (
        rooms_with(size=small_batch(2).size[:1]),
        r"size has shape \(1, 3\); it must be \(2, 3\)",
    ),
    "flat positions": (
        rooms_with(node_positions=small_batch(2).node_positions[..., :2]),
        r"node_positions has shape \(2, 4, 2\)",
    ),
    "no nodes": (
        rooms_with(node_positions=np.zeros((2, 0, 3))),
        r"node_positions has shape \(2, 0, 3\)",
    ),
    "no SNR": (rooms_with(snr_db=None), "without snr_db"),
    "no place of noise": (rooms_with(noise_position=None), "needs noise_position"),
    "too short a T60": (rooms_with(t60=np.array([0.25, 0.02])), "smallest"),
    "a wrong number of T60": (rooms_with(t60=np.full(3, 0.3)), r"t60 has shape \(3,\)"),
    "a node on a source": (
        rooms_with(node_positions=np.repeat(small_batch(2).source_positions, 4, 1)),
        "less than 0.001 m from node 0",
    ),
    "none": (some_of(small_batch(2), slice(0, 0)), "has no rooms"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rooms_are_refused(case):
    rooms, message = BAD[case]
    dry, noise = np.zeros((2, 1, 2800), np.float32), np.zeros((2, 2800), np.float32)
    if case == "none":
        dry, noise = dry[:0], noise[:0]
    with pytest.raises(
        (rooms_lib.RenderingError, absorption.AcousticsError), match=message
    ):
        rendering.render(rooms, dry, keys_of(len(dry)), SHORT, noise)


def test_bad_signals_and_settings_are_refused(monkeypatch):
    rooms, keys = small_batch(2), keys_of(2)
    dry = noise_like(rooms, SHORT)
    with pytest.raises(rooms_lib.RenderingError, match=r"dry has shape \(2, 1, 2799\)"):
        rendering.render(rooms, dry[..., 1:], keys, SHORT)
    with pytest.raises(rooms_lib.RenderingError, match=r"noise has shape \(1, 2800\)"):
        rendering.render(rooms, dry, keys, SHORT, dry[:1, 0])
    full = dataclasses.replace(SHORT, late="full")
    with pytest.raises(rooms_lib.RenderingError, match="more than 146"):
        rendering.render(rooms._replace(t60=np.array([0.2, 2.9])), dry, keys, full)
    with pytest.raises(rooms_lib.RenderingError, match=r"keys has shape \(1,\)"):
        rendering.render(rooms, dry, keys[:1], SHORT)
    broken = dry.copy()
    broken[1, 0, 5] = np.nan
    with pytest.raises(rooms_lib.RenderingError, match=r"dry holds nan at \[1, 0, 5\]"):
        rendering.render(rooms, broken, keys, SHORT)
    with monkeypatch.context() as patched:
        sizes = rendering._Sizes(rooms=100_000, images=256)
        patched.setattr(rendering, "_sizes", lambda: sizes)
        with pytest.raises(rooms_lib.RenderingError, match="exceed an int32 index"):
            rendering.render(rooms, dry, keys, SHORT)
    hall = rooms._replace(size=np.full((2, 3), 20.0), t60=np.full(2, 1.2))
    with pytest.raises(rooms_lib.RenderingError, match="has at most 2816; use smaller"):
        rooms_lib.compute_walls(hall, rooms_lib.RenderSettings())
    for change in (
        {"late": "half"},
        {"noise": "pink"},
        {"num_samples": 0},
        {"response_length": -3},
        {"num_late": 100},
        {"highpass": -1.0},
    ):
        with pytest.raises(
            rooms_lib.RenderingError, match=str(next(iter(change.values())))
        ):
            dataclasses.replace(SHORT, **change)


def test_scenes_of_different_sizes_are_no_batch():
    rng = np.random.default_rng(0)
    drawn = [scenes.draw_adhoc(rng, 1, (0.0, 1.0), num_nodes=n) for n in (3, 4)]
    with pytest.raises(rooms_lib.RenderingError, match=r"\[3, 4\] node_positions"):
        rooms_lib.Rooms.of(drawn)
    with pytest.raises(rooms_lib.RenderingError, match="no scenes"):
        rooms_lib.Rooms.of([])


def test_every_room_of_the_paper_fits_the_default_settings():
    rng = np.random.default_rng(0)
    sides = np.concatenate([rng.uniform(4, 10, (3000, 2)), [[4, 4], [4, 10], [10, 10]]])
    size = np.append(sides, np.full((len(sides), 1), 4.2), axis=1)
    for t60 in (0.2, 0.5, 1.2):
        for late in rooms_lib.LATE_FIELDS:
            rooms = rooms_lib.Rooms(size, np.full(len(size), t60), size, size)
            walls = rooms_lib.compute_walls(rooms, rooms_lib.RenderSettings(late=late))
            assert image_source.num_images(int(walls.order.max())) < 4.3e6


def test_every_room_of_any_session_fits():
    sides = np.linspace(*scenes.ANY_SIDES, 19)
    heights = np.linspace(*scenes.ANY_HEIGHTS, 12)
    t60s = np.linspace(*scenes.ADHOC_T60, 6)
    grid = np.array(list(itertools.product(sides, sides, heights, t60s)))
    grid = grid[grid[:, :3].prod(axis=1) <= scenes.ANY_VOLUME]
    rooms = rooms_lib.Rooms(
        grid[:, :3], grid[:, 3], None, None, noise_position=np.zeros(3)
    )
    rooms_lib.compute_walls(rooms, rooms_lib.RenderSettings())
