"""Source positions seen in training and unseen."""

import numpy as np
import pytest

from uld_jax.evaluation import evaluate, seen_positions

# Three places, two sources each time.
TRUTH = np.array(
    [
        [[2.7, 1.2], [4.3, 1.2]],
        [[4.3, 1.2], [7.5, 1.2]],
        [[2.7, 1.2], [7.5, 1.2]],
        [[2.7, 1.2], [4.3, 1.2]],
    ],
    np.float32,
)
OFF = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])  # Of each source.
CORRECT = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], bool)


def result(**classes):
    predicted = TRUTH.copy()
    predicted[..., 1] += OFF
    classes = classes or {"correct": CORRECT, "cell_correct": np.ones((4, 2), bool)}
    return evaluate.Evaluation({}, TRUTH, predicted, **classes)


def test_each_position_has_its_own_sources():
    found = seen_positions.score_by_position(result(), [[2.7, 1.2], [8.3, 2.0]])
    at = {tuple(one["place"]): one for one in found["places"]}
    assert list(at) == [(2.7, 1.2), (4.3, 1.2), (7.5, 1.2)]
    assert [one["sources"] for one in at.values()] == [3, 3, 2]
    assert [one["seen"] for one in at.values()] == [True, False, False]
    assert at[2.7, 1.2]["mae"] == pytest.approx((0.1 + 0.5 + 0.7) / 3, abs=1e-6)
    assert at[7.5, 1.2]["mae"] == pytest.approx((0.4 + 0.6) / 2, abs=1e-6)
    assert at[4.3, 1.2]["accuracy"] == pytest.approx(1 / 3)
    assert at[4.3, 1.2]["cell_accuracy"] == 1.0


def test_seen_and_unseen_together_are_all():
    found = seen_positions.score_by_position(result(), [[2.7, 1.2], [4.3, 1.2]])
    seen, unseen = found["seen"], found["unseen"]
    assert (seen["places"], seen["sources"]) == (2, 6)
    assert (unseen["places"], unseen["sources"]) == (1, 2)
    mean = (6 * seen["mae"] + 2 * unseen["mae"]) / 8
    assert mean == pytest.approx(OFF.mean(), abs=1e-6)
    assert unseen["accuracy"] == 1.0
    assert seen["accuracy"] == pytest.approx(3 / 6)


def test_where_nothing_was_trained_at_everything_is_unseen():
    found = seen_positions.score_by_position(result(), [])
    assert found["seen"] is None
    assert found["unseen"]["sources"] == 8


def test_a_warning_names_the_test_places_that_training_has_seen():
    """Whatever the heights of the sources are."""
    heights = np.full((*TRUTH.shape[:2], 1), 1.5)
    truth = np.concatenate([TRUTH, heights], axis=-1)
    told = seen_positions.describe_seen(truth, [[2.7, 1.2], [8.3, 2.0], [7.5, 1.205]])
    assert told.startswith("Warning: 2 of 3 test places are training places, at ")
    assert "at (2.70, 1.20), (7.50, 1.20) m" in told
    for trained in ([[8.3, 2.0]], [], None):
        assert seen_positions.describe_seen(truth, trained) is None
    many = np.random.default_rng(0).uniform(0, 5, (9, 1, 2))
    assert ", ... m." in seen_positions.describe_seen(many, many[:, 0].tolist())


def test_a_centimeter_is_the_same_position_and_more_is_not():
    for shift, seen in ((0.009, True), (0.011, False)):
        found = seen_positions.score_by_position(result(), [[2.7 + shift, 1.2]])
        assert found["places"][0]["seen"] is seen


def test_methods_without_classes_have_no_accuracy():
    found = seen_positions.score_by_position(result(correct=None), [])
    assert "accuracy" not in found["unseen"]
    assert "accuracy" not in found["places"][0]


def test_data_with_sources_anywhere_have_no_listed_positions():
    assert seen_positions.score_by_position(result(), None) == {}
    rng = np.random.default_rng(0)
    many = rng.uniform(0, 9, (100, 1, 2)).astype(np.float32)
    everywhere = evaluate.Evaluation({}, many, many)
    assert seen_positions.score_by_position(everywhere, []) == {}


TWIN = {"room": "libri_adhoc40", "training_places": [[2.7, 1.2], [4.3, 1.2]]}
TWIN_DEV = {"room": "libri_adhoc40", "training_places": [[2.7, 5.2], [4.3, 1.2]]}
LAB = {"room": "session lab"}  # Of more positions than are listed.


def test_what_was_trained_at_is_kept_from_network_to_network():
    """However often one starts from another, and whatever was tested between."""
    rooms = {}
    for origin, trained_here in (
        ({"name": "simulated/ad1:1.0.0"}, True),  # No room of a name.
        (TWIN, True),
        (TWIN_DEV, False),
        (TWIN_DEV, True),
        (TWIN, False),
        (LAB, False),
    ):
        rooms = seen_positions.trained_positions(rooms, origin, trained_here)
    assert rooms == {
        "libri_adhoc40": [[2.7, 1.2], [4.3, 1.2], [2.7, 5.2]],
        "session lab": [],
    }


def test_what_was_only_tested_has_seen_nothing():
    rooms = seen_positions.trained_positions(
        seen_positions.trained_positions({}, TWIN, False), TWIN, False
    )
    assert rooms == {"libri_adhoc40": []}


def test_too_many_positions_stay_unknown():
    rooms = seen_positions.trained_positions({}, LAB, True)
    assert rooms == {"session lab": None}
    few = LAB | {"training_places": [[1.0, 1.0]]}
    assert seen_positions.trained_positions(rooms, few, True) == {"session lab": None}
    assert seen_positions.trained_positions({}, few, True) == {
        "session lab": [[1.0, 1.0]]
    }
