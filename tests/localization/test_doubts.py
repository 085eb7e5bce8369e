"""Sentences about clocks and nodes say what is known, and no more."""

import numpy as np

from uld_jax.localization import doubts

NUMBERS = np.arange(5)
NOBODY = np.zeros((0, 2), int)


def test_clocks_are_called_wrong_beyond_their_errors_alone():
    """Those of few nodes are as uncertain as the position, however right they are."""
    offsets = 0.001 * np.array([1.0, -1.0, 0.5, -2.0, np.nan])
    assert doubts.describe_clocks(offsets, np.full(5, 0.001)) == []
    (note,) = doubts.describe_clocks(offsets, np.full(5, 0.0005))
    # 1.4826 times the median of 0.5, 1, 1 and 2 ms.
    assert note.startswith("Clocks or node positions are off: by 1.5 ms, or 0.51 m")
    assert doubts.describe_clocks(np.full(5, np.nan), np.full(5, np.nan)) == []


def test_late_and_early_nodes_are_named_by_their_numbers():
    offsets = np.array([0.0, 0.0301, -0.2, 0.014, np.nan])
    assert doubts.describe_nodes(offsets, NUMBERS + 3, NOBODY) == [
        "Node 4 is 30.1 ms late: its clock or position is off",
        "Node 5 is 200.0 ms early: its clock or position is off",
    ]
    many = doubts.describe_nodes(np.full(5, 0.05), NUMBERS, NOBODY)
    assert many == ["5 nodes are more than 15 ms late or early"]
    exchanged = doubts.describe_nodes(np.zeros(5), NUMBERS, np.array([[1, 4]]))
    assert exchanged == [
        "Nodes 1 and 4 seem to be exchanged: each fits the other's position"
    ]


def test_names_take_the_place_of_numbers_of_nodes_alone():
    names = ["desk", "door", "2"]
    reasons = ["Node 1 is 30.1 ms late", "Nodes 0 and 2 seem", "2 places fit: 1"]
    assert doubts.with_names(reasons, names) == (
        "Node door is 30.1 ms late",
        "Nodes desk and 2 seem",
        "2 places fit: 1",
    )
