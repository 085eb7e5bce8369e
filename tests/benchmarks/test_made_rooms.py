"""Rooms of plain pyroomacoustics: a talker who faces a direction, six walls."""

import numpy as np
import pytest

from benchmarks.reliability import made_rooms


def test_a_talker_is_6_db_weaker_behind_above_1_khz():
    pytest.importorskip("pyroomacoustics")
    size, place = np.array([6.0, 5.0, 3.0]), np.array([3.0, 2.5, 1.5])
    nodes = place + np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    absorbing = np.full(6, 0.999), 0  # Direct sound alone.
    times = np.arange(made_rooms.BEFORE + made_rooms.SAMPLES) / made_rooms.RATE
    for frequency, wanted in ((300.0, 0.0), (3000.0, 6.0)):
        tone = np.sin(2 * np.pi * frequency * times)
        received = made_rooms.simulate_talker(size, absorbing, nodes, place, 0.0, tone)
        ahead, behind = (received[:, 1000:-1000] ** 2).mean(axis=1)
        assert 10 * np.log10(ahead / behind) == pytest.approx(wanted, abs=0.25)


def test_six_walls_differ_by_a_factor_of_two_about_the_mean():
    pytest.importorskip("pyroomacoustics")
    size = np.array([6.0, 5.0, 3.0])
    rng, other = (np.random.default_rng(3) for _ in range(2))
    absorption, order = made_rooms.draw_six_walls(rng, size)
    mean, same_order = made_rooms.draw_walls(other, size)
    assert order == same_order
    ratios = absorption / mean
    assert ((ratios >= 0.5) & (ratios <= 2)).all()
    assert np.ptp(ratios) > 0.3
