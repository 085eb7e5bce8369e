"""Proposed places: where they may be, how good they are, and that they repeat."""

import numpy as np
import pytest

from uld_jax.localization import placement, planning

ROOM = [6.0, 4.0]
THREE = [[0.05, 0.3, 1.0], [5.9, 0.4, 1.3], [2.0, 3.9, 1.1]]
TABLE = [2.0, 1.0, 4.0, 2.5]


@pytest.fixture(scope="module")
def plan():
    """Return places of six nodes on the walls."""
    return placement.place_nodes(ROOM, 6)


def worst(nodes, **options):
    """Compute the worst radius on a grid of this test's own."""
    x, y = np.meshgrid(np.linspace(0.3, 5.7, 12), np.linspace(0.3, 3.7, 8))
    places = np.column_stack([x.ravel(), y.ravel()])
    return planning.expected_radii(nodes, places, ROOM, **options)


def test_nodes_are_on_the_walls_at_their_height(plan):
    away = np.minimum(plan.nodes[:, :2], np.array(ROOM) - plan.nodes[:, :2])
    np.testing.assert_allclose(away.min(axis=1), 0.05, atol=1e-6)
    assert (plan.nodes[:, 2] == 1.2).all()


def test_nodes_are_apart(plan):
    apart = np.linalg.norm(plan.nodes[:, None] - plan.nodes, axis=-1)
    assert apart[~np.eye(6, dtype=bool)].min() >= 0.5


def test_nodes_are_apart_where_the_best_of_a_table_would_be_its_corners(monkeypatch):
    monkeypatch.setattr(placement, "_STARTS", 1)
    found = placement.place_nodes(ROOM, 8, on="table", table=[2.0, 1.0, 3.0, 2.0])
    apart = np.linalg.norm(found.nodes[:, None] - found.nodes, axis=-1)
    assert apart[~np.eye(8, dtype=bool)].min() >= np.sqrt(1.0 / 9) / 2


def test_the_worst_radius_is_far_below_that_of_random_places(plan):
    rng = np.random.default_rng(0)
    found = worst(plan.nodes).max()
    walls = placement._make_candidates(np.array(ROOM), "walls", None, 1.2, 7).places
    drawn = [
        worst(walls[rng.choice(len(walls), 6, replace=False)]).max() for _ in range(50)
    ]
    assert found < 0.9 * min(drawn)
    assert found < 0.5 * np.median(drawn)


def test_another_seed_finds_places_as_good_and_the_same_seed_the_same(plan):
    again = placement.place_nodes(ROOM, 6)
    np.testing.assert_array_equal(again.nodes, plan.nodes)
    other = placement.place_nodes(ROOM, 6, seed=5)
    assert worst(other.nodes).max() == pytest.approx(worst(plan.nodes).max(), rel=0.05)


def test_fixed_nodes_stay_and_the_fourth_is_the_best_of_all():
    """With one free node the search is exhaustive: compare with every candidate."""
    found = placement.place_nodes(ROOM, 4, THREE, minimize="mean")
    np.testing.assert_allclose(found.nodes[:3], THREE)
    assert found.num_fixed == 3
    candidates = placement._make_candidates(np.array(ROOM), "walls", None, 1.2, 5)
    places = placement._spread(np.array([0.3, 0.3]), np.array([5.7, 3.7]), 48)
    means = [
        planning.expected_radii([*THREE, one], places, ROOM).mean()
        for one in candidates.places[::4]
    ]
    mine = planning.expected_radii(found.nodes, places, ROOM).mean()
    assert mine <= min(means) * (1 + 1e-5)


def test_the_mean_and_the_worst_are_minimized_each_at_its_own_cost():
    options = {"clocks": 1e-3}
    nodes = {
        minimize: placement.place_nodes(
            ROOM, 4, on="anywhere", minimize=minimize, **options
        ).nodes
        for minimize in ("worst", "mean")
    }
    radii = {name: worst(found, **options) for name, found in nodes.items()}
    assert radii["worst"].max() < radii["mean"].max()
    assert radii["mean"].mean() < radii["worst"].mean()


