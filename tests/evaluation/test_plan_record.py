"""The record of a plan: sentences with the numbers of the map, and a table of nodes."""

import numpy as np

from uld_jax.audio import array_tables
from uld_jax.evaluation import plan_record
from uld_jax.localization import placement

ROOM = [6.0, 4.0]
PLACES = np.stack(np.meshgrid([1.0, 3.0, 5.0], [1.0, 3.0]), axis=-1)
RADII = np.array([[0.05, 0.08, 0.2], [0.3, 0.7, 9.0]])
COUNTS = np.array([[True, True, True], [True, True, False]])
NODES = np.array([[0.1, 0.2, 1.0], [5.0, 0.3, 1.0], [3.0, 3.9, 1.0]])


def plan(**changed):
    made = placement.Plan(
        NODES, 1, PLACES, RADII, COUNTS, np.array([6.0, 4.0, 1.2]), 0.5 * RADII
    )
    return made._replace(**changed)


def test_sentences_are_of_the_places_that_count():
    now, more = plan_record.describe(plan())
    assert now == (
        "90 % radius expected: worst 0.7 m at (3.0, 3.0), mean 0.27 m; 40 % of the floor "
        "within 0.1 m and 80 % of the floor within 0.5 m."
    )
    assert more.startswith(
        "One more node, best at (6.00, 4.00) m: worst 0.35 m at (3.0"
    )


def test_calibration_is_said_with_what_is_left_without():
    first, now, more = plan_record.describe(
        plan(calibrated=0.62, calibrated_with=0.8, radii_without=2 * RADII)
    )
    assert first.startswith(
        "Clocks are expected to be calibrated in 62 % of recordings; in others: worst "
        "1.4 m"
    )
    assert now.startswith("90 % radius expected with calibrated clocks: worst 0.7 m")
    assert ": calibrated in 80 %; worst 0.35 m" in more


def test_without_room_for_one_more_nothing_is_said_of_it():
    assert len(plan_record.describe(plan(one_more=None, radii_with=None))) == 1


def test_nodes_on_a_line_are_remarked():
    line = np.array([[0.0, 1.0, 1.0], [3.0, 2.0, 1.2], [6.0, 3.05, 0.9]])
    assert plan_record.describe(plan(nodes=line))[-1].startswith("Nodes are nearly on")


def test_the_table_is_read_back(tmp_path):
    names = ["a, b", 'say "x"', "n1"]
    record = plan_record.make(plan(), ROOM, names, None, [], "my_plan", "uld_jax plan")
    path = tmp_path / "table.csv"
    path.write_text(plan_record.to_csv(record))
    _, nodes = array_tables.read(path, "x".join(map(str, ROOM)))
    assert list(nodes) == names
    np.testing.assert_allclose([one.position for one in nodes.values()], NODES)
    assert [one["fixed"] for one in record["nodes"]] == [True, False, False]


def test_the_record_is_of_plain_numbers():
    record = plan_record.make(plan(), ROOM, ["a", "b", "c"], None, [], "p", "c")
    assert record["radii_m"] == RADII.tolist()
    assert all(type(v) is float for one in record["nodes"] for v in one["position_m"])
    assert record["room_size_m"] == ROOM and record["table_m"] is None
