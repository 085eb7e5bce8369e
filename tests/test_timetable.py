"""benchmarks/timetable.py: what cells of full tables have taken and will take."""

import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "benchmarks"))
import timetable

CALL, LEASE = 540.0, 1800.0
ULD, ONE_HOT = (timetable.Cell("ad1", scheme, 16, 0) for scheme in ("uld", "one_hot"))
OTHER = timetable.Cell("ad2", "uld", 16, 0)


def record(status, seconds, epochs=50):
    """Return a record whose epochs took some seconds, and a second each to validate."""
    trained = [{"seconds": float(number)} for number in seconds]
    return {
        "status": status,
        "epochs": trained,
        "settings": {"train": {"epochs": epochs}},
        "times": {"seconds": sum(seconds) + len(seconds)},
    }


def test_a_cell_to_come_takes_its_epochs_at_the_pace_after_the_first():
    records = {ULD: record("done", [90, 20])}
    done, to_come = timetable.rows([ULD, ONE_HOT], records, {"ad1/uld_I16_seed0": 212})
    assert done["seconds to come"] == 0
    # An epoch of 20 s and a second's validation; 170 s of 212 besides.
    assert to_come["seconds to come"] == pytest.approx(50 * 21 + 170)


def test_cells_trained_together_have_their_share_of_the_time_each():
    shared = record("done", [90, 20])
    shared["times"]["together"] = 4
    for epoch in shared["epochs"]:
        epoch["together"] = 4
    _, to_come = timetable.rows(
        [ULD, ONE_HOT], {ULD: shared}, {"ad1/uld_I16_seed0": 53}
    )
    # A quarter of what one alone would take: see above.
    assert to_come["seconds to come"] == pytest.approx((50 * 21 + 170) / 4)
    (row,) = timetable.rows([ULD], {ULD: shared}, {})
    assert row["seconds"] == pytest.approx(112 / 4)
    assert timetable.validation(shared) == pytest.approx(1)  # That of all.


def test_what_a_process_takes_to_start_is_that_of_the_median_cell(tmp_path):
    ledger = timetable.Ledger(tmp_path / "spent.json")
    records = {ULD: record("running", [20, 20])}
    assert timetable.start(ULD, records, ledger) is None
    ledger.add([ULD], 62.0)
    ledger.add([ULD, ONE_HOT], 100.0)  # One half of it each.
    ledger = timetable.Ledger(tmp_path / "spent.json")  # As the next call reads it.
    # 112 s in two processes, 42 of them of two epochs; Ad-2 has no cell yet.
    assert timetable.start(ULD, records, ledger) == pytest.approx(35)
    assert timetable.start(OTHER, records, ledger) == pytest.approx(35)


def test_a_cell_that_has_trained_on_since_it_failed_has_not_failed(tmp_path):
    ledger = timetable.Ledger(tmp_path / "spent.json")
    assert not ledger.has_failed(ULD, None)
    ledger.fail(ULD, record("running", [20]))
    ledger = timetable.Ledger(tmp_path / "spent.json")
    assert ledger.has_failed(ULD, record("running", [20]))
    assert not ledger.has_failed(ULD, record("running", [20, 20]))


def test_an_interrupted_cell_needs_only_the_epochs_that_are_left():
    records = {ULD: record("running", [20, 20, 20])}
    (row,) = timetable.rows([ULD], records, {})
    assert row["seconds to come"] == pytest.approx(47 * 21)


def test_another_experiment_takes_as_long_until_it_has_a_cell():
    records = {ULD: record("done", [20, 20])}
    row = timetable.rows([ULD, OTHER], records, {})[1]
    assert row["seconds to come"] == pytest.approx(50 * 21)
    records[OTHER] = record("running", [40, 40])
    row = timetable.rows([ULD, OTHER], records, {})[1]
    assert row["seconds to come"] == pytest.approx(48 * 41)


def test_nothing_is_said_of_what_nothing_is_known_of():
    rows = timetable.rows([ULD, ONE_HOT], {}, {})
    assert [row["seconds to come"] for row in rows] == [None, None]
    assert timetable.totals(rows, CALL, LEASE)[-1]["calls"] is None


def test_calls_and_leases_hold_what_is_to_come():
    records = {ULD: record("done", [99, 99])}
    cells = [timetable.Cell("ad1", "uld", 16, seed) for seed in range(4)]
    rows = timetable.rows([ULD, *cells[1:]], records, {})
    total = timetable.totals(rows, CALL, LEASE)[-1]
    # Three cells of 50 epochs of 100 s, in calls of 510 s of work, three a lease.
    assert total["calls"] == 30 and total["leases"] == 10
    assert total["hours to come"] == pytest.approx(15_000 / 3600)
    assert total["epochs for one lease"] == 3  # Of 1,530 s, four cells of 100 s.


def test_diverged_cells_are_over():
    assert timetable.is_over({"status": "diverged"})
    assert not timetable.is_over({"status": "running"})
    assert not timetable.is_over(None)