def test_the_map_and_one_more_node_are_those_of_the_prediction(plan):
    assert plan.radii.shape == plan.counts.shape == (20, 30)
    row, column = 3, 17
    place = plan.places[row, column]
    np.testing.assert_allclose(place, [(17 + 0.5) * 0.2, (3 + 0.5) * 0.2])
    expected = planning.expected_radii(plan.nodes, [place], ROOM)
    np.testing.assert_allclose(plan.radii[row, column], expected[0], rtol=1e-4)
    more = np.vstack([plan.nodes, plan.one_more])
    expected = planning.expected_radii(more, [place], ROOM)
    np.testing.assert_allclose(plan.radii_with[row, column], expected[0], rtol=1e-4)
    assert plan.radii_with[plan.counts].max() < plan.radii[plan.counts].max()
    inside = plan.places[plan.counts]
    assert inside.min() > 0.299 and (inside < np.array(ROOM) - 0.299).all()
    assert plan.counts.sum() == 18 * 28


def test_nodes_are_on_the_table():
    found = placement.place_nodes(ROOM, 4, on="table", table=TABLE, node_height=0.75)
    plan = found.nodes[:, :2]
    assert (plan >= TABLE[:2]).all() and (plan <= TABLE[2:]).all()
    assert (found.nodes[:, 2] == 0.75).all()


def test_given_nodes_are_only_looked_at():
    found = placement.place_nodes(ROOM, 3, THREE)
    np.testing.assert_array_equal(found.nodes, THREE)
    assert found.one_more is not None


def test_there_may_be_no_room_for_one_more():
    crowd = np.random.default_rng(0).uniform(0.1, 0.9, (60, 3)) * [6.0, 4.0, 2.0]
    found = placement.place_nodes(ROOM, 60, crowd)
    assert found.one_more is None and found.radii_with is None


WRONG = {
    "room": (([0.0, 4.0], 6), {}, r"room_size is \[0.0, 4.0\]"),
    "two nodes": ((ROOM, 2), {}, "num_nodes is 2; give 3 to 60"),
    "too many": ((ROOM, 61), {}, "num_nodes is 61"),
    "outside": ((ROOM, 6, [[7.0, 1.0, 1.0]]), {}, r"fixed node 0 at \[7.0.*outside"),
    "more fixed": ((ROOM, 3, [*THREE, [3.0, 3.0, 1.0]]), {}, "4 nodes are fixed"),
    "flat": ((ROOM, 6, [[1.0, 1.0]]), {}, r"fixed has shape \(1, 2\)"),
    "region": ((ROOM, 6), {"on": "floor"}, "on is 'floor'; give one of walls"),
    "criterion": ((ROOM, 6), {"minimize": "best"}, "minimize is 'best'"),
    "no table": ((ROOM, 6), {"on": "table"}, "on is 'table' and table is None"),
    "odd table": ((ROOM, 6), {"table": TABLE}, "on is 'walls' and table"),
    "turned": (
        (ROOM, 6),
        {"on": "table", "table": [4.0, 1.0, 2.0, 2.0]},
        "give x0, y0, x1, y1",
    ),
    "out of the room": (
        (ROOM, 6),
        {"on": "table", "table": [4.0, 1.0, 7.0, 2.0]},
        "reaches out of the room",
    ),
    "ceiling": (([6.0, 4.0, 2.5], 6), {"node_height": 2.6}, "node_height is 2.6"),
    "clocks": ((ROOM, 6), {"clocks": -1.0}, "clocks is -1.0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_planned_is_refused(case):
    arguments, options, message = WRONG[case]
    with pytest.raises(planning.PlanningError, match=message):
        placement.place_nodes(*arguments, **options)
