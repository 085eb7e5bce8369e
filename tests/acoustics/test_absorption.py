import math

import numpy as np
import pytest

from uld_jax.acoustics import absorption as absorption_lib
from uld_jax.runtime import errors


def test_absorption_and_order_are_those_of_pyroomacoustics():
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    rng = np.random.default_rng(0)
    sides = rng.uniform([3, 3, 2.4], [12, 12, 5], size=(2000, 3))
    t60 = rng.uniform(0.25, 1.5, size=2000)
    absorption = absorption_lib.sabine_absorption(sides, t60)
    order = absorption_lib.image_order(sides, t60)
    expected = [
        pyroomacoustics.inverse_sabine(t, room)
        for t, room in zip(t60, sides, strict=True)
    ]
    np.testing.assert_allclose(absorption, [a for a, _ in expected], rtol=1e-12)
    np.testing.assert_array_equal(order, [n for _, n in expected])
    assert len(set(order)) > 50


def test_one_room_is_a_batch_of_none():
    """A cube of 6 m: V / S = 1, so that a T60 c = 24 ln(10)."""
    cube = np.array([6, 6, 6])
    absorption = absorption_lib.sabine_absorption(cube, 0.5)
    assert np.ndim(absorption) == 0
    np.testing.assert_allclose(absorption, 24 * np.log(10) / 343 / 0.5, rtol=1e-14)
    assert absorption_lib.image_order(cube, 0.5) == math.ceil(171.5 / (6 / 2**0.5) - 1)
    # Rooms [2, 1] and times [3] broadcast like any arrays.
    rooms = np.array([[[6.0, 6.0, 6.0]], [[3.0, 3.0, 3.0]]])
    times = np.array([0.5, 1.0, 2.0], np.float32)
    np.testing.assert_allclose(
        absorption_lib.sabine_absorption(rooms, times),
        absorption * 0.5 / times * np.array([[1.0], [0.5]]),
    )
    assert absorption_lib.image_order(rooms, times).shape == (2, 3)


def test_the_smallest_t60_can_just_be_had():
    """SIMULATION.md 1.1 lists these by hand."""
    rooms = np.array([[4, 4, 4.2], [6, 6, 4.2], [7, 7, 4.2], [10, 10, 4.2]])
    shortest = absorption_lib.smallest_t60(rooms)
    np.testing.assert_allclose(shortest, [0.109, 0.141, 0.154, 0.184], atol=6e-4)
    np.testing.assert_allclose(absorption_lib.sabine_absorption(rooms, shortest), 1.0)
    with pytest.raises(absorption_lib.AcousticsError, match="cannot have T60"):
        absorption_lib.sabine_absorption(rooms, shortest * 0.999)


def test_too_short_a_t60_names_the_room_and_the_remedy():
    rooms = np.array([[4, 4, 4.2], [10, 9, 4.2]], np.float32)
    with pytest.raises(errors.InputError) as caught:
        absorption_lib.sabine_absorption(rooms, 0.12)
    assert "a room of 10 x 9 x 4.2 m cannot have T60 = 0.12 s" in str(caught.value)
    advice = float(str(caught.value).split()[-2])
    assert 0.99 < absorption_lib.sabine_absorption(rooms[1], advice) <= 1
    # One room at several times: the time that fails is named.
    with pytest.raises(errors.InputError, match=r"T60 = 0\.11 s"):
        absorption_lib.sabine_absorption(rooms[1], np.array([0.3, 0.11]))


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_length_and_no_time_is_refused(bad):
    room = np.array([5.0, 6.0, 4.2])
    for function in (absorption_lib.sabine_absorption, absorption_lib.image_order):
        with pytest.raises(absorption_lib.AcousticsError, match=r"T60 .* of seconds"):
            function(room, bad)
        with pytest.raises(
            absorption_lib.AcousticsError, match=r"room size .* of meters"
        ):
            function(np.array([5.0, bad, 4.2]), 0.5)
