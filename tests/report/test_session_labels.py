import itertools

import numpy as np

from uld_jax.report import session_labels

BOUNDS = (0.0, 0.0, 640.0, 500.0)


def place(names, nodes, positions=()):
    return session_labels.place_labels(names, nodes, positions, BOUNDS)


def covers(label, point):
    left, top, right, bottom = label.box
    return left < point[0] < right and top < point[1] < bottom


def test_a_name_is_to_the_right_of_its_node():
    (label,) = place(["desk"], [(100.0, 100.0)])
    assert label.anchor == "start" and label.place[0] > 100.0
    assert label.place[1] == 100.0


def test_a_name_avoids_a_position():
    position = (125.0, 100.0)
    (label,) = place(["desk"], [(100.0, 100.0)], [position])
    assert not covers(label, position) and label.anchor == "end"


def test_names_stay_within_the_plan():
    corners = list(itertools.product((5.0, 635.0), (5.0, 495.0)))
    for label in place(["a long name"] * 4, corners):
        assert (label.box[:2] >= BOUNDS[:2]).all()
        assert (label.box[2:] <= BOUNDS[2:]).all()


def test_names_cover_neither_each_other_nor_nodes():
    nodes = [(100.0 + 40 * x, 100.0 + 60 * y) for x in range(8) for y in range(4)]
    labels = place([str(index) for index in range(32)], nodes)
    for one, other in itertools.combinations(labels, 2):
        assert not session_labels.overlap(one.box, other.box)
    assert not any(covers(label, node) for label in labels for node in nodes)


def test_names_avoid_each_other_rather_than_many_positions():
    """The second node's name is only free of the first's among positions."""
    positions = np.random.default_rng(0).uniform((0, 0), (640, 500), (3000, 2))
    labels = place(["a name"] * 2, [(300.0, 200.0)] * 2, list(map(tuple, positions)))
    assert not session_labels.overlap(labels[0].box, labels[1].box)


def test_long_names_are_shortened():
    (label,) = place(["the microphone beside the window"], [(100.0, 100.0)])
    assert label.text == "the microphone be\N{HORIZONTAL ELLIPSIS}"


def test_names_of_30_nodes_anywhere_hardly_cover_each_other():
    covered = 0
    for seed in range(10):
        nodes = np.random.default_rng(seed).uniform((50, 30), (600, 470), (30, 2))
        labels = place([f"node {k}" for k in range(30)], list(map(tuple, nodes)))
        pairs = itertools.combinations(labels, 2)
        covered += sum(session_labels.overlap(a.box, b.box) for a, b in pairs)
    assert covered <= 3
