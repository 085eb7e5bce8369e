"""Detours of reflections are those of image sources, and explain times that are late."""

import dataclasses

import numpy as np
import pyroomacoustics
import pytest
from numpy.testing import assert_allclose

from uld_jax.localization import localize, reflections

SIZE = np.array([5.0, 4.0, 2.6])
NODES = np.array([[0.3, 0.4, 1.3], [4.7, 0.5, 0.9], [4.6, 3.6, 1.2], [2.4, 1.7, 0.7]])
PLACE = np.array([1.2, 2.9, 1.5])
SILENT = localize.localize(np.zeros((4, 8000)), 16_000, NODES, SIZE)


def images(order):
    room = pyroomacoustics.ShoeBox(SIZE, fs=16_000, max_order=order)
    room.add_source(PLACE)
    room.add_microphone_array(NODES.T)
    room.image_source_model()
    return room.sources[0].images.T


def test_detours_are_those_of_another_simulator():
    paths = np.linalg.norm(NODES[:, None] - images(2), axis=-1)
    direct = np.linalg.norm(NODES - PLACE, axis=1)[:, None]
    expected = np.sort(paths - direct, axis=1)[:, 1:]  # Without the source itself.
    found = np.sort(reflections.find_detours(PLACE, NODES, SIZE), axis=1)
    assert_allclose(found, expected, atol=1e-5)  # It has single precision.


def test_without_a_height_there_is_no_ceiling():
    low = reflections.find_detours(PLACE, NODES, SIZE[:2])
    ceiling = PLACE * [1, 1, -1] + [0, 0, 2 * SIZE[2]]
    detour = np.linalg.norm(NODES - ceiling, axis=1) - np.linalg.norm(
        NODES - PLACE, axis=1
    )
    for own, one in zip(low, detour, strict=True):
        assert np.abs(own - one).min() > 0.001
    assert low.shape[1] < reflections.find_detours(PLACE, NODES, SIZE).shape[1]


def windows(late, height=PLACE[2]):
    return [
        dataclasses.replace(
            SILENT,
            position=PLACE[:2],
            height=height,
            node_offsets=np.array(late) / 343.0,
            node_offset_errors=np.full(4, 1e-5),
        )
    ]


def test_times_of_reflections_are_explained_and_others_are_not():
    wall, floor = reflections.find_detours(PLACE, NODES, SIZE)[[0, 1], [3, 0]]
    free = np.sort(reflections.find_detours(PLACE, NODES, SIZE)[2])
    gap = np.diff(free).argmax()
    between = free[gap : gap + 2].mean()
    found = reflections.explain(windows([wall, floor + 0.02, between, np.nan]), SIZE)
    assert found.tolist() == [[True, True, False, False]]
    early = reflections.explain(windows([-0.2, -0.5, -1.0, 0.0]), SIZE)
    assert not early.any()


@pytest.mark.parametrize("height", [np.nan, PLACE[2]])
def test_an_unknown_room_explains_nothing(height):
    late = reflections.find_detours(PLACE, NODES, SIZE)[:, 0]
    assert not reflections.explain(windows(late, height), None).any()
    assert reflections.explain(windows(late), SIZE).all()
