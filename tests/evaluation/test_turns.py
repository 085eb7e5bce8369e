"""Windows at one place become a turn; those of another begin the next."""

import dataclasses

import numpy as np
import pytest

from uld_jax.evaluation import turns
from uld_jax.localization import localize

SILENT = localize.localize(
    np.zeros((3, 8000)), 16_000, [[0, 0, 1], [3, 0, 1], [0, 3, 1]], [3.0, 3.0]
)


def window(x, y, radius=0.1, determined=True):
    return dataclasses.replace(
        SILENT,
        position=np.array([x, y], float),
        covariance=np.eye(2) * (radius / 2.146) ** 2,
        radius_90=radius,
        determined=determined,
    )


def test_turns_end_where_somebody_is_elsewhere():
    found = [window(1, 1), window(1.05, 1), window(2, 2), window(1, 1)]
    first, second, third = turns.find_turns(np.array([0.0, 2.0, 6.0, 8.0]), found, 2.0)
    assert (first.start, first.end, first.windows) == (0.0, 4.0, (0, 1))
    np.testing.assert_allclose(first.position, [1.025, 1.0])
    assert (second.start, second.end) == (6.0, 8.0)
    assert third.windows == (3,)
    assert str(first) == "0.0-4.0 s: (1.02, 1.00) m, 90 % within 0.10 m (2 windows)"


def test_what_is_not_determined_breaks_no_turn():
    lost = window(2.5, 2.5, 2.0, determined=False)
    found = [lost, window(1, 1), lost, window(1, 1), lost]
    (turn,) = turns.find_turns(np.arange(5) * 2.0, found, 2.0)
    assert turn.windows == (1, 3)
    assert (turn.start, turn.end) == (2.0, 8.0)
    assert turns.find_turns(np.array([0.0]), [lost], 2.0) == []


def test_sure_windows_weigh_more():
    found = [window(1.0, 1.0, 0.1), window(1.3, 1.0, 0.2), window(1.3, 1.0, 0.2)]
    (turn,) = turns.find_turns(np.array([0.0, 2.0, 4.0]), found, 2.0)
    # Variances of 1, 4 and 4.
    assert turn.position[0] == pytest.approx((1.0 + 2 * 1.3 / 4) / 1.5)
    assert turn.radius_90 == pytest.approx(0.2)


def test_uncertain_windows_may_be_farther_apart_but_not_by_meters():
    (turn,) = turns.find_turns(
        np.array([0.0, 2.0]), [window(1, 1, 0.5), window(1.45, 1, 0.5)], 2.0
    )
    assert turn.windows == (0, 1)
    found = [window(0.5, 1, 0.9), window(1.7, 1, 0.9)]
    assert len(turns.find_turns(np.array([0.0, 2.0]), found, 2.0)) == 2


def test_a_pause_ends_a_turn():
    found = [window(1, 1), window(1, 1), window(1, 1)]
    first, second = turns.find_turns(np.array([0.0, 6.0, 14.0]), found, 2.0)
    assert (first.windows, second.windows) == ((0, 1), (2,))
