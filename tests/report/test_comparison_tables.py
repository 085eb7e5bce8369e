"""Places seen and unseen, side by side; the other comparisons are in test_tables."""

from made_records import baseline_record, room_record

from uld_jax.report import comparison_tables, groups

PLACES = ((2.7, 1.2), (7.5, 1.2))


def placed(run, seen=(True, False), maes=(0.1, 0.3), accuracy=True):
    """Return a record whose sources were at two places, with 30 and 10 of them."""

    def facts(numbers):
        if not numbers:
            return None
        sources = [(30, 10)[k] for k in numbers]
        weighted = sum(maes[k] * n for k, n in zip(numbers, sources, strict=True))
        one = {"places": len(numbers), "sources": sum(sources)}
        one["mae"] = weighted / sum(sources)
        return one | ({"accuracy": 0.5} if accuracy else {})

    run["test"] |= {
        "places": [
            {"place": list(at), "seen": was, "sources": (30, 10)[k], "mae": maes[k]}
            for k, (at, was) in enumerate(zip(PLACES, seen, strict=True))
        ],
        "seen": facts([k for k, was in enumerate(seen) if was]),
        "unseen": facts([k for k, was in enumerate(seen) if not was]),
    }
    return run


def begun(run, data, epochs=3):
    run["settings"]["init"] = {"folder": "runs/a", "data": data, "partial": False}
    run["settings"]["train"]["epochs"] = epochs
    return run


def test_places_seen_and_unseen_stand_side_by_side_with_counts():
    runs = [placed(room_record("uld", seed, name="twin_r1")) for seed in (0, 1)]
    runs[1]["test"]["places"][1]["mae"] = 0.5
    runs[1]["test"]["unseen"]["mae"] = 0.5
    baseline = placed(
        baseline_record(name="twin_r1"), (False, False), (0.01, 0.02), accuracy=False
    )
    (table,) = comparison_tables.places(groups.group([*runs, baseline]))
    assert table.header[3:] == [
        *("seen: places", "sources", "ACC %", "MAE m"),
        *("unseen: places", "sources", "ACC %", "MAE m"),
        *("(2.7, 1.2)", "(7.5, 1.2)"),
    ]
    network, other = table.rows
    assert network[0] == "ULD"
    assert network[3:7] == ["1", "30", "50.00 ± 0.00", "0.100 ± 0.000"]
    assert network[7:11] == ["1", "10", "50.00 ± 0.00", "0.400 ± 0.141"]
    assert network[11:] == ["0.100 ± 0.000", "0.400 ± 0.141*"]
    assert other[0] == "SRP-PHAT"
    assert other[3:7] == ["0", "0", "", ""]
    assert other[7:9] == ["2", "40"]
    assert other[9] == ""
    assert other[11:] == ["0.010*", "0.020*"]


def test_runs_that_did_not_converge_are_in_the_table_with_a_stroke():
    lost = placed(room_record("one_hot", name="twin_r1")) | {"converged": False}
    found = groups.group([lost, placed(room_record("uld", name="twin_r1"))])
    (table,) = comparison_tables.places(found)
    assert [row[0] for row in table.rows] == ["One-hot", "ULD"]
    assert set(table.rows[0][3:]) == {"/"}


def test_runs_whose_places_are_not_told_have_no_such_table():
    assert comparison_tables.places(groups.group([room_record("uld")])) == []


def test_what_a_network_began_from_tells_runs_apart():
    scratch = begun(room_record("uld", name="twin_r1"), None)
    tuned = begun(room_record("uld", name="twin_r1"), "simulated/ad1:1.0.0")
    as_it_is = begun(room_record("uld", name="twin_r1"), "simulated/ad1:1.0.0", 0)
    dev = begun(room_record("uld", name="twin_r1_dev"), "simulated/ad1:1.0.0")
    found = groups.group([scratch, tuned, as_it_is, dev])
    assert len(groups.by_data(found)) == 1
    assert found[0].data.name == "simulated/twin_r1:1.0.0"
    assert sorted(one.variant for one in found) == [
        "base",
        "from scratch",
        "tested as it is",
        "trained at the dev positions",
    ]
    base = next(one for one in found if one.variant == "base")
    assert base.runs == (tuned,)
    assert "started from simulated/ad1:1.0.0" in base.details
    assert "fine-tuned" in base.details


def test_networks_begun_from_runs_of_another_kind_are_kept_apart():
    runs = [
        begun(room_record("uld", seed, name="twin_r1"), "simulated/ad1:1.0.0")
        for seed in range(3)
    ]
    for run, kind in zip(runs, ("a" * 8, "a" * 8, "b" * 8), strict=True):
        run["init"] = {"kind": kind}
    found = groups.group(runs)
    assert [(len(one.runs), one.variant) for one in found] == [
        (2, "by the pre-training aaaaaaaa"),
        (1, "by the pre-training bbbbbbbb"),
    ]


def test_how_it_would_be_trained_does_not_matter_to_what_is_tested_as_it_is():
    runs = [
        begun(room_record("uld", seed), "simulated/ad1:1.0.0", 0) for seed in (0, 1)
    ]
    runs[1]["settings"]["train"]["batch_size"] = 8
    (one,) = groups.group(runs)
    assert len(one.runs) == 2
    runs[0]["epochs"], runs[0]["best_epoch"], runs[0]["converged"] = [], 0, None
    trained = begun(room_record("uld", 0), "simulated/ad1:1.0.0")
    (table,) = comparison_tables.side_by_side(groups.group([runs[0], trained]))
    columns = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    losses = {c["settings"]: c["validation loss"] for c in columns}
    assert losses["network of another run"] == ""
    assert "1.000" in losses.values()


def test_a_network_is_told_from_one_of_the_same_data_that_is_tested_elsewhere():
    here = begun(room_record("uld"), "simulated/ad1:1.0.0", 0)
    there = begun(room_record("uld", resolution=8), None)
    found = groups.group([here, there])
    assert {one.variant for one in found} == {
        "network of another run",
        "from scratch, trained",
    }


def test_figures_show_every_resolution_of_networks_tested_as_they_are():
    runs = [
        begun(room_record("uld", resolution=i), "simulated/ad1:1.0.0", 0)
        for i in (4, 8)
    ]
    for run in runs:
        run["epochs"], run["best_epoch"], run["converged"] = [], 0, None
    chosen = groups.representatives(groups.group(runs))
    assert [one.resolution for one in chosen] == [4, 8]


def test_only_rooms_with_few_places_share_a_test_split_by_their_names():
    names = ("simulated/ad1", "simulated/ad1_dev", "sessions/lab", "sessions/lab_test")
    runs = []
    for name in names:
        runs.append(room_record("uld"))
        runs[-1]["data"]["name"] = f"{name}:1.0.0"
    assert len(groups.by_data(groups.group(runs))) == 4
    real = [room_record("uld", seed) for seed in range(3)]
    for run in real:  # Of what was opened, and of its test part.
        fingerprint = str(run["seed"])
        run["data"]["corpus"] = {
            "name": "corpus",
            "fingerprint": fingerprint,
            "test_fingerprint": "same",
        }
    for run, ending in zip(real, ("", "_dev", "_test"), strict=True):
        run["data"]["name"] = f"libri_adhoc40/ad_r1{ending}:1.0.0"
    (data,) = groups.by_data(groups.group(real))
    assert data.name == "libri_adhoc40/ad_r1:1.0.0"
    assert data.table == "Table 4"
