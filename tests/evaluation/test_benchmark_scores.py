"""Scores of a benchmark: intervals over rooms and seeds, and paired differences."""

import json

import numpy as np
import pytest

from uld_jax.evaluation import benchmark_scores

GROUPS = ["near", "far"] * 60


def made_errors(num_seeds=3, spread=0.0):
    """Make errors that differ from room to room, 0.2 m near and 0.6 m far on average."""
    rng = np.random.default_rng(0)
    rooms = np.repeat(np.arange(30), 4)
    means = np.where(np.array(GROUPS) == "near", 0.2, 0.6)
    errors = means + 0.1 * rng.uniform(-1, 1, 30)[rooms]
    return errors + spread * np.arange(num_seeds)[:, None], rooms


def result_of(errors, rooms, **data):
    names = np.array(GROUPS)
    of_groups = {name: names == name for name in ("near", "far")}
    return {
        "format": benchmark_scores.FORMAT,
        "network": "x",
        "label": {},
        "data": {"name": "simulated/benchmark_tiny:1.0.0", **data},
        "seeds": list(range(len(errors))),
        "groups": {},
        "errors": {name: errors[:, some].tolist() for name, some in of_groups.items()},
        "rooms": {name: rooms[some].tolist() for name, some in of_groups.items()},
    }


def test_values_are_those_of_numpy_by_group_and_seed():
    errors, rooms = made_errors(spread=0.05)
    found = benchmark_scores.summarize(errors, GROUPS, rooms)
    assert list(found) == ["near", "far", "all"]
    near = errors[:, ::2]
    assert found["near"]["examples"] == 60 and found["near"]["rooms"] == 30
    for key, statistic in (("mae", np.mean), ("median", np.median)):
        assert found["near"][key]["value"] == pytest.approx(statistic(near))
        assert found["near"][key]["by_seed"] == pytest.approx(
            [statistic(one) for one in near]
        )
    assert found["all"]["mae"]["value"] == pytest.approx(errors.mean())


def test_the_interval_is_that_of_the_mean_over_rooms():
    """Not over examples, of which each room has several alike."""
    errors, rooms = made_errors(num_seeds=1)
    found = benchmark_scores.summarize(errors, GROUPS, rooms)["near"]["mae"]
    of_rooms = [errors[0, ::2][rooms[::2] == room].mean() for room in range(30)]
    expected = 1.96 * np.std(of_rooms) / np.sqrt(30)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(expected, rel=0.1)


def test_seeds_that_differ_widen_the_interval():
    narrow, wide = (
        benchmark_scores.summarize(
            *[made_errors(spread=spread)[0], GROUPS, made_errors()[1]]
        )
        for spread in (0.0, 0.2)
    )
    narrow, wide = (one["all"]["mae"] for one in (narrow, wide))
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_a_difference_is_paired():
    """Rooms that are hard for both do not blur by how much one is better."""
    errors, rooms = made_errors(num_seeds=1)
    better = result_of(errors - 0.01, rooms)
    rows = benchmark_scores.compare(better, result_of(errors, rooms))
    assert [row["group"] for row in rows] == ["near", "far", "all"]
    for row in rows:
        assert row["difference"] == pytest.approx(-0.01)
        assert row["low"] == pytest.approx(-0.01) and row["high"] == pytest.approx(
            -0.01
        )
        assert row["closer"] == 1.0
    assert rows[0]["second"] == pytest.approx(errors[:, ::2].mean())


def test_intervals_hold_zero_without_a_difference(monkeypatch):
    """All but one in twenty, on average."""
    monkeypatch.setattr(benchmark_scores, "_REPLICATES", 300)
    errors, rooms = made_errors(num_seeds=1)
    holds = []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.05, errors.shape)
        rows = benchmark_scores.compare(
            result_of(errors, rooms), result_of(errors + noise, rooms)
        )
        holds.append(rows[-1]["low"] < 0 < rows[-1]["high"])
        assert 0.3 < rows[-1]["closer"] < 0.7
    assert sum(holds) >= 17


def test_rooms_are_the_same_if_sides_and_nodes_are():
    sides = np.array([[4.0, 5.0, 3.0]] * 3 + [[4.0, 6.0, 3.0]])
    nodes = np.zeros((4, 2, 3))
    nodes[1] = 1.0
    found = benchmark_scores.number_rooms(sides, nodes)
    assert found[0] == found[2] and len(set(found.tolist())) == 3


def test_results_on_other_data_are_refused():
    errors, rooms = made_errors()
    first = result_of(errors, rooms)
    with pytest.raises(benchmark_scores.BenchmarkError, match="name is simulated"):
        benchmark_scores.compare(first, result_of(errors, rooms, name="another"))
    with pytest.raises(benchmark_scores.BenchmarkError, match="corpus is None and x"):
        benchmark_scores.compare(first, result_of(errors, rooms, corpus="x"))
    with pytest.raises(benchmark_scores.BenchmarkError, match="test examples"):
        benchmark_scores.compare(first, result_of(errors, rooms + 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "not an object"),
        ('{"format": 1}', "lacks network, label"),
        (None, "has the format 7"),
    ],
)
def test_files_that_are_no_result_are_refused(text, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text or json.dumps(result_of(*made_errors()) | {"format": 7}))
    with pytest.raises(benchmark_scores.BenchmarkError, match=message):
        benchmark_scores.read(path)
